//! Figures of calls in progress, under the keys that clients read.

use super::*;
use crosspoint_contract::{Quality, Spread, StreamReport};

fn dict<'a>(of: &'a Dict, path: &[&str]) -> &'a Dict {
    path.iter()
        .fold(of, |dict, key| dict.get(key).and_then(Value::as_dict).unwrap_or_else(|| panic!("no {key} in {dict:?}")))
}

fn first<'a>(of: &'a Dict, list: &str) -> &'a Dict {
    of.get(list).and_then(Value::as_list).unwrap()[0].as_dict().unwrap()
}

#[test]
fn a_query_says_what_the_dataplane_says_now() {
    let mut world = World::new();
    world.plain_call("c1");
    world.advance(10_000);
    world.dataplane.report.packets_received = 50;
    world.dataplane.report.bytes_received = 8_000;
    world.dataplane.report.rtcp_packets_received = 2;
    let spread = |sum, min, max| Spread { sum, min, max, min_at_ms: 4_000, max_at_ms: 8_000 };
    let quality = Quality { samples: 2, mos_x10: spread(80, 38, 42), jitter_ms: spread(6, 1, 5), ..Quality::default() };
    let stream =
        StreamReport { ssrc: 77, packets: 50, payload_type: 8, idle_ms: 3_000, quality, ..StreamReport::default() };
    world.dataplane.streams = vec![stream];
    let reply = world.ask("query", &[("call-id", "c1")]);
    let created = reply.integer("created").unwrap();
    let media = first(dict(&reply, &["tags", "f"]), "medias");
    assert_eq!((media.text("codec"), media.text("protocol")), (Some("PCMA/8000"), Some("RTP/AVP")));
    let stream = first(media, "streams");
    assert_eq!((stream.integer("SSRC"), stream.integer("last packet")), (Some(77), Some(created + 7)));
    assert_eq!(dict(stream, &["endpoint"]).text("address"), Some("198.51.100.10"));
    let stats = dict(stream, &["stats"]);
    assert_eq!((stats.integer("packets"), stats.integer("bytes")), (Some(50), Some(8_600)));
    assert_eq!(dict(&reply, &["totals", "RTCP"]).integer("packets"), Some(4));
    let quality = dict(&reply, &["SSRC", "77"]);
    assert_eq!(dict(quality, &["average MOS"]).integer("MOS"), Some(40));
    assert_eq!(dict(quality, &["average MOS"]).integer("samples"), Some(2));
    let lowest = dict(quality, &["lowest MOS"]);
    assert_eq!((lowest.integer("MOS"), lowest.integer("jitter")), (Some(38), Some(5)));
    assert_eq!(lowest.integer("reported at"), Some(created + 4));
}

#[test]
fn a_query_of_a_party_tells_it_and_whom_it_hears() {
    let mut world = World::new();
    world.plain_call("c1");
    world.offer("c1", "stranger", &audio("203.0.113.99", 5000), &[]);
    let names = |world: &mut World, tag: &str| {
        let reply = world.ask("query", &[("call-id", "c1"), ("from-tag", tag)]);
        dict(&reply, &["tags"]).iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut world, "t"), ["t", "f"]);
    assert_eq!(names(&mut world, "nobody"), Vec::<String>::new());
}

#[test]
fn list_names_as_many_as_are_asked_for() {
    let mut world = World::new();
    for call in ["c1", "c2", "c3"] {
        world.plain_call(call);
    }
    let count = |reply: Dict| reply.get("calls").and_then(Value::as_list).unwrap().len();
    assert_eq!(count(world.ask("list", &[("limit", "2")])), 2);
    assert_eq!(count(world.ask("list", &[])), 3);
    assert_eq!(error(&world.ask("list", &[("limit", "-1")])), "invalid limit, must be >= 0");
}

#[test]
fn what_was_heard_of_each_line_is_counted_however_the_call_ends() {
    let delete = |world: &mut World, more: &[(&str, &str)]| {
        world.ask("delete", &[&[("call-id", "c1")], more].concat());
    };
    let terminate = |world: &mut World| {
        let peer = world.peer;
        world.input(Input::CliLine { from: peer, line: "terminate c1" });
    };
    let ends: [&dyn Fn(&mut World); 5] = [
        &|world| delete(world, &[("from-tag", "f")]),
        &|world| delete(world, &[]),
        &|world| delete(world, &[("from-tag", "f"), ("delete-delay", "0"), ("flags", "fast")]),
        &terminate,
        &|world| world.advance(1_001_000),
    ];
    for (number, end) in ends.iter().enumerate() {
        let mut world = World::with(|settings| settings.final_timeout_s = 1_000);
        let line =
            |address, port| with_lines(address, &[&format!("m=audio {port} RTP/AVP 0"), "m=video 4100 RTP/AVP 96"]);
        world.offer("c1", "f", &line("198.51.100.10", 4000), &[]);
        world.answer("c1", "f", "t", &line("203.0.113.20", 5000), &[]);
        let quality = Quality { samples: 2, mos_x10: Spread { sum: 80, ..Spread::default() }, ..Quality::default() };
        world.dataplane.streams = vec![StreamReport { ssrc: 77, quality, ..StreamReport::default() }];
        let heard: Vec<LegId> = world.dataplane.legs.keys().copied().take(1).collect();
        world.dataplane.heard = heard.into_iter().collect();
        end(&mut world);
        world.advance(31_000);
        let counted = world.core.statistics();
        let streams = (counted.streams_one_way, counted.streams_unheard, counted.mos_samples);
        assert_eq!((streams, counted.calls_counted, world.core.calls()), ((1, 1, 8), 1, 0), "end {number}");
    }
}

#[test]
fn an_offer_that_failed_is_no_call_that_nobody_spoke_in() {
    let mut world = World::with(|settings| (settings.port_min, settings.port_max) = (30_000, 30_001));
    assert_eq!(error(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[])), "Ran out of ports");
    assert_eq!((world.core.statistics().calls_counted, world.core.statistics().streams_unheard), (0, 0));
}
