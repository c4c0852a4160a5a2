//! The background: where rtpengine goes unless told to stay.
//!
//! Our own program is started again with `--foreground`, in a process group of its own, and this one ends when that one
//! is ready. Its log stays on standard error: under systemd use `--foreground`, which keeps it in the journal.

use crate::shell::Fault;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Starts the same command line in the foreground of nobody, and waits for its first line, which says that it is ready.
pub fn respawn() -> Result<(), Fault> {
    let failed = |why: String| Fault::Command(format!("cannot go to the background: {why}; try --foreground"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--foreground")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut line = String::new();
    let said = child.stdout.take().map(|output| BufReader::new(output).read_line(&mut line));
    match said {
        Some(Ok(bytes)) if bytes > 0 => Ok(()),
        _ => Err(failed(child.wait().map_or_else(|error| error.to_string(), |status| status.to_string()))),
    }
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
