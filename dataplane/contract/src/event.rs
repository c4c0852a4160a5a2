//! What the dataplane says: answers, and facts that nobody asked for.

use crate::command::{Done, Refused};
use crate::ids::{CommandId, LegId, WorkerId};
use crate::leg::{LegReport, SrtpSuite};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use thiserror::Error;

/// The one answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub id: CommandId,
    pub result: Result<Done, Refused>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// SRTP has keys and packets have somewhere to go. Said once; of a plain leg never.
    LegConnected {
        leg: LegId,
        remote_addr: SocketAddr,
        suite: SrtpSuite,
    },
    /// Packets go elsewhere than before: another validated pair is in use, or an address was learnt.
    LegMoved {
        leg: LegId,
        remote_addr: SocketAddr,
    },
    /// The peer's telephone event began (RFC 4733), said once per event.
    DigitHeard {
        leg: LegId,
        digit: char,
    },
    /// No authentic media packet for this long; said once, until [`Event::LegHeard`]. Of a [`crate::Relaying::Translator`]
    /// leg whether or not its peer is held or has completed its handshake, of another while it is connected and not held.
    LegSilent {
        leg: LegId,
        silent_ms: u32,
    },
    LegHeard {
        leg: LegId,
    },
    /// Every few seconds for each connected leg that is an end of its RTP session; translating legs are asked.
    LegReported {
        leg: LegId,
        report: LegReport,
    },
    /// The leg will not carry media again.
    LegFailed {
        leg: LegId,
        why: LegFailure,
    },
    /// Nothing is sent to the peer of an RTP leg any more, until a check succeeds: no pair of candidates works, or its
    /// consent expired. Its call may be signaled anew.
    LegUnreachable {
        leg: LegId,
        why: LegFailure,
    },
    /// A promised command was refused: for want of room, or because its leg is gone.
    PromiseBroken {
        leg: LegId,
        why: Refused,
    },
    /// A worker ended; these legs ended with it.
    WorkerLost {
        worker: WorkerId,
        legs: Vec<LegId>,
    },
    /// Answers [`crate::Command::Drain`]: the last leg is gone.
    Drained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
pub enum LegFailure {
    #[error("the peer did not complete ICE and DTLS in time")]
    ConnectTimeout,
    /// RFC 8445 §6.1.2.6.
    #[error("no pair of ICE candidates works: the peer answers at none of its addresses")]
    NoCandidatePair,
    #[error("the DTLS handshake failed")]
    HandshakeFailed,
    #[error("the peer's certificate is not the one its description names")]
    FingerprintMismatch,
    /// RFC 7675 §5.1.
    #[error("the peer's consent to receive media expired")]
    ConsentExpired,
    #[error("the peer closed its DTLS association")]
    PeerClosed,
    #[error("the worker of this leg ended")]
    WorkerLost,
}
