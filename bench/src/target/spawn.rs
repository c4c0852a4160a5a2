//! Starts relays for a run, on loopback, all their threads on the core that was asked for; and ends them.
//!
//! Input: a program or a command. Output: where it takes ng, and its process. Owns the process and its data directory.

use super::Options;
use crate::bare::Loop;
use crate::host::affinity;
use anyhow::{Context, bail};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const END_MAX: Duration = Duration::from_secs(5);

/// Of a relay's log, shown when it does not start.
const LAST_WORDS_BYTES: u64 = 600;

pub struct Process {
    pub child: Child,
    /// Ours serves metrics and signaling there.
    pub http: Option<SocketAddr>,
    log: Option<std::fs::File>,
    _data_dir: Option<tempfile::TempDir>,
}

impl Process {
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        if let Some(mut log) = self.log.as_ref() {
            let length = log.metadata().map_or(0, |log| log.len());
            let _ = log.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)));
            let _ = log.read_to_string(&mut words);
        }
        if words.is_empty() { "it said nothing".into() } else { format!("its last words:\n{words}") }
    }
}

impl Drop for Process {
    /// Asks it to end, then ends it.
    fn drop(&mut self) {
        let process_id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(process_id, rustix::process::Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < END_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `program`: `self`, `crosspoint`, `rtpengine`, a path to either, or a command with `{ng}`, `{port-min}` and
/// `{port-max}` in it.
pub fn start(program: &str, addr: Option<SocketAddr>, options: &Options) -> anyhow::Result<(SocketAddr, Process)> {
    let addr = addr.map_or_else(free_udp_addr, Ok)?;
    let data_dir = tempfile::tempdir()?;
    let mut http = None;
    let mut command = if program.contains("{ng}") {
        in_a_shell(program, addr, options)
    } else {
        let path = path_of(program)?;
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with("crosspoint")) {
            http = Some(free_tcp_addr()?);
            crosspoint(&path, addr, http, data_dir.path(), options)
        } else {
            rtpengine(&path, addr, options)
        }
    };
    command.args(&options.arguments);
    let log = tempfile::tempfile()?;
    // A group of its own: Ctrl-C is for us, and we end it.
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).process_group(0);
    let child = affinity::pinned(options.core, options.nice, || {
        command.spawn().with_context(|| {
            format!(
                "cannot start `{program}`; Debian has rtpengine as `rtpengine-daemon`, ours is built by \
                     `cargo build --release -p crosspoint-control`"
            )
        })
    })?;
    Ok((addr, Process { child, http, log: Some(log), _data_dir: Some(data_dir) }))
}

fn in_a_shell(template: &str, addr: SocketAddr, options: &Options) -> Command {
    let line = template
        .replace("{ng}", &addr.to_string())
        .replace("{port-min}", &options.ports.0.to_string())
        .replace("{port-max}", &options.ports.1.to_string());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec {line}"));
    command
}

fn rtpengine(path: &Path, addr: SocketAddr, options: &Options) -> Command {
    let mut command = Command::new(path);
    command
        .args(["--config-file=none", "--table=-1", "--interface=127.0.0.1", "--foreground", "--log-stderr"])
        .args(["--log-level=4".to_owned(), "--num-threads=1".to_owned(), format!("--listen-ng={addr}")])
        .args([format!("--port-min={}", options.ports.0), format!("--port-max={}", options.ports.1)]);
    command
}

/// As a server of its own: that serves metrics and signaling, which `crosspoint rtpengine` does not.
fn crosspoint(path: &Path, addr: SocketAddr, http: Option<SocketAddr>, data_dir: &Path, options: &Options) -> Command {
    let mut command = Command::new(path);
    let cores = options.core.map_or("none".to_owned(), |core| core.to_string());
    let http = http.map(|http| http.to_string()).unwrap_or_default();
    command
        .arg(format!("--data-dir={}", data_dir.display()))
        .args([format!("--signal-listen={http}"), "--signal-tls-listen=off".into(), format!("--ng-listen={addr}")])
        .args([format!("--ng-port-min={}", options.ports.0), format!("--ng-port-max={}", options.ports.1)])
        .args([format!("--media-cores={cores}"), "--media-workers=1".into(), "--media-port-base=0".into()])
        .args(["--media-legs-max=20000", "--log-level=warn"]);
    command
}

/// Starts a control, and reads from it where each party's packets are taken.
pub fn start_bare(
    kind: Loop,
    parties: usize,
    party_port: u16,
    options: &Options,
) -> anyhow::Result<(Process, Vec<u16>)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare").args(["--loop", if kind == Loop::Uring { "uring" } else { "mmsg" }]);
    command.args([format!("--parties={parties}"), format!("--party-port={party_port}")]);
    command.args(options.core.map(|core| format!("--core={core}"))).arg(format!("--nice={}", options.nice));
    let log = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?).process_group(0);
    let mut process = Process { child: command.spawn()?, http: None, log: Some(log), _data_dir: None };
    let mut line = String::new();
    if let Some(output) = process.child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
    if ports.len() != parties {
        bail!("the control {kind} did not start; {}", process.last_words());
    }
    Ok((process, ports))
}

fn free_udp_addr() -> std::io::Result<SocketAddr> {
    UdpSocket::bind("127.0.0.1:0")?.local_addr()
}

fn free_tcp_addr() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn path_of(name: &str) -> anyhow::Result<PathBuf> {
    if name != "crosspoint" && name != "self" {
        return Ok(PathBuf::from(name));
    }
    let beside = std::env::current_exe()?.parent().map(|dir| dir.join("crosspoint"));
    match beside.filter(|path| Path::exists(path)) {
        Some(path) => Ok(path),
        None => {
            bail!("there is no `crosspoint` beside this program; build it: cargo build --release -p crosspoint-control")
        }
    }
}
