//! SRTP implementations side by side: ours, `webrtc-srtp`, and the system's libsrtp2.
//!
//! Each is asked for the same, over the same packets: `STREAMS` streams with keys of their own, protected and unprotected
//! packet by packet. What they may do with 64 packets of 64 streams at once is theirs.

pub mod libsrtp;
pub mod ours;
pub mod webrtc;

use crosspoint_wire::srtp::{MasterKey, Suite};

/// Streams, each with a key of its own: a batch has a packet of each.
pub const STREAMS: usize = 64;

/// Room for a packet and whatever protecting it adds.
pub const SLOT_BYTES: usize = 320;

/// One packet in memory. Implementations in C read it by words.
#[derive(Clone)]
#[repr(C, align(8))]
pub struct Slot {
    pub bytes: [u8; SLOT_BYTES],
    pub length: usize,
}

impl Slot {
    pub fn packet_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

/// An implementation, keyed for [`STREAMS`] streams in both directions.
pub trait Implementation {
    /// Protects `slots[n]` as the next packet of stream `n % STREAMS`. False when one was refused.
    fn protect(&mut self, slots: &mut [Slot], streams: Streams) -> bool;

    /// The inverse.
    fn unprotect(&mut self, slots: &mut [Slot], streams: Streams) -> bool;
}

/// Which packets are given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// All of stream 0, one after another: what a packet costs alone.
    One,
    /// [`STREAMS`] at a time, one of each stream: what a relay's batch looks like.
    Batch,
}

impl Streams {
    pub fn of(self, packet: usize) -> usize {
        match self {
            Streams::One => 0,
            Streams::Batch => packet % STREAMS,
        }
    }
}

/// Key of a stream: the same for every implementation, different for every stream.
pub fn key(suite: Suite, stream: usize) -> MasterKey {
    let bytes: Vec<u8> = (0..64).map(|at| (at as u8).wrapping_mul(31) ^ suite as u8 ^ stream as u8).collect();
    MasterKey::new(suite, &bytes[..suite.key_bytes()], &bytes[32..32 + suite.salt_bytes()])
        .expect("lengths are the suite's own")
}
