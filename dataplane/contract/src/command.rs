//! What control may ask, and the two kinds of answer.
//!
//! Each command is idempotent: sent twice, it has one effect and gives the same answer.

use crate::counters::{LobbyCounters, WorkerCounters};
use crate::ids::{BridgeId, CallKey, CommandId, LegId, WorkerId};
use crate::leg::{LegReport, LocalDescription, RemoteDescription, TransportRequest};
use crate::rtp::{FlowFilter, RtpRemote, StreamReport};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// A numbered command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: CommandId,
    pub command: Command,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a leg and its ICE credentials. Answer: [`Done::Opened`].
    OpenLeg { leg: LegId, call: CallKey, transport: TransportRequest },
    /// Gives the peer's description, at first or after a re-offer. New remote ICE credentials in it do not
    /// touch the pair in use until a check with them has succeeded. Answer: [`Done::Ok`].
    SetRemote { leg: LegId, remote: RemoteDescription },
    /// Gives the description of an RTP leg's peer, at first or after a re-offer, and opens its learning window (again).
    /// Answer: [`Done::Ok`].
    SetRtpRemote { leg: LegId, remote: RtpRemote },
    /// What the peer of `source` sends, all `sinks` send to theirs; replaces the earlier sinks, and none is nowhere. All
    /// are [`crate::Relaying::Translator`] legs of one call. Its RTCP goes the same way, held or not.
    /// Answer: [`Done::Ok`].
    Forward { source: LegId, sinks: Vec<LegId> },
    /// Sets what becomes of packets that a translating leg's peer sends; replaces the earlier filter.
    /// Answer: [`Done::Ok`].
    Filter { leg: LegId, filter: FlowFilter },
    /// Draws new local ICE credentials; the old ones stay valid until a check with the new ones succeeds.
    /// A repetition with the same `restart` number gives the same credentials. Answer: [`Done::Opened`].
    RestartIce { leg: LegId, restart: u32 },
    /// Joins two legs of one call, neither of them a translating one: what one receives, the other sends. A leg is in one bridge at most;
    /// joining it elsewhere takes it out first, and so do other legs under the same bridge id. Answer: [`Done::Ok`].
    Bridge { bridge: BridgeId, legs: [LegId; 2] },
    /// Parts them; their packets are dropped and counted until they are joined again. Unknown bridges count as parted.
    /// Answer: [`Done::Ok`].
    Unbridge { bridge: BridgeId },
    /// Sends digits to the leg's peer as telephone events (RFC 4733), `0-9 * # A-D`, `w` waits half a second.
    /// Answer: [`Done::Ok`] when queued.
    SendDigits { leg: LegId, digits: String },
    /// Answer: [`Done::Report`].
    ReadLeg { leg: LegId },
    /// Figures of each stream that the leg receives. Answer: [`Done::Streams`].
    ReadStreams { leg: LegId },
    /// Keeps control's own words about a call for whoever attaches next, as long as the call has legs; replaces the earlier
    /// ones. Of a call without legs nothing is kept. Answer: [`Done::Ok`].
    Note { call: CallKey, note: Vec<u8> },
    /// Ends a leg; unknown legs count as closed. Answer: [`Done::Report`] with the last figures.
    CloseLeg { leg: LegId },
    /// Answer: [`Done::Counters`].
    ReadCounters,
    /// Refuses new legs from now on, whoever attaches; [`crate::Event::Drained`] follows when the last one is gone.
    /// Answer: [`Done::Ok`].
    Drain,
    /// Closes all legs and ends the process with exit status 0. A control plane that ends in an orderly way says
    /// it to the dataplane it started. Answer: [`Done::Ok`], then the link closes.
    ShutDown,
}

impl Command {
    /// The one leg that it is about.
    pub fn leg(&self) -> Option<LegId> {
        match self {
            Command::OpenLeg { leg, .. }
            | Command::SetRemote { leg, .. }
            | Command::SetRtpRemote { leg, .. }
            | Command::Forward { source: leg, .. }
            | Command::Filter { leg, .. }
            | Command::RestartIce { leg, .. }
            | Command::SendDigits { leg, .. }
            | Command::ReadLeg { leg }
            | Command::ReadStreams { leg }
            | Command::CloseLeg { leg } => Some(*leg),
            Command::Bridge { .. }
            | Command::Unbridge { .. }
            | Command::Note { .. }
            | Command::ReadCounters
            | Command::Drain
            | Command::ShutDown => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Done {
    Ok,
    Opened(LocalDescription),
    Report(LegReport),
    Streams(Vec<StreamReport>),
    Counters { workers: Vec<WorkerCounters>, lobby: LobbyCounters },
}

/// Why a command was not carried out. Nothing has changed when it is given.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refused {
    #[error("leg {0} is not open")]
    UnknownLeg(LegId),
    #[error("leg {0} cannot be joined with itself")]
    SameLeg(LegId),
    #[error("leg {0} is on another worker than its bridge")]
    OtherWorker(LegId),
    #[error("the dataplane holds as many legs as it may")]
    LegsExhausted,
    #[error("the dataplane is draining and takes no new legs")]
    Draining,
    #[error("the queue to worker {0} is full; try again later")]
    Busy(WorkerId),
    #[error("worker {0} is gone")]
    WorkerLost(WorkerId),
    #[error("digits must be 0-9, *, #, A-D or w, and at most {max} of them", max = crate::limits::DIGITS_MAX)]
    BadDigits,
    #[error("the peer of leg {0} takes no telephone events")]
    NoTelephoneEvent(LegId),
    #[error("more payload types than a leg may name")]
    TooManyFormats,
    /// By another leg, or by another program of this machine.
    #[error("port {0} is taken")]
    PortTaken(SocketAddr),
    #[error("the dataplane receives no RTP on {0}; see `media.rtp_addresses`")]
    NoSuchAddress(IpAddr),
    #[error("the command is not for legs of the kind of leg {0}")]
    UnsuitedLeg(LegId),
    #[error("a key of leg {0} is not as long as its suite wants it, or a digest not as its hash function")]
    BadKeys(LegId),
    #[error("a note about a call has more than {max} bytes", max = crate::limits::NOTE_BYTES_MAX)]
    NoteTooLong,
    #[error("more than {max} sinks of one leg", max = crate::limits::SINKS_PER_LEG_MAX)]
    TooManySinks,
}
