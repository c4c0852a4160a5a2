//! What is measured: a relay that runs already, one started for the run, or a bare loop.
//!
//! Input: a name as given on the command line. Output: calls held there, process ids, and the relay's own figures where it
//! publishes them. Owns the process it started, which ends with it.
//!
//! ```text
//!   self, crosspoint         the program beside this one          ng:udp:127.0.0.1:2223   one that runs already
//!   rtpengine                from the path                        bare:uring, bare:mmsg   the controls
//!   /usr/local/bin/rtpengine a program by its path        NAME=any of these     called so in the report
//! ```

pub mod metrics;
pub mod ng;
mod spawn;

use crate::bare::Loop;
use crate::host::process;
use crate::load::calls::{self, Leg};
use crate::load::plan::Plan;
use anyhow::{Context, bail};
use metrics::Metrics;
use ng::Client;
use spawn::Process;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// A request that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(5);

const START_MAX: Duration = Duration::from_secs(10);

/// How targets are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Core that all threads of a started relay run on.
    pub core: Option<usize>,
    /// Their priority (nice(2)), on a machine that is shared.
    pub nice: i32,
    /// UDP ports that a started relay may use for media, both ends included.
    pub ports: (u16, u16),
    /// Further arguments of a started relay.
    pub arguments: Vec<String>,
    /// Whether a relay on another machine may be addressed.
    pub allow_remote: bool,
}

pub struct Target {
    pub name: String,
    kind: Kind,
    process: Option<Process>,
    options: Options,
    held_calls: usize,
}

enum Kind {
    Ng(SocketAddr),
    /// Started when its number of parties is known.
    Bare(Loop),
}

impl Target {
    /// `spawn`: what to start behind an `ng:udp:` address.
    pub fn open(given: &str, spawn: Option<&str>, options: &Options) -> anyhow::Result<Target> {
        let (alias, name) = named(given);
        let mut target = Target::open_by(name, spawn, options)?;
        target.name = alias.to_owned();
        Ok(target)
    }

    fn open_by(name: &str, spawn: Option<&str>, options: &Options) -> anyhow::Result<Target> {
        let bare = [Loop::Uring, Loop::Mmsg].into_iter().find(|one| one.to_string() == name);
        if let Some(kind) = bare {
            return Ok(Target::new(name, Kind::Bare(kind), None, options));
        }
        let Some(address) = name.strip_prefix("ng:udp:") else {
            let (addr, process) = spawn::start(spawn.unwrap_or(name), None, options)?;
            let mut target = Target::new(name, Kind::Ng(addr), Some(process), options);
            target.await_pong()?;
            return Ok(target);
        };
        let addr: SocketAddr = address.parse().with_context(|| format!("{name}: expected ng:udp:ADDRESS:PORT"))?;
        refuse_remote(addr, options)?;
        let process =
            spawn.map(|program| spawn::start(program, Some(addr), options)).transpose()?.map(|(_, process)| process);
        let mut target = Target::new(name, Kind::Ng(addr), process, options);
        target.await_pong()?;
        Ok(target)
    }

    fn new(name: &str, kind: Kind, process: Option<Process>, options: &Options) -> Target {
        Target { name: name.into(), kind, process, options: options.clone(), held_calls: 0 }
    }

    pub fn is_bare(&self) -> bool {
        matches!(self.kind, Kind::Bare(_))
    }

    /// Where it speaks ng.
    pub fn ng_addr(&self) -> anyhow::Result<SocketAddr> {
        match self.kind {
            Kind::Ng(addr) => Ok(addr),
            Kind::Bare(kind) => bail!("{kind} is a loop without calls: it can be loaded by `relay` and `compare` only"),
        }
    }

    /// Where it takes WebRTC signaling, if we started it so.
    pub fn http(&self) -> Option<SocketAddr> {
        self.process.as_ref().and_then(|process| process.http)
    }

    /// Processes of the relay: those we started, or the one behind the socket if it runs here.
    pub fn process_ids(&self) -> Vec<u32> {
        let of_ours = self.process.as_ref().map(|process| process.child.id());
        let behind = || match self.kind {
            Kind::Ng(addr) => process::of_udp_listener(addr),
            Kind::Bare(_) => None,
        };
        of_ours.or_else(behind).map(process::family).unwrap_or_default()
    }

    /// What the relay counts of itself, where it says so.
    pub fn metrics(&self) -> Option<Metrics> {
        Metrics::read(self.http()?)
    }

    /// Calls of the plan, with parties that hear on `port`.
    pub fn hold_calls(
        &mut self,
        plan: &Plan,
        port: u16,
        each: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Leg>> {
        match self.kind {
            Kind::Ng(addr) => {
                let mut client = Client::connect(addr, PATIENCE)?;
                self.held_calls = plan.calls;
                calls::establish(&mut client, plan, port, each).with_context(|| self.name.clone())
            }
            Kind::Bare(kind) => {
                let (process, ports) = spawn::start_bare(kind, 2 * plan.calls, port, &self.options)?;
                self.process = Some(process);
                let leg = |port| Leg { relay: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), keys: None };
                Ok(ports.into_iter().map(leg).collect())
            }
        }
    }

    pub fn release_calls(&mut self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Ng(addr) => calls::release(&mut Client::connect(addr, PATIENCE)?, self.held_calls),
            Kind::Bare(_) => self.process = None,
        }
        self.held_calls = 0;
        Ok(())
    }

    /// The status with which the relay ended, if it did.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.as_mut()?.child.try_wait().ok().flatten()
    }

    fn await_pong(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let addr = self.ng_addr()?;
        let mut client = Client::connect(addr, Duration::from_millis(50))?;
        while begun.elapsed() < START_MAX {
            if client.ping().is_ok() {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                bail!("{} ended with {status} at its start; {}", self.name, self.last_words());
            }
            crate::interrupt::check()?;
        }
        bail!(
            "{} does not answer `ping` at {addr} within {START_MAX:?}; is it a relay that speaks ng? {}",
            self.name,
            self.last_words()
        )
    }

    fn last_words(&self) -> String {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }
}

impl Drop for Target {
    /// Calls of ours do not stay behind at a relay that goes on.
    fn drop(&mut self) {
        if self.process.is_none() && self.held_calls > 0 {
            let _ = self.release_calls();
        }
    }
}

/// `NAME=TARGET`, or a target that is called by its file name.
pub fn named(given: &str) -> (&str, &str) {
    match given.split_once('=') {
        Some((alias, name)) if !alias.is_empty() && !alias.contains(['/', ':', ' ']) => (alias, name),
        _ if given.starts_with("ng:") => (given, given),
        _ => (given.rsplit('/').next().unwrap_or(given), given),
    }
}

/// Load on a machine that did not ask for it is an attack.
fn refuse_remote(addr: SocketAddr, options: &Options) -> anyhow::Result<()> {
    if addr.ip().is_loopback() || options.allow_remote {
        return Ok(());
    }
    bail!(
        "{addr} is not on this machine. A benchmark sent to somebody else's relay is an attack; if it is yours, say --allow-remote"
    )
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_target_is_called_by_its_alias_or_its_file_name() {
        assert_eq!(named("old=/tmp/a/crosspoint"), ("old", "/tmp/a/crosspoint"));
        assert_eq!(named("/usr/bin/rtpengine"), ("rtpengine", "/usr/bin/rtpengine"));
        assert_eq!(named("ng:udp:127.0.0.1:2223"), ("ng:udp:127.0.0.1:2223", "ng:udp:127.0.0.1:2223"));
    }
}
