//! Totals that workers and the lobby count, as they cross to control for `/metrics`.

use crate::drop_reason::DropReason;
use crate::ids::WorkerId;
use serde::{Deserialize, Serialize};

/// Totals of one worker since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCounters {
    pub worker: Option<WorkerId>,
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    /// Indexed by `DropReason as usize`; as long as the sender's list.
    pub packets_dropped: Vec<u64>,
    /// STUN checks answered.
    pub stun_checks_answered: u64,
    /// STUN checks of our own sent, where we are a full ICE agent.
    pub stun_checks_sent: u64,
    pub batches: u64,
    /// Loops of the worker that asked the kernel for something.
    pub enters: u64,
    /// Receive buffers ran out and the receive was armed again.
    pub receive_rearmed: u64,
    /// Time spent working, and time since start: their ratio is the busy share.
    pub busy_ns: u64,
    pub elapsed_ns: u64,
    /// Right now.
    pub legs: u32,
    pub legs_connected: u32,
    pub commands_queued: u32,
    pub events_queued: u32,
    /// Events that found the link to control full.
    pub events_dropped: u64,
    /// Packets that came before a promised command, and waited for it.
    pub packets_early: u64,
}

impl WorkerCounters {
    /// Packets dropped for `reason`; 0 when the sender does not know the reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.packets_dropped.get(reason as usize).copied().unwrap_or(0)
    }
}

/// Totals of the lobby since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LobbyCounters {
    pub handshakes_started: u64,
    pub handshakes_completed: u64,
    pub handshakes_failed: u64,
    /// Right now.
    pub handshakes_half_open: u32,
    /// Refused because as many as allowed were open.
    pub handshakes_refused: u64,
}
