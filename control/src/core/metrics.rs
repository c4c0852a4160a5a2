//! What the core counts, read by the shell for `/metrics` and `/healthz`.

use std::collections::BTreeMap;

/// Right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Sockets, whether or not they have shown a token.
    pub sessions: usize,
    /// Instances that may receive calls.
    pub registrations: usize,
    pub calls: usize,
    /// Of these, calls that were answered.
    pub calls_answered: usize,
    pub legs: usize,
    /// Legs whose ICE and DTLS are under way.
    pub handshakes: usize,
    /// Whether a dataplane is attached; new calls are refused without one.
    pub dataplane_attached: bool,
}

/// Totals since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub frames_received: u64,
    /// Invites that passed admission.
    pub calls_started: u64,
    pub calls_answered: u64,
    /// Ended calls by `CallRecord::end_reason`.
    pub calls_ended: BTreeMap<&'static str, u64>,
    /// Refusals by `Refusal::name`.
    pub refusals: BTreeMap<&'static str, u64>,
    /// From invite to answer, summed, for the mean: milliseconds.
    pub setup_ms_sum: u64,
    /// Calls taken over from a process before this one.
    pub calls_adopted: u64,
    /// Calls resumed after a lost socket.
    pub calls_resumed: u64,
}
