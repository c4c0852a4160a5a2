//! Test vectors of the RFCs, and scenarios of a stream's life.

use super::derive::{Label, Protocol, derive};
use super::transform::{CounterMode, GaloisMode, Transform};
use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Both where there are two.
fn engines() -> impl Iterator<Item = Engine> {
    [Engine::Portable].into_iter().chain(matches!(Engine::detect(), Engine::Vector(_)).then(Engine::detect))
}

/// RFC 3711 B.3.
const MASTER_KEY: &str = "E1F97A0D3E018BE0D64FA32C06DE4139";
const MASTER_SALT: &str = "0EC675AD498AFEEBB6960B3AABE6";

#[test]
fn session_keys_are_those_of_rfc_3711_b3() {
    let master = MasterKey::new(Suite::AesCm128HmacSha1_80, &bytes(MASTER_KEY), &bytes(MASTER_SALT)).unwrap();
    for (label, expected) in [
        (Label::Encryption, "C61E7A93744F39EE10734AFE3FF7A087"),
        (Label::Salt, "30CBBC08863D8C85D49DB34A9AE1"),
        (
            Label::Authentication,
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
             E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
             6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
        ),
    ] {
        let mut derived = vec![0; bytes(expected).len()];
        derive(&master, Protocol::Rtp, label, &mut derived);
        assert_eq!(derived, bytes(expected), "{label:?}");
    }
}

#[test]
fn key_stream_is_that_of_rfc_3711_b2() {
    let salt = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let key = bytes("2B7E151628AED2A6ABF7158809CF4F3C");
    let first = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
    let last = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44";
    for engine in engines() {
        let mode = CounterMode::with_session_keys(&key, &[0; 20], salt, 10, engine);
        let mut stream = vec![0; 0xff02 * 16];
        mode.apply_key_stream(0, 0, &mut stream);
        assert_eq!(stream[..48], bytes(first), "{engine:?}");
        assert_eq!(stream[0xfeff * 16..][..48], bytes(last), "{engine:?}");
    }
}

/// RFC 7714 §16 and §17 print session keys, so the vectors enter behind the key derivation.
const GCM_SALT: &str = "517569642070726f2071756f";
const GCM_RTP: &str = "8040f17b8041f8d35501a0b2
    47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
const GCM_RTCP: &str = "81c8000d4d617273
    4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
const GCM_RTCP_INDEX: u32 = 0x5d4;

/// Key length, SRTP packet, SRTCP packet.
const GCM_PROTECTED: [(usize, &str, &str); 2] = [
    (
        16,
        "8040f17b8041f8d35501a0b2
         f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
         899d7f27beb16a9152cf765ee4390cce",
        "81c8000d4d617273
         63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b
         c84aa45896cf4d2fc5abf87245d9eade800005d4",
    ),
    (
        32,
        "8040f17b8041f8d35501a0b2
         32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
         7aa3db36dfffd6b0f9bb7878d7a76c13",
        "81c8000d4d617273
         d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad
         1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
    ),
];

fn gcm(key_bytes: usize, engine: Engine) -> Transform {
    let key: Vec<u8> = (0..key_bytes as u8).collect();
    Transform::Galois(Box::new(GaloisMode::with_session_keys(&key, bytes(GCM_SALT).try_into().unwrap(), engine)))
}

#[test]
fn gcm_packets_are_those_of_rfc_7714() {
    for (engine, (key_bytes, srtp, srtcp)) in engines().flat_map(|engine| GCM_PROTECTED.map(|vector| (engine, vector)))
    {
        let gcm = || gcm(key_bytes, engine);
        let mut sender = SrtpSender::with_transforms(gcm(), gcm());
        let mut receiver = SrtpReceiver::with_transforms(gcm(), gcm());

        let (clear, mut buffer) = (bytes(GCM_RTP), with_room(&bytes(GCM_RTP)));
        let len = sender.protect_rtp(&mut buffer, clear.len()).unwrap();
        assert_eq!(buffer[..len], bytes(srtp));
        let len = receiver.unprotect_rtp(&mut buffer[..len]).unwrap();
        assert_eq!(buffer[..len], clear);

        sender.import(&DirectionState { rtcp_index: GCM_RTCP_INDEX - 1, ..sender.state() });
        let (clear, mut buffer) = (bytes(GCM_RTCP), with_room(&bytes(GCM_RTCP)));
        let len = sender.protect_rtcp(&mut buffer, clear.len()).unwrap();
        assert_eq!(buffer[..len], bytes(srtcp));
        let len = receiver.unprotect_rtcp(&mut buffer[..len]).unwrap();
        assert_eq!(buffer[..len], clear);
    }
}

#[test]
fn srtcp_that_is_tagged_but_not_encrypted_is_read_as_in_rfc_7714() {
    let mut packet = bytes(GCM_RTCP);
    packet.extend(bytes("841dd9683dd78ec92ae58790125f62b3 000005d4"));
    let mut forged = packet.clone();
    forged[20] ^= 1;
    let mut receiver = SrtpReceiver::with_transforms(gcm(16, Engine::detect()), gcm(16, Engine::detect()));
    assert_eq!(receiver.unprotect_rtcp(&mut forged), Err(SrtpError::Unauthentic));
    let len = receiver.unprotect_rtcp(&mut packet).unwrap();
    assert_eq!(packet[..len], bytes(GCM_RTCP));
}

const SUITES: [Suite; 5] = [
    Suite::AesCm128HmacSha1_80,
    Suite::AesCm128HmacSha1_32,
    Suite::AesCm256HmacSha1_80,
    Suite::AeadAes128Gcm,
    Suite::AeadAes256Gcm,
];

fn ends(suite: Suite) -> (SrtpSender, SrtpReceiver) {
    let master = MasterKey::new(suite, &[3; 32][..suite.key_bytes()], &[4; 14][..suite.salt_bytes()]).unwrap();
    (SrtpSender::new(&master), SrtpReceiver::new(&master))
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    [packet, &[0; OVERHEAD_BYTES_MAX]].concat()
}

fn clear(ssrc: u32, seq: u16) -> Vec<u8> {
    let mut packet = vec![0; 12 + 33];
    crate::rtp::RtpHeader::new(111, false, seq, u32::from(seq) * 960, ssrc).write(&mut packet).unwrap();
    packet
}

fn protected(sender: &mut SrtpSender, ssrc: u32, seq: u16) -> Vec<u8> {
    let packet = clear(ssrc, seq);
    let mut buffer = with_room(&packet);
    let len = sender.protect_rtp(&mut buffer, packet.len()).unwrap();
    buffer.truncate(len);
    buffer
}

#[test]
fn packets_reordered_around_rollover_are_all_read() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends(suite);
        let sent: Vec<_> = (0..60u16).map(|i| protected(&mut sender, 1, 65_500u16.wrapping_add(i))).collect();
        // Each group of twelve comes backwards, so that the rollover falls within one.
        for packet in sent.chunks(12).flat_map(|group| group.iter().rev()) {
            receiver.unprotect_rtp(&mut packet.clone()).unwrap();
        }
        assert_eq!(receiver.state().rtp[0].highest_index, 65_559);
    }
}

#[test]
fn replayed_and_forged_packets_change_nothing() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends(suite);
        let packet = protected(&mut sender, 1, 100);
        receiver.unprotect_rtp(&mut packet.clone()).unwrap();
        let before = receiver.state();
        assert_eq!(receiver.unprotect_rtp(&mut packet.clone()), Err(SrtpError::Replayed));
        for (byte, seq) in [(2, 0x10), (8, 1), (12, 1), (packet.len() - 1, 1)] {
            let mut forged = packet.clone();
            forged[3] = 200;
            forged[byte] ^= seq;
            assert_eq!(receiver.unprotect_rtp(&mut forged), Err(SrtpError::Unauthentic));
        }
        assert_eq!(receiver.state(), before);
        receiver.unprotect_rtp(&mut protected(&mut sender, 1, 101)).unwrap();
    }
}

#[test]
fn a_flood_of_unknown_ssrcs_takes_no_room() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends(suite);
        receiver.unprotect_rtp(&mut protected(&mut sender, 1, 100)).unwrap();
        let before = receiver.state();
        for ssrc in 2..5000u32 {
            let mut forged = with_room(&clear(ssrc, 7));
            assert_eq!(receiver.unprotect_rtp(&mut forged), Err(SrtpError::Unauthentic));
        }
        assert_eq!(receiver.state(), before);
    }
}

#[test]
fn srtcp_replays_are_refused_and_each_ssrc_has_its_window() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends(suite);
        let report = |sender: &mut SrtpSender, ssrc: u8| {
            let mut buffer = with_room(&[0x80, 201, 0, 1, 0, 0, 0, ssrc]);
            let len = sender.protect_rtcp(&mut buffer, 8).unwrap();
            buffer.truncate(len);
            buffer
        };
        let [one, two, three] = [1, 1, 2].map(|ssrc| report(&mut sender, ssrc));
        for packet in [&two, &one, &three] {
            assert_eq!(receiver.unprotect_rtcp(&mut packet.clone()), Ok(8));
            let before = receiver.state();
            assert_eq!(receiver.unprotect_rtcp(&mut packet.clone()), Err(SrtpError::Replayed));
            assert_eq!(receiver.state(), before);
        }
    }
}

#[test]
fn both_ends_go_on_from_an_exported_state() {
    let master = MasterKey::new(Suite::AeadAes128Gcm, &[3; 16], &[4; 12]).unwrap();
    let (mut sender, mut receiver) = ends(Suite::AeadAes128Gcm);
    let mut last = Vec::new();
    for i in 0..=70_000u32 {
        if i % 100 == 0 {
            last = protected(&mut sender, 1, i as u16);
            receiver.unprotect_rtp(&mut last.clone()).unwrap();
        }
    }
    let mut sender = SrtpSender::resume(&master, &sender.state());
    let mut receiver = SrtpReceiver::resume(&master, &receiver.state());
    assert_eq!(receiver.unprotect_rtp(&mut last), Err(SrtpError::Replayed));
    let mut next = protected(&mut sender, 1, 70_001u32 as u16);
    receiver.unprotect_rtp(&mut next).unwrap();
    assert_eq!(receiver.state().rtp[0].highest_index, 70_001);
}

#[test]
fn a_sender_never_uses_an_index_twice() {
    for suite in SUITES {
        let (mut sender, _) = ends(suite);
        protected(&mut sender, 1, 100);
        let mut again = with_room(&clear(1, 100));
        let untouched = again.clone();
        assert_eq!(sender.protect_rtp(&mut again, 45), Err(SrtpError::Replayed));
        assert_eq!(again, untouched);
    }
}

#[test]
fn the_last_srtcp_index_is_followed_by_exhaustion() {
    let (mut sender, _) = ends(Suite::AesCm128HmacSha1_80);
    sender.import(&DirectionState { rtcp_index: (1 << 31) - 2, ..Default::default() });
    let mut buffer = with_room(&[0x80, 201, 0, 1, 0, 0, 0, 1]);
    assert!(sender.protect_rtcp(&mut buffer, 8).is_ok());
    assert_eq!(sender.protect_rtcp(&mut buffer, 8), Err(SrtpError::Exhausted));
}

#[test]
fn a_buffer_without_room_is_refused() {
    for suite in SUITES {
        let (mut sender, _) = ends(suite);
        let mut buffer = clear(1, 1);
        assert_eq!(sender.protect_rtp(&mut buffer, 45), Err(SrtpError::Malformed));
        assert_eq!(sender.protect_rtp(&mut buffer, 46), Err(SrtpError::Malformed));
        assert_eq!(sender.protect_rtcp(&mut buffer, 45), Err(SrtpError::Malformed));
    }
}

#[test]
fn keys_are_not_printed() {
    let master = MasterKey::new(Suite::AeadAes128Gcm, &[0xaa; 16], &[0xbb; 12]).unwrap();
    assert_eq!(format!("{master:?}"), "MasterKey { suite: AeadAes128Gcm, .. }");
}
