//! What a new leg draws at random: ICE credentials, SSRCs, CNAME, first numbers.
//!
//! Output: values from the system's generator, which cannot be guessed. Owns nothing. Is called by the link thread only.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use crosspoint_contract::IceCredentials;

/// RFC 8839 §5.4: ice-char; 64 of them, so a character carries six bits.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 8445 §5.3: at least 24 bits; ours also find their leg, so 48.
const UFRAG_CHARS: usize = 8;

/// RFC 8445 §5.3: at least 128 bits; 26 characters carry 156.
const PWD_CHARS: usize = 26;

pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's random generator does not fail once it is seeded");
    bytes
}

pub fn u64() -> u64 {
    u64::from_le_bytes(bytes())
}

/// Never zero: an SSRC of zero is legal but a favourite of broken senders.
pub fn ssrc() -> u32 {
    u32::from_le_bytes(bytes()).max(1)
}

/// RFC 3550 §5.1: the first sequence number is random; kept in the lower half, so that a packet that was sent before
/// the first one cannot make the rollover counter ambiguous (RFC 3711 §3.3.1).
pub fn first_sequence_number() -> u16 {
    u16::from_le_bytes(bytes()) & 0x7fff
}

pub fn ice_credentials() -> IceCredentials {
    IceCredentials { ufrag: text::<UFRAG_CHARS>(), pwd: text::<PWD_CHARS>() }
}

/// RFC 7022 §4.2: a short-term CNAME of at least 96 random bits.
pub fn cname() -> String {
    text::<16>()
}

fn text<const N: usize>() -> String {
    bytes::<N>().iter().map(|byte| char::from(ICE_CHARS[usize::from(byte & 63)])).collect()
}
