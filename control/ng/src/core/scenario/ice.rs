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
    let options = [("ICE", "remove"), ("ICE-lite", "both")];
    world.offer("c1", "f", &lite(&webrtc("abcd")), &options);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let described = world.described();
    assert_eq!((described[1].1.rtp, &described[1].1.ice), (at("198.51.100.10:4000"), &None));
    assert_eq!(described[1].1.checks, None);
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
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    let reply = trickled(&mut world, "offer", "abcd", 4000);
    assert_eq!((reply.text("result"), reply.text("sdp")), (Some("ok"), None));
}

/// The same of a lite agent.
fn lite(text: &str) -> String {
    text.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n")
}

fn checks(remote: &crosspoint_contract::RtpRemote) -> Option<(bool, Vec<String>)> {
    let checks = remote.checks.as_ref()?;
    Some((checks.controlling, checks.candidates.iter().map(|candidate| candidate.addr.to_string()).collect()))
}

#[test]
fn lite_party_is_checked_by_us_and_told_that_we_are_a_full_agent() {
    let mut world = World::new();
    world.offer("c1", "f", &lite(&webrtc("abcd")), &[("ICE", "remove")]);
    let answered = sdp(&world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]));
    assert!(lines(&answered, "a=ice-lite").is_empty() && lines(&answered, "a=ice-ufrag").len() == 1);
    let described = world.described();
    let caller = &described[1].1;
    assert_eq!(caller.ice.as_ref().map(|ice| ice.ufrag.as_str()), Some("abcd"));
    assert_eq!(checks(caller), Some((true, vec!["198.51.100.10:4000".into()])), "RFC 8445 §6.1.1: we control");
    assert_eq!(checks(&described[0].1), None);
}

#[test]
fn callee_that_turns_out_to_be_lite_is_checked_too() {
    let mut world = World::new();
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("ICE", "force")]));
    assert_eq!(lines(&offered, "a=ice-lite").len(), 1);
    let callee = lite(&webrtc("efgh")).replace("198.51.100.10", "203.0.113.20");
    world.answer("c1", "f", "t", &callee, &[]);
    assert_eq!(checks(&world.described()[0].1), Some((true, vec!["203.0.113.20:4000".into()])));
    let again = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("ICE", "force")]));
    assert!(lines(&again, "a=ice-lite").is_empty(), "by now we know");
}

/// What the callee is offered and the caller is answered of lite, and whether each is checked and with which role.
fn with_lite(word: &str) -> [(bool, Option<bool>); 2] {
    let mut world = World::new();
    let offered = sdp(&world.offer("c1", "f", &webrtc("abcd"), &[("ICE-lite", word)]));
    let callee = webrtc("efgh").replace("198.51.100.10", "203.0.113.20");
    let answered = sdp(&world.answer("c1", "f", "t", &callee, &[]));
    let described = world.described();
    let says = |text: &str| !lines(text, "a=ice-lite").is_empty();
    let role = |at: usize| checks(&described[at].1).map(|(controlling, _)| controlling);
    [(says(&offered), role(0)), (says(&answered), role(1))]
}

#[test]
fn full_agent_is_had_for_the_asking_and_controls_whom_it_has_offered_to() {
    assert_eq!(with_lite("off"), [(false, Some(true)), (false, Some(false))]);
    assert_eq!(with_lite("both"), [(true, None), (true, None)]);
    assert_eq!(with_lite("forward"), [(true, None), (true, None)], "lite is what we are unless told");
}

#[test]
fn what_lite_says_holds_for_later_offers() {
    let mut world = World::new();
    let callee = webrtc("efgh").replace("198.51.100.10", "203.0.113.20");
    world.offer("c1", "f", &webrtc("abcd"), &[("ICE-lite", "off")]);
    world.answer("c1", "f", "t", &callee, &[]);
    let again = sdp(&world.offer("c1", "f", &webrtc("abcd"), &[("to-tag", "t")]));
    assert!(lines(&again, "a=ice-lite").is_empty());
}

#[test]
fn candidates_where_no_party_can_be_are_not_checked() {
    let mut world = World::new();
    let mut offer = lite(&webrtc("abcd"));
    for wrong in [
        "1 UDP 5 127.0.0.1 4000",
        "1 UDP 5 192.0.2.1 30000",
        "1 UDP 5 224.0.0.1 4000",
        "1 UDP 5 255.255.255.255 4000",
        "1 UDP 5 169.254.1.1 4000",
        "1 UDP 5 0.0.0.0 4000",
        "1 UDP 5 198.51.100.10 0",
        "1 UDP 5 2001:db8::1 4000",
        "1 UDP 5 ::ffff:127.0.0.1 4000",
        "1 TCP 5 198.51.100.10 4002",
        "2 UDP 5 198.51.100.10 4001",
    ] {
        offer += &format!("a=candidate:9 {wrong} typ host\r\n");
    }
    world.offer("c1", "f", &offer, &[("ICE", "remove")]);
    // The caller multiplexes, and so does the callee: there is one component.
    let callee = with_lines("203.0.113.20", &["m=audio 5000 RTP/AVP 0", "a=rtcp-mux"]);
    world.answer("c1", "f", "t", &callee, &[]);
    assert_eq!(checks(&world.described()[1].1), Some((true, vec!["198.51.100.10:4000".into()])));
}

fn dual_stack() -> World {
    World::with(|settings| {
        let local = "2001:db8::1".parse().unwrap();
        let second = crate::settings::InterfaceAddress { local, advertised: local };
        settings.interfaces[0].addresses.push(second);
    })
}

#[test]
fn ice_offers_both_families_of_an_interface_and_the_line_names_one() {
    let mut world = dual_stack();
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("ICE", "force")]));
    assert_eq!(lines(&offered, "c="), ["c=IN IP4 192.0.2.1"]);
    let candidates: Vec<Vec<&str>> =
        lines(&offered, "a=candidate:").iter().map(|line| line.split(' ').collect()).collect();
    let places: Vec<_> = candidates.iter().map(|words| (words[1], words[3], words[4])).collect();
    assert_eq!(
        places,
        [
            ("1", "2130706431", "192.0.2.1"),
            ("1", "2130706175", "2001:db8::1"),
            ("2", "2130706430", "192.0.2.1"),
            ("2", "2130706174", "2001:db8::1")
        ],
        "as rtpengine writes them"
    );
    assert_eq!((candidates[0][0], candidates[1][0]), (candidates[2][0], candidates[3][0]), "RFC 8445 §5.1.1.3");
    assert_ne!(candidates[0][0], candidates[1][0], "another base, another foundation");
    let callee = world.dataplane.legs.values().find(|request| request.rtp.port() == port(&offered)).unwrap();
    let second = callee.other_family.expect("ports of the other family");
    assert_eq!(
        (second.rtp.ip().to_string(), second.rtp.port().to_string()),
        (places[1].2.into(), candidates[1][5].into())
    );
    assert_eq!(second.rtcp.map(|rtcp| rtcp.port()), Some(second.rtp.port() + 1));
}

#[test]
fn offerer_who_is_answered_with_ice_has_both_families_although_it_offered_none() {
    let mut world = dual_stack();
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("ICE", "force")]);
    let answered = sdp(&world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[("ICE", "force")]));
    assert_eq!(lines(&answered, "a=candidate:").len(), 4);
    assert_eq!(world.dataplane.legs.len(), 2, "a leg each");
}

#[test]
fn callee_of_the_other_family_keeps_the_leg_that_its_ice_was_told() {
    let mut world = dual_stack();
    let offered = sdp(&world.offer("c1", "f", &webrtc("abcd"), &[]));
    let callee = webrtc("efgh").replace("IN IP4 198.51.100.10", "IN IP6 2001:db8::77");
    world.ordered();
    world.answer("c1", "f", "t", &callee, &[]);
    let ports: Vec<u16> = world.dataplane.legs.values().map(|request| request.rtp.port()).collect();
    assert!(ports.contains(&port(&offered)), "{ports:?}");
}

#[test]
fn parties_of_a_call_speak_ice_or_not_whatever_the_other_does_later() {
    let mut world = World::new();
    world.offer("c1", "f", &webrtc("abcd"), &[]);
    world.answer("c1", "f", "t", &webrtc("efgh"), &[]);
    let again = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("to-tag", "t")]));
    assert_eq!(lines(&again, "a=ice-ufrag:").len(), 1);
    world.plain_call("c2");
    let again = sdp(&world.offer("c2", "f", &webrtc("abcd"), &[("to-tag", "t")]));
    assert!(lines(&again, "a=ice-ufrag:").is_empty());
}

#[test]
fn without_ice_a_leg_has_one_family() {
    let mut world = dual_stack();
    world.plain_call("c1");
    assert!(world.dataplane.legs.values().all(|request| request.other_family.is_none()));
}

#[test]
fn ports_of_both_families_are_given_back() {
    let mut world = dual_stack();
    let second = "2001:db8::1".parse().unwrap();
    world.offer("c1", "f", &webrtc("abcd"), &[]);
    assert_eq!(world.core.ports.usage(second).map(|usage| usage.used), Some(4));
    world.ask("delete", &[("call-id", "c1"), ("delete-delay", "0")]);
    assert_eq!(world.core.ports.usage(second).map(|usage| usage.used), Some(0));
}

#[test]
fn candidates_of_either_family_are_checked_where_we_have_both() {
    let mut world = dual_stack();
    let offer = lite(&webrtc("abcd")) + "a=candidate:2 1 UDP 9 2001:db8::77 4000 typ host\r\n";
    world.offer("c1", "f", &offer, &[("ICE", "remove")]);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let both = vec!["198.51.100.10:4000".into(), "[2001:db8::77]:4000".into()];
    assert_eq!(checks(&world.described()[1].1), Some((true, both)));
}

/// Trickles a candidate of the caller with this port.
fn trickled(world: &mut World, command: &str, ufrag: &str, port: u16) -> Dict {
    let fragment = format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
         a=candidate:1 1 UDP 2130706431 198.51.100.10 {port} typ host\r\na=end-of-candidates\r\n"
    );
    let options = [("call-id", "c1"), ("from-tag", "f"), ("to-tag", "t"), ("sdp", fragment.as_str())];
    world.ask_with(command, &options, &[("flags", &["fragment"])])
}

fn bare(ufrag: &str) -> String {
    lite(&webrtc(ufrag))
        .replace("a=candidate:1 1 UDP 2130706431 198.51.100.10 4000 typ host\r\n", "a=ice-options:trickle\r\n")
}

fn checked_of_caller(world: &mut World) -> Vec<Vec<String>> {
    let described = world.described().into_iter().filter_map(|(_, remote)| checks(&remote));
    described.map(|(_, candidates)| candidates).collect()
}

#[test]
fn trickled_candidates_reach_the_agent_before_and_after_the_answer() {
    let mut world = World::new();
    let answered = |world: &mut World| world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    world.offer("c1", "f", &bare("abcd"), &[("ICE", "remove")]);
    trickled(&mut world, "offer", "abcd", 4000);
    let answer = sdp(&answered(&mut world));
    assert_eq!(lines(&answer, "a=ice-options:"), ["a=ice-options:trickle"], "RFC 8840 §4.2.1");
    assert_eq!(lines(&answer, "a=end-of-candidates").len(), 1);
    assert_eq!(checked_of_caller(&mut world), [["198.51.100.10:4000"]]);
    trickled(&mut world, "offer", "abcd", 4002);
    assert_eq!(checked_of_caller(&mut world), [["198.51.100.10:4000", "198.51.100.10:4002"]]);
    trickled(&mut world, "offer", "abcd", 4002);
    trickled(&mut world, "offer", "wxyz", 4004);
    assert!(checked_of_caller(&mut world).is_empty(), "known already, or of another generation");
}

#[test]
fn fragment_that_overtakes_its_offer_waits_for_it_three_seconds() {
    let mut world = World::new();
    let result = |reply: Dict| reply.text("result").map(str::to_owned);
    assert_eq!(result(trickled(&mut world, "offer", "abcd", 4000)).as_deref(), Some("ok"));
    world.advance(2_000);
    world.offer("c1", "f", &bare("abcd"), &[("ICE", "remove")]);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    assert_eq!(checked_of_caller(&mut world), [["198.51.100.10:4000"]]);
    world.ask("delete", &[("call-id", "c1"), ("delete-delay", "0")]);

    trickled(&mut world, "offer", "abcd", 4000);
    world.advance(3_000);
    world.offer("c1", "f", &bare("abcd"), &[("ICE", "remove")]);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    assert_eq!(checked_of_caller(&mut world), [[""; 0]]);
}

#[test]
fn fragment_of_the_answerer_may_come_before_its_answer_but_not_before_the_call() {
    let mut world = World::new();
    assert_eq!(error(&trickled(&mut world, "answer", "efgh", 4000)), "Unknown call-id");
    world.offer("c1", "f", &audio("198.51.100.9", 4000), &[("ICE", "force")]);
    trickled(&mut world, "answer", "efgh", 4000);
    world.answer("c1", "f", "t", &bare("efgh"), &[]);
    assert_eq!(checked_of_caller(&mut world), [["198.51.100.10:4000"]]);
}

#[test]
fn restart_tells_the_dataplane_of_new_credentials_on_both_sides() {
    let mut world = World::new();
    let callee = audio("203.0.113.20", 5000);
    for ufrag in ["abcd", "wxyz"] {
        world.offer("c1", "f", &lite(&webrtc(ufrag)), &[("ICE", "remove")]);
        world.answer("c1", "f", "t", &callee, &[]);
    }
    let described = world.described();
    let of_caller: Vec<_> = described.iter().filter(|(_, remote)| remote.checks.is_some()).collect();
    assert_eq!(of_caller.len(), 2);
    assert_ne!(of_caller[0].1.our_ice, of_caller[1].1.our_ice);
    assert_eq!(of_caller[1].1.ice.as_ref().map(|ice| ice.ufrag.as_str()), Some("wxyz"));
    assert_eq!(of_caller[0].0, of_caller[1].0, "the same leg");
}
