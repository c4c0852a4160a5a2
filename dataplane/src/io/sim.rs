//! The backend of tests: queues in memory instead of a socket, and time as the test wants it.
//!
//! Input: datagrams and times from a [`SimNet`]. Output: what was sent, to be read there. It never sleeps: a
//! harvest with nothing to give returns at once, and the test moves the time on.

use crate::batch::{BATCH_CAPACITY, Disposition, Nanos, Packet, PacketBatch};
use crate::buffers::{BufferPool, SLOT_BYTES};
use crate::io::fault::Fault;
use crate::io::wake::{Sleeper, Waker};
use crate::io::{Backend, BackendKind, Io, IoCounters, Opened, PortId, PortSpec, Remote};
use crosspoint_contract::limits::{BATCH_PACKETS_MAX, PACKET_BYTES_MAX};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// A datagram on the simulated network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its sender on the way in, its receiver on the way out.
    pub remote: Remote,
    /// Our port that it came to or left from; nothing for the shared one.
    pub local: Option<SocketAddr>,
    pub bytes: Vec<u8>,
}

/// The test's end: clone it and hold it in any thread.
#[derive(Clone, Default)]
pub struct SimNet {
    state: Arc<Mutex<SimState>>,
}

#[derive(Default)]
struct SimState {
    now: Nanos,
    inbound: VecDeque<Datagram>,
    outbound: VecDeque<Datagram>,
}

impl SimNet {
    /// Lets a datagram wait for the next harvest.
    pub fn inject(&self, remote: SocketAddr, bytes: &[u8]) {
        self.lock().inbound.push_back(Datagram { remote: remote.into(), local: None, bytes: bytes.to_vec() });
    }

    /// As [`SimNet::inject`], to a port that the worker has opened; to any other it gets lost.
    pub fn inject_to(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram { remote: remote.into(), local: Some(local), bytes: bytes.to_vec() };
        self.lock().inbound.push_back(datagram);
    }

    /// The oldest datagram that was sent and not yet read.
    pub fn sent(&self) -> Option<Datagram> {
        self.lock().outbound.pop_front()
    }

    /// The time that the next harvest reads.
    pub fn set_now(&self, now: Nanos) {
        self.lock().now = now;
    }

    /// Opens a worker's io on this network.
    pub fn open(&self, local_addr: SocketAddr) -> Result<Opened, Fault> {
        let pool = BufferPool::new(BATCH_CAPACITY, false)
            .map_err(|source| Fault::Memory { bytes: BATCH_CAPACITY * SLOT_BYTES, source })?;
        let sleeper = Sleeper::new().map_err(|source| Fault::System { call: "eventfd", source })?;
        let sim = Sim {
            net: self.clone(),
            ports: vec![None],
            arrived_at: Vec::with_capacity(BATCH_PACKETS_MAX),
            sleeper,
            counters: IoCounters::default(),
        };
        Ok(Opened {
            io: Io { backend: Backend::Sim(Box::new(sim)), local_addr },
            batch: PacketBatch::new(pool),
            kind: BackendKind::Sim,
            reason: "a test".into(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, SimState> {
        self.state.lock().expect("no holder of the simulated network panics")
    }
}

/// Of a packet whose port nobody has looked up yet.
const UNRESOLVED: PortId = PortId(u32::MAX);

pub(crate) struct Sim {
    net: SimNet,
    /// By [`PortId`]; the shared one has no address here.
    ports: Vec<Option<SocketAddr>>,
    /// The addresses that the packets of this harvest came to, in their order.
    arrived_at: Vec<Option<SocketAddr>>,
    sleeper: Sleeper,
    counters: IoCounters,
}

impl Sim {
    pub(crate) fn harvest(&mut self, batch: &mut PacketBatch) -> Result<(), Fault> {
        let mut state = self.net.lock();
        self.counters.enters += 1;
        batch.set_now(state.now);
        self.arrived_at.clear();
        while batch.len() < BATCH_PACKETS_MAX
            && let Some(datagram) = state.inbound.pop_front()
        {
            let buffer = batch.pool_mut().take().expect("every buffer is back after submit");
            let bytes = datagram.bytes.len().min(PACKET_BYTES_MAX);
            batch.pool_mut().bytes_mut(&buffer)[..bytes].copy_from_slice(&datagram.bytes[..bytes]);
            batch.push_received(buffer, datagram.remote, UNRESOLVED, bytes, bytes < datagram.bytes.len());
            self.arrived_at.push(datagram.local);
            self.counters.packets_received += 1;
            self.counters.bytes_received += bytes as u64;
        }
        Ok(())
    }

    pub(crate) fn resolve_ports(&mut self, batch: &mut PacketBatch) {
        for (packet, local) in batch.packets_mut().iter_mut().zip(&self.arrived_at) {
            match self.port_at(*local) {
                Some(port) => packet.port = port,
                None => {
                    packet.disposition = Disposition::Dropped;
                    self.counters.port_unknown += 1;
                }
            }
        }
    }

    pub(crate) fn submit(&mut self, first: usize, batch: &mut PacketBatch) {
        let mut state = self.net.lock();
        for i in first..batch.len() {
            if batch.packet(i).disposition == Disposition::Send {
                let Packet { remote, port, .. } = *batch.packet(i);
                match self.ports[port.0 as usize] {
                    None if port != PortId::SHARED => self.counters.send_failed += 1,
                    local => {
                        let datagram = Datagram { remote, local, bytes: batch.bytes(i).to_vec() };
                        self.counters.packets_sent += 1;
                        self.counters.bytes_sent += datagram.bytes.len() as u64;
                        state.outbound.push_back(datagram);
                    }
                }
            }
            let buffer = batch.take_buffer(i);
            batch.pool_mut().give(buffer);
        }
    }

    pub(crate) fn open_port(&mut self, port: &PortSpec) -> PortId {
        let free = (1..self.ports.len()).find(|&id| self.ports[id].is_none());
        let id = free.unwrap_or_else(|| {
            self.ports.push(None);
            self.ports.len() - 1
        });
        self.ports[id] = Some(port.addr);
        PortId(id as u32)
    }

    pub(crate) fn close_port(&mut self, port: PortId) {
        self.ports[port.0 as usize] = None;
    }

    fn port_at(&self, local: Option<SocketAddr>) -> Option<PortId> {
        let position = |addr| self.ports.iter().position(|port| *port == Some(addr)).map(|id| PortId(id as u32));
        local.map_or(Some(PortId::SHARED), position)
    }

    pub(crate) fn waker(&self) -> Waker {
        self.sleeper.waker()
    }

    pub(crate) fn counters(&self) -> IoCounters {
        self.counters
    }
}
