//! What may go wrong in the surroundings of the dataplane; it climbs to `main` and ends the process.
//!
//! Each message names the likely cause and what to do next. Peers' faults are not here: those are counted or told to
//! control as events.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Fault {
    #[error("setting `{name}` {why}")]
    Setting { name: &'static str, why: String },

    #[error("cannot make the contract socket {path}: {source}; its directory must exist and be ours to write in")]
    Socket { path: PathBuf, source: io::Error },

    #[error("another dataplane already listens on {path}; attach to it, or end it first")]
    SocketInUse { path: PathBuf },

    #[error(transparent)]
    Io(#[from] crate::io::Fault),

    #[error("cannot start the {thread} thread: {source}; see `ulimit -u`")]
    Thread { thread: String, source: io::Error },

    #[error("cannot make a DTLS certificate: {0}")]
    Identity(String),

    #[error("the system call {call} failed: {source}; this is not expected on Linux 6.1 or newer, see `uname -r`")]
    System { call: &'static str, source: io::Error },

    #[error("the {thread} thread ended by a bug of ours; its panic message is above")]
    ThreadLost { thread: String },
}
