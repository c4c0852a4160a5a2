//! Answers that do not quite answer what was offered, as agents of the field give them.

use super::*;

fn with_codecs(address: &str, port: u16, types: &str) -> String {
    let media = format!("m=audio {port} RTP/AVP {types}");
    with_lines(address, &[&media, "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000"])
}

fn answered(offer: &str, with_offer: &[(&str, &[&str])], answer: &str) -> (String, String) {
    let mut world = World::new();
    let identity = [("call-id", "c1"), ("from-tag", "f")];
    let offered = world.ask_with("offer", &[&identity[..], &[("sdp", offer)]].concat(), with_offer);
    (sdp(&offered), sdp(&world.answer("c1", "f", "t", answer, &[])))
}

#[test]
fn a_format_that_was_kept_from_the_answerer_is_none_of_the_answer() {
    let (caller, callee) =
        (with_codecs("198.51.100.10", 4000, "96 8 0 101"), with_codecs("203.0.113.20", 5000, "96 8 101"));
    let of = |flag: &str| answered(&caller, &[("flags", &[flag])], &callee);
    let (offered, answer) = of("codec-strip-opus");
    assert!(lines(&offered, "m=")[0].ends_with("RTP/AVP 8 0 101"), "{offered}");
    assert!(lines(&answer, "m=")[0].ends_with("RTP/AVP 8 101"), "{answer}");
    let (_, answer) = of("no-such-flag");
    assert!(lines(&answer, "m=")[0].ends_with("RTP/AVP 96 8 101"), "{answer}");
}

#[test]
fn an_answerer_that_multiplexes_unasked_is_believed() {
    let mut world = World::new();
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    let answer = with_lines("203.0.113.20", &["m=audio 5000 RTP/AVP 0", "a=rtcp-mux"]);
    let answered = sdp(&world.answer("c1", "f", "t", &answer, &[]));
    assert!(lines(&answered, "a=rtcp-mux").is_empty(), "the caller has not offered it");
    let described = world.described();
    assert_eq!((described[0].1.rtcp, described[1].1.rtcp), (None, at("198.51.100.10:4001")));
}

#[test]
fn an_answerer_stays_on_the_interface_that_it_was_offered() {
    let interface = |name: &str, last: u8| crate::settings::Interface {
        name: name.into(),
        addresses: vec![crate::settings::InterfaceAddress {
            local: [192, 0, 2, last].into(),
            advertised: [192, 0, 2, last].into(),
        }],
    };
    let mut world = World::with(|settings| settings.interfaces = vec![interface("left", 1), interface("right", 2)]);
    let direction: [(&str, &[&str]); 1] = [("direction", &["left", "right"])];
    let offer = audio("198.51.100.10", 4000);
    world.ask_with("offer", &[("call-id", "c1"), ("from-tag", "f"), ("sdp", &offer)], &direction);
    let answer = audio("203.0.113.20", 5000);
    let identity = [("call-id", "c1"), ("from-tag", "f"), ("to-tag", "t"), ("sdp", &answer)];
    world.ask_with("answer", &identity, &direction);
    let query = world.ask("query", &[("call-id", "c1")]);
    let local_address = |tag: &str| {
        let party = query.get("tags").and_then(Value::as_dict).and_then(|tags| tags.get(tag)).and_then(Value::as_dict);
        let text = format!("{:?}", party.expect("the party"));
        text.matches("192.0.2.1").count() < text.matches("192.0.2.2").count()
    };
    assert!(local_address("t"), "the callee was offered the right interface: {query:?}");
}

#[test]
fn opportunistic_keys_are_passed_on_as_such() {
    const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let with_keys = |address: &str, port: u16| with_lines(address, &[&format!("m=audio {port} RTP/AVP 0"), KEY]);
    let (offered, answer) = answered(&with_keys("198.51.100.10", 4000), &[], &with_keys("203.0.113.20", 5000));
    assert!(lines(&offered, "m=")[0].contains("RTP/AVP"));
    assert!(lines(&offered, "a=crypto:1 AES_CM_128_HMAC_SHA1_80").len() == 1, "{offered}");
    assert!(lines(&answer, "a=crypto:1 AES_CM_128_HMAC_SHA1_80").len() == 1, "{answer}");
    let (_, answer) = answered(&with_keys("198.51.100.10", 4000), &[], &audio("203.0.113.20", 5000));
    assert!(lines(&answer, "a=crypto").is_empty(), "refused by the callee: {answer}");
}

#[test]
fn a_profile_that_knows_only_dtls_is_answered_with_dtls_whatever_the_request_says() {
    let fingerprint = format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":"));
    let offer = with_lines("198.51.100.10", &["m=audio 4000 UDP/TLS/RTP/SAVP 0", &fingerprint, "a=setup:actpass"]);
    let flags: [(&str, &[&str]); 1] = [("flags", &["DTLS-off", "RTP/AVP"])];
    let (offered, answer) = answered(&offer, &flags, &audio("203.0.113.20", 5000));
    assert!(lines(&offered, "a=fingerprint").is_empty());
    assert_eq!(lines(&answer, "a=fingerprint").len(), 1, "{answer}");
}

#[test]
fn multiplexing_that_was_agreed_on_is_offered_again_until_it_is_declined() {
    let mut world = World::new();
    let line = |port: u16, mux: &[&str]| {
        with_lines("198.51.100.10", &[&[&*format!("m=audio {port} RTP/AVP 0")], mux].concat())
    };
    let muxed = ["a=rtcp-mux"];
    let offered = |world: &mut World, flag: &str| {
        let caller = line(4000, &[]);
        let identity = [("call-id", "c1"), ("from-tag", "f"), ("sdp", &caller)];
        let text = sdp(&world.ask_with("offer", &identity, &[("rtcp-mux", &[flag])]));
        (port(&text), lines(&text, "a=rtcp-mux").len(), lines(&text, "a=rtcp:").concat())
    };
    let (at, ..) = offered(&mut world, "offer");
    world.answer("c1", "f", "t", &line(5000, &muxed), &[]);
    for flag in ["", "demux", "reject"] {
        assert_eq!(offered(&mut world, flag), (at, 1, format!("a=rtcp:{at}")));
        world.answer("c1", "f", "t", &line(5000, &muxed), &[]);
    }
    offered(&mut world, "");
    world.answer("c1", "f", "t", &line(5000, &[]), &[]);
    assert_eq!(offered(&mut world, ""), (at, 0, format!("a=rtcp:{}", at + 1)));
    let mut world = World::new();
    let (at, ..) = offered(&mut world, "require");
    world.answer("c1", "f", "t", &line(5000, &muxed), &[]);
    assert_eq!(offered(&mut world, ""), (at, 1, format!("a=rtcp:{at}")), "on the leg that has one port");
}
