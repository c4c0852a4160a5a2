//! The subcommands: each reads its arguments, measures, and gives a document.

pub mod compare;
pub mod crypto;
pub mod hold;
pub mod load_args;
pub mod relay;
pub mod setup;
pub mod soak;
