//! Which ports of which address are whose: one Crosspoint tells another of its range, so that two do not take each other's
//! media.
//!
//! ```text
//!   crosspoint/rtp/ADDRESS/MIN-MAX/PID      a socket in the abstract namespace (unix(7)), which /proc/net/unix lists
//! ```
//!
//! Input: the relay's settings, and `/proc/net/unix`. Output: the claim, held until the process ends, and a warning for each
//! other that overlaps. The namespace is that of the network, as the ports are. Other programs are not known here: a steered
//! port is no socket, so the kernel would give it to them (`ip_local_reserved_ports` keeps its own choice out).

use crate::shell::settings::Settings;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const PREFIX: &str = "crosspoint/rtp/";

/// Ports of one address, and who has them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    address: IpAddr,
    ports: RangeInclusive<u16>,
    process: u32,
}

impl Range {
    fn name(&self) -> String {
        format!("{PREFIX}{}/{}-{}/{}", self.address, self.ports.start(), self.ports.end(), self.process)
    }

    fn read(name: &str) -> Option<Range> {
        let (address, rest) = name.strip_prefix(PREFIX)?.split_once('/')?;
        let (ports, process) = rest.split_once('/')?;
        let (min, max) = ports.split_once('-')?;
        let ports = min.parse().ok()?..=max.parse().ok()?;
        Some(Range { address: address.parse().ok()?, ports, process: process.parse().ok()? })
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.address == other.address
            && self.ports.start() <= other.ports.end()
            && other.ports.start() <= self.ports.end()
    }
}

/// Our ranges, for as long as it lives.
#[derive(Debug, Default)]
#[must_use]
pub struct Claim(#[expect(dead_code, reason = "held for its drop")] Vec<UnixDatagram>);

/// Claims what the relay uses, and warns of others who use it too.
pub fn claim(settings: &Settings) -> Claim {
    let process = std::process::id();
    let ports = settings.ng_port_min..=settings.ng_port_max;
    let addresses = settings.relay_interfaces().0.into_iter().map(|interface| interface.addr);
    let ours: Vec<Range> = addresses.map(|address| Range { address, ports: ports.clone(), process }).collect();
    // First our own, then a look at the others: of two that start together at least one sees the other.
    let held = ours.iter().filter_map(|range| {
        let name = SocketAddr::from_abstract_name(range.name()).ok()?;
        UnixDatagram::bind_addr(&name).ok()
    });
    let claim = Claim(held.collect());
    let others = others(&std::fs::read_to_string("/proc/net/unix").unwrap_or_default(), process);
    for (range, other) in ours.iter().flat_map(|range| others.iter().map(move |other| (range, other))) {
        if range.overlaps(other) {
            tracing::error!(
                kind = "ports_shared",
                process_id = other.process,
                "process {} relays on ports {}-{} of {} too: calls will take each other's media; give one of them another range or address",
                other.process,
                other.ports.start(),
                other.ports.end(),
                other.address,
            );
        }
    }
    claim
}

/// Claims in the kernel's table of Unix sockets, whose last column is the name, an abstract one after `@`.
fn others(table: &str, process: u32) -> Vec<Range> {
    let names = table.lines().filter_map(|line| line.rsplit_once(" @").map(|(_, name)| name));
    names.filter_map(Range::read).filter(|range| range.process != process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_of_another_process_is_found_in_the_kernels_table_and_overlaps_only_on_its_address_and_ports() {
        let holder = Range { address: [127, 0, 0, 77].into(), ports: 30000..=30999, process: 0 };
        let name = SocketAddr::from_abstract_name(holder.name()).expect("a name");
        let _held = UnixDatagram::bind_addr(&name).expect("bound");
        let table = std::fs::read_to_string("/proc/net/unix").expect("the table");
        assert!(others(&table, 1).contains(&holder));
        assert!(!others(&table, 0).contains(&holder), "our own");
        let range = |last, ports| Range { address: [127, 0, 0, last].into(), ports, process: 1 };
        assert!(range(77, 30999..=31999).overlaps(&holder));
        assert!(!range(77, 31000..=31999).overlaps(&holder));
        assert!(!range(78, 30000..=30999).overlaps(&holder));
    }
}
