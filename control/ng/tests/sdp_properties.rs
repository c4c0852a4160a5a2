//! What holds for SDP from anywhere: it is read or refused, and what was read is written so that it reads again.
//!
//! ```text
//!   text ──read──▶ description ──write(plan)──▶ text' ──read──▶ ──write(plan)──▶ text' again
//! ```
//!
//! Texts are made of plausible lines (proptest), of the committed corpus and of noise (`cargo bolero test --package
//! crosspoint-ng sdp_texts` goes on from there).

use crosspoint_contract::{Direction, HashFunction};
use crosspoint_ng::options::Codecs;
use crosspoint_ng::sdp::{
    self, CandidateKind, CryptoLine, DtlsPlan, Fingerprint, HostAddress, IcePlan, MEDIA_MAX, MediaDescription,
    MediaKind, MediaPlan, OriginPlan, OurIce, Placement, Protocol, RelayPlan, RtcpPlan, SDP_BYTES_MAX, SdpError,
    SessionDescription, SessionPlan, Setup,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));
/// Where the parties of these tests are; no rewritten text may name it where media is pointed to.
const THEIRS: &str = "198.51.100.";

/// One of the many plans there are for a description, by the bits of `choice`.
fn plan(description: &SessionDescription, choice: u32) -> SessionPlan {
    let bit = |n: u32| choice >> n & 1 == 1;
    let media = description.media.iter().zip(0..).map(|(media, index)| match (&media.kind, media.port) {
        (MediaKind::Message, _) => MediaPlan::Untouched,
        (_, 0) => MediaPlan::Rejected { address: OURS, protocol: media.protocol.clone(), mid: media.mid.clone() },
        _ => MediaPlan::Relayed(Box::new(relay(media, index, choice))),
    });
    SessionPlan {
        origin: OriginPlan {
            address: bit(0).then_some(OURS),
            version: bit(1).then(|| "7".into()),
            ..OriginPlan::default()
        },
        name: bit(2).then(|| "name".into()),
        replace_connection: bit(3),
        hide_hold: bit(4),
        original_direction: bit(5),
        ice_lite: bit(6) && !bit(7),
        attributes: Vec::new(),
        strip_extmap: bit(8),
        media: media.collect(),
    }
}

fn relay(media: &MediaDescription, index: u16, choice: u32) -> RelayPlan {
    let bit = |n: u32| choice >> n & 1 == 1;
    let port = 30_000 + 2 * index;
    let protocol = if bit(9) { Protocol::UdpTlsRtpSavpf } else { Protocol::RtpAvp };
    let rtcp = [RtcpPlan::Port(port + 1), RtcpPlan::PortAndAddress(port + 1, OURS)][usize::from(bit(10))];
    let options = Codecs { strip: vec!["PCMU".into()], offer: vec!["opus".into()], ..Codecs::default() };
    RelayPlan {
        placement: Placement::Ours { address: OURS, port, rtcp, rtcp_mux: bit(11) },
        protocol: if media.protocol.is_rtp() { protocol } else { media.protocol.clone() },
        codecs: bit(12).then(|| sdp::codecs::offered(media, &options)),
        direction: bit(13).then_some(Direction::Inactive),
        crypto: if bit(14) { vec![crypto()] } else { Vec::new() },
        crypto_padded: bit(15),
        dtls: bit(16).then(|| DtlsPlan { setup: Setup::ActPass, fingerprint: fingerprint(), tls_id: None }),
        ptime_ms: bit(17).then_some(20),
        ice: match (bit(7), bit(18)) {
            (true, _) => IcePlan::Keep,
            (false, true) => IcePlan::Replace(ice(port)),
            (false, false) => IcePlan::Remove,
        },
        mid: media.mid.clone().or_else(|| bit(19).then(|| index.to_string())),
    }
}

fn crypto() -> CryptoLine {
    CryptoLine {
        tag: 1,
        suite: "AEAD_AES_128_GCM".into(),
        key_and_salt: vec![7; 28],
        lifetime: Some("2^31".into()),
        mki: Some((1, 4)),
        parameters: vec!["UNENCRYPTED_SRTCP".into()],
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint { hash: HashFunction::Sha256, digest: (0..32).collect() }
}

fn ice(port: u16) -> OurIce {
    let host = HostAddress { foundation: "f".into(), rtp: (OURS, port).into(), rtcp: Some((OURS, port + 1).into()) };
    OurIce {
        ufrag: "ourufrag".into(),
        pwd: "ourpasswordof26characters.".into(),
        trickle: true,
        candidates: sdp::our_candidates(&[host], CandidateKind::Host, &[]),
        end_of_candidates: true,
        remote_candidates: Vec::new(),
    }
}

/// All that must hold for any text and any plan.
fn check(text: &str, choice: u32) {
    let Ok(description) = sdp::read(text) else { return };
    assert!(text.len() <= SDP_BYTES_MAX && description.media.len() <= MEDIA_MAX);
    let plan = plan(&description, choice);
    let written = sdp::write(&description, &plan).expect("a plan for each m-line");
    if written.len() > SDP_BYTES_MAX {
        return;
    }
    let again = sdp::read(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.media.len(), description.media.len(), "RFC 3264 §6: as many m-lines");
    assert_eq!(sdp::write(&again, &plan).as_deref(), Ok(written.as_str()), "written twice is written once");
    assert!(written.lines().all(|line| !line.is_empty()) && written.ends_with("\r\n"));
    for (media, of) in again.media.iter().zip(&plan.media) {
        check_media(media, of);
    }
    let passes = plan.media.iter().any(|of| matches!(of, MediaPlan::Untouched) || choice >> 7 & 1 == 1);
    let places = ["c=", "m=", "a=candidate", "a=rtcp:"];
    let named =
        written.lines().find(|line| places.iter().any(|start| line.starts_with(start)) && line.contains(THEIRS));
    assert!(passes || named.is_none_or(|line| line.starts_with("c=") && !speaks(&again)), "{named:?}: {written}");
}

/// Whether the session's `c=` is anybody's (10.5 keeps it when every m-line has its own).
fn speaks(description: &SessionDescription) -> bool {
    description.media.iter().any(|media| !media.has_connection)
}

fn check_media(media: &MediaDescription, of: &MediaPlan) {
    let MediaPlan::Relayed(relay) = of else { return };
    assert_eq!(media.protocol, relay.protocol);
    let Placement::Ours { port, rtcp_mux, .. } = relay.placement else { return };
    assert_eq!((media.port, media.rtcp_mux), (port, rtcp_mux));
    if !relay.ice.passes() {
        assert_eq!(media.crypto, relay.crypto);
        assert_eq!(media.fingerprint, relay.dtls.as_ref().map(|dtls| dtls.fingerprint.clone()));
        let ours = if let IcePlan::Replace(ours) = &relay.ice { ours.candidates.as_slice() } else { &[] };
        assert_eq!(media.ice.candidates, ours);
    }
}

fn session_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("c=IN IP4 198.51.100.1".to_owned()),
        Just("c=IN IP6 2001:db8::1".to_owned()),
        Just("t=0 0".to_owned()),
        "s=[ -~]{0,9}",
        media_line(),
    ]
}

fn media_line() -> impl Strategy<Value = String> {
    let known = [
        "c=IN IP4 198.51.100.2",
        "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::",
        "b=AS:64",
        "a=sendonly",
        "a=inactive",
        "a=rtcp-mux",
        "a=rtcp:2001 IN IP4 198.51.100.3",
        "a=rtcp:9",
        "a=rtcp:x",
        "a=ptime:20",
        "a=ptime:x",
        "a=mid:one",
        "a=setup:active",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:96 opus/48000/0",
        "a=fmtp:96 a=b",
        "a=fmtp:0",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:* nack",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=ice-lite",
        "a=ice-options:trickle ice2",
        "a=candidate:1 1 udp 5 198.51.100.4 2000 typ host generation 0",
        "a=candidate:1 1 udp 5 198.51.100.4 2000",
        "a=end-of-candidates",
        "a=extmap:1 urn:x",
        "a=group:BUNDLE one two",
        "a=group:LS one",
        "a=fingerprint:sha-1 67:B0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78:F6:6C:C5:5F",
        "a=fingerprint:sha-1 67",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc|2^20|1:4",
        "a=crypto:1",
        "a=msid:a b",
        "a=ssrc:1 cname:x",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "a=[a-z-]{1,8}(:[ -~]{0,12})?",
    ]
}

fn media() -> impl Strategy<Value = String> {
    let m = prop_oneof![
        6 => "m=(audio|video|text) (0|2000|2002|65535|2004/2) (RTP/AVP|RTP/SAVP|UDP/TLS/RTP/SAVPF|rtp/avpf) 0 96( 8| 101| 0){0,3}",
        1 => Just("m=image 4000 udptl t38".to_owned()),
        1 => Just("m=message 5000 TCP/MSRP *".to_owned()),
        1 => Just("m=application 9 UDP/DTLS/SCTP webrtc-datachannel".to_owned()),
    ];
    (m, vec(media_line(), 0..12)).prop_map(|(m, lines)| format!("{m}\n{}", lines.join("\n")))
}

fn session() -> impl Strategy<Value = String> {
    (vec(session_line(), 0..6), vec(media(), 1..5)).prop_map(|(lines, media)| {
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let media: Vec<&str> = media.iter().map(|media| media.trim_end()).collect();
        format!("v=0\no=- 1 2 IN IP4 198.51.100.40\n{}\n{}\n", lines.join("\n"), media.join("\n")).replace("\n\n", "\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_read_is_written_so_that_it_reads_again(text in session(), choice: u32) {
        check(&text, choice);
    }
}

/// Texts as the reader sees them.
#[test]
fn sdp_texts() {
    bolero::check!(name = "sdp_texts").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _ = sdp::read_fragment(&text);
        check(&text, 0);
    });
}

/// The same with a plan: four bytes choose it, the rest is text.
#[test]
fn sdp_rewrites() {
    bolero::check!(name = "sdp_rewrites").for_each(|bytes: &[u8]| {
        let Some((choice, text)) = bytes.split_first_chunk::<4>() else { return };
        check(&String::from_utf8_lossy(text), u32::from_le_bytes(*choice));
    });
}

/// A text of `SDP_BYTES_MAX` that is one line again and again.
fn full_of(head: &str, line: &str) -> String {
    let count = (SDP_BYTES_MAX - head.len()) / line.len();
    format!("{head}{}", line.repeat(count))
}

#[test]
fn no_text_costs_more_than_its_length() {
    let head = "v=0\nc=IN IP4 198.51.100.1\na=ice-ufrag:abcd\n";
    let media = format!("{head}m=audio 2000 RTP/AVP 0 96\n");
    let texts = [
        full_of(&media, "a=rtcp-fb:96 nack\n"),
        full_of(&media, "a=rtpmap:96 opus/48000\n"),
        full_of(&media, "a=candidate:1 1 udp 5 198.51.100.4 2000 typ host\n"),
        full_of(&media, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc\n"),
        full_of(head, "a=group:BUNDLE a b c d e f g h i j k l m n o p q r s t u v w x y z\n") + "m=audio 0 RTP/AVP 0\n",
        full_of(&format!("{head}m=audio 2000 RTP/AVP"), " 96"),
        full_of(&format!("{head}m=audio 2000 RTP/AVP 0\na=mid:"), "m"),
    ];
    let start = Instant::now();
    for text in &texts {
        let text = text.get(..SDP_BYTES_MAX).unwrap_or(text);
        check(text, 0x000f_5f0f);
    }
    // Each takes milliseconds; a loop within a loop over 64 kB takes minutes.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn too_many_lines_and_too_long_texts_are_refused() {
    let media = |count: usize| format!("v=0\nc=IN IP4 198.51.100.1\n{}", "m=audio 0 RTP/AVP 0\n".repeat(count));
    assert_eq!(sdp::read(&media(10_000)), Err(SdpError::Malformed));
    assert_eq!(sdp::read(&media(MEDIA_MAX + 1)), Err(SdpError::Malformed));
    assert_eq!(sdp::read(&media(MEDIA_MAX)).map(|description| description.media.len()), Ok(MEDIA_MAX));
    assert_eq!(sdp::read(&full_of("v=0\n", "a=x\n")[..]).err(), Some(SdpError::Unwritable), "no m-line");
    assert_eq!(sdp::read(&(full_of("v=0\n", "a=x\n") + "a=xxxxx\n")), Err(SdpError::Malformed));
}
