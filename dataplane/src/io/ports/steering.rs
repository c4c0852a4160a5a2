//! Ports as entries of a table, which the kernel reads for each datagram.
//!
//! Input: addresses and a number of workers, once; then entries. Output: sockets for each worker. Owns the table, the program
//! that reads it, and the link that attaches it to our network namespace: it ends with this process, however that ends.
//!
//! ```text
//!   datagram to 192.0.2.1:30002 --> program --> table[address 0][30002] = 3 --> sockets[worker 2, IPv4] --> worker 2
//!                                                 ^
//!   claim, release: one store -------------------'         replies leave through the worker's raw socket for the address
//! ```
//!
//! Steering comes before the search for bound sockets, so it would take packets from another process that has bound a port of
//! ours. [`super::bound`] keeps us off ports that were bound when the first was claimed; that nobody binds one later
//! is up to `net.ipv4.ip_local_reserved_ports`, as with every media relay.

use super::bpf;
use super::program;
use super::worker_ports::SteeredSockets;
use crate::buffers::Mapping;
use crate::io::socket;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// Entries of the table for one address.
pub(crate) const PORTS_PER_ADDRESS: usize = 1 << 16;

/// The step that this host refused.
#[derive(Debug)]
pub(super) struct Refusal {
    step: &'static str,
    error: io::Error,
}

impl Refusal {
    fn at(step: &'static str) -> impl FnOnce(io::Error) -> Refusal {
        move |error| Refusal { step, error }
    }

    /// The likely cause.
    pub(super) fn explain(&self) -> String {
        let Refusal { step, error } = self;
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) if *step == RAW_SOCKET => "steering ports needs CAP_NET_RAW".into(),
            Some(libc::EPERM) => {
                "steering ports needs CAP_BPF and CAP_NET_ADMIN, and no seccomp filter against bpf(2)".into()
            }
            Some(libc::ENOSYS) => "this kernel has no bpf(2), or a seccomp filter hides it".into(),
            _ => format!("ports cannot be steered here ({step}: {error})"),
        }
    }
}

const RAW_SOCKET: &str = "opening a raw socket";

/// The table and what makes the kernel read it.
#[derive(Debug)]
pub(super) struct Steering {
    table: Mapping,
    addrs: Vec<IpAddr>,
    /// Dropping it ends the steering.
    _link: OwnedFd,
}

impl Steering {
    /// Sets everything up, with the sockets of each worker.
    pub(super) fn open(addrs: &[IpAddr], workers: usize) -> Result<(Steering, Vec<SteeredSockets>), Refusal> {
        let bytes = addrs.len() * PORTS_PER_ADDRESS;
        let table = bpf::create_table(bytes).map_err(Refusal::at("creating the table"))?;
        let sockmap = bpf::create_sockmap(2 * workers).map_err(Refusal::at("creating the map of sockets"))?;
        let program = program::assemble(addrs, raw(&table), raw(&sockmap));
        let program = bpf::load(c"steer_ports", &program).map_err(Refusal::at("loading the program"))?;
        let sockets =
            (0..workers).map(|worker| open_sockets(worker, addrs, &sockmap)).collect::<Result<Vec<_>, Refusal>>()?;
        let mapping = Mapping::shared(table.as_fd(), bytes).map_err(Refusal::at("mapping the table"))?;
        let link = bpf::attach(&program).map_err(Refusal::at("attaching the program"))?;
        Ok((Steering { table: mapping, addrs: addrs.to_vec(), _link: link }, sockets))
    }

    /// Gives a free port to a worker. False: somebody has it.
    pub(super) fn take(&self, addr: SocketAddr, worker: usize) -> bool {
        // One byte says it all, so no order with other memory is needed.
        self.entry(addr).is_some_and(|entry| {
            entry.compare_exchange(0, worker as u8 + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    pub(super) fn release(&self, addr: SocketAddr) {
        if let Some(entry) = self.entry(addr) {
            entry.store(0, Ordering::Relaxed);
        }
    }

    fn entry(&self, addr: SocketAddr) -> Option<&AtomicU8> {
        let index = self.addrs.iter().position(|ip| *ip == addr.ip())?;
        let offset = index * PORTS_PER_ADDRESS + usize::from(addr.port());
        // SAFETY: the offset is below the length of the mapping, which has as many bytes for each address.
        let entry = unsafe { self.table.base().add(offset) };
        // SAFETY: a byte is always aligned, it lives as long as `self`, and is only ever used as an atomic: by us, and by the
        // program, which reads one byte.
        Some(unsafe { AtomicU8::from_ptr(entry.as_ptr()) })
    }
}

fn open_sockets(worker: usize, addrs: &[IpAddr], sockmap: &OwnedFd) -> Result<SteeredSockets, Refusal> {
    let mut receivers = Vec::new();
    for (key, has_family) in [(2 * worker, IpAddr::is_ipv4 as fn(&IpAddr) -> bool), (2 * worker + 1, IpAddr::is_ipv6)] {
        if let Some(addr) = addrs.iter().find(|addr| has_family(addr)) {
            let socket = socket::steered_receiver(*addr).map_err(Refusal::at("opening a socket to steer to"))?;
            bpf::put_socket(sockmap, key as u32, socket.as_fd()).map_err(Refusal::at("filling the map of sockets"))?;
            receivers.push(socket);
        }
    }
    let senders = addrs.iter().map(|addr| socket::raw_sender(*addr)).collect::<io::Result<Vec<_>>>();
    Ok(SteeredSockets { addrs: addrs.to_vec(), receivers, senders: senders.map_err(Refusal::at(RAW_SOCKET))? })
}

fn raw(fd: &OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(fd)
}
