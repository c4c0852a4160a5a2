//! How calls end.

use super::*;

fn names(reply: &Dict) -> Vec<String> {
    let tags = reply.get("tags").and_then(Value::as_dict);
    tags.map_or(Vec::new(), |tags| tags.iter().map(|(name, _)| name.to_owned()).collect())
}

fn fork(world: &mut World) {
    for branch in ["b1", "b2"] {
        world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("via-branch", branch)]);
    }
    world.answer("c1", "f", "t1", &audio("203.0.113.21", 5000), &[("via-branch", "b1")]);
    world.answer("c1", "f", "t2", &audio("203.0.113.22", 6000), &[("via-branch", "b2")]);
}

#[test]
fn an_immediate_deletion_tells_the_last_figures_and_frees_everything() {
    let mut world = World::new();
    world.plain_call("c1");
    world.dataplane.report.packets_received = 7;
    let reply = world.ask("delete", &[("call-id", "c1"), ("from-tag", "f"), ("delete-delay", "0")]);
    let rtp = reply.get("totals").unwrap().as_dict().unwrap().get("RTP").unwrap().as_dict().unwrap();
    assert_eq!(rtp.integer("packets"), Some(14));
    assert_eq!(names(&reply), ["f", "t"]);
    assert!(world.dataplane.legs.is_empty());
    assert_eq!((world.core.calls(), world.core.statistics().packets_relayed), (0, 14));
    let again = world.ask("delete", &[("call-id", "c1"), ("from-tag", "f")]);
    assert_eq!(again.text("warning"), Some("Call-ID not found or tags didn't match"));
    let fatal = world.ask_with("delete", &[("call-id", "c1")], &[("flags", &["fatal"])]);
    assert_eq!(error(&fatal), "Call-ID not found or tags didn't match");
}

#[test]
fn without_a_tag_the_whole_call_ends_and_no_figures_are_told() {
    let mut world = World::new();
    world.plain_call("c1");
    let reply = world.ask("delete", &[("call-id", "c1"), ("delete-delay", "0")]);
    assert_eq!((reply.len(), reply.text("result")), (1, Some("ok")));
    assert!(world.dataplane.legs.is_empty());
}

#[test]
fn by_default_a_deleted_call_relays_for_half_a_minute() {
    let mut world = World::new();
    world.plain_call("c1");
    let reply = world.ask("delete", &[("call-id", "c1"), ("from-tag", "f")]);
    assert_eq!(names(&reply), ["f", "t"]);
    world.advance(29_000);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (1, 2));
    world.advance(2_000);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 0));
}

#[test]
fn a_deleted_call_that_is_offered_again_lives_on() {
    let mut world = World::new();
    let (offered, _) = world.plain_call("c1");
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "f")]);
    let (again, _) = world.plain_call("c1");
    assert_eq!(port(&again), port(&offered));
    world.advance(60_000);
    assert_eq!(world.dataplane.legs.len(), 2);
}

#[test]
fn tags_and_branches_narrow_what_is_deleted() {
    let now: (&str, &str) = ("delete-delay", "0");
    let left = |more: &[(&str, &str)]| {
        let mut world = World::new();
        fork(&mut world);
        let reply = world.ask("delete", &[&[("call-id", "c1"), now], more].concat());
        let text = reply.text("warning").map_or_else(|| names(&reply).join(" "), |_| "warning".into());
        let alive = world.core.calls.values().flat_map(|call| &call.parties).filter(|party| !party.is_gone());
        (text, alive.count())
    };
    assert_eq!(left(&[("from-tag", "f")]), ("f t2 t1".into(), 0));
    assert_eq!(left(&[("from-tag", "f"), ("via-branch", "b1")]), ("f t2 t1".into(), 2));
    assert_eq!(left(&[("from-tag", "f"), ("to-tag", "t1")]), ("t1".into(), 2));
    assert_eq!(left(&[("from-tag", "t1")]), ("t1".into(), 2));
    assert_eq!(left(&[("from-tag", "f"), ("to-tag", "x")]), ("warning".into(), 3));
    assert_eq!(left(&[("from-tag", "x")]), ("warning".into(), 3));
    assert_eq!(left(&[("via-branch", "b1")]), ("".into(), 0));
}

#[test]
fn the_last_branch_takes_the_caller_with_it() {
    let mut world = World::new();
    fork(&mut world);
    for branch in ["b1", "b2"] {
        world.ask("delete", &[("call-id", "c1"), ("from-tag", "f"), ("via-branch", branch), ("delete-delay", "0")]);
    }
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 0));
}

#[test]
fn a_mute_dataplane_delays_the_figures_and_no_longer() {
    let mut world = World::new();
    world.plain_call("c1");
    world.dataplane.is_mute = true;
    world.send("query", &[("call-id", "c1")], &[]);
    assert_eq!(world.heard(), None);
    world.advance(500);
    assert_eq!(names(&world.heard().unwrap()), ["f", "t"]);
}

fn record(world: &mut World) {
    let options = [("call-id", "c1"), ("to-tag", "rec")];
    world.ask_with("subscribe request", &options, &[("from-tags", &["f", "t"])]);
    let recorder = with_lines("203.0.113.99", &["m=audio 7000 RTP/AVP 0", "m=audio 7002 RTP/AVP 0"]);
    world.ask("subscribe answer", &[&options[..], &[("sdp", recorder.as_str())]].concat());
}

#[test]
fn a_call_that_is_recorded_ends_with_its_dialogue() {
    for now_or_later in ["0", "30"] {
        let mut world = World::new();
        world.plain_call("c1");
        record(&mut world);
        let reply = world.ask("delete", &[("call-id", "c1"), ("from-tag", "f"), ("delete-delay", now_or_later)]);
        assert_eq!(names(&reply), ["f", "t"]);
        world.advance(31_000);
        assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 0), "delay {now_or_later}");
    }
}

#[test]
fn a_recorder_that_has_gone_holds_no_call() {
    let mut world = World::new();
    world.plain_call("c1");
    record(&mut world);
    world.ask("unsubscribe", &[("call-id", "c1"), ("to-tag", "rec")]);
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "t"), ("delete-delay", "0")]);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 0));
}

#[test]
fn a_recorder_that_is_deleted_leaves_the_call_alone() {
    let mut world = World::new();
    world.plain_call("c1");
    record(&mut world);
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "rec"), ("delete-delay", "0")]);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (1, 2));
}

#[test]
fn a_publication_goes_on_without_its_listeners_and_not_they_without_it() {
    let mut world = World::new();
    let published = with_lines("198.51.100.10", &["m=audio 4000 RTP/AVP 0", "a=sendonly"]);
    world.ask("publish", &[("call-id", "c1"), ("from-tag", "p"), ("sdp", &published)]);
    world.ask("subscribe request", &[("call-id", "c1"), ("from-tag", "p"), ("to-tag", "s1")]);
    world.ask("subscribe request", &[("call-id", "c1"), ("from-tag", "p"), ("to-tag", "s2")]);
    let delete = |world: &mut World, tag| {
        world.ask("delete", &[("call-id", "c1"), ("from-tag", tag), ("delete-delay", "0")]);
        (world.core.calls(), world.dataplane.legs.len())
    };
    assert_eq!(delete(&mut world, "s1"), (1, 2));
    assert_eq!(delete(&mut world, "p"), (0, 0));
}

#[test]
fn who_gives_up_before_anybody_answered_need_not_know_whom() {
    let end = |branches: &[&str], more: &[(&str, &str)]| {
        let mut world = World::new();
        for branch in branches {
            world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("via-branch", branch)]);
        }
        let reply = world.ask("delete", &[&[("call-id", "c1"), ("delete-delay", "0")], more].concat());
        (names(&reply).len(), reply.text("warning").is_some(), world.dataplane.legs.len())
    };
    let unknown = [("from-tag", "f"), ("to-tag", "x")];
    assert_eq!(end(&["b1"], &unknown), (0, false, 0));
    assert_eq!(end(&["b1", "b2"], &unknown), (0, true, 3), "which one is meant nobody knows");
    assert_eq!(end(&["b1", "b2"], &[&unknown[..], &[("via-branch", "b1")]].concat()), (0, false, 2));
    assert_eq!(end(&["b1"], &[("from-tag", "x"), ("to-tag", "f")]), (2, false, 0), "the to-tag decides");
}

#[test]
fn deleting_twice_postpones_nothing() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "f")]);
    world.advance(20_000);
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "t")]);
    world.advance(11_000);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 0));
}
