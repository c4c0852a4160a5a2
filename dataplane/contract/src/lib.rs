//! Everything that crosses between the control plane and the dataplane.
//!
//! ```text
//!   control                       Unix socket (owner-only)                dataplane
//!     | -- Hello {version, generation} ------------------------------------> |
//!     | <-- Hello {version, generation, workers, fingerprint} + board ------ |
//!     | <-- Snapshot {legs, bridges}, as often as it takes, SnapshotEnd ---- |
//!     | -- Order {id, Command} --------------------------------------------> |
//!     | <-- Answer {id, Done | Refused} ------------------------------------ |
//!     | -- Promised (a command that control's own peer was told is done) --> |
//!     | <-- Event (a fact nobody asked for) -------------------------------- |
//! ```
//!
//! Values are plain: no pointers, no handles, no clocks. Each travels as one [`frame`]: a length and a
//! `postcard` body. A command is answered exactly once; commands for one leg are answered in order;
//! repeating a command is harmless and gives the same answer. A promised command is answered only if it is refused; the
//! [`board`] beside the socket makes sure that no packet overtakes it.
//!
//! Deliberately absent: behaviour. This crate decides nothing, it only says what can be said.

#![forbid(unsafe_code)]

pub mod board;
pub mod command;
pub mod counters;
pub mod drop_reason;
pub mod event;
pub mod frame;
pub mod ids;
pub mod leg;
pub mod limits;
pub mod rtp;

pub use command::{Command, Done, Order, Refused};
pub use counters::{LobbyCounters, WorkerCounters};
pub use drop_reason::DropReason;
pub use event::{Answer, Event, LegFailure};
pub use frame::{FrameError, FrameReader, ToControl, ToDataplane};
pub use ids::{BridgeId, CallKey, CommandId, Generation, LegId, WorkerId};
pub use leg::{
    BridgeSnapshot, CallNote, Codec, ControlHello, DataplaneHello, Direction, Directions, DtlsRole, Fingerprint,
    Format, IceCredentials, LegReport, LegSnapshot, LegState, LocalDescription, Medium, PerMedium, RemoteDescription,
    RtpLegSnapshot, Snapshot, SrtpSuite, TransportRequest, WorkerHello,
};
pub use rtp::{
    CertificateDigest, FlowFilter, HashFunction, IceCandidate, IceChecks, LearnFrom, Learning, LocalPorts, PortsHello,
    Quality, Relaying, RtpRemote, RtpRequest, SdesKey, Security, Spread, StreamReport,
};

/// Version of everything in this crate. Peers of different versions refuse each other in `Hello`.
pub const VERSION: u32 = 11;
