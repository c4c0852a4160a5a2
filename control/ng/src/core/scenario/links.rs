//! Calls that pass this relay twice, and descriptions that only pretend to.

use super::*;

const REFUSED: &str = "Media address not allowed: a port of this relay, loopback, link-local, multicast or broadcast";

/// `from` calls by way of call X, whose callee is the caller of call Y.
fn passed_twice(world: &mut World) -> [u16; 4] {
    let offered = port(&sdp(&world.offer("x", "a", &audio("198.51.100.10", 4000), &[])));
    let further = port(&sdp(&world.offer("y", "b", &audio("192.0.2.1", offered), &[])));
    let answered = port(&sdp(&world.answer("y", "b", "c", &audio("203.0.113.20", 5000), &[])));
    let back = port(&sdp(&world.answer("x", "a", "b", &audio("192.0.2.1", answered), &[])));
    [back, offered, answered, further]
}

fn ours(port: u16) -> Option<SocketAddr> {
    at(&format!("192.0.2.1:{port}"))
}

#[test]
fn a_call_passes_twice_and_each_side_is_told_where_the_other_is() {
    let mut world = World::new();
    let [back, offered, answered, further] = passed_twice(&mut world);
    let remote_of = |world: &World, port: u16| {
        let leg = world.dataplane.legs.iter().find(|(_, request)| request.rtp.port() == port).map(|(leg, _)| *leg);
        world.dataplane.remotes[&leg.unwrap()].clone()
    };
    assert_eq!(remote_of(&world, offered).rtp, ours(answered));
    assert_eq!(remote_of(&world, offered).rtcp, ours(answered + 1));
    assert_eq!(remote_of(&world, answered).rtp, ours(offered));
    assert_eq!(remote_of(&world, back).rtp, at("198.51.100.10:4000"));
    assert_eq!(remote_of(&world, further).rtp, at("203.0.113.20:5000"));
    assert_eq!(passed_twice(&mut world), [back, offered, answered, further], "and once more");
}

#[test]
fn who_is_in_a_call_cannot_be_drawn_into_another() {
    let mut world = World::new();
    let (offered, answered) = world.plain_call("victim");
    for port in [port(&offered), port(&answered)] {
        assert_eq!(error(&world.offer("mine", "m", &audio("192.0.2.1", port), &[])), REFUSED);
    }
    let [_, offered, answered, _] = passed_twice(&mut world);
    for port in [offered, answered] {
        assert_eq!(error(&world.offer("mine", "m", &audio("192.0.2.1", port), &[])), REFUSED);
    }
}

#[test]
fn no_ring_of_calls_comes_about() {
    let mut world = World::new();
    let [_, offered, ..] = passed_twice(&mut world);
    // The far ends of both calls are to be joined as well: what goes round would never end.
    let further = port(&sdp(&world.offer("z", "m", &audio("198.51.100.66", 6000), &[])));
    assert_eq!(error(&world.answer("z", "m", "n", &audio("192.0.2.1", further), &[])), REFUSED, "itself");
    assert_eq!(error(&world.answer("z", "m", "n", &audio("192.0.2.1", offered), &[])), REFUSED);
    let one = port(&sdp(&world.offer("r1", "a", &audio("198.51.100.10", 4000), &[])));
    let two = port(&sdp(&world.offer("r2", "a", &audio("192.0.2.1", one), &[])));
    let three = port(&sdp(&world.offer("r3", "a", &audio("192.0.2.1", two), &[])));
    let closing = world.answer("r1", "a", "b", &audio("192.0.2.1", three), &[]);
    assert_eq!(error(&closing), REFUSED, "three calls in a ring");
}

#[test]
fn a_port_of_ours_that_no_leg_has_is_nobodys() {
    let mut world = World::new();
    let offered = port(&sdp(&world.offer("x", "a", &audio("198.51.100.10", 4000), &[])));
    let nobody = if offered > 31_000 { offered - 10 } else { offered + 10 };
    assert_eq!(error(&world.offer("y", "b", &audio("192.0.2.1", nobody), &[])), REFUSED);
    assert_eq!(error(&world.offer("y", "b", &audio("192.0.2.1", offered + 1), &[])), REFUSED, "that of RTCP");
    let elsewhere = with_lines("192.0.2.1", &[&format!("m=audio {offered} RTP/AVP 0"), "a=rtcp:31999"]);
    assert_eq!(error(&world.offer("y", "b", &elsewhere, &[])), REFUSED, "RTCP of another");
}
