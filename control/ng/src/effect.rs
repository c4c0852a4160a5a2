//! What may happen to the core and what it wants done: the border between it and the shell.
//!
//! ```text
//!   shell: sockets, clock, dataplane link              core
//!     Input ────────────────── handle(now, input) ──────▶ decides
//!     Effect ◀─────────────────────────────────────────── in order
//!     one timer ◀───────────── next_deadline() ──────────
//! ```
//!
//! Input: the shell turns every fact of the outside world into an [`Input`]. Output: it carries [`Effect`]s out in the
//! order given and decides nothing. Owns nothing.

use crate::cookies::Sender;
use crate::settings::Settings;
use crosspoint_contract::{Answer, Command, DataplaneHello, Event, Order, Snapshot};
use std::net::SocketAddr;
use std::sync::Arc;

/// Both clocks, read once per input by the shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic; deadlines are in it.
    pub monotonic_ms: u64,
    /// Unix time, for `created` and its like.
    pub unix_us: u64,
}

impl Now {
    pub fn unix_s(self) -> u64 {
        self.unix_us / 1_000_000
    }
}

/// Who asked, so that the answer finds back. Replies may leave in another order than the questions came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub channel: Channel,
    pub address: SocketAddr,
}

/// What a question came over, numbered by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A listening UDP socket.
    Datagrams(u64),
    /// A TCP or WebSocket connection; never numbered twice.
    Connection(u64),
    /// One HTTP request; never numbered twice.
    Request(u64),
}

impl Peer {
    /// Whose cookie this message carries.
    pub fn sender(&self, message: &[u8]) -> Sender {
        match self.channel {
            Channel::Datagrams(_) => Sender::Datagram(self.address),
            Channel::Connection(number) => Sender::Connection(number),
            Channel::Request(_) => Sender::host(self.address.ip(), message),
        }
    }
}

#[derive(Debug)]
pub enum Input<'a> {
    /// `cookie SP dictionary`: a datagram, one message of a stream, an HTTP body or a WebSocket message. The answer
    /// carries the cookie.
    Message { from: Peer, bytes: &'a [u8] },
    /// A dictionary without a cookie (`ng-plain`). The answer has none either.
    Plain { from: Peer, bytes: &'a [u8] },
    /// One line of the command-line interface, without its line end.
    CliLine { from: Peer, line: &'a str },
    /// Figures in Prometheus' text format are wanted, as rtpengine tells them at `/metrics`; answered by [`Effect::CliReply`].
    Scrape { from: Peer },
    /// The link to a dataplane is up. It may be the same as before or a new one: legs that the snapshot does not show are opened again.
    DataplaneAttached { hello: DataplaneHello, snapshot: Snapshot },
    /// The link is down, for whatever reason. New calls are refused until it is up again.
    DataplaneLost,
    /// Also answers to orders of others: the numbers of ours are known.
    DataplaneAnswered(Answer),
    /// Also about legs of others.
    DataplaneSaid(Event),
    /// `next_deadline()` has passed.
    DeadlineReached,
    /// Read again, for instance on SIGHUP. Calls in progress keep their ports.
    SettingsChanged(Box<Settings>),
    /// How busy the machine is, every second or so: against `max-cpu`, `max-load` and `max-bandwidth`, and for the rates.
    LoadMeasured(Load),
    /// SIGINT or SIGTERM: all legs are closed; the shell ends when the effects are carried out.
    ShutDown,
}

/// What the limits are compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Of all cores together, 0 to 100.
    pub cpu_percent: f32,
    /// Load average of the last minute.
    pub load: f32,
    pub bytes_per_second: u64,
    pub packets_per_second: u64,
    pub errors_per_second: u64,
    /// Since the dataplane was first looked at.
    pub relayed: Traffic,
}

/// What the dataplane has received on all its legs, and what of it went nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: u64,
    pub errors: u64,
}

/// Orders are by far the largest and by far the most frequent: a box for each would cost more than the room it saves.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// One message back to whoever asked.
    Reply { to: Peer, bytes: Arc<[u8]> },
    /// The answer to a line; the shell closes the connection after it, as rtpengine does.
    CliReply { to: Peer, text: String },
    /// For the dataplane. Its answer returns as [`Input::DataplaneAnswered`].
    Order(Order),
    /// For the dataplane, to be announced before the next reply leaves. It is not answered; that it was refused after all
    /// returns as [`Event::PromiseBroken`].
    Promise(Command),
    /// A line for the log: no secrets, never one per packet.
    Note(Note),
}

/// A log line. `kind` is a stable name such as `call_refused`; `call` is the call-id it is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    pub level: Level,
    pub kind: &'static str,
    pub call: Option<String>,
    pub text: String,
}

/// From the least to the most that an operator is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
}

/// One entry of the core: the time of it, and where its effects go.
pub struct Turn<'a> {
    pub now: Now,
    pub effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub fn note(&mut self, level: Level, kind: &'static str, call: Option<&str>, text: impl Into<String>) {
        self.effects.push(Effect::Note(Note { level, kind, call: call.map(str::to_owned), text: text.into() }));
    }
}
