//! Inputs that the micro-benchmarks share: packets as a call has them.
//!
//! The benches in `benches/` time one stage or one primitive each, over the inputs made here, and put a peer's
//! implementation beside ours in the same run. Quote ratios of one run; absolute times belong to one machine.
//!
//! `cargo bench -p crosspoint-bench` measures; `cargo bench -p crosspoint-bench -- --test` only proves that each runs.

use crosspoint_wire::srtp::{MasterKey, Suite};

/// RTP payload of 20 ms of G.711: with its header the 172-byte packet that relays are compared by.
pub const PAYLOAD_BYTES: usize = 160;

/// Largest buffer a protected packet needs here.
pub const BUFFER_BYTES: usize = 256;

/// An RTP packet of one stream: version 2, payload type 0, no extension (RFC 3550 §5.1).
pub fn rtp_packet(sequence_number: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence_number.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence_number) * 160).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend((0..PAYLOAD_BYTES).map(|i| i as u8));
    packet
}

/// A key that differs per suite and never leaves the benchmarks.
pub fn master_key(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0..64).map(|i| i as u8 ^ suite as u8).collect();
    MasterKey::new(suite, &bytes[..suite.key_bytes()], &bytes[32..32 + suite.salt_bytes()])
        .expect("lengths are the suite's own")
}
