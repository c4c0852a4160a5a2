//! What a dataplane process is told when it starts.
//!
//! Input: command line or configuration of whoever starts the process. Output: values that `run` reads once.
//! Owns the defaults and their reasons. Does not parse files or arguments.

use crate::fault::Fault;
use crosspoint_contract::limits::{LEGS_PER_WORKER_MAX, RTP_ADDRS_MAX, WORKERS_MAX};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Everything that may be set. `..DataplaneConfig::default()` fills what a caller has no opinion about.
#[derive(Clone, Debug, PartialEq)]
pub struct DataplaneConfig {
    /// Where the contract's Unix socket is made; its directory exists.
    pub socket: PathBuf,
    /// The address that workers receive on.
    pub listen: IpAddr,
    /// The address that peers are told, when it is not `listen` (1:1 NAT).
    pub advertised: Option<IpAddr>,
    /// Worker `n` receives on UDP port `port_base + n`. 0 lets the kernel choose each port.
    pub port_base: u16,
    /// 0 means one for each core that this process may run on.
    pub workers: u16,
    pub cores: CorePlan,
    pub backend: BackendChoice,
    /// Addresses on which RTP legs may be opened; without any nothing is set up for them.
    pub rtp_addrs: Vec<IpAddr>,
    pub ports: PortsChoice,
    pub srtp: SrtpChoice,
    /// Legs that all workers together may hold, shared out evenly.
    pub legs_max: u32,
    /// How long legs live without a control plane.
    pub grace: Duration,
    /// A connected leg without authentic media for this long is reported silent.
    pub silence_ms: u32,
    /// How often a connected leg is reported.
    pub report_interval: Duration,
    /// Started by a control plane in the same terminal: SIGINT is left to that one.
    pub child: bool,
}

impl Default for DataplaneConfig {
    fn default() -> Self {
        DataplaneConfig {
            socket: PathBuf::from("dataplane.sock"),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertised: None,
            port_base: 20_000,
            workers: 0,
            cores: CorePlan::None,
            backend: BackendChoice::Auto,
            rtp_addrs: Vec::new(),
            ports: PortsChoice::Auto,
            srtp: SrtpChoice::Auto,
            legs_max: 20_000,
            grace: Duration::from_secs(3600),
            silence_ms: 10_000,
            report_interval: Duration::from_secs(5),
            child: false,
        }
    }
}

impl DataplaneConfig {
    /// The number of workers, with "one per core" worked out.
    pub fn workers_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX),
            n => usize::from(n),
        }
    }

    /// Legs that one worker has room for.
    pub fn legs_per_worker(&self) -> usize {
        (self.legs_max as usize).div_ceil(self.workers_count()).max(2)
    }

    /// Refuses values that cannot work, before anything is opened.
    pub fn check(&self) -> Result<(), Fault> {
        let workers = self.workers_count();
        if workers > WORKERS_MAX {
            return Err(Fault::Setting {
                name: "workers",
                why: format!("is {workers}, the most is {WORKERS_MAX}; start fewer, or a second dataplane"),
            });
        }
        if self.legs_per_worker() > LEGS_PER_WORKER_MAX {
            return Err(Fault::Setting {
                name: "legs-max",
                why: format!("gives a worker more than {LEGS_PER_WORKER_MAX} legs; lower it or add workers"),
            });
        }
        // `sun_path` of `sockaddr_un` has 108 bytes and ends with a zero (unix(7)).
        let socket_bytes = self.socket.as_os_str().len();
        if socket_bytes > SOCKET_PATH_BYTES_MAX {
            return Err(Fault::Setting {
                name: "socket",
                why: format!("has {socket_bytes} bytes, the most is {SOCKET_PATH_BYTES_MAX}; choose a shorter path"),
            });
        }
        if self.port_base != 0 && usize::from(self.port_base) + workers > 65_536 {
            return Err(Fault::Setting {
                name: "port-base",
                why: format!("leaves no ports for {workers} workers; choose one below {}", 65_536 - workers),
            });
        }
        self.check_rtp_addrs()
    }

    fn check_rtp_addrs(&self) -> Result<(), Fault> {
        let fault = |why| Err(Fault::Setting { name: "rtp-addr", why });
        let addrs = &self.rtp_addrs;
        if addrs.len() > RTP_ADDRS_MAX {
            return fault(format!("is given {} times, the most is {RTP_ADDRS_MAX}", addrs.len()));
        }
        for (n, addr) in addrs.iter().enumerate() {
            // Packets leave from the address they came to, so each has to be one.
            if addr.is_unspecified() || addr.is_multicast() {
                return fault(format!("is {addr}; name the addresses themselves, `ip -brief address` shows them"));
            }
            if matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some()) {
                return fault(format!("is {addr}; give a routed IPv6 address, or IPv4 as such"));
            }
            if addrs[..n].contains(addr) {
                return fault(format!("is {addr} twice"));
            }
        }
        Ok(())
    }
}

/// Which core each worker is pinned to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CorePlan {
    /// The scheduler decides. For development, and wherever something else shares the cores.
    #[default]
    None,
    /// Worker `n` gets the `n`th core this process may run on; core 0 last, because the kernel likes it.
    Auto,
    /// Worker `n` gets the `n`th of these.
    List(Vec<u16>),
}

impl FromStr for CorePlan {
    type Err = ParseChoiceError;

    /// `none`, `auto`, or core numbers and ranges such as `2-5,8`.
    fn from_str(text: &str) -> Result<Self, ParseChoiceError> {
        match text {
            "none" => Ok(CorePlan::None),
            "auto" => Ok(CorePlan::Auto),
            list => parse_core_list(list)
                .map(CorePlan::List)
                .ok_or(ParseChoiceError { expected: "`none`, `auto`, or cores such as `2-5,8`" }),
        }
    }
}

fn parse_core_list(text: &str) -> Option<Vec<u16>> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        if first > last || usize::from(last - first) >= WORKERS_MAX {
            return None;
        }
        cores.extend(first..=last);
    }
    Some(cores)
}

impl fmt::Display for CorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CorePlan::None => f.write_str("none"),
            CorePlan::Auto => f.write_str("auto"),
            CorePlan::List(cores) => {
                let cores: Vec<_> = cores.iter().map(u16::to_string).collect();
                f.write_str(&cores.join(","))
            }
        }
    }
}

/// How workers exchange packets with the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// io_uring where the kernel allows it, otherwise `recvmmsg`.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// `recvmmsg` and `sendmmsg`.
    Mmsg,
}

impl FromStr for BackendChoice {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, ParseChoiceError> {
        match text {
            "auto" => Ok(BackendChoice::Auto),
            "uring" => Ok(BackendChoice::Uring),
            "mmsg" => Ok(BackendChoice::Mmsg),
            _ => Err(ParseChoiceError { expected: "`auto`, `uring` or `mmsg`" }),
        }
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendChoice::Auto => "auto",
            BackendChoice::Uring => "uring",
            BackendChoice::Mmsg => "mmsg",
        })
    }
}

/// What a UDP port of an RTP leg is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortsChoice {
    /// A table entry where kernel and capabilities allow it, otherwise a socket.
    #[default]
    Auto,
    /// An entry of the table that steers ports to one socket a worker, or nothing.
    Steered,
    /// A socket for each port.
    Sockets,
}

impl FromStr for PortsChoice {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, ParseChoiceError> {
        match text {
            "auto" => Ok(PortsChoice::Auto),
            "steered" => Ok(PortsChoice::Steered),
            "sockets" => Ok(PortsChoice::Sockets),
            _ => Err(ParseChoiceError { expected: "`auto`, `steered` or `sockets`" }),
        }
    }
}

impl fmt::Display for PortsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortsChoice::Auto => "auto",
            PortsChoice::Steered => "steered",
            PortsChoice::Sockets => "sockets",
        })
    }
}

/// What computes SRTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SrtpChoice {
    /// The processor's wide vectors where it has them, otherwise the libraries.
    #[default]
    Auto,
    /// The libraries: the twin to measure against.
    Portable,
}

impl FromStr for SrtpChoice {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, ParseChoiceError> {
        match text {
            "auto" => Ok(SrtpChoice::Auto),
            "portable" => Ok(SrtpChoice::Portable),
            _ => Err(ParseChoiceError { expected: "`auto` or `portable`" }),
        }
    }
}

/// A word that is none of the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ParseChoiceError {
    expected: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_take_numbers_and_ranges() {
        assert_eq!("2-4,8".parse(), Ok(CorePlan::List(vec![2, 3, 4, 8])));
        assert_eq!("auto".parse(), Ok(CorePlan::Auto));
        for wrong in ["", "4-2", "a", "1,,2", "0-65535"] {
            assert!(wrong.parse::<CorePlan>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_anything_is_opened() {
        let ports = DataplaneConfig { port_base: 65_535, workers: 2, ..DataplaneConfig::default() };
        assert!(matches!(ports.check(), Err(Fault::Setting { name: "port-base", .. })));
        let legs = DataplaneConfig { legs_max: u32::MAX, workers: 1, ..DataplaneConfig::default() };
        assert!(matches!(legs.check(), Err(Fault::Setting { name: "legs-max", .. })));
        for addrs in [&["0.0.0.0"][..], &["ff02::1"], &["fe80::1"], &["::ffff:192.0.2.1"], &["::1", "::1"]] {
            let rtp_addrs = addrs.iter().map(|addr| addr.parse().expect("an address")).collect();
            let config = DataplaneConfig { rtp_addrs, ..DataplaneConfig::default() };
            assert!(matches!(config.check(), Err(Fault::Setting { name: "rtp-addr", .. })), "{addrs:?}");
        }
        let socket = DataplaneConfig { socket: "d".repeat(108).into(), ..DataplaneConfig::default() };
        assert!(matches!(socket.check(), Err(Fault::Setting { name: "socket", .. })));
    }
}
