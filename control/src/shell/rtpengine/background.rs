//! The background: where rtpengine goes unless told to stay.
//!
//! ```text
//!   first process ── starts ──▶ second: own session, log to syslog ──▶ serves
//!        │◀─── its standard output: the banner, or why it ends ───┘
//!        └─▶ status 0, or that reason and status 1
//! ```
//!
//! Our own program is started again with `--in-background`; the first one ends when that one is ready. Nothing of the
//! caller's is kept: a script that reads our output goes on. Under systemd use `--foreground`, which keeps the journal.

use crate::shell::Fault;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

/// Given to the second process by the first.
pub const IN_BACKGROUND: &str = "in-background";

/// syslog(3)'s socket.
const SYSLOG: &str = "/dev/log";

/// Starts the same command line in the foreground of nobody, and waits until it says that it is ready.
pub fn respawn() -> Result<(), Fault> {
    let failed = |error: io::Error| Fault::Command(format!("cannot go to the background: {error}; try --foreground"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).arg(format!("--{IN_BACKGROUND}"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    match child.stdout.take().map(verdict) {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) if !why.is_empty() => Err(Fault::Command(why)),
        _ => Err(failed(io::Error::other(child.wait().map_err(failed)?.to_string()))),
    }
}

/// What the second process says: the banner's first line, or why it ends.
fn verdict(output: ChildStdout) -> Result<(), String> {
    let (mut output, mut said) = (BufReader::new(output), String::new());
    // What cannot be read was not said.
    let _ = output.read_line(&mut said);
    if said.starts_with("crosspoint ") {
        return Ok(());
    }
    let _ = output.read_to_string(&mut said);
    Err(said.trim_end().to_owned())
}

/// To the first process, which is listening until the banner.
pub fn tell(fault: &Fault) {
    let _ = io::stdout().write_all(format!("{fault}\n").as_bytes());
}

/// Leaves the caller's session and its terminal, and its standard error unless that was asked to stay.
pub fn leave_terminal(keeps_stderr: bool) -> Result<(), Fault> {
    let failed = |error: io::Error| Fault::Command(format!("cannot leave the terminal: {error}; try --foreground"));
    rustix::process::setsid().map_err(|error| failed(error.into()))?;
    if keeps_stderr {
        return Ok(());
    }
    let log = syslog().or_else(|error| {
        super::say(&format!("no syslog ({SYSLOG}: {error}), so nothing is logged; --log-stderr keeps the log here"));
        OpenOptions::new().write(true).open("/dev/null").map(OwnedFd::from)
    });
    rustix::stdio::dup2_stderr(log.map_err(failed)?).map_err(|error| failed(error.into()))
}

fn syslog() -> io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSLOG)?;
    Ok(socket.into())
}

/// A file with our process id, removed at the end.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    pub fn write(path: &Path) -> Result<PidFile, Fault> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| Fault::Command(format!("cannot write --pidfile={}: {error}", path.display())))?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
