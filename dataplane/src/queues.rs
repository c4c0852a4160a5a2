//! What travels between the threads of the dataplane, and the depth of each ring.
//!
//! ```text
//!              link_to_worker: WorkerOrder                worker_to_lobby: Knock
//!          .------------------------------> worker n -------------------------------.
//!   link --|<------------------------------          <--------------------------.   |
//!  thread  |   worker_to_link: WorkerNote             lobby_to_worker: Admission |   v
//!          '------------------------------------------------------------------> lobby
//!                               link_to_lobby: LobbyOrder
//! ```
//!
//! Each is a bounded single-producer, single-consumer ring (`rtrb`). Full means: an order is refused as `Busy`, an event
//! or datagram is dropped and counted; nothing grows and nobody waits. Memory travels with its owner: what a worker no
//! longer needs goes back to the link thread in an answer, so that the worker neither allocates nor frees.

use crate::io::Remote;
use crate::leg::{Description, Keys, Leg, LegHandle, RtpChange};
use crosspoint_contract::limits::{
    COMMANDS_OUTSTANDING_MAX, CONTROL_TO_WORKER_MAX, DIGITS_MAX, LOBBY_TO_WORKER_MAX, PACKET_BYTES_MAX,
    STREAMS_PER_LEG_MAX, WORKER_TO_CONTROL_MAX, WORKER_TO_LOBBY_MAX,
};
use crosspoint_contract::{
    CertificateDigest, DtlsRole, Event, FlowFilter, LegFailure, LegId, LegReport, Refused, StreamReport, WorkerId,
};
use crosspoint_wire::ice_lite::Credentials;
use rtrb::{Consumer, Producer, RingBuffer};

/// What the link thread tells a worker. Each but `Begin` is answered once, in order.
pub enum WorkerOrder {
    /// First order to a worker, and to its successor after a loss: orders before it were for the lost one.
    Begin,
    Open(Box<Leg>),
    Describe {
        leg: LegHandle,
        description: Box<Description>,
    },
    /// The same for a leg with ports of its own.
    DescribeRtp {
        leg: LegHandle,
        change: Box<RtpChange>,
    },
    Forward {
        leg: LegHandle,
        sinks: Box<[LegHandle]>,
    },
    Filter {
        leg: LegHandle,
        filter: FlowFilter,
    },
    ReadStreams {
        leg: LegHandle,
        sheet: Box<StreamSheet>,
    },
    RestartIce {
        leg: LegHandle,
        ice: Credentials,
    },
    Join([LegHandle; 2]),
    Part([LegHandle; 2]),
    SendDigits {
        leg: LegHandle,
        digits: DigitText,
    },
    Read(LegHandle),
    Close(LegHandle),
    /// Changes nothing: keeps the answer to a repeated command in its place.
    Echo,
    /// Says goodbye to all peers and ends the worker.
    Stop,
    /// Makes the worker panic, to show what survives.
    #[cfg(test)]
    Panic,
}

/// A digit string without a heap.
#[derive(Clone, Copy)]
pub struct DigitText {
    bytes: [u8; DIGITS_MAX],
    len: u8,
}

impl DigitText {
    /// Nothing when a character is not a digit of RFC 4733 or the pause `w`, or there are too many.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; DIGITS_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let all_digits = text.chars().all(|c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | 'w'));
        all_digits.then_some(DigitText { bytes, len: text.len() as u8 })
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// What a worker tells the link thread.
pub enum WorkerNote {
    Answered(Answered),
    Happened(Event),
    /// The worker has taken `Begin`; nothing to answer.
    Begun,
    /// Memory without an answer to go back with.
    Spent(#[allow(dead_code)] Spent),
    /// The worker panicked: everything before this was said by it, everything after by its successor.
    Lost,
    /// The worker has ended as it was told to.
    Stopped,
}

pub struct Answered {
    pub result: Result<Option<LegReport>, Refused>,
    /// Memory the worker has no use for any more.
    pub spent: Spent,
}

/// Carried to where it may be freed; never read.
pub enum Spent {
    Nothing,
    Leg(#[allow(dead_code)] Box<Leg>),
    Description(#[allow(dead_code)] Box<Description>),
    Credentials(#[allow(dead_code)] Credentials),
    Keys(#[allow(dead_code)] Box<Keys>),
    RtpChange(#[allow(dead_code)] Box<RtpChange>),
    Sinks(#[allow(dead_code)] Box<[LegHandle]>),
    /// The one that is read: figures have no other way out.
    Streams(Box<StreamSheet>),
}

/// Room for the figures of a leg's streams, made where there may be memory for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamSheet {
    pub streams: [StreamReport; STREAMS_PER_LEG_MAX],
    pub len: usize,
}

impl StreamSheet {
    pub fn push(&mut self, report: StreamReport) {
        if let Some(place) = self.streams.get_mut(self.len) {
            *place = report;
            self.len += 1;
        }
    }
}

/// A worker to the lobby.
#[allow(clippy::large_enum_variant)] // by value: a box would have to be allocated by the worker
pub enum Knock {
    /// A DTLS datagram from the peer's address, or from a stranger's, who may turn out to be the peer.
    Datagram { leg: LegHandle, stranger: Option<Remote>, datagram: Datagram },
    /// The leg has a validated pair, so our ClientHello would arrive.
    Reachable { leg: LegHandle },
}

/// The lobby to a worker.
#[allow(clippy::large_enum_variant)] // by value: a box would have to be freed by the worker
pub enum Admission {
    /// To be sent to the leg's peer, or to a stranger.
    Datagram {
        leg: LegHandle,
        stranger: Option<Remote>,
        datagram: Datagram,
    },
    /// The handshake is complete and the certificate is the described one.
    Keys {
        leg: LegHandle,
        /// The peer is here, and not where it was thought to be.
        moved: Option<Remote>,
        keys: Box<Keys>,
    },
    Failed {
        leg: LegHandle,
        why: LegFailure,
    },
}

/// A datagram by value.
pub struct Datagram {
    len: u16,
    bytes: [u8; PACKET_BYTES_MAX],
}

impl Datagram {
    /// Nothing when it is longer than we ever receive or send.
    pub fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; PACKET_BYTES_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Datagram { len: from.len() as u16, bytes })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The link thread to the lobby.
pub enum LobbyOrder {
    /// The leg's description is known: its handshake may begin.
    Expect {
        worker: WorkerId,
        leg: LegHandle,
        role: DtlsRole,
        fingerprint: CertificateDigest,
        /// The peer may take as long as it likes, and try again: control ends the leg, not the handshake.
        patient: bool,
    },
    /// The leg is closed.
    Forget {
        leg: LegId,
    },
    Stop,
}

/// A worker's ends. They outlive a worker that panics.
pub struct WorkerEnds {
    pub from_link: Consumer<WorkerOrder>,
    pub to_link: Producer<WorkerNote>,
    pub from_lobby: Consumer<Admission>,
    pub to_lobby: Producer<Knock>,
}

/// The link thread's ends towards one worker.
pub struct LinkEnds {
    pub to_worker: Producer<WorkerOrder>,
    pub from_worker: Consumer<WorkerNote>,
}

/// The lobby's ends towards one worker.
pub struct LobbyEnds {
    pub to_worker: Producer<Admission>,
    pub from_worker: Consumer<Knock>,
}

/// The four rings of one worker.
pub fn worker_rings() -> (WorkerEnds, LinkEnds, LobbyEnds) {
    let (to_worker, from_link) = RingBuffer::new(CONTROL_TO_WORKER_MAX);
    let (to_link, from_worker) = RingBuffer::new(WORKER_TO_CONTROL_MAX);
    let (admissions, from_lobby) = RingBuffer::new(LOBBY_TO_WORKER_MAX);
    let (to_lobby, knocks) = RingBuffer::new(WORKER_TO_LOBBY_MAX);
    (
        WorkerEnds { from_link, to_link, from_lobby, to_lobby },
        LinkEnds { to_worker, from_worker },
        LobbyEnds { to_worker: admissions, from_worker: knocks },
    )
}

/// The ring from the link thread to the lobby: one order a command, and room for the legs of a lost worker.
pub fn lobby_ring() -> (Producer<LobbyOrder>, Consumer<LobbyOrder>) {
    RingBuffer::new(COMMANDS_OUTSTANDING_MAX * 16)
}
