//! What may happen to the control plane. The shell turns every fact of the outside world into one of these.

use super::keys::KeyTable;
use super::record::LiveCall;
use crosspoint_contract::{Answer, DataplaneHello, Event, Snapshot};
use std::net::SocketAddr;

/// Both clocks, read once per input by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic; deadlines are in it.
    pub monotonic_ms: u64,
    /// Unix time; token lifetimes, call records and everything that outlives the process are in it.
    pub unix_ms: u64,
}

/// One WebSocket. Chosen by the shell, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

#[derive(Debug)]
pub enum Input {
    /// First input of a process: the calls that an earlier process left unfinished.
    Restored {
        calls: Vec<LiveCall>,
    },
    /// The accounts and keys in force, at start and whenever the store's contents change.
    KeysChanged(KeyTable),
    SessionOpened {
        session: SessionId,
        remote: SocketAddr,
    },
    /// One text frame of the client, at most `limits.message_bytes_max` long (the shell closes on longer ones).
    SessionFrame {
        session: SessionId,
        text: String,
    },
    SessionClosed {
        session: SessionId,
    },
    /// The link to a dataplane is up. A generation other than the last one means that all earlier legs are gone.
    DataplaneAttached {
        hello: DataplaneHello,
        snapshot: Snapshot,
    },
    /// The link is down; the process may live and media may flow.
    DataplaneDetached,
    /// The dataplane process is known to have ended; its legs are gone.
    DataplaneLost {
        why: String,
    },
    DataplaneAnswered(Answer),
    DataplaneSaid(Event),
    /// `next_deadline()` has passed.
    DeadlineReached,
    /// An operator or API ends a call.
    HangUp {
        call_sid: String,
    },
    /// Ctrl-C or SIGTERM: end all calls, tell all clients; the shell exits when the effects are carried out.
    ShutDown,
    /// The same where the dataplane goes on without us: answered calls stay for the next server, and nothing that a client
    /// says or does from now on changes them.
    Leave,
}
