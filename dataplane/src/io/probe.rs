//! Picks the backend, and says in one line what was picked and why.
//!
//! Input: what was asked for, and what this kernel allows. Output: a [`BackendKind`] and a reason, or a [`Fault`].

use crate::config::BackendChoice;
use crate::io::fault::Fault;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    Uring,
    Mmsg,
    Sim,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendKind::Uring => "uring",
            BackendKind::Mmsg => "mmsg",
            BackendKind::Sim => "sim",
        })
    }
}

/// The backend that works here.
pub fn choose(choice: BackendChoice) -> Result<(BackendKind, String), Fault> {
    match choice {
        BackendChoice::Uring => Err(Fault::UringUnavailable { reason: "it is not built in".into() }),
        BackendChoice::Auto | BackendChoice::Mmsg => Ok((BackendKind::Mmsg, "mmsg: asked for".into())),
    }
}
