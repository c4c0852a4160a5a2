//! Keys: every suite both ways, what is not authentic, what a re-INVITE changes.

use super::handshake::dtls;
use super::party::{Party, sdes_key};
use super::*;
use crosspoint_contract::{CertificateDigest, DtlsRole, HashFunction, IceCredentials, SrtpSuite};
use crosspoint_wire::dtls::{Handshake, Output, Role};

const SUITES: [SrtpSuite; 5] = [
    SrtpSuite::AesCm128HmacSha1_80,
    SrtpSuite::AesCm128HmacSha1_32,
    SrtpSuite::AesCm256HmacSha1_80,
    SrtpSuite::AeadAes128Gcm,
    SrtpSuite::AeadAes256Gcm,
];

const THIRD: &str = "198.51.100.99:9999";

fn speaks_both_ways(stand: &mut Stand, alice: &mut Party, bob: &mut Party) {
    for _ in 0..3 {
        let said = stand.speak(alice);
        assert_eq!(stand.heard_by(bob), [said]);
        let said = stand.speak(bob);
        assert_eq!(stand.heard_by(alice), [said]);
    }
}

#[test]
fn plain_and_every_sdes_suite_reach_each_other_both_ways_unchanged() {
    let secured = |party: Party, suite: Option<SrtpSuite>, seed| match suite {
        Some(suite) => party.sdes(suite, seed, None),
        None => party,
    };
    let all = || std::iter::once(None).chain(SUITES.map(Some));
    for left in all() {
        for right in all() {
            let mut stand = Stand::new();
            let (mut alice, mut bob) = (secured(Party::alice(), left, 1), secured(Party::bob(), right, 2));
            stand.call(&alice, &bob);
            speaks_both_ways(&mut stand, &mut alice, &mut bob);
        }
    }
}

#[test]
fn identifiers_of_keys_travel_with_every_packet_both_ways() {
    let mut stand = Stand::new();
    let mut alice = Party::alice().sdes(SrtpSuite::AesCm128HmacSha1_80, 1, Some((7, 4)));
    let mut bob = Party::bob().sdes(SrtpSuite::AeadAes256Gcm, 2, Some((300, 2)));
    stand.call(&alice, &bob);
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
}

#[test]
fn legs_with_dtls_reach_plain_sdes_and_dtls_ones_as_client_and_as_server() {
    for (our_role, role) in [(DtlsRole::Server, Role::Client), (DtlsRole::Client, Role::Server)] {
        for kind in 0..3 {
            let identity = Identity::generate().expect("a certificate");
            let mut stand = Stand::new();
            let mut alice = Party::alice().muxed().with(|party| party.remote.security = dtls(&identity, our_role));
            let mut bob = match kind {
                0 => Party::bob(),
                1 => Party::bob().sdes(SrtpSuite::AesCm128HmacSha1_80, 3, None),
                _ => Party::bob().muxed().with(|party| party.remote.security = dtls(&identity, our_role)),
            };
            stand.call(&alice, &bob);
            stand.key(&mut alice, &identity, role);
            let connected = |event: &Event| matches!(event, Event::LegConnected { leg: LegId(1), .. });
            assert!(stand.events.iter().any(connected));
            if kind == 2 {
                stand.key(&mut bob, &identity, role);
            }
            speaks_both_ways(&mut stand, &mut alice, &mut bob);
        }
    }
}

#[test]
fn ninth_stream_towards_a_leg_with_dtls_finds_room_once_another_is_quiet() {
    let identity = Identity::generate().expect("a certificate");
    let (mut stand, mut alice, mut bob) = (Stand::new(), Party::alice(), Party::bob().muxed());
    bob.remote.security = dtls(&identity, DtlsRole::Server);
    stand.call(&alice, &bob);
    stand.key(&mut bob, &identity, Role::Client);
    for ssrc in 1..=9 {
        alice.ssrc = ssrc;
        let said = stand.speak(&mut alice);
        assert_eq!(stand.heard_by(&mut bob), [said], "stream {ssrc}");
        stand.pass(Nanos::from_secs(1));
    }
}

#[test]
fn fingerprint_may_use_any_hash_function_and_a_wrong_one_gets_no_keys_until_it_is_corrected() {
    let identity = Identity::generate().expect("a certificate");
    let digest = |hash| {
        use aws_lc_rs::digest;
        let algorithm = match hash {
            HashFunction::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashFunction::Sha384 => &digest::SHA384,
            _ => &digest::SHA512,
        };
        digest::digest(algorithm, identity.certificate_der()).as_ref().to_vec()
    };
    for hash in [HashFunction::Sha1, HashFunction::Sha384, HashFunction::Sha512] {
        let fingerprint = CertificateDigest { hash, digest: digest(hash) };
        let security = Security::Dtls { fingerprint, our_role: DtlsRole::Server };
        let (mut stand, mut alice, mut bob) = (Stand::new(), Party::alice().muxed(), Party::bob());
        alice.remote.security = security;
        stand.call(&alice, &bob);
        stand.key(&mut alice, &identity, Role::Client);
        speaks_both_ways(&mut stand, &mut alice, &mut bob);
    }
    let (mut stand, mut alice, bob) = (Stand::new(), Party::alice().muxed(), Party::bob());
    alice.remote.security = dtls(&Identity::generate().expect("another"), DtlsRole::Server);
    stand.call(&alice, &bob);
    if let Some(keys) = stand.shake_hands(Some(alice.request.rtp), alice.addr, &identity, Role::Client) {
        alice.take_keys(&keys);
        stand.speak(&mut alice);
    }
    assert!(stand.sent_to(bob.addr).is_empty());
    // The party that answered is another than the one that was described first.
    alice.remote.security = dtls(&identity, DtlsRole::Server);
    stand.describe(&alice);
    stand.key(&mut alice, &identity, Role::Client);
    assert!(!stand.speak(&mut alice).is_empty());
    assert_eq!(stand.sent_to(bob.addr).len(), 1);
}

/// Of a leg whose peer has this certificate.
fn expecting(identity: &Identity, role: DtlsRole) -> (Stand, Party, Party) {
    let (mut stand, mut alice, bob) = (Stand::new(), Party::alice().muxed(), Party::bob());
    alice.remote.security = dtls(identity, role);
    stand.call(&alice, &bob);
    (stand, alice, bob)
}

#[test]
fn without_ice_a_peer_behind_nat_is_found_by_its_certificate() {
    let identity = Identity::generate().expect("a certificate");
    let (mut stand, mut alice, mut bob) = expecting(&identity, DtlsRole::Server);
    alice.addr = addr(THIRD);
    stand.key(&mut alice, &identity, Role::Client);
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
    let moved = |event: &Event| matches!(event, Event::LegConnected { remote_addr, .. } if *remote_addr == addr(THIRD));
    assert!(stand.events.iter().any(moved), "{:?}", stand.events);
    // From then on nobody else shakes hands.
    let before = stand.dropped(DropReason::UnknownSource);
    assert!(stand.shake_hands(Some(alice.request.rtp), addr("203.0.113.66:6"), &identity, Role::Client).is_none());
    assert!(stand.dropped(DropReason::UnknownSource) > before);
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
}

#[test]
fn strangers_with_other_certificates_move_nothing_and_keep_nobody_waiting() {
    let (identity, other) = (Identity::generate().expect("one"), Identity::generate().expect("another"));
    for peer_is_where_it_said in [true, false] {
        let (mut stand, mut alice, mut bob) = expecting(&identity, DtlsRole::Server);
        let local = Some(alice.request.rtp);
        for port in 1..=9 {
            stand.shake_hands(local, addr(&format!("203.0.113.66:{port}")), &other, Role::Client);
        }
        assert!(stand.events.iter().all(|event| !matches!(event, Event::LegConnected { .. })), "{:?}", stand.events);
        stand.speak(&mut bob);
        assert!(stand.sent.iter().all(|datagram| datagram.bytes[0] >> 6 != 2), "media goes to somebody without keys");
        if !peer_is_where_it_said {
            alice.addr = addr(THIRD);
        }
        stand.key(&mut alice, &identity, Role::Client);
        speaks_both_ways(&mut stand, &mut alice, &mut bob);
    }
}

#[test]
fn strangers_begin_few_handshakes_and_none_where_the_source_is_strict_or_we_begin() {
    let identity = Identity::generate().expect("a certificate");
    let (mut stand, alice, _) = expecting(&identity, DtlsRole::Server);
    let mut hello = [0; 2048];
    let Output::Packet(len) = Handshake::new(&identity, Role::Client, std::time::Instant::now()).poll(&mut hello)
    else {
        panic!("a ClientHello")
    };
    for port in 1..=20 {
        stand.arrive(alice.request.rtp, addr(&format!("203.0.113.66:{port}")), &hello[..len]);
        stand.lobby.turn();
    }
    assert_eq!(stand.lobby.half_open(), 4);
    stand.done(Command::CloseLeg { leg: alice.leg });
    stand.lobby.turn();
    assert_eq!(stand.lobby.half_open(), 0);
    for (role, strict_source) in [(DtlsRole::Client, false), (DtlsRole::Server, true)] {
        let (mut stand, mut alice, _) = expecting(&identity, role);
        alice.remote.learning.strict_source = strict_source;
        stand.describe(&alice);
        let local = Some(alice.request.rtp);
        assert!(stand.shake_hands(local, addr(THIRD), &identity, Role::Client).is_none(), "{role:?} {strict_source}");
    }
}

#[test]
fn with_ice_dtls_and_media_are_taken_from_a_validated_pair_only() {
    let identity = Identity::generate().expect("a certificate");
    let ours = IceCredentials { ufrag: "bridge01".into(), pwd: "a-password-of-the-bridge".into() };
    let (mut stand, mut alice, mut bob) = (Stand::new(), Party::alice().muxed(), Party::bob());
    alice.request.ice = Some(ours.clone());
    alice.remote.ice = Some(IceCredentials { ufrag: "peer".into(), pwd: "a-password-of-the-peer-01".into() });
    alice.remote.security = dtls(&identity, DtlsRole::Server);
    stand.call(&alice, &bob);
    let local = Some(alice.request.rtp);
    assert!(stand.shake_hands(local, alice.addr, &identity, Role::Client).is_none(), "signaled is not validated");
    let wrong = IceCredentials { pwd: "not-the-password-at-all-0".into(), ..ours.clone() };
    assert!(!stand.check(local, alice.addr, &wrong));
    assert!(stand.shake_hands(local, alice.addr, &identity, Role::Client).is_none());

    alice.addr = addr("198.51.100.77:7777");
    assert!(stand.check(local, alice.addr, &ours));
    stand.key(&mut alice, &identity, Role::Client);
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
    let said = alice.next_packet();
    let stolen = alice.protect(&said);
    stand.arrive(alice.request.rtp, addr(THIRD), &stolen);
    assert!(stand.heard_by(&mut bob).is_empty(), "authentic, but from no validated pair");
}

#[test]
fn nothing_unauthentic_is_forwarded_moves_or_wakes_a_keyed_leg() {
    for from in [LearnFrom::FirstPacket, LearnFrom::LastPacketOfWindow, LearnFrom::BestMatch] {
        let mut stand = Stand::new();
        let mut alice = Party::alice().sdes(SrtpSuite::AesCm128HmacSha1_80, 1, None);
        let mut bob = Party::bob();
        alice.request.silent_ms = 1000;
        alice.remote.learning = learning(from);
        alice.remote.learning.media_handover = true;
        stand.call(&alice, &bob);
        for known in [false, true] {
            if known {
                stand.speak(&mut alice);
                assert_eq!(stand.heard_by(&mut bob).len(), 1);
            }
            let replayed = known.then(|| alice.next_packet()).map(|clear| alice.protect(&clear));
            if let Some(packet) = &replayed {
                stand.arrive(alice.request.rtp, alice.addr, packet);
                assert_eq!(stand.heard_by(&mut bob).len(), 1);
            }
            for source in [alice.addr, addr(THIRD)] {
                stand.arrive(alice.request.rtp, source, &alice.next_packet());
                stand.arrive(alice.request.rtp, source, &[0x80; 60]);
                stand.arrive(alice.our_rtcp(), source, &[0x80, 200, 0, 6, 0, 0, 0, 1]);
                replayed.iter().for_each(|packet| stand.arrive(alice.request.rtp, source, packet));
            }
            assert!(stand.sent_to(bob.addr).is_empty() && stand.sent_to(bob.rtcp_addr()).is_empty());
            stand.speak(&mut bob);
            assert_eq!(stand.sent_to(alice.addr).len(), 1, "the stream has not moved");
        }
        stand.events.clear();
        for _ in 0..100 {
            stand.arrive(alice.request.rtp, alice.addr, &[0x80; 60]);
            stand.pass(STEP);
        }
        let events: Vec<_> = stand.events.drain(..).collect();
        assert!(matches!(events[..], [Event::LegSilent { leg: LegId(1), .. }]), "noise is no sign of life: {events:?}");
        stand.speak(&mut alice);
        assert_eq!(stand.events.pop_front(), Some(Event::LegHeard { leg: LegId(1) }));
    }
}

#[test]
fn keyed_leg_follows_authentic_packets_at_any_time() {
    let mut stand = Stand::new();
    let mut alice = Party::alice().sdes(SrtpSuite::AeadAes128Gcm, 1, None);
    let mut bob = Party::bob();
    stand.call(&alice, &bob);
    stand.speak(&mut alice);
    stand.pass(Nanos::from_secs(60));
    stand.events.clear();
    alice.addr = addr(THIRD);
    stand.speak(&mut alice);
    assert_eq!(stand.events.pop_front(), Some(Event::LegMoved { leg: LegId(1), remote_addr: alice.addr }));
    let said = stand.speak(&mut bob);
    assert_eq!(stand.heard_by(&mut alice), [said]);
}

#[test]
fn rollover_counter_survives_a_repetition_and_begins_anew_with_other_keys() {
    let suite = SrtpSuite::AesCm128HmacSha1_80;
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice().sdes(suite, 1, None), Party::bob().sdes(suite, 2, None));
    stand.call(&alice, &bob);
    (alice.sequence_number, bob.sequence_number) = (65_533, 65_533);
    for _ in 0..6 {
        speaks_both_ways(&mut stand, &mut alice, &mut bob);
    }
    stand.describe(&alice);
    stand.describe(&bob);
    speaks_both_ways(&mut stand, &mut alice, &mut bob);

    let clear = alice.next_packet();
    let old = alice.protect(&clear);
    alice.rekey(suite, 9, None);
    stand.describe(&alice);
    stand.arrive(alice.request.rtp, alice.addr, &old);
    assert_eq!(stand.dropped(DropReason::SrtpUnauthentic), 1, "the old key is gone");
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
}

#[test]
fn one_key_of_two_may_change_and_the_other_goes_on() {
    let suite = SrtpSuite::AeadAes256Gcm;
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice().sdes(suite, 1, None), Party::bob());
    stand.call(&alice, &bob);
    alice.sequence_number = 65_535;
    for _ in 0..3 {
        speaks_both_ways(&mut stand, &mut alice, &mut bob);
    }
    let Security::Sdes { receive, .. } = alice.remote.security.clone() else { panic!("keyed") };
    let send = sdes_key(suite, 50, None);
    alice.receiver = Some(crosspoint_wire::srtp::SrtpReceiver::new(&super::party::master(&send)));
    alice.remote.security = Security::Sdes { receive, send };
    stand.describe(&alice);
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
}

#[test]
fn same_description_keeps_a_dtls_association_and_another_role_begins_one() {
    let identity = Identity::generate().expect("a certificate");
    let (mut stand, mut alice, mut bob) = (Stand::new(), Party::alice().muxed(), Party::bob());
    alice.remote.security = dtls(&identity, DtlsRole::Server);
    stand.call(&alice, &bob);
    stand.key(&mut alice, &identity, Role::Client);
    stand.describe(&alice);
    stand.lobby.turn();
    speaks_both_ways(&mut stand, &mut alice, &mut bob);

    alice.remote.security = dtls(&identity, DtlsRole::Client);
    stand.describe(&alice);
    let clear = alice.next_packet();
    let old = alice.protect(&clear);
    stand.arrive(alice.request.rtp, alice.addr, &old);
    assert!(stand.heard_by(&mut bob).is_empty(), "the old association is over");
    stand.key(&mut alice, &identity, Role::Server);
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
}

#[test]
fn impossible_keys_are_refused_and_change_nothing() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice().sdes(SrtpSuite::AeadAes128Gcm, 1, None), Party::bob());
    stand.call(&alice, &bob);
    let good = sdes_key(SrtpSuite::AeadAes128Gcm, 1, None);
    let mut short = good.clone();
    short.key_and_salt.pop();
    let unnamed = sdes_key(SrtpSuite::AeadAes128Gcm, 1, Some((70_000, 2)));
    let digest = CertificateDigest { hash: HashFunction::Sha384, digest: vec![0; 32] };
    for security in [
        Security::Sdes { receive: short.clone(), send: good.clone() },
        Security::Sdes { receive: good.clone(), send: short },
        Security::Sdes { receive: good, send: unnamed },
        Security::Dtls { fingerprint: digest, our_role: DtlsRole::Client },
    ] {
        let remote = RtpRemote { security, ..alice.remote.clone() };
        let answer = stand.ask(Command::SetRtpRemote { leg: alice.leg, remote });
        assert_eq!(answer, Err(Refused::BadKeys(alice.leg)));
    }
    speaks_both_ways(&mut stand, &mut alice, &mut bob);
}

#[test]
fn strangers_who_draw_many_identities_take_no_place_of_a_stream_that_was_heard_lately() {
    let mut stand = Stand::new();
    let mut alice = Party::alice().with(|party| party.remote.learning = learning(LearnFrom::Nothing));
    let mut bob = Party::bob().sdes(SrtpSuite::AesCm128HmacSha1_80, 1, None);
    stand.call(&alice, &bob);
    let real = alice.ssrc;
    alice.sequence_number = 65_534;
    for first in [1, 100, 200] {
        for _ in 0..4 {
            stand.speak(&mut alice);
            assert_eq!(stand.heard_by(&mut bob).len(), 1);
        }
        let sequence_number = alice.sequence_number;
        for ssrc in first..first + 8 {
            alice.ssrc = ssrc;
            stand.speak_from(&mut alice, addr(THIRD));
        }
        stand.heard_by(&mut bob);
        (alice.ssrc, alice.sequence_number) = (real, sequence_number);
        stand.pass(Nanos::from_secs(1));
    }
    assert_eq!(stand.dropped(DropReason::TooManyStreams), 1 + 8 + 8);
    let said = stand.speak(&mut alice);
    assert_eq!(stand.heard_by(&mut bob), [said], "its rollover counter goes on");

    stand.pass(Nanos::from_secs(6));
    alice.ssrc = 9;
    let said = stand.speak(&mut alice);
    assert_eq!(stand.heard_by(&mut bob), [said], "what fell silent makes room");
}
