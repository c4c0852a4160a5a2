//! Crosspoint's control plane as a library: a sans-IO [`core`] inside a thin tokio [`shell`].
//!
//! `core` decides; `shell` carries out. Media packets never come here.

#![forbid(unsafe_code)]

pub mod core;
pub mod shell;
