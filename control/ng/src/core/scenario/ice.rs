//! ICE, and RTCP on the port of RTP.

use super::*;
use crosspoint_contract::IceCredentials;

fn webrtc(ufrag: &str) -> String {
    with_lines(
        "198.51.100.10",
        &[
            "m=audio 4000 RTP/AVP 0",
            &format!("a=ice-ufrag:{ufrag}"),
            "a=ice-pwd:abcdefghijklmnopqrstuvwx",
            "a=candidate:1 1 UDP 2130706431 198.51.100.10 4000 typ host",
            "a=rtcp-mux",
        ],
    )
}

fn ours_in(text: &str) -> IceCredentials {
    let value = |start: &str| lines(text, start)[0].split_once(':').unwrap().1.to_owned();
    IceCredentials { ufrag: value("a=ice-ufrag:"), pwd: value("a=ice-pwd:") }
}

#[test]
fn ice_is_spoken_with_whoever_offers_it_and_we_are_the_lite_side() {
    let mut world = World::new();
    let offered = sdp(&world.offer("c1", "f", &webrtc("abcd"), &[("ICE", "remove")]));
    assert!(lines(&offered, "a=ice").is_empty() && lines(&offered, "a=candidate").is_empty());
    let answered = sdp(&world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]));
    assert_eq!(lines(&answered, "a=ice-lite").len(), 1);
    assert_eq!(lines(&answered, "a=candidate:").len(), 2, "RTP and RTCP: the callee did not multiplex");
    let described = world.described();
    let caller = &described[1].1;
    assert_eq!(caller.our_ice.as_ref(), Some(&ours_in(&answered)));
    assert_eq!(caller.ice.as_ref().map(|ice| ice.ufrag.as_str()), Some("abcd"));
    assert_eq!((&described[0].1.ice, &described[0].1.our_ice), (&None, &None));
}

#[test]
fn ice_is_forced_on_a_party_whose_peer_has_none() {
    let mut world = World::new();
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("ICE", "force")]));
    let candidate = lines(&offered, "a=candidate:")[0].to_owned();
    assert!(candidate.contains(&format!(" 1 UDP 2130706431 192.0.2.1 {} typ host", port(&offered))));
    let answer = webrtc("efgh").replace("198.51.100.10", "203.0.113.20");
    let answered = sdp(&world.answer("c1", "f", "t", &answer, &[]));
    assert!(lines(&answered, "a=ice").is_empty());
    assert_eq!(world.described()[0].1.our_ice, Some(ours_in(&offered)));
}

#[test]
fn a_restart_of_ice_gets_new_credentials_of_ours_on_the_same_leg() {
    let mut world = World::new();
    let remove = [("ICE", "remove")];
    let callee = audio("203.0.113.20", 5000);
    let answered = |world: &mut World, ufrag| {
        world.offer("c1", "f", &webrtc(ufrag), &remove);
        ours_in(&sdp(&world.answer("c1", "f", "t", &callee, &[])))
    };
    let first = answered(&mut world, "abcd");
    assert_eq!(answered(&mut world, "abcd"), first, "no restart, no change");
    world.ordered();
    let restarted = answered(&mut world, "wxyz");
    assert_ne!(restarted, first, "RFC 8839 §4.4.1.1.1: an answer to a restart restarts too");
    let described = world.described();
    assert_eq!(described[1].1.our_ice.as_ref(), Some(&restarted));
}

#[test]
fn of_two_lite_agents_nobody_checks() {
    let mut world = World::new();
    let lite = webrtc("abcd").replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
    world.offer("c1", "f", &lite, &[("ICE", "remove")]);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let described = world.described();
    assert_eq!((described[1].1.rtp, &described[1].1.ice), (at("198.51.100.10:4000"), &None));
}

/// What the callee is offered and the caller is answered, and whether the leg of the caller has a port for RTCP.
fn mux(caller_muxes: bool, flags: &[&str], callee_muxes: bool) -> (bool, bool, bool) {
    let mut world = World::new();
    let line = |muxes: bool| if muxes { "a=rtcp-mux" } else { "a=sendrecv" };
    let caller = with_lines("198.51.100.10", &["m=audio 4000 RTP/AVP 0", line(caller_muxes)]);
    let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
    let offered = sdp(&world.ask_with("offer", &options, &[("rtcp-mux", flags)]));
    let callee = with_lines("203.0.113.20", &["m=audio 5000 RTP/AVP 0", line(callee_muxes)]);
    let answered = sdp(&world.answer("c1", "f", "t", &callee, &[]));
    let caller = world.dataplane.legs.values().find(|request| request.rtp.port() == port(&answered)).unwrap();
    let has = |text: &str| !lines(text, "a=rtcp-mux").is_empty();
    (has(&offered), has(&answered), caller.rtcp.is_some())
}

#[test]
fn multiplexing_is_passed_offered_accepted_split_and_rejected() {
    assert_eq!(mux(true, &[], true), (true, true, true));
    assert_eq!(mux(true, &[], false), (true, false, true));
    assert_eq!(mux(false, &[], true), (false, false, true));
    assert_eq!(mux(false, &["offer"], true), (true, false, true));
    assert_eq!(mux(true, &["accept"], false), (true, true, false));
    assert_eq!(mux(true, &["demux"], false), (false, true, false));
    assert_eq!(mux(true, &["reject"], true), (true, false, true));
}

#[test]
fn required_multiplexing_leaves_one_port() {
    let mut world = World::new();
    let caller = audio("198.51.100.10", 4000);
    let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
    let offered = sdp(&world.ask_with("offer", &options, &[("rtcp-mux", &["require"])]));
    assert_eq!(lines(&offered, "a=rtcp:"), [format!("a=rtcp:{}", port(&offered))]);
    let callee = world.dataplane.legs.values().find(|request| request.rtp.port() == port(&offered)).unwrap();
    assert_eq!(callee.rtcp, None);
}

#[test]
fn trickled_candidates_are_taken_without_an_sdp_in_return() {
    let mut world = World::new();
    let fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:aaaabbbbccccddddeeeeffff\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                    a=candidate:1 1 UDP 2130706431 198.51.100.10 4000 typ host\r\n";
    let trickle = |world: &mut World| {
        let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", fragment)];
        world.ask_with("offer", &options, &[("flags", &["fragment"])])
    };
    assert_eq!(error(&trickle(&mut world)), "Unknown call-id");
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    let reply = trickle(&mut world);
    assert_eq!((reply.text("result"), reply.text("sdp")), (Some("ok"), None));
}
