//! Keys: from SDP, from DTLS, none; and what is never relayed without them.

use super::*;
use crosspoint_contract::{DtlsRole, Security, SrtpSuite};

const KEY_A: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const KEY_B: &str = "AVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const FINGERPRINT: &str = "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

fn srtp(address: &str, port: u16, tags: &[(u32, &str, &str)]) -> String {
    let mut all = vec![format!("m=audio {port} RTP/SAVP 0")];
    all.extend(tags.iter().map(|(tag, suite, key)| format!("a=crypto:{tag} {suite} inline:{key}")));
    with_lines(address, &all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn dtls(address: &str, port: u16, setup: &str) -> String {
    let media = format!("m=audio {port} UDP/TLS/RTP/SAVP 0");
    with_lines(address, &[&media, FINGERPRINT, &format!("a=setup:{setup}")])
}

const CM80: &str = "AES_CM_128_HMAC_SHA1_80";
const CM32: &str = "AES_CM_128_HMAC_SHA1_32";

fn sdes_of(remote: &RtpRemote) -> (Vec<u8>, Vec<u8>, SrtpSuite) {
    match &remote.security {
        Security::Sdes { receive, send } => (receive.key_and_salt.clone(), send.key_and_salt.clone(), send.suite),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_towards_srtp_offers_our_suites_and_takes_the_one_that_is_answered() {
    let mut world = World::new();
    let savp = [("transport-protocol", "RTP/SAVP")];
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &savp));
    assert!(lines(&offered, "m=")[0].contains("RTP/SAVP"));
    assert_eq!(lines(&offered, "a=crypto:").len(), 5);
    assert_eq!(lines(&offered, "a=setup:"), ["a=setup:actpass"]);
    let answered = sdp(&world.answer("c1", "f", "t", &srtp("203.0.113.20", 5000, &[(4, CM80, KEY_A)]), &[]));
    assert!(lines(&answered, "m=")[0].contains("RTP/AVP"));
    assert!(lines(&answered, "a=crypto").is_empty());
    let described = world.described();
    let (receive, send, suite) = sdes_of(&described[0].1);
    assert_eq!((receive.len(), suite), (30, SrtpSuite::AesCm128HmacSha1_80));
    let ours = lines(&offered, "a=crypto:4 ")[0];
    assert!(!ours.contains(KEY_A) && receive != send);
    assert_eq!(described[1].1.security, Security::Plain);
}

#[test]
fn srtp_on_both_sides_has_keys_of_its_own_on_each_and_the_same_suite() {
    let mut world = World::new();
    let offer = srtp("198.51.100.10", 4000, &[(1, CM80, KEY_A), (2, CM32, KEY_A)]);
    let offered = sdp(&world.offer("c1", "f", &offer, &[]));
    assert!(lines(&offered, "a=crypto:1 ")[0].contains(CM80) && lines(&offered, "a=crypto:2 ")[0].contains(CM32));
    assert!(!offered.contains(KEY_A), "a key of one party is not told to the other");
    let answered = sdp(&world.answer("c1", "f", "t", &srtp("203.0.113.20", 5000, &[(2, CM32, KEY_B)]), &[]));
    assert_eq!(lines(&answered, "a=crypto:").len(), 1);
    assert!(lines(&answered, "a=crypto:2 ")[0].contains(CM32), "{answered}");
    let described = world.described();
    assert_ne!(sdes_of(&described[0].1).1, sdes_of(&described[1].1).1);
}

#[test]
fn a_re_offer_with_the_same_keys_changes_no_key_and_one_with_others_changes_theirs() {
    let mut world = World::new();
    let caller = srtp("198.51.100.10", 4000, &[(1, CM80, KEY_A)]);
    let plain = [("transport-protocol", "RTP/AVP")];
    world.offer("c1", "f", &caller, &plain);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let first = world.described();
    world.offer("c1", "f", &caller, &plain);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let second = world.described();
    assert_eq!(second[1].1.security, first[1].1.security, "RFC 4568 §6.1: the ROC goes on");
    assert_eq!(second[1].0, first[1].0, "on the same leg");
    world.offer("c1", "f", &srtp("198.51.100.10", 4000, &[(1, CM80, KEY_B)]), &plain);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let third = world.described();
    let ((old, ours, _), (new, kept, _)) = (sdes_of(&first[1].1), sdes_of(&third[1].1));
    assert!(old != new && ours == kept);
}

#[test]
fn who_was_offered_srtp_only_and_answers_without_keys_is_not_sent_anything() {
    let mut world = World::new();
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("transport-protocol", "RTP/SAVP")]);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let described = world.described();
    assert_eq!(described.len(), 1, "the caller only: {described:?}");
    assert!(world.notes.iter().any(|note| note.kind == "keys_not_agreed"));
}

#[test]
fn opportunistic_srtp_may_be_answered_with_plain_rtp() {
    let mut world = World::new();
    let osrtp: &[(&str, &[&str])] = &[("OSRTP", &["offer"])];
    let caller = audio("198.51.100.10", 4000);
    let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
    let offered = sdp(&world.ask_with("offer", &options, osrtp));
    assert!(lines(&offered, "m=")[0].contains("RTP/AVP") && !lines(&offered, "a=crypto").is_empty());
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    assert_eq!(world.described()[0].1.security, Security::Plain);
}

#[test]
fn the_dtls_role_follows_setup_and_stays_in_a_re_offer() {
    let role = |world: &mut World, of: usize| match world.described()[of].1.security.clone() {
        Security::Dtls { our_role, fingerprint } => (our_role, fingerprint.digest.len()),
        other => panic!("{other:?}"),
    };
    let mut world = World::new();
    let plain = [("transport-protocol", "RTP/AVP")];
    world.offer("c1", "f", &dtls("198.51.100.10", 4000, "actpass"), &plain);
    let answered = sdp(&world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]));
    assert_eq!(lines(&answered, "a=setup:"), ["a=setup:active"]);
    assert_eq!(role(&mut world, 1), (DtlsRole::Client, 32));
    let passive = [("transport-protocol", "RTP/AVP"), ("DTLS", "passive")];
    world.offer("c1", "f", &dtls("198.51.100.10", 4000, "actpass"), &passive);
    let answered = sdp(&world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]));
    assert_eq!(
        lines(&answered, "a=setup:"),
        ["a=setup:active"],
        "RFC 8842 §5.3: no new role for an association that runs"
    );
    let mut world = World::new();
    world.offer("c1", "f", &dtls("198.51.100.10", 4000, "actpass"), &passive);
    let answered = sdp(&world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]));
    assert_eq!(lines(&answered, "a=setup:"), ["a=setup:passive"]);
    let mut world = World::new();
    let webrtc = [("transport-protocol", "UDP/TLS/RTP/SAVPF")];
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &webrtc));
    assert_eq!(lines(&offered, "a=setup:"), ["a=setup:actpass"]);
    assert!(lines(&offered, "a=fingerprint:sha-256 AB:AB")[0].len() > 90);
    world.answer("c1", "f", "t", &dtls("203.0.113.20", 5000, "active"), &[]);
    assert_eq!(role(&mut world, 0).0, DtlsRole::Server);
}

#[test]
fn dtls_and_sdes_are_offered_as_the_flags_say() {
    let offered = |more: &[(&str, &str)], sdes: &[&str]| {
        let mut world = World::new();
        let caller = audio("198.51.100.10", 4000);
        let savp = ("transport-protocol", "RTP/SAVP");
        let options = [&[("call-id", "c"), ("from-tag", "f"), ("sdp", caller.as_str()), savp], more].concat();
        let text = sdp(&world.ask_with("offer", &options, &[("SDES", sdes)]));
        (lines(&text, "a=crypto").len(), lines(&text, "a=fingerprint").len())
    };
    assert_eq!(offered(&[], &[]), (5, 1));
    assert_eq!(offered(&[("DTLS", "off")], &[]), (5, 0));
    assert_eq!(offered(&[], &["off"]), (0, 1));
    assert_eq!(offered(&[], &["no-AES_CM_128_HMAC_SHA1_80", "no-AEAD_AES_256_GCM"]), (3, 1));
}

#[test]
fn the_fingerprint_is_made_with_the_function_that_is_asked_for() {
    let mut world = World::new();
    let more = [("transport-protocol", "RTP/SAVP"), ("DTLS-fingerprint", "sha-1")];
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &more));
    let fingerprint = lines(&offered, "a=fingerprint:")[0];
    // Of the two bytes 30 00 that stand for a certificate here.
    assert!(fingerprint.starts_with("a=fingerprint:sha-1 "), "{fingerprint}");
    assert_eq!(fingerprint.rsplit(' ').next().map(str::len), Some(59));
}

/// The key that seals what the callee is sent, on which leg, after an offer of the caller with these options.
fn sealed(world: &mut World, more: &[(&str, &str)]) -> (LegId, Vec<u8>, String) {
    let caller = audio("198.51.100.10", 4000);
    let offered = sdp(&world.offer("c1", "f", &caller, &[&[("transport-protocol", "RTP/SAVP")], more].concat()));
    let callee = srtp("203.0.113.20", 5000, &[(4, CM80, KEY_A)]).replace("IN IP4 203.0.113.20", place(more));
    world.answer("c1", "f", "t", &callee, &[]);
    let (leg, remote) = world.described().remove(0);
    (leg, sdes_of(&remote).1, lines(&offered, "a=crypto:4 ").concat())
}

fn place(more: &[(&str, &str)]) -> &'static str {
    let is_ipv6 = more.contains(&("address-family", "IP6"));
    if is_ipv6 { "IN IP6 2001:db8::9" } else { "IN IP4 203.0.113.20" }
}

#[test]
fn a_key_goes_on_with_its_leg_and_another_leg_has_another() {
    let mut world = World::with(|settings| {
        let six = "2001:db8::1".parse().unwrap();
        settings.interfaces[0].addresses.push(crate::settings::InterfaceAddress { local: six, advertised: six });
    });
    let first = sealed(&mut world, &[]);
    let again = sealed(&mut world, &[]);
    assert_eq!(first, again, "RFC 4568 §6.1: the ROC goes on");
    let elsewhere = sealed(&mut world, &[("address-family", "IP6")]);
    assert!(first.0 != elsewhere.0 && first.1 != elsewhere.1, "RFC 3711 §9.1: a key stream is used once");
    assert_ne!(first.2, elsewhere.2, "the party was told");
    let stays = sealed(&mut world, &[("address-family", "IP6")]);
    assert_eq!(stays, elsewhere);
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "t"), ("delete-delay", "0")]);
    let revived = sealed(&mut world, &[]);
    assert!(revived.1 != elsewhere.1 && revived.1 != first.1);
}

#[test]
fn a_leg_that_was_lost_does_not_repeat_its_key_stream() {
    let mut world = World::new();
    let (leg, key, _) = sealed(&mut world, &[]);
    world.input(Input::DataplaneLost);
    world.input(Input::DataplaneAttached { hello: hello(true), snapshot: world.dataplane.snapshot() });
    let kept = world.described().into_iter().find(|(described, _)| *described == leg).unwrap();
    assert_eq!(sdes_of(&kept.1).1, key, "only the link was lost");
    world.input(Input::DataplaneLost);
    world.dataplane = FakeDataplane::default();
    world.input(Input::DataplaneAttached { hello: hello(true), snapshot: Snapshot::default() });
    let opened = world.described().into_iter().find(|(described, _)| *described == leg).unwrap();
    assert_ne!(sdes_of(&opened.1).1, key);
    let (_, told, offered) = sealed(&mut world, &[]);
    assert_eq!(told, sdes_of(&opened.1).1);
    assert!(!offered.is_empty());
}
