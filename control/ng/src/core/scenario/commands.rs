//! Commands on calls in progress.

use super::*;
use crate::effect::{Load, Traffic};
use crate::limits::UNHEARD_PACKETS_MAX;
use crosspoint_contract::FlowFilter;

fn filters(world: &mut World) -> Vec<FlowFilter> {
    let filter = |command| match command {
        Command::Filter { filter, .. } => Some(filter),
        _ => None,
    };
    world.ordered().into_iter().filter_map(filter).collect()
}

#[test]
fn media_of_all_or_of_one_is_blocked_apart_from_each_other() {
    let mut world = World::new();
    world.plain_call("c1");
    let id = ("call-id", "c1");
    world.ordered();
    world.ask("block media", &[id]);
    assert_eq!(filters(&mut world).iter().filter(|filter| filter.media_blocked).count(), 2);
    world.ask("block media", &[id, ("from-tag", "f")]);
    world.ask("unblock media", &[id]);
    assert_eq!(filters(&mut world).iter().filter(|filter| !filter.media_blocked).count(), 1, "only the other is free");
    world.ask("unblock media", &[id, ("from-tag", "f")]);
    assert_eq!(filters(&mut world), [FlowFilter::default()]);
    world.ask("silence media", &[id, ("address", "203.0.113.20")]);
    assert_eq!(filters(&mut world), [FlowFilter { silenced: true, ..FlowFilter::default() }]);
    world.ask("block DTMF", &[id, ("from-tag", "t")]);
    let both = FlowFilter { silenced: true, digits_blocked: true, media_blocked: false };
    assert_eq!(filters(&mut world), [both]);
}

#[test]
fn one_flow_is_blocked_by_leaving_out_its_listener() {
    let mut world = World::new();
    world.plain_call("c1");
    let flow = [("call-id", "c1"), ("from-tag", "f"), ("to-tag", "t")];
    world.ordered();
    world.ask("block media", &flow);
    assert!(matches!(&world.ordered()[..], [Command::Forward { sinks, .. }] if sinks.is_empty()));
    world.ask("unblock media", &flow);
    assert!(matches!(&world.ordered()[..], [Command::Forward { sinks, .. }] if sinks.len() == 1));
}

#[test]
fn who_is_not_found_is_told_in_rtpengines_words() {
    let mut world = World::new();
    world.plain_call("c1");
    let cases: [Refusal; 13] = [
        ("block media", &[("call-id", "x")], "Unknown call-ID"),
        ("block media", &[("from-tag", "x")], "From-tag given, but no such tag exists"),
        ("block media", &[("label", "x")], "No monologue matching the given label"),
        ("block media", &[("address", "9.9.9.9")], "Failed to match address to any tag"),
        ("block media", &[("address", "x")], "Failed to parse network address"),
        ("unsubscribe", &[], "No to-tag in message"),
        ("subscribe request", &[], "No monologues matched"),
        ("subscribe answer", &[("to-tag", "x"), ("sdp", "x")], "Failed to parse SDP"),
        ("publish", &[("from-tag", "p")], "No SDP body in message"),
        ("play media", &[("from-tag", "f")], "No media file specified"),
        ("play media", &[("from-tag", "f"), ("file", "/x.wav")], "Not supported"),
        ("start recording", &[], "Not supported"),
        ("start forwarding", &[], "Not supported"),
    ];
    for (command, more, words) in cases {
        let id = ("call-id", "c1");
        let options: Vec<_> =
            if more.iter().any(|(key, _)| *key == "call-id") { more.to_vec() } else { [&[id], more].concat() };
        assert_eq!(error(&world.ask(command, &options)), words, "{command} {more:?}");
    }
    assert_eq!(world.ask("stop recording", &[("call-id", "c1")]).text("result"), Some("ok"));
}

#[test]
fn a_publication_is_answered_by_us_and_heard_by_whoever_subscribes() {
    let mut world = World::new();
    let published = with_lines("198.51.100.10", &["m=audio 4000 RTP/AVP 0 8", "a=sendonly"]);
    let options = [("call-id", "c1"), ("from-tag", "p"), ("sdp", published.as_str())];
    let answer = sdp(&world.ask("publish", &options));
    assert!(lines(&answer, "s=rtpengine")[0].starts_with("s=rtpengine"));
    assert_eq!((lines(&answer, "a=recvonly").len(), lines(&answer, "c=")), (1, vec!["c=IN IP4 192.0.2.1"]));
    assert!(lines(&answer, "m=")[0].ends_with("RTP/AVP 0"), "one format: {answer}");
    let request = world.ask("subscribe request", &[("call-id", "c1"), ("from-tag", "p")]);
    let tag = request.text("to-tag").unwrap().to_owned();
    assert_eq!((tag.len(), request.text("from-tag")), (64, Some("p")));
    assert_eq!(lines(&sdp(&request), "a=sendonly").len(), 1);
    let subscriber = with_lines("203.0.113.20", &["m=audio 5000 RTP/AVP 0", "a=recvonly"]);
    let options = [("call-id", "c1"), ("to-tag", tag.as_str()), ("sdp", subscriber.as_str())];
    assert_eq!(world.ask("subscribe answer", &options).text("result"), Some("ok"));
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    assert_eq!(world.dataplane.sinks[&legs[0]], [legs[1]]);
    assert_eq!(world.dataplane.sinks.get(&legs[1]), None, "nobody hears a subscriber");
    world.ask("unsubscribe", &[("call-id", "c1"), ("to-tag", &tag)]);
    assert!(world.dataplane.sinks[&legs[0]].is_empty());
    assert_eq!(world.dataplane.legs.len(), 1);
}

#[test]
fn a_recorder_subscribes_to_both_sides_of_a_call() {
    let mut world = World::new();
    world.plain_call("c1");
    let request =
        world.ask_with("subscribe request", &[("call-id", "c1"), ("to-tag", "rec")], &[("from-tags", &["f", "t"])]);
    assert_eq!(lines(&sdp(&request), "m=").len(), 2);
    let recorder = with_lines("203.0.113.99", &["m=audio 7000 RTP/AVP 0", "m=audio 7002 RTP/AVP 0"]);
    world.ask("subscribe answer", &[("call-id", "c1"), ("to-tag", "rec"), ("sdp", &recorder)]);
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    let (callee, caller, first, second) = (legs[0], legs[1], legs[2], legs[3]);
    assert_eq!(world.dataplane.sinks[&caller], [callee, first], "the caller's line is the recorder's first");
    assert_eq!(world.dataplane.sinks[&callee], [caller, second]);
}

#[test]
fn parties_get_few_packets_before_they_speak_except_where_media_is_known_to_flow_one_way() {
    let mut world = World::new();
    world.plain_call("c1");
    let few = |world: &mut World| -> Vec<bool> {
        world.described().iter().map(|(_, remote)| remote.unheard_packets_max == UNHEARD_PACKETS_MAX).collect()
    };
    assert_eq!(few(&mut world), [true, true]);
    world.ask("subscribe request", &[("call-id", "c1"), ("to-tag", "rec"), ("from-tag", "f")]);
    let recorder = audio("203.0.113.99", 7000);
    world.ask("subscribe answer", &[("call-id", "c1"), ("to-tag", "rec"), ("sdp", &recorder)]);
    assert_eq!(few(&mut world), [false]);
    world.offer("c2", "f", &audio("198.51.100.10", 4000), &[("flags", "unidirectional")]);
    world.answer("c2", "f", "t", &audio("203.0.113.20", 5000), &[]);
    assert_eq!(few(&mut world), [false, false]);
}

#[test]
fn statistics_count_calls_and_requests() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask("ping", &[]);
    let reply = world.ask("statistics", &[]);
    let statistics = reply.get("statistics").unwrap().as_dict().unwrap();
    let section = |name: &str| statistics.get(name).unwrap().as_dict().unwrap();
    assert_eq!(section("currentstatistics").integer("sessionsown"), Some(1));
    assert_eq!(section("totalstatistics").integer("managedsessions"), Some(1));
    assert_eq!(section("controlstatistics").integer("totaloffercount"), Some(1));
    assert_eq!(section("controlstatistics").integer("totalpingcount"), Some(1));
}

#[test]
fn the_command_line_lists_sets_and_terminates() {
    let mut world = World::new();
    world.plain_call("c1");
    world.plain_call("c2");
    let ask = |world: &mut World, line: &str| {
        let peer = world.peer;
        world.input(Input::CliLine { from: peer, line });
        world.cli.pop().unwrap()
    };
    assert!(ask(&mut world, "list numsessions").contains("Current sessions own: 2\n"));
    assert!(ask(&mut world, "list totals").contains(" Owned sessions                                  :2\n"));
    assert_eq!(ask(&mut world, "list sessions all").lines().count(), 2);
    let shown = ask(&mut world, "list sessions c1");
    assert!(
        shown.contains("callid: c1\ndeletionmark: no\n") && shown.contains("---     subscribed to 't'\n"),
        "{shown}"
    );
    assert!(shown.contains("------ Media #1 (audio over RTP/AVP) using PCMU/8000\n"), "{shown}");
    assert_eq!(ask(&mut world, "list sessions x"), "\nCall ID not found (x).\n\n");
    assert_eq!(ask(&mut world, "set maxsessions 2"), "Success setting maxsessions to 2\n");
    assert_eq!(ask(&mut world, "list maxsessions"), "Maximum sessions configured on rtpengine: 2\n");
    assert_eq!(ask(&mut world, "set maxsessions abc"), "Fail setting maxsessions to abc; no digists found\n");
    assert_eq!(ask(&mut world, "set maxcpu 50"), "Success setting maxcpu to 50.0\n");
    assert_eq!(ask(&mut world, "get maxcpu"), "Maximum CPU usage configured on rtpengine: 50.0\n");
    assert_eq!(ask(&mut world, "set maxload x"), "Fail setting maxload to x; no digists found\n");
    assert!(ask(&mut world, "params current").contains("\nmax-cpu = 50.0\n"));
    assert!(ask(&mut world, "terminate c1").contains("c1"));
    assert_eq!(world.core.calls(), 1);
    ask(&mut world, "terminate all");
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 0));
    assert_eq!(ask(&mut world, "bogus"), "Unknown or incomplete command::bogus\n");
}

#[test]
fn a_description_of_ours_names_the_ports_that_turned_out_to_be_free() {
    let mut world = World::with(|settings| (settings.port_min, settings.port_max) = (40_000, 40_007));
    world.dataplane.taken = ["192.0.2.1:40000", "192.0.2.1:40004"].map(|text| text.parse().unwrap()).into();
    let published = with_lines("198.51.100.10", &["m=audio 4000 RTP/AVP 0", "a=sendonly"]);
    let answer = world.ask("publish", &[("call-id", "c1"), ("from-tag", "p"), ("sdp", &published)]);
    let request = world.ask("subscribe request", &[("call-id", "c1"), ("from-tag", "p"), ("to-tag", "s")]);
    let open: Vec<u16> = world.dataplane.legs.values().map(|request| request.rtp.port()).collect();
    assert_eq!([port(&sdp(&answer)), port(&sdp(&request))][..], open);
    let crowded = world.ask("publish", &[("call-id", "c2"), ("from-tag", "p"), ("sdp", &published)]);
    assert_eq!((error(&crowded), world.core.calls()), ("Ran out of ports", 1));
}

#[test]
fn nobody_subscribes_to_more_lines_than_a_description_may_have() {
    let mut world = World::new();
    world.plain_call("c1");
    let legs = world.dataplane.legs.len();
    let many = vec!["f"; 20_000];
    let reply = world.ask_with("subscribe request", &[("call-id", "c1"), ("to-tag", "s")], &[("from-tags", &many)]);
    assert_eq!(error(&reply), "Failed to request subscription");
    assert_eq!(world.dataplane.legs.len(), legs);
}

#[test]
fn a_line_that_is_added_later_is_heard_by_the_partner_and_by_no_recorder() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask_with("subscribe request", &[("call-id", "c1"), ("to-tag", "r")], &[("from-tags", &["f", "t"])]);
    let recorder = with_lines("203.0.113.99", &["m=audio 7000 RTP/AVP 0", "m=audio 7002 RTP/AVP 0"]);
    world.ask("subscribe answer", &[("call-id", "c1"), ("to-tag", "r"), ("sdp", &recorder)]);
    let before: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    let of_callee = before[3];
    let video = |address, port| with_lines(address, &[&format!("m=audio {port} RTP/AVP 0"), "m=video 4100 RTP/AVP 96"]);
    world.offer("c1", "f", &video("198.51.100.10", 4000), &[("to-tag", "t")]);
    world.answer("c1", "f", "t", &video("203.0.113.20", 5000), &[]);
    let sources = world.dataplane.sinks.iter().filter(|(_, sinks)| sinks.contains(&of_callee));
    assert_eq!(sources.count(), 1, "the callee's audio");
    let added = world.dataplane.sinks.iter().filter(|(leg, sinks)| !before.contains(leg) && sinks.len() == 1);
    assert_eq!(added.count(), 2, "video both ways");
}

#[test]
fn a_full_call_takes_nobody_new_and_goes_on() {
    let mut world = World::new();
    world.plain_call("c1");
    let mut refused = Dict::new();
    for count in 0..crate::limits::PARTIES_MAX {
        refused =
            world.ask("subscribe request", &[("call-id", "c1"), ("from-tag", "f"), ("to-tag", &count.to_string())]);
    }
    assert_eq!(error(&refused), "Failed to request subscription");
    let published = with_lines("198.51.100.10", &["m=audio 4000 RTP/AVP 0", "a=sendonly"]);
    let publish = world.ask("publish", &[("call-id", "c1"), ("from-tag", "p"), ("sdp", &published)]);
    assert_eq!(error(&publish), "Invalid dialogue association");
    let again = world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("to-tag", "t")]);
    assert_eq!(again.text("result"), Some("ok"));
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
}

#[test]
fn names_that_nobody_can_mean_are_not_kept() {
    let mut world = World::new();
    let (long, audio) = ("x".repeat(2_000), audio("198.51.100.10", 4000));
    for (key, words) in [
        ("call-id", "No call-id in message"),
        ("from-tag", "No from-tag in message"),
        ("to-tag", "No to-tag in message"),
        ("via-branch", "No participant party specified"),
        ("label", "No participant party specified"),
    ] {
        let known = [("call-id", "c1"), ("from-tag", "f"), ("sdp", audio.as_str())];
        let mut options: Vec<(&str, &str)> = known.into_iter().filter(|(other, _)| *other != key).collect();
        options.push((key, &long));
        assert_eq!(error(&world.ask("offer", &options)), words);
    }
    assert_eq!(world.core.calls(), 0);
}

#[test]
fn what_is_relayed_now_is_told_by_statistics_counters_and_prometheus() {
    let mut world = World::new();
    world.plain_call("c1");
    let relayed = Traffic { packets: 573, bytes: 73_344, errors: 2 };
    let load =
        Load { packets_per_second: 144, bytes_per_second: 18_435, errors_per_second: 1, relayed, ..Load::default() };
    world.input(Input::LoadMeasured(load));
    let reply = world.ask("statistics", &[]);
    let part = |name: &str| reply.get("statistics").and_then(Value::as_dict)?.get(name)?.as_dict().cloned();
    let current = part("currentstatistics").unwrap();
    let of = |dict: &Dict, keys: [&str; 3]| keys.map(|key| dict.integer(key).unwrap());
    assert_eq!(of(&current, ["packetrate_user", "byterate_user", "errorrate_user"]), [144, 18_435, 1]);
    assert_eq!(of(&current, ["packetrate", "byterate", "errorrate_kernel"]), [144, 18_435, 0]);
    let totals = part("totalstatistics").unwrap();
    assert_eq!(of(&totals, ["relayedpackets", "relayedbytes", "relayedpacketerrors_user"]), [573, 73_344, 2]);
    let peer = world.peer;
    world.input(Input::CliLine { from: peer, line: "list counters" });
    assert!(world.cli.pop().unwrap().contains(" Packets per second (userspace)                  :144\n"));
    world.input(Input::Scrape { from: peer });
    let text = world.cli.pop().unwrap();
    for line in [
        "rtpengine_sessions{type=\"own\"} 1",
        "rtpengine_packets_total{type=\"userspace\"} 573",
        "rtpengine_requests_total{proxy=\"198.51.100.7\",request=\"offer\"} 1",
        "rtpengine_ports_used{name=\"default\",address=\"192.0.2.1\"} 4",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
}
