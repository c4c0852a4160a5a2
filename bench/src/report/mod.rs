//! What becomes of the figures: one document, in several forms.

pub mod baseline;
pub mod csv;
pub mod document;
pub mod html;
pub mod output;
pub mod plot;
pub mod progress;
pub mod text;
pub mod threshold;
