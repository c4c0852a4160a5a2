//! What the control plane wants done. The shell carries effects out in the order given and decides nothing.

use super::input::SessionId;
use super::record::{CallRecord, LiveCall};
use crosspoint_contract::Order;

#[expect(clippy::large_enum_variant, reason = "the list of effects is short; a box for each order would cost more")]
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Send a text frame. The shell's queue per session is bounded; a session that does not drain it is closed.
    Send { session: SessionId, text: String },
    /// Close a session after what was sent before (RFC 6455 §7.4.1 code).
    Close { session: SessionId, code: u16, reason: &'static str },
    /// Give an order to the dataplane. Its answer returns as `Input::DataplaneAnswered`.
    Order(Order),
    /// The dataplane is attached and does not answer. Detach from it, and if it is our own child, end and restart it;
    /// the core hears of that as of any other loss. Said once until it answers or another attachment begins.
    DataplaneMute,
    /// Make this call survive us: insert or replace by `call_sid`.
    SaveCall(Box<LiveCall>),
    /// Write the call's record exactly once and forget the live call, in one transaction.
    WriteRecord(Box<CallRecord>),
    /// A line for the log: structured, no secrets, never one per packet.
    Note(Note),
}

/// A log line. `kind` is a stable name such as `token_refused`; `fields` are key and value.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    pub level: Level,
    pub kind: &'static str,
    pub fields: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
}
