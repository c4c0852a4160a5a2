//! From packets to figures: one trial at one rate, and what is made of many.

pub mod idle;
pub mod rig;
pub mod search;
pub mod trial;
pub mod validity;
