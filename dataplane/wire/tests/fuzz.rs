//! Bytes from anywhere against every parser: none panics, none loops, and what a parser accepts is consistent.
//!
//! Runs in the ordinary tests over the committed corpus (`__fuzz__`) and a thousand random inputs each;
//! `cargo bolero test --package crosspoint-wire fuzz::NAME` goes on from there.

use crosspoint_wire::classify::{Kind, classify};
use crosspoint_wire::dtls::{Handshake, Identity, Output, Role, SCRATCH_BYTES_MIN};
use crosspoint_wire::ice_lite::{Credentials, IceLite};
use crosspoint_wire::rtp::{self, RtpHeader};
use crosspoint_wire::srtp::{MasterKey, SrtpReceiver, SrtpSender, Suite};
use crosspoint_wire::telephone_event::DigitListener;
use crosspoint_wire::{rtcp, stun};
use std::sync::LazyLock;
use std::time::Instant;

const SUITES: [Suite; 5] = [
    Suite::AesCm128HmacSha1_80,
    Suite::AesCm128HmacSha1_32,
    Suite::AesCm256HmacSha1_80,
    Suite::AeadAes128Gcm,
    Suite::AeadAes256Gcm,
];

#[test]
fn stun_messages() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(message) = stun::Message::parse(bytes) else { return };
        assert_eq!(classify(bytes), Kind::Stun);
        let _ = (message.class(), message.method(), message.transaction_id(), message.username(), message.priority());
        let _ = (message.use_candidate(), message.ice_controlling(), message.ice_controlled());
        let _ = (message.xor_mapped_address(), message.error_code(), message.unknown_attribute());
        let _ = message.verify_fingerprint();
        assert!(!message.verify_integrity(b"nobody chose this password"));

        let ice = IceLite::new(Credentials { ufrag: "evtj".into(), pwd: "nobody chose this password".into() });
        let mut reply = [0; stun::MESSAGE_BYTES_MAX];
        let source = "192.0.2.1:5000".parse().unwrap();
        let outcome = ice.handle(source, &message, None, &mut reply);
        assert_eq!((outcome.reply_len, outcome.check), (0, None));
    });
}

#[test]
fn rtp_packets() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(header) = RtpHeader::parse(bytes) else { return };
        assert!(header.payload_range().end + usize::from(header.padding_len) == bytes.len());
        let mut packet = bytes.to_vec();
        let mut extensions = header.extensions(bytes);
        while let Some(element) = extensions.next(&packet) {
            assert!(element.value.end <= header.extension_range().end);
            element.set_id(&mut packet, element.id.wrapping_add(1));
        }
        rtp::set_payload_type(&mut packet, 96);
        rtp::set_marker(&mut packet, !header.marker);
        rtp::set_ssrc(&mut packet, !header.ssrc);
        assert_eq!(packet.len(), bytes.len());
        assert_eq!(RtpHeader::parse(&packet).unwrap().ssrc, !header.ssrc);
        DigitListener::new().on_packet(&header, header.payload(bytes));
    });
}

#[test]
fn rtcp_compounds() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(packets) = rtcp::parse(bytes) else { return };
        for packet in packets {
            match packet {
                rtcp::Packet::SenderReport { reports, .. } | rtcp::Packet::ReceiverReport { reports, .. } => {
                    assert!(reports.count() <= rtcp::REPORT_BLOCKS_MAX);
                }
                rtcp::Packet::Bye { ssrcs } | rtcp::Packet::Remb { ssrcs, .. } => assert!(ssrcs.count() <= 255),
                rtcp::Packet::Nack { missing, .. } => assert!(missing.count() <= bytes.len() / 4 * 17),
                rtcp::Packet::Fir { entries, .. } => assert!(entries.count() <= bytes.len() / 8),
                _ => {}
            }
        }
    });
}

#[test]
fn srtp_packets() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for suite in SUITES {
            let key = MasterKey::new(suite, &[1; 32][..suite.key_bytes()], &[2; 14][..suite.salt_bytes()]).unwrap();
            let mut receiver = SrtpReceiver::new(&key);
            let before = receiver.state();
            assert!(receiver.unprotect_rtp(&mut bytes.to_vec()).is_err());
            assert!(receiver.unprotect_rtcp(&mut bytes.to_vec()).is_err());
            assert_eq!(receiver.state(), before);

            // Whatever a sender takes, a receiver gives back.
            let mut buffer = [bytes, &[0; 20]].concat();
            if let Ok(len) = SrtpSender::new(&key).protect_rtp(&mut buffer, bytes.len()) {
                let len = receiver.unprotect_rtp(&mut buffer[..len]).unwrap();
                assert_eq!(&buffer[..len], bytes);
            }
            let mut buffer = [bytes, &[0; 20]].concat();
            if let Ok(len) = SrtpSender::new(&key).protect_rtcp(&mut buffer, bytes.len()) {
                let len = receiver.unprotect_rtcp(&mut buffer[..len]).unwrap();
                assert_eq!(&buffer[..len], bytes);
            }
        }
    });
}

#[test]
fn dtls_datagrams() {
    static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::generate().unwrap());
    bolero::check!().for_each(|bytes: &[u8]| {
        let now = Instant::now();
        for role in [Role::Client, Role::Server] {
            let mut handshake = Handshake::new(&IDENTITY, role, now);
            drain(&mut handshake);
            // The input as one datagram, and cut in two.
            let (front, back) = bytes.split_at(bytes.len() / 2);
            for datagram in [bytes, back, front] {
                if handshake.handle(now, datagram).is_err() {
                    break;
                }
                drain(&mut handshake);
            }
        }
    });
}

/// Polls until there is nothing left; a handshake that keeps talking would never end.
fn drain(handshake: &mut Handshake) {
    let mut scratch = [0; SCRATCH_BYTES_MIN];
    for _ in 0..64 {
        match handshake.poll(&mut scratch) {
            Output::Timeout(_) | Output::Idle => return,
            Output::Established(_) => panic!("keys from nothing"),
            Output::Packet(_) | Output::PeerClosed => {}
        }
    }
    panic!("64 outputs from one datagram");
}
