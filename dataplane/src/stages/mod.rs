//! What a batch of packets passes through, one file a stage, in this order.
//!
//! ```text
//!  io::harvest -> classify -> lookup -> admit -> unprotect -> follow -+-> receive -> select -> rewrite -+-> protect -> io::submit
//!                    |                    |                           |                                 |
//!                 stun_door           lobby_door                      +-> rtcp                          |
//!                                                                     '-> relay ------------------------'
//! ```
//!
//! Each stage takes the whole batch and looks at the packets that are still pending and of its kind. A packet leaves
//! by being sent or by a counted `DropReason`. Stages do not know each other: what one finds out is in the packet or
//! in its leg. `admit` and `follow` are for legs with ports of their own, `relay` for those that translate.

pub mod admit;
pub mod classify;
pub mod follow;
pub mod lookup;
pub mod protect;
pub mod receive;
pub mod relay;
pub mod rewrite;
pub mod select;
pub mod unprotect;

use crate::batch::{Disposition, Packet, PacketBatch};
use crate::counters::Counters;
use crosspoint_contract::DropReason;
use crosspoint_wire::classify::Kind;

/// `Packet::kind`: what `classify` took the packet for.
pub const STUN: u8 = Kind::Stun as u8;
pub const DTLS: u8 = Kind::Dtls as u8;
pub const RTP: u8 = Kind::Rtp as u8;
pub const RTCP: u8 = Kind::Rtcp as u8;
/// Anything at all, on a port that says so: none of the above is looked for there.
pub const DATAGRAM: u8 = 0x10;

/// What is media of the port of RTP, whatever it is made of.
#[inline]
pub fn is_media(kind: u8) -> bool {
    matches!(kind, RTP | DATAGRAM)
}

/// Set beside the kind once a packet is turned to its sink: nothing but `protect` looks at it again.
pub const RELAYED: u8 = 0x80;

impl Packet {
    /// Still to be decided, and of this kind.
    #[inline]
    pub fn awaits(&self, kind: u8) -> bool {
        self.disposition == Disposition::Pending && self.kind == kind
    }
}

impl PacketBatch {
    /// The packet leaves the path for a reason that is counted.
    #[inline]
    pub fn drop_packet(&mut self, i: usize, reason: DropReason, counters: &Counters) {
        self.packet_mut(i).disposition = Disposition::Dropped;
        counters.drop_packet(reason);
    }
}
