//! Offer and answer, held to descriptions as browsers write them and to arbitrary ones. Input: text; no clock, no core.

use super::*;
use crate::core::refusal::Refusal;
use crate::core::scenario::{answer_sdp, offer_sdp};
use crosspoint_contract::{LocalDescription, WorkerId};
use proptest::prelude::*;

fn local() -> LocalDescription {
    LocalDescription {
        ice: IceCredentials { ufrag: "ours".into(), pwd: "our-password-of-many-letters".into() },
        fingerprint: Fingerprint { sha256: [0xab; 32] },
        candidates: vec!["192.0.2.1:20000".parse().expect("an address"), "[2001:db8::1]:20000".parse().expect("one")],
        ssrc: 7,
        video_ssrc: 8,
        cname: "cn".into(),
        worker: WorkerId(0),
        place: 0,
    }
}

fn agreed() -> Agreed {
    offered(&read(&offer_sdp("alic")).expect("readable"), true)
}

#[test]
fn offer_of_chromium_is_read() {
    let offer = read(&offer_sdp("alic")).expect("readable");
    assert_eq!((offer.ice.ufrag.as_str(), offer.setup), ("alic", Setup::ActPass));
    assert_eq!(offer.fingerprint.sha256, [0xaa; 32]);
    let line = offer.line(Medium::Audio).expect("audio");
    assert_eq!((line.mid.as_deref(), line.mid_extension_id), (Some("0"), Some(4)));
    let types: Vec<_> = line.formats.iter().map(|f| f.format.payload_type).collect();
    assert_eq!(types, [111, 63, 9, 0, 8, 13, 110, 126]);
    assert_eq!(line.formats[0].fmtp.as_deref(), Some("minptime=10;useinbandfec=1"));
}

#[test]
fn our_answer_is_this_one() {
    let offer = read(&offer_sdp("alic").replace("111 63 9 0 8 13 110 126", "111 126")).expect("readable");
    let agreed = offered(&offer, true);
    let local = local();
    let ours = Ours { local: &local, session_id: 5, version: 2 };
    let expected = format!(
        "v=0\r\no=- 5 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-lite\r\n\
         m=audio 20000 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 192.0.2.1\r\na=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:126 telephone-event/8000\r\na=mid:0\r\na=ice-ufrag:ours\r\n\
         a=ice-pwd:our-password-of-many-letters\r\na=fingerprint:sha-256 {}\r\na=setup:passive\r\na=rtcp-mux\r\n\
         a=sendrecv\r\na=msid:cn audio\r\na=ssrc:7 cname:cn\r\na=candidate:1 1 udp 2130706431 192.0.2.1 20000 typ host\r\n\
         a=candidate:2 1 udp 2130706175 2001:db8::1 20000 typ host\r\na=end-of-candidates\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
        ["AB"; 32].join(":")
    );
    assert_eq!(write_answer(ours, &offer, &agreed, DtlsRole::Server, Directions::default()), expected);
}

#[test]
fn what_we_write_we_read_back() {
    let local = local();
    let ours = Ours { local: &local, session_id: 5, version: 2 };
    let offer = read(&write_offer(ours, &agreed(), Directions::default())).expect("our own offer");
    assert_eq!((offer.setup, &offer.ice, &offer.fingerprint), (Setup::ActPass, &local.ice, &local.fingerprint));
    assert_eq!(offered(&offer, true), agreed());
    assert_eq!(offer.lines[0].mid_extension_id, Some(1), "streams of a bundle are told apart by it");
}

#[test]
fn payload_types_of_both_legs_are_kept_and_parameters_cross() {
    let caller = read(&offer_sdp("alic")).expect("readable");
    let callee = read(
        &answer_sdp("bobb")
            .replace("UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", "UDP/TLS/RTP/SAVPF 96 97 8")
            .replace("rtpmap:111 opus", "rtpmap:96 OPUS")
            .replace("fmtp:111 minptime=10;useinbandfec=1", "fmtp:96 maxaveragebitrate=20000")
            .replace("rtpmap:63 red", "rtpmap:97 red"),
    )
    .expect("readable");
    let pair = agree(&caller, &callee, true).expect("opus is common");
    let view = |a: &Agreed| a.audio.iter().map(|f| (f.format.payload_type, f.fmtp.clone())).collect::<Vec<_>>();
    assert_eq!(view(&pair.caller), [(111, Some("maxaveragebitrate=20000".into())), (8, None)]);
    assert_eq!(view(&pair.callee), [(96, Some("minptime=10;useinbandfec=1".into())), (8, None)]);
    assert!(pair.caller.audio.iter().all(|f| f.format.codec != Codec::Red), "RED names types nobody rewrites");
}

#[test]
fn static_payload_types_need_no_map() {
    let offer = offer_sdp("alic").replace("a=rtpmap:0 PCMU/8000\r\n", "").replace("a=rtpmap:8 PCMA/8000\r\n", "");
    let line = read(&offer).expect("readable").lines[0].clone();
    let codecs: Vec<_> = line.formats.iter().map(|f| f.format.codec).collect();
    assert!(codecs.contains(&Codec::Pcmu) && codecs.contains(&Codec::Pcma));
}

#[test]
fn several_fingerprints_are_searched_for_sha_256() {
    let offer = offer_sdp("alic").replace("a=fingerprint:", "a=fingerprint:sha-512 00:11\r\na=fingerprint:");
    assert_eq!(read(&offer).map(|d| d.fingerprint.sha256), Ok([0xaa; 32]));
    let only_sha_1 = offer_sdp("alic").replace("sha-256", "sha-1");
    assert_eq!(read(&only_sha_1), Err(Refusal::MediaUnacceptable));
}

#[test]
fn lines_we_cannot_serve_are_refused_in_their_place() {
    let data =
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:5000\r\n";
    let offer = read(&(offer_sdp("alic") + data)).expect("readable");
    let local = local();
    let ours = Ours { local: &local, session_id: 1, version: 1 };
    let answer = write_answer(ours, &offer, &agreed(), DtlsRole::Server, Directions::default());
    assert!(answer.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{answer}");
    assert!(answer.contains("a=group:BUNDLE 0\r\n"), "a refused line is in no group: {answer}");
}

proptest! {
    #[test]
    fn a_mutated_offer_is_read_or_refused(at in 0usize..1200, byte: u8, cut in 0usize..1200) {
        let mut bytes = offer_sdp("alic").into_bytes();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - cut % length);
        if let Ok(offer) = read(&String::from_utf8_lossy(&bytes)) {
            let local = local();
            let ours = Ours { local: &local, session_id: 1, version: 1 };
            write_answer(ours, &offer, &offered(&offer, true), DtlsRole::Server, Directions::default());
        }
    }
}
