//! What is measured: a relay that runs already, or one started for the run on loopback.

use crate::ng::Client;
use anyhow::{Context, bail};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(10);
const END_MAX: Duration = Duration::from_secs(5);

/// A relay, and the process behind it if we started it.
pub struct Target {
    pub name: String,
    pub addr: SocketAddr,
    process: Option<Process>,
}

struct Process {
    child: Child,
    data_dir: tempfile::TempDir,
}

impl Target {
    /// `ng:udp:HOST:PORT`, `rtpengine`, `crosspoint`, or a path to either program. `ports` is what it may relay on.
    pub fn open(name: &str, ports: (u16, u16)) -> anyhow::Result<Target> {
        if let Some(addr) = name.strip_prefix("ng:udp:") {
            let addr = addr.parse().with_context(|| format!("{name}: expected ng:udp:ADDRESS:PORT"))?;
            return Ok(Target { name: name.into(), addr, process: None });
        }
        let mut target = start(name, ports)?;
        target.await_pong()?;
        Ok(target)
    }

    /// Process ids of the relay, where it is ours.
    pub fn process_ids(&self) -> Vec<u32> {
        self.process.iter().flat_map(|process| crate::proc::family(process.child.id())).collect()
    }

    fn await_pong(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut client = Client::connect(self.addr, Duration::from_millis(50))?;
        while begun.elapsed() < START_MAX {
            if client.ping().is_ok() {
                return Ok(());
            }
            let status = self.process.as_mut().and_then(|process| process.child.try_wait().ok().flatten());
            if let Some(status) = status {
                bail!("{} ended with {status} at its start", self.name);
            }
        }
        bail!("{} does not answer `ping` at {}", self.name, self.addr)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&process.child),
            rustix::process::Signal::TERM,
        );
        let begun = Instant::now();
        while begun.elapsed() < END_MAX {
            if !matches!(process.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::yield_now();
        }
        let _ = process.child.kill();
        let _ = process.child.wait();
        let _ = process.data_dir.path();
    }
}

fn start(name: &str, ports: (u16, u16)) -> anyhow::Result<Target> {
    let program = program(name)?;
    let is_ours = program.file_name().is_some_and(|file| file.to_string_lossy().starts_with("crosspoint"));
    let addr = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let data_dir = tempfile::tempdir()?;
    let mut command = Command::new(&program);
    if is_ours {
        command.arg("rtpengine").arg(format!("--data-dir={}", data_dir.path().display()));
    } else {
        command.arg("--table=-1");
    }
    command
        .args(["--config-file=none", "--interface=127.0.0.1", "--foreground", "--log-stderr", "--log-level=4"])
        .args(["--num-threads=1".to_owned(), format!("--listen-ng={addr}")])
        .args([format!("--port-min={}", ports.0), format!("--port-max={}", ports.1)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    Ok(Target { name: name.into(), addr, process: Some(Process { child, data_dir }) })
}

/// `crosspoint` is the program beside this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    if name != "crosspoint" {
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
