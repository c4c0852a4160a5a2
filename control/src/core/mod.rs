//! The control plane's decisions, without socket, clock, thread, random source or `async`.

pub mod effect;
pub mod input;
pub mod keys;
pub mod record;
