//! Addresses, interfaces, and where packets are sent.

use super::*;
use crate::settings::{Interface, InterfaceAddress};
use crosspoint_contract::{LearnFrom, Learning};

fn two_interfaces() -> World {
    let one = |name: &str, address: [u8; 4], advertised: [u8; 4]| Interface {
        name: name.into(),
        addresses: vec![InterfaceAddress { local: address.into(), advertised: advertised.into() }],
    };
    World::with(|settings| {
        settings.interfaces =
            vec![one("internal", [10, 0, 0, 1], [10, 0, 0, 1]), one("external", [10, 0, 0, 2], [192, 0, 2, 77])];
    })
}

#[test]
fn directions_choose_interfaces_and_descriptions_name_what_is_advertised() {
    let mut world = two_interfaces();
    let caller = audio("10.9.9.9", 4000);
    let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
    let offered = sdp(&world.ask_with("offer", &options, &[("direction", &["internal", "external"])]));
    assert_eq!(lines(&offered, "c="), ["c=IN IP4 192.0.2.77"]);
    let answered = sdp(&world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]));
    assert_eq!(lines(&answered, "c="), ["c=IN IP4 10.0.0.1"]);
    let addresses: Vec<_> = world.dataplane.legs.values().map(|request| request.rtp.ip().to_string()).collect();
    assert_eq!(addresses, ["10.0.0.2", "10.0.0.1"]);
}

#[test]
fn a_media_address_is_what_the_description_says_and_nothing_else() {
    let mut world = World::new();
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("media-address", "192.0.2.200")]));
    assert_eq!(lines(&offered, "c="), ["c=IN IP4 192.0.2.200"]);
    assert!(world.dataplane.legs.values().all(|request| request.rtp.ip().to_string() == "192.0.2.1"));
}

#[test]
fn the_family_is_the_one_that_is_asked_for() {
    let mut world = World::with(|settings| {
        let six = "2001:db8::1".parse().unwrap();
        settings.interfaces[0].addresses.push(InterfaceAddress { local: six, advertised: six });
    });
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("address-family", "IP6")]));
    assert_eq!(lines(&offered, "c="), ["c=IN IP6 2001:db8::1"]);
    let answered = audio("2001:db8::9", 5000).replace("IP4", "IP6");
    let answered = sdp(&world.answer("c1", "f", "t", &answered, &[]));
    assert_eq!(lines(&answered, "c="), ["c=IN IP4 192.0.2.1"]);
}

#[test]
fn the_proxy_is_believed_only_when_told_to() {
    let remote = |more: &[(&str, &str)], flags: &[&str]| {
        let mut world = World::new();
        let caller = audio("10.1.1.1", 4000);
        let options = [&[("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())], more].concat();
        let received: &[(&str, &[&str])] = &[("received-from", &["IP4", "198.51.100.77"]), ("flags", flags)];
        world.ask_with("offer", &options, received);
        world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
        world.described()[1].1.rtp
    };
    assert_eq!(remote(&[], &[]), at("10.1.1.1:4000"));
    assert_eq!(remote(&[], &["SIP-source-address"]), at("198.51.100.77:4000"));
}

#[test]
fn media_to_ourselves_to_loopback_to_the_link_or_to_a_group_is_refused() {
    let offered = |address: &str, port: u16, rtcp: &str| {
        let media = format!("m=audio {port} RTP/AVP 0");
        let mut world = World::new();
        let reply = world.offer("c1", "f", &with_lines(address, &[&media, rtcp]), &[]);
        let calls = world.ask("list", &[]);
        let held = calls.get("calls").and_then(Value::as_list).is_some_and(|calls| !calls.is_empty());
        assert_eq!(held, reply.text("sdp").is_some(), "a refused offer leaves no call");
        error(&reply).split(':').next().unwrap().to_owned()
    };
    const REFUSED: &str = "Media address not allowed";
    assert_eq!(offered("192.0.2.1", 30_100, "a=x"), REFUSED, "a port of ours");
    assert_eq!(offered("198.51.100.10", 4000, "a=rtcp:30101 IN IP4 192.0.2.1"), REFUSED, "RTCP to a port of ours");
    assert_eq!(offered("192.0.2.1", 4000, "a=x"), "no error", "another program on this machine");
    assert_eq!(offered("127.0.0.1", 4000, "a=x"), REFUSED);
    assert_eq!(offered("169.254.169.254", 80, "a=x"), REFUSED);
    assert_eq!(offered("224.0.0.5", 4000, "a=x"), REFUSED);
    assert_eq!(offered("255.255.255.255", 4000, "a=x"), REFUSED);
    assert_eq!(offered("0.0.0.0", 4000, "a=x"), "no error", "hold");
    let candidate = "a=candidate:1 1 UDP 2130706431 169.254.3.4 4000 typ host";
    assert_eq!(offered("198.51.100.10", 4000, candidate), "no error", "browsers name such candidates among others");

    let mut world = World::new();
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    assert!(error(&world.answer("c1", "f", "t", &audio("127.0.0.1", 5000), &[])).starts_with(REFUSED));
    let mut world =
        World::with(|settings| *settings = Settings { port_min: 30_000, ..Settings::on([127, 0, 0, 1].into()) });
    assert_eq!(error(&world.offer("c1", "f", &audio("127.0.0.1", 4000), &[])), "no error", "a relay on loopback");
}

#[test]
fn nothing_is_sent_where_no_party_can_be_even_if_the_proxy_says_so() {
    let sent_to = |address: &str| {
        let mut world = World::new();
        let caller = audio("10.1.1.1", 30_100);
        let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
        let received: &[(&str, &[&str])] = &[("received-from", &["IP4", address]), ("flags", &["SIP-source-address"])];
        world.ask_with("offer", &options, received);
        world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
        world.described()[1].1.rtp
    };
    assert_eq!(sent_to("198.51.100.77"), at("198.51.100.77:30100"));
    for nobody in ["192.0.2.1", "127.0.0.1", "169.254.169.254", "224.0.0.5", "255.255.255.255"] {
        assert_eq!(sent_to(nobody), None, "{nobody}");
    }
}

#[test]
fn an_address_of_signalling_that_is_asked_for_and_not_given_is_an_error() {
    let mut world = World::new();
    let caller = audio("198.51.100.10", 4000);
    let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
    let reply = world.ask_with("offer", &options, &[("flags", &["SIP-source-address"])]);
    assert_eq!(error(&reply), "Incomplete SDP specification");
}

#[test]
fn learning_is_what_the_flags_of_the_partys_own_description_say() {
    let learning = |flags: &[&str], more: &[(&str, &str)]| {
        let mut world = World::new();
        let caller = audio("198.51.100.10", 4000);
        let options = [&[("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())], more].concat();
        world.ask_with("offer", &options, &[("flags", flags)]);
        world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
        let described = world.described();
        let default = Learning {
            from: LearnFrom::LastPacketOfWindow,
            window_ms: 3000,
            strict_source: false,
            media_handover: false,
        };
        assert_eq!(described[0].1.learning, default, "the other party is not meant");
        described[1].1.learning
    };
    assert_eq!(learning(&["asymmetric"], &[]).from, LearnFrom::Nothing);
    assert_eq!(learning(&[], &[("endpoint-learning", "immediate")]).from, LearnFrom::FirstPacket);
    assert_eq!(learning(&[], &[("endpoint-learning", "heuristic")]).from, LearnFrom::BestMatch);
    assert_eq!(learning(&[], &[("endpoint-learning", "off")]).from, LearnFrom::Nothing);
    assert!(learning(&["strict source"], &[]).strict_source);
    assert!(learning(&["media handover"], &[]).media_handover);
}

#[test]
fn ports_change_with_the_other_partys_address_unless_latched_and_the_old_ones_serve_on() {
    let mut world = World::new();
    let (offered, _) = world.plain_call("c1");
    let moved = audio("198.51.100.10", 4444);
    let latched: &[(&str, &[&str])] = &[("flags", &["port latching"])];
    let options = [("call-id", "c1"), ("from-tag", "f"), ("to-tag", "t"), ("sdp", moved.as_str())];
    assert_eq!(port(&sdp(&world.ask_with("offer", &options, latched))), port(&offered));
    let again = sdp(&world.ask("offer", &options));
    assert_ne!(port(&again), port(&offered));
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    let [old, caller, new] = legs[..] else { panic!("{legs:?}") };
    assert_eq!((&world.dataplane.sinks[&old], &world.dataplane.sinks[&new]), (&vec![caller], &vec![caller]));
    assert_eq!(world.dataplane.sinks[&caller], [new]);
    let back = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("to-tag", "t")]));
    assert_eq!(port(&back), port(&offered), "the ports that were given for that address");
    world.ask("delete", &[("call-id", "c1"), ("delete-delay", "0")]);
    assert!(world.dataplane.legs.is_empty());
}

#[test]
fn a_line_that_is_refused_or_not_ours_to_relay_takes_no_ports() {
    let mut world = World::new();
    let caller = with_lines(
        "198.51.100.10",
        &["m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "m=message 4004 TCP/MSRP *"],
    );
    let offered = sdp(&world.offer("c1", "f", &caller, &[]));
    assert_eq!(lines(&offered, "m=message"), ["m=message 4004 TCP/MSRP *"]);
    assert_eq!(world.dataplane.legs.len(), 4);
    let callee =
        with_lines("203.0.113.20", &["m=audio 5000 RTP/AVP 0", "m=video 0 RTP/AVP 96", "m=message 0 TCP/MSRP *"]);
    let answered = sdp(&world.answer("c1", "f", "t", &callee, &[]));
    assert!(lines(&answered, "m=video")[0].starts_with("m=video 0 "));
    assert_eq!(world.dataplane.legs.len(), 2);
}

#[test]
fn a_call_that_has_opened_all_legs_it_may_takes_no_more_ports() {
    let mut world = World::new();
    world.plain_call("c1");
    let mut refused = 0;
    for port in 0..4_200 {
        let moved = audio("198.51.100.10", 10_000 + 2 * port);
        let reply = world.offer("c1", "f", &moved, &[("to-tag", "t")]);
        refused += u32::from(error(&reply) == "Ran out of ports");
    }
    assert!(refused > 50);
    let used = world.core.ports.usage([192, 0, 2, 1].into()).map(|usage| usage.used as usize);
    assert_eq!(used, Some(2 * world.dataplane.legs.len()));
}

#[test]
fn packets_to_both_sides_carry_the_mark_that_was_asked_for_last() {
    let mut world = World::with(|settings| settings.tos = 8);
    let call = |world: &mut World, tos: &[(&str, &str)]| {
        world.offer("c1", "f", &audio("198.51.100.10", 4000), tos);
        world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
        world.described().into_iter().map(|(_, remote)| remote.tos).collect::<Vec<_>>()
    };
    assert_eq!(call(&mut world, &[("TOS", "184")]), [184, 184]);
    assert!(world.dataplane.legs.values().all(|request| request.tos == 184));
    assert_eq!(call(&mut world, &[]), [184, 184], "until another is asked for");
    assert_eq!(call(&mut world, &[("TOS", "32")]), [32, 32], "open legs change");
    assert_eq!(call(&mut world, &[("TOS", "256")]), [8, 8], "the default");
}
