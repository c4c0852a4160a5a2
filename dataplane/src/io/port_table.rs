//! Ports of RTP legs, the worker's half: which are open, what arrived on which, and how to leave from each.
//!
//! Input: [`PortSpec`]s; the address that a datagram was sent to. Output: [`PortId`]s and [`Departure`]s. Owns the table. Makes no
//! system call: the backends do what a port that is a socket needs.
//!
//! A harvested datagram knows the place of its address in the table, not yet the port: ports may be opened and closed
//! between its harvest and the first look at it. Its [`PortId`] is a place until [`PortTable::resolve`] has been called.
//!
//! ```text
//!   by_addr   65,536 ids for each address: 0 is none         (steered only)
//!   entries   by id: what it is bound to                     id 0 is the shared port, which is no entry
//! ```

use crate::batch::{Disposition, PacketBatch};
use crate::io::headers::{HEADERS_BYTES_MAX, Source};
use crate::io::ports::{PORTS_PER_ADDRESS, PortId, PortRefused, PortSpec, WorkerPorts};
use crate::io::remote::{Remote, SOCKADDR_BYTES};
use crosspoint_contract::limits::RTP_ADDRS_MAX;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub by: Exit,
    /// Of our own headers, right in front of the payload.
    pub headers_bytes: usize,
    /// Of the receiver's address.
    pub name_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The socket of this port; the shared one has one, too.
    Socket(PortId),
    /// The raw socket with this index.
    Raw(usize),
}

/// Marks a [`PortId`] that is a place in `by_addr` so far. There are fewer ports, and fewer places.
const PLACE: u32 = 1 << 31;

enum Entry {
    Free,
    Socket(Arc<UdpSocket>),
    Steered { sender: usize, source: Source },
}

pub(crate) struct PortTable {
    entries: Vec<Entry>,
    /// Last in, first out.
    free: Vec<PortId>,
    addrs: Vec<Remote>,
    by_addr: Vec<u32>,
}

impl PortTable {
    pub(crate) fn new(ports: &WorkerPorts) -> PortTable {
        let addrs = ports.steered.as_ref().map_or(&[][..], |steered| &steered.addrs);
        PortTable {
            entries: (0..=ports.ports_max).map(|_| Entry::Free).collect(),
            free: (1..=ports.ports_max as u32).rev().map(PortId).collect(),
            addrs: addrs.iter().map(|ip| Remote::from(SocketAddr::new(*ip, 0))).collect(),
            by_addr: vec![0; addrs.len() * PORTS_PER_ADDRESS],
        }
    }

    /// Takes an id for the port. It is free again after `close` and `free`.
    pub(crate) fn open(&mut self, port: &PortSpec) -> Result<PortId, PortRefused> {
        let &id = self.free.last().ok_or(PortRefused::Exhausted)?;
        self.entries[id.0 as usize] = match &port.socket {
            Some(socket) => Entry::Socket(socket.clone()),
            None => {
                let local = Remote::from(port.addr);
                let sender = self.index_of(&local).ok_or(PortRefused::NoSuchAddress)?;
                self.by_addr[place(sender, &local)] = id.0;
                Entry::Steered { sender, source: Source::new(port.addr, port.tos) }
            }
        };
        self.free.pop();
        Ok(id)
    }

    /// What packets from a steered port carry from now on; of a socket, its claim sees to it.
    pub(crate) fn mark(&mut self, id: PortId, tos: u8) {
        if let Some(Entry::Steered { source, .. }) = self.entries.get_mut(id.0 as usize) {
            source.mark(tos);
        }
    }

    /// Nothing arrives on it or leaves from it any more.
    pub(crate) fn close(&mut self, id: PortId) {
        let entry = std::mem::replace(&mut self.entries[id.0 as usize], Entry::Free);
        if let Entry::Steered { sender, source } = entry {
            self.by_addr[place(sender, &source.addr())] = 0;
        }
    }

    /// Lets the id of a closed port be given out again.
    pub(crate) fn free(&mut self, id: PortId) {
        self.free.push(id);
    }

    pub(crate) fn is_open(&self, id: PortId) -> bool {
        !matches!(self.entries[id.0 as usize], Entry::Free)
    }

    /// Stands for the port with this address until [`PortTable::resolve`]. Nothing if no port may have it.
    pub(crate) fn place_of(&self, local: &Remote) -> Option<PortId> {
        Some(PortId(PLACE | place(self.index_of(local)?, local) as u32))
    }

    /// Puts ids in for places, drops what came to a port that is not open, and says how much that was.
    pub(crate) fn resolve(&self, batch: &mut PacketBatch) -> u64 {
        let mut unknown = 0;
        for packet in batch.packets_mut() {
            if packet.port.0 & PLACE != 0 {
                packet.port = PortId(self.by_addr[(packet.port.0 & !PLACE) as usize]);
                if packet.port == PortId::SHARED {
                    packet.disposition = Disposition::Dropped;
                    unknown += 1;
                }
            } else if packet.port != PortId::SHARED && !self.is_open(packet.port) {
                packet.disposition = Disposition::Dropped;
                unknown += 1;
            }
        }
        unknown
    }

    /// The socket that packets from this port leave by.
    pub(crate) fn exit_from(&self, id: PortId) -> Option<Exit> {
        match &self.entries[id.0 as usize] {
            Entry::Free if id != PortId::SHARED => None,
            Entry::Free | Entry::Socket(_) => Some(Exit::Socket(id)),
            Entry::Steered { sender, .. } => Some(Exit::Raw(*sender)),
        }
    }

    /// Writes the receiver's address to `name` and the headers that the packet needs from us to the end of `room`. Nothing
    /// if the port is not open, or no packet can go from there to `remote`.
    pub(crate) fn depart(
        &self,
        from: PortId,
        remote: &Remote,
        payload: &[u8],
        name: &mut [u8; SOCKADDR_BYTES],
        room: &mut [u8; HEADERS_BYTES_MAX],
    ) -> Option<Departure> {
        let by = self.exit_from(from)?;
        let Entry::Steered { source, .. } = &self.entries[from.0 as usize] else {
            return Some(Departure { by, headers_bytes: 0, name_bytes: remote.encode(name) });
        };
        let headers_bytes = source.write(remote, payload, room)?;
        // raw(7), ipv6(7): the port of a raw socket's address is a protocol number, or 0.
        Some(Departure { by, headers_bytes, name_bytes: remote.without_port().encode(name) })
    }

    /// Of a port that is one.
    pub(crate) fn socket(&self, id: PortId) -> Option<&UdpSocket> {
        match &self.entries[id.0 as usize] {
            Entry::Socket(socket) => Some(socket),
            Entry::Free | Entry::Steered { .. } => None,
        }
    }

    fn index_of(&self, local: &Remote) -> Option<usize> {
        self.addrs.iter().position(|addr| addr.octets() == local.octets())
    }
}

const _: () = assert!((RTP_ADDRS_MAX * PORTS_PER_ADDRESS) < PLACE as usize);

fn place(addr_index: usize, local: &Remote) -> usize {
    addr_index * PORTS_PER_ADDRESS + usize::from(local.port())
}

/// Reads the address a datagram was sent to from the control message that `RECVORIGDSTADDR` asks for: a `cmsghdr` of 16 bytes,
/// then a `sockaddr`. The kernel wrote `bytes` of the room; what is behind them is of an earlier datagram.
pub(crate) fn original_destination(control: &[u8; CONTROL_BYTES], bytes: usize) -> Option<Remote> {
    const V4_BYTES: usize = 16 + size_of::<libc::sockaddr_in>();
    const V4: [i32; 2] = [libc::SOL_IP, libc::IP_ORIGDSTADDR];
    const V6: [i32; 2] = [libc::SOL_IPV6, libc::IPV6_ORIGDSTADDR];
    let number = |at: usize| i32::from_ne_bytes([control[at], control[at + 1], control[at + 2], control[at + 3]]);
    let is_ours = [V4, V6].contains(&[number(8), number(12)]);
    control[16..].first_chunk().filter(|_| is_ours && bytes >= V4_BYTES).and_then(Remote::decode)
}

/// Room for that message in the longer family.
pub(crate) const CONTROL_BYTES: usize = 48;

const _: () = assert!(size_of::<libc::cmsghdr>() == 16);
// SAFETY: CMSG_SPACE only computes.
const _: () = assert!(CONTROL_BYTES == unsafe { libc::CMSG_SPACE(size_of::<libc::sockaddr_in6>() as u32) } as usize);

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel writes for 192.0.2.1:5004.
    fn message() -> [u8; CONTROL_BYTES] {
        let mut control = [0; CONTROL_BYTES];
        control[..8].copy_from_slice(&32u64.to_ne_bytes());
        control[8..12].copy_from_slice(&libc::SOL_IP.to_ne_bytes());
        control[12..16].copy_from_slice(&libc::IP_ORIGDSTADDR.to_ne_bytes());
        let mut sockaddr = [0; SOCKADDR_BYTES];
        Remote::from(SocketAddr::from(([192, 0, 2, 1], 5004))).encode(&mut sockaddr);
        control[16..16 + SOCKADDR_BYTES].copy_from_slice(&sockaddr);
        control
    }

    #[test]
    fn destination_is_read_where_the_kernel_wrote_one() {
        let local = Remote::from(SocketAddr::from(([192, 0, 2, 1], 5004)));
        assert_eq!(original_destination(&message(), 32), Some(local));
        assert_eq!(original_destination(&message(), 0), None, "left by an earlier datagram");
        let mut other = message();
        other[12] ^= 1;
        assert_eq!(original_destination(&other, 32), None, "a message of another type");
    }
}
