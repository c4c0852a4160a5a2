//! SRTP and SRTCP of this crate against `webrtc-srtp`, both ways, for every suite both have.
//!
//! ```text
//!  clear -> SrtpSender -> Context::decrypt -> clear
//!  clear -> Context::encrypt -> SrtpReceiver -> clear
//! ```

use crosspoint_wire::srtp::{MasterKey, OVERHEAD_BYTES_MAX, SrtpReceiver, SrtpSender, Suite};
use proptest::prelude::*;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const SUITES: [(Suite, ProtectionProfile); 5] = [
    (Suite::AesCm128HmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    (Suite::AesCm128HmacSha1_32, ProtectionProfile::Aes128CmHmacSha1_32),
    (Suite::AesCm256HmacSha1_80, ProtectionProfile::Aes256CmHmacSha1_80),
    (Suite::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (Suite::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
];

fn keys(suite: usize, key: &[u8; 32], salt: &[u8; 14]) -> (MasterKey, Context) {
    let (suite, profile) = SUITES[suite];
    let (key, salt) = (&key[..suite.key_bytes()], &salt[..suite.salt_bytes()]);
    (MasterKey::new(suite, key, salt).unwrap(), Context::new(key, salt, profile, None, None).unwrap())
}

/// A packet with `csrcs` CSRCs and, when asked for, an extension of `extension_words`.
fn rtp_packet(seq: u16, ssrc: u32, csrcs: u8, extension_words: Option<u8>, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80 | csrcs | if extension_words.is_some() { 0x10 } else { 0 }, 111];
    packet.extend(seq.to_be_bytes());
    packet.extend((u32::from(seq) * 960).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..csrcs).flat_map(|csrc| [csrc; 4]));
    if let Some(words) = extension_words {
        packet.extend([0xbe, 0xde, 0, words]);
        packet.extend((0..words).flat_map(|_| [0x10, 0x55, 0, 0]));
    }
    packet.extend(payload);
    packet
}

fn rtcp_packet(ssrc: u32, words: usize) -> Vec<u8> {
    let mut packet = vec![0x81, 204, 0, (words + 1) as u8];
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..words * 4).map(|byte| byte as u8));
    packet
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD_BYTES_MAX, 0xee);
    buffer
}

proptest! {
    #[test]
    fn rtp_both_ways_across_rollover(
        suite in 0..SUITES.len(),
        key: [u8; 32],
        salt: [u8; 14],
        first: u16,
        ssrc: u32,
        steps in prop::collection::vec((1u16..3000, 0u8..4, prop::option::of(0u8..4), prop::collection::vec(any::<u8>(), 0..300)), 1..60),
    ) {
        let (master, mut oracle) = keys(suite, &key, &salt);
        let (_, mut oracle_sender) = keys(suite, &key, &salt);
        let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
        let mut seq = first;
        for (step, csrcs, extension, payload) in steps {
            let clear = rtp_packet(seq, ssrc, csrcs, extension, &payload);
            let mut buffer = with_room(&clear);
            let len = sender.protect_rtp(&mut buffer, clear.len()).unwrap();
            let theirs = oracle_sender.encrypt_rtp(&clear).unwrap();
            prop_assert_eq!(&buffer[..len], &theirs[..]);
            prop_assert_eq!(&oracle.decrypt_rtp(&buffer[..len]).unwrap()[..], &clear[..]);
            let mut theirs = theirs.to_vec();
            let len = receiver.unprotect_rtp(&mut theirs).unwrap();
            prop_assert_eq!(&theirs[..len], &clear[..]);
            seq = seq.wrapping_add(step);
        }
    }

    #[test]
    fn rtcp_both_ways(
        suite in 0..SUITES.len(), key: [u8; 32], salt: [u8; 14], ssrc: u32, words in prop::collection::vec(0usize..80, 1..20),
    ) {
        let (master, mut oracle) = keys(suite, &key, &salt);
        let (_, mut oracle_sender) = keys(suite, &key, &salt);
        let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
        for words in words {
            let clear = rtcp_packet(ssrc, words);
            let mut buffer = with_room(&clear);
            let len = sender.protect_rtcp(&mut buffer, clear.len()).unwrap();
            prop_assert_eq!(&oracle.decrypt_rtcp(&buffer[..len]).unwrap()[..], &clear[..]);
            let mut theirs = oracle_sender.encrypt_rtcp(&clear).unwrap().to_vec();
            let len = receiver.unprotect_rtcp(&mut theirs).unwrap();
            prop_assert_eq!(&theirs[..len], &clear[..]);
        }
    }

    #[test]
    fn any_changed_bit_is_noticed_and_changes_no_state(
        suite in 0..SUITES.len(), key: [u8; 32], salt: [u8; 14], bit in 0usize..8 * 60,
    ) {
        let (master, _) = keys(suite, &key, &salt);
        let (mut sender, mut receiver) = (SrtpSender::new(&master), SrtpReceiver::new(&master));
        let mut buffer = with_room(&rtp_packet(7, 1, 0, None, &[9; 60]));
        let len = sender.protect_rtp(&mut buffer, 72).unwrap();
        let mut forged = buffer[..len].to_vec();
        forged[(bit / 8) % len] ^= 1 << (bit % 8);
        let before = receiver.state();
        prop_assert!(receiver.unprotect_rtp(&mut forged).is_err());
        prop_assert_eq!(receiver.state(), before);
        prop_assert!(receiver.unprotect_rtp(&mut buffer[..len]).is_ok());
    }
}
