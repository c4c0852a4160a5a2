//! Options that `relay`, `compare` and `soak` share: what is offered, for how long, on which cores.

use crate::host::affinity;
use crate::load::address::PARTIES_MAX;
use crate::load::plan::{Impair, PAYLOAD_BYTES_MAX, Plan, RTP_HEADER_BYTES, Security, SrtpLegs, SuiteName};
use crate::measure::rig::Settings;
use crate::measure::validity::Bounds;
use anyhow::bail;
use clap::Args;
use crosspoint_wire::srtp::Suite;
use std::str::FromStr;

/// Ports of media that started relays get, below those that the kernel gives to anybody.
const PORTS: &str = "10000-32767";

/// RTP and RTCP on two sides.
const PORTS_PER_CALL: usize = 4;

#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Calls held at once; each has two flows, one a direction.
    #[arg(long, default_value_t = 500)]
    pub calls: usize,
    /// Packets a second of all flows together, instead of --ptime.
    #[arg(long, conflicts_with = "ptime_ms")]
    pub rate: Option<f64>,
    /// Milliseconds between two packets of a flow.
    #[arg(long = "ptime", default_value_t = 20.0, value_name = "MS")]
    pub ptime_ms: f64,
    /// Bytes behind the RTP header: 160 is 20 ms of G.711, the 172-byte packet.
    #[arg(long, default_value_t = 160, value_name = "BYTES")]
    pub payload: usize,
    /// Legs with SRTP, keyed by SDES.
    #[arg(long, value_enum, default_value = "none")]
    pub srtp: SrtpLegs,
    /// Suite of SRTP legs by its name in SDP; a second one, after a comma, is the callee's.
    #[arg(long, default_value = "AES_CM_128_HMAC_SHA1_80", value_delimiter = ',', num_args = 1..=2)]
    pub suite: Vec<SuiteName>,
    /// Only callers speak.
    #[arg(long)]
    pub one_way: bool,
    /// Measured seconds.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub duration: f64,
    /// Seconds of load before, not measured. rtpengine learns addresses for three.
    #[arg(long, default_value_t = 4.0, value_name = "SECONDS")]
    pub warmup: f64,
    /// Cores of the relay and of the generator. The default is the last two that this process may use.
    #[arg(long, value_name = "relay=N,load=M")]
    pub cores: Option<Cores>,
    /// Priority of relay and generator alike, -20 to 19: for machines that others use too.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub nice: i32,
    /// What the generator does to its own packets: loss=P,reorder=P,duplicate=P, each a probability.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "WHAT=P,…")]
    pub impair: Impair,
    /// Decides phases of flows, keys and impairments.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Media ports that started relays may use, all together.
    #[arg(long, default_value = PORTS, value_name = "FROM-TO")]
    pub ports: PortRange,
    /// A further argument for a relay that is started (repeatable).
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub relay_arg: Vec<String>,
    /// Memory for SRTP packets that are sealed before the run.
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub prepare_mib_max: u64,
    /// A run is invalid when the 99th percentile of packets leaves later than this.
    #[arg(long, default_value_t = 2000, value_name = "µs")]
    pub late_us_max: u64,
    /// Busy-wait before each packet: what a generator that is too slow looks like.
    #[arg(long, default_value_t = 0, hide = true)]
    pub throttle_ns: u64,
}

impl LoadArgs {
    pub fn plan(&self) -> anyhow::Result<Plan> {
        if self.calls == 0 || 2 * self.calls > PARTIES_MAX {
            bail!("--calls {}: between 1 and {}", self.calls, PARTIES_MAX / 2);
        }
        if self.payload > PAYLOAD_BYTES_MAX {
            bail!("--payload {}: at most {PAYLOAD_BYTES_MAX} fit into a packet that is not fragmented", self.payload);
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.ptime_ms) || !self.rate.is_none_or(positive) || !positive(self.duration) || self.warmup < 0.0
        {
            bail!("--ptime, --rate and --duration must be above zero, --warmup not below");
        }
        let [first, ..] = self.suite[..] else { bail!("--suite needs a name") };
        let second = self.suite.get(1).copied().unwrap_or(first);
        let legs: [Option<Suite>; 2] = match self.srtp {
            SrtpLegs::None => [None, None],
            SrtpLegs::A => [Some(first.0), None],
            SrtpLegs::Both => [Some(first.0), Some(second.0)],
        };
        Ok(Plan {
            calls: self.calls,
            one_way: self.one_way,
            payload_bytes: self.payload,
            security: Security { legs },
            impair: self.impair,
            seed: self.seed,
        })
    }

    /// Packets a second of all flows of the plan.
    pub fn rate(&self, plan: &Plan) -> f64 {
        self.rate.unwrap_or(plan.flows() as f64 * 1000.0 / self.ptime_ms)
    }

    pub fn settings(&self) -> anyhow::Result<Settings> {
        let cores = self.cores()?;
        Ok(Settings {
            relay_core: cores.map(|cores| cores.relay),
            load_core: cores.map(|cores| cores.load),
            nice: self.nice,
            prepare_bytes_max: self.prepare_mib_max << 20,
            bounds: Bounds { lateness_p99_ns_max: self.late_us_max * 1000 },
            throttle_ns: self.throttle_ns,
        })
    }

    fn cores(&self) -> anyhow::Result<Option<Cores>> {
        let allowed = affinity::allowed();
        let chosen = match (self.cores, &allowed[..]) {
            (Some(cores), _) => cores,
            (None, [.., first, second]) => Cores { relay: *first, load: *second },
            (None, _) => bail!(
                "one core is allowed here: the generator would take it from the relay, and nothing could be measured"
            ),
        };
        for core in [chosen.relay, chosen.load] {
            if !allowed.contains(&core) {
                bail!("--cores: core {core} is not among those this process may use: {allowed:?}");
            }
        }
        if chosen.relay == chosen.load {
            bail!("--cores: relay and generator need a core each, or each measures the other");
        }
        Ok(Some(chosen))
    }

    /// Media ports of one of `targets` relays that run side by side.
    pub fn ports(&self, place: usize, targets: usize) -> anyhow::Result<(u16, u16)> {
        self.ports_for(self.calls, place, targets)
    }

    /// The same for another number of calls.
    pub fn ports_for(&self, calls: usize, place: usize, targets: usize) -> anyhow::Result<(u16, u16)> {
        let each = (usize::from(self.ports.to - self.ports.from) + 1) / targets.max(1);
        let needed = calls * PORTS_PER_CALL;
        if each < needed {
            bail!(
                "{} calls need {needed} media ports at a relay, and --ports {}-{} shared by {targets} relays gives {each}; widen \
                 it, below the ports that the kernel gives to anybody (net.ipv4.ip_local_port_range)",
                calls,
                self.ports.from,
                self.ports.to
            );
        }
        let from = usize::from(self.ports.from) + place * each;
        Ok((from as u16, (from + each - 1) as u16))
    }

    /// The load in words.
    pub fn describe(&self, plan: &Plan) -> String {
        let rate = self.rate(plan);
        let each_ms = plan.flows() as f64 * 1000.0 / rate;
        format!(
            "{} calls, {} flows, {rate:.0} packets/s (one each {each_ms:.1} ms a flow), {} bytes in the clear, {}; {} s after {} s",
            plan.calls,
            plan.flows(),
            RTP_HEADER_BYTES + plan.payload_bytes,
            plan.security,
            self.duration,
            self.warmup
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    pub relay: usize,
    pub load: usize,
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of = |name: &str| {
            let part = text.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            part.and_then(|core| core.parse().ok()).ok_or_else(|| format!("expected relay=N,load=M, found no {name}=N"))
        };
        Ok(Cores { relay: of("relay")?, load: of("load")? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    from: u16,
    to: u16,
}

impl PortRange {
    pub fn ends(self) -> (u16, u16) {
        (self.from, self.to)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |text: &str| text.parse::<u16>().ok();
        let ends = text.split_once('-').and_then(|(from, to)| Some((read(from)?, read(to)?)));
        match ends {
            Some((from, to)) if 1024 <= from && from < to => Ok(PortRange { from, to }),
            _ => Err("expected FROM-TO, from 1024 on".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_ports_are_read_and_nonsense_is_refused() {
        assert_eq!("relay=0,load=1".parse(), Ok(Cores { relay: 0, load: 1 }));
        assert!("relay=0".parse::<Cores>().is_err_and(|error| error.contains("load")));
        assert_eq!("2000-3000".parse(), Ok(PortRange { from: 2000, to: 3000 }));
        assert!("3000-2000".parse::<PortRange>().is_err());
    }
}
