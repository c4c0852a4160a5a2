//! What becomes of the figures.

pub mod document;
pub mod progress;
pub mod text;
