//! Plain calls between two parties.

use super::*;
use crosspoint_contract::{LearnFrom, Security};

#[test]
fn an_offer_and_an_answer_put_us_between_the_parties() {
    let mut world = World::new();
    let (offered, answered) = world.plain_call("c1");
    assert_eq!(lines(&offered, "c="), ["c=IN IP4 192.0.2.1"]);
    let (to_callee, to_caller) = (port(&offered), port(&answered));
    assert!(to_callee % 2 == 0 && to_caller % 2 == 0 && to_callee != to_caller);
    assert_eq!(lines(&offered, "a=rtcp:"), [format!("a=rtcp:{}", to_callee + 1)]);
    let legs: Vec<_> = world.dataplane.legs.clone().into_iter().collect();
    let (callee, caller) = (&legs[0], &legs[1]);
    assert_eq!((callee.1.rtp.port(), caller.1.rtp.port()), (to_callee, to_caller));
    assert_eq!(callee.1.rtcp.map(|rtcp| rtcp.port()), Some(to_callee + 1));
    assert_eq!(world.dataplane.sinks[&callee.0], [caller.0]);
    assert_eq!(world.dataplane.sinks[&caller.0], [callee.0]);
    let described = world.described();
    let rtp: Vec<_> = described.iter().map(|(leg, remote)| (*leg, remote.rtp, remote.rtcp)).collect();
    assert_eq!(rtp[0], (callee.0, at("203.0.113.20:5000"), at("203.0.113.20:5001")));
    assert_eq!(rtp[1], (caller.0, at("198.51.100.10:4000"), at("198.51.100.10:4001")));
    assert_eq!(described[0].1.security, Security::Plain);
    assert_eq!(described[0].1.learning.from, LearnFrom::LastPacketOfWindow);
    assert_eq!(described[0].1.learning.window_ms, 3000);
}

#[test]
fn the_dataplane_hears_of_nobody_before_the_answer() {
    let mut world = World::new();
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    assert!(world.ordered().iter().all(|command| matches!(command, Command::OpenLeg { .. })));
}

#[test]
fn a_repeated_question_has_the_same_answer_and_no_second_effect() {
    let mut world = World::new();
    let mut bytes = b"cookie ".to_vec();
    let dict = Dict::new()
        .with("command", "offer")
        .with("call-id", "c1")
        .with("from-tag", "f")
        .with("sdp", audio("198.51.100.10", 4000));
    json::encode_dict(&dict, &mut bytes);
    world.send_bytes(&bytes);
    let first = world.heard().unwrap();
    let ordered = world.ordered().len();
    assert_eq!(ordered, 2);
    world.send_bytes(&bytes);
    assert_eq!((world.heard().unwrap(), world.ordered().len()), (first, 0));
}

#[test]
fn a_re_offer_from_either_side_keeps_the_ports() {
    let mut world = World::new();
    let (offered, answered) = world.plain_call("c1");
    world.ordered();
    let again = world.offer("c1", "t", &audio("203.0.113.20", 5000), &[("to-tag", "f")]);
    assert_eq!(port(&sdp(&again)), port(&answered));
    let answer = world.answer("c1", "t", "f", &audio("198.51.100.10", 4000), &[]);
    assert_eq!(port(&sdp(&answer)), port(&offered));
    let ordered = world.ordered();
    assert!(ordered.iter().all(|command| matches!(command, Command::SetRtpRemote { .. })), "{ordered:?}");
}

#[test]
fn what_a_request_lacks_is_said_in_rtpengines_words() {
    let mut world = World::new();
    let sdp = audio("198.51.100.10", 4000);
    let refusal = |world: &mut World, command, options: &[(&str, &str)]| error(&world.ask(command, options)).to_owned();
    let cases: [Refusal; 9] = [
        ("offer", &[("from-tag", "f"), ("sdp", &sdp)], "No call-id in message"),
        ("offer", &[("call-id", "c"), ("sdp", &sdp)], "No from-tag in message"),
        ("offer", &[("call-id", "c"), ("from-tag", "f")], "No SDP body in message"),
        ("offer", &[("call-id", "c"), ("from-tag", "f"), ("sdp", "hello")], "Failed to parse SDP"),
        ("answer", &[("call-id", "c"), ("from-tag", "f"), ("sdp", &sdp)], "No to-tag in message"),
        ("answer", &[("call-id", "c"), ("from-tag", "f"), ("to-tag", "t"), ("sdp", &sdp)], "Unknown call-id"),
        ("query", &[("call-id", "c")], "Unknown call-id"),
        ("bogus", &[], "Unrecognized command"),
        ("delete", &[], "No call-id in message"),
    ];
    for (command, options, words) in cases {
        assert_eq!(refusal(&mut world, command, options), words, "{command} {options:?}");
    }
    assert_eq!(world.core.calls(), 0, "nothing was left behind");
}

#[test]
fn without_a_dataplane_new_calls_are_refused_so_that_clients_go_elsewhere() {
    let mut world = World::detached(|_| {});
    assert_eq!(world.ask("ping", &[]).text("result"), Some("pong"));
    let reply = world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    assert_eq!(error(&reply), "Load limit exceeded");
}

#[test]
fn ports_run_out_and_come_back() {
    let mut world = World::with(|settings| (settings.port_min, settings.port_max) = (40_000, 40_003));
    world.plain_call("c1");
    let reply = world.offer("c2", "f", &audio("198.51.100.10", 4000), &[]);
    assert_eq!(error(&reply), "Ran out of ports");
    assert_eq!(world.core.calls(), 1, "the refused call is forgotten");
    world.ask("delete", &[("call-id", "c1"), ("delete-delay", "0")]);
    assert!(world.offer("c2", "f", &audio("198.51.100.10", 4000), &[]).text("sdp").is_some());
}

#[test]
fn the_session_limit_is_said_as_each_client_understands_it() {
    let mut world = World::with(|settings| settings.sessions_max = Some(1));
    world.plain_call("c1");
    let offer = audio("198.51.100.10", 4000);
    assert_eq!(error(&world.offer("c2", "f", &offer, &[])), "Parallel session limit reached");
    let options = [("call-id", "c3"), ("from-tag", "f"), ("sdp", offer.as_str())];
    let reply = world.ask_with("offer", &options, &[("supports", &["load limit"])]);
    assert_eq!(reply.text("result"), Some("load limit"));
    assert_eq!(reply.text("message"), Some("Parallel session limit reached"));
    let again = world.offer("c1", "f", &offer, &[("to-tag", "t")]);
    assert!(again.text("sdp").is_some(), "calls in progress are not affected");
}

#[test]
fn where_ports_may_be_taken_the_answer_waits_and_others_are_tried() {
    let mut world = World::detached(|settings| (settings.port_min, settings.port_max) = (40_000, 40_007));
    world.input(Input::DataplaneAttached { hello: hello(false), snapshot: Snapshot::default() });
    world.dataplane.taken = ["192.0.2.1:40000", "192.0.2.1:40004"].map(|text| text.parse().unwrap()).into();
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]));
    let open: Vec<u16> = world.dataplane.legs.values().map(|request| request.rtp.port()).collect();
    assert_eq!(open.len(), 2);
    assert!(open.iter().all(|port| [40_002, 40_006].contains(port)), "{open:?}");
    assert!(open.contains(&port(&offered)), "the description names a port that is open");
}

#[test]
fn a_description_that_passed_here_before_passes_unchanged() {
    let mut world = World::new();
    let caller = audio("198.51.100.10", 4000);
    let protect: &[(&str, &[&str])] = &[("flags", &["loop protect"])];
    let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
    let once = sdp(&world.ask_with("offer", &options, protect));
    assert_eq!(lines(&once, "a=rtpengine:").len(), 1);
    let options = [("call-id", "c1"), ("from-tag", "f"), ("via-branch", "x"), ("sdp", once.as_str())];
    assert_eq!(sdp(&world.ask_with("offer", &options, protect)), once);
    assert_eq!(world.dataplane.legs.len(), 2);
}

#[test]
fn versions_rise_when_the_text_changes_for_its_receiver() {
    let mut world = World::new();
    let offered = |world: &mut World, port| {
        let caller = audio("198.51.100.10", port);
        let options = [("call-id", "c1"), ("from-tag", "f"), ("sdp", caller.as_str())];
        let text = sdp(&world.ask_with("offer", &options, &[("replace", &["SDP-version"])]));
        lines(&text, "o=")[0].split(' ').nth(2).unwrap().to_owned()
    };
    let versions: Vec<_> = [4000, 4000, 4100].map(|port| offered(&mut world, port)).into();
    assert_eq!(versions, ["1", "1", "2"]);
}

#[test]
fn clients_behind_one_proxy_may_count_alike_over_http_and_a_repetition_is_still_one() {
    let mut world = World::new();
    let mut request = 0;
    let mut ask = |world: &mut World, message: &[u8]| {
        request += 1;
        world.peer.channel = Channel::Request(request);
        world.send_bytes(message);
        world.replies.pop().expect("an answer")
    };
    let offer = |call: &str| {
        let text = audio("198.51.100.10", 4000);
        let dict = Dict::new().with("command", "offer").with("call-id", call).with("from-tag", "f").with("sdp", text);
        let mut bytes = b"1 ".to_vec();
        json::encode_dict(&dict, &mut bytes);
        bytes
    };
    let first = ask(&mut world, &offer("c1"));
    let second = ask(&mut world, &offer("c2"));
    assert_ne!(first, second, "another question of another client");
    assert_eq!(ask(&mut world, &offer("c1")), first);
    assert_eq!(world.dataplane.legs.len(), 4);
}
