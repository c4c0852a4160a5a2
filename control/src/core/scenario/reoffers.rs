//! Re-offers: ICE restart, hold, codecs, by either side.

use super::*;
use crate::core::sdp;
use crosspoint_contract::Direction;

#[test]
fn ice_restart_by_either_side_is_answered_with_new_credentials() {
    let mut world = World::new();
    let talk = world.connected_call();
    for (who, sid, byte) in [(talk.alice, &talk.alice_sid, "AA"), (talk.bob, &talk.bob_sid, "BB")] {
        let leg = world.core.sids[sid];
        let before = world.dataplane.legs[&leg].1.ice.clone();
        world.say(who, "reinvite", json!({ "callsid": sid, "sdp": sdp("rest", byte, "actpass", "sendrecv") }));
        let answer = world.only(who, "answer");
        let ours = sdp::read(&text(&answer, "sdp")).expect("readable");
        let (_, local, remote) = &world.dataplane.legs[&leg];
        assert_ne!(ours.ice, before);
        assert_eq!(ours.ice, local.ice);
        assert_eq!(remote.as_ref().map(|r| r.ice.ufrag.as_str()), Some("rest"));
        assert_eq!(ours.setup, sdp::Setup::Passive, "the DTLS association lives on");
        assert!(world.saved.last().is_some_and(|call| call.legs.iter().any(|l| l.ice_restarts == 1)));
    }
    assert!(world.kinds(talk.alice).is_empty() && world.kinds(talk.bob).is_empty());
}

#[test]
fn hold_and_resume_reach_the_dataplane_and_are_mirrored() {
    let mut world = World::new();
    let talk = world.connected_call();
    let leg = world.core.sids[&talk.alice_sid];
    for (theirs, ours, direction) in [
        ("sendonly", "a=recvonly", Direction::ReceiveOnly),
        ("inactive", "a=inactive", Direction::Inactive),
        ("sendrecv", "a=sendrecv", Direction::SendReceive),
    ] {
        let held = sdp("alic", "AA", "actpass", theirs);
        world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": held }));
        let answer = world.only(talk.alice, "answer");
        assert!(text(&answer, "sdp").contains(ours));
        assert_eq!(world.dataplane.legs[&leg].2.as_ref().map(|r| r.directions.audio), Some(direction));
    }
}

#[test]
fn a_newer_description_overtakes_one_in_work() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    for ufrag in ["rst1", "rst2"] {
        let sdp = sdp(ufrag, "AA", "actpass", "sendrecv");
        world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": sdp }));
    }
    assert_eq!(world.numbers().len(), 2);
    world.unstick();
    assert_eq!(world.kinds(talk.alice), ["answer"]);
    let leg = world.core.sids[&talk.alice_sid];
    assert_eq!(world.dataplane.legs[&leg].2.as_ref().map(|r| r.ice.ufrag.as_str()), Some("rst2"));
}

#[test]
fn a_re_offer_without_a_common_codec_is_refused_and_the_call_goes_on() {
    let mut world = World::new();
    let talk = world.connected_call();
    let sdp = offer_sdp("alic").replace("111 63 9 0 8 13 110 126", "126");
    world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": sdp }));
    assert_eq!(code(&world.only(talk.alice, "error")), Some(53405));
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn a_re_offer_of_a_call_that_is_gone_ends_it_at_the_client() {
    let mut world = World::new();
    let alice = world.client("alice");
    world.say(alice, "reinvite", json!({ "callsid": "CA0", "sdp": offer_sdp("alic") }));
    assert_eq!(code(&world.only(alice, "hangup")), Some(31404));
}

#[test]
fn a_socket_lost_while_another_peer_connection_takes_over_still_has_its_time() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    let sdp = sdp("frsh", "CC", "actpass", "sendrecv");
    world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": sdp }));
    world.close(talk.alice);
    let leg = world.core.sids[&talk.alice_sid];
    world.unstick();
    assert_ne!(world.core.sids[&talk.alice_sid], leg);
    world.pass(19_999);
    assert_eq!(world.core.gauges().calls, 1);
    world.pass(1);
    assert_eq!(world.record().end_reason, "connection_lost");
    world.assert_clean();
}

#[test]
fn a_replacement_that_the_dataplane_refuses_leaves_the_leg_in_place() {
    let refusals: [fn(&Command) -> Option<Refused>; 2] = [
        |command| matches!(command, Command::SetRemote { .. }).then_some(Refused::TooManyFormats),
        |command| match command {
            Command::Bridge { legs: [first, _], .. } => Some(Refused::UnknownLeg(*first)),
            _ => None,
        },
    ];
    for refuse in refusals {
        let mut world = World::new();
        let talk = world.connected_call();
        let legs = [world.core.sids[&talk.alice_sid], world.core.sids[&talk.bob_sid]];
        world.dataplane.refuse = Some(refuse);
        let fresh = sdp("frsh", "CC", "actpass", "sendrecv");
        world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": fresh }));
        assert_eq!(code(&world.only(talk.alice, "error")), Some(53405));
        assert_eq!(world.core.sids[&talk.alice_sid], legs[0]);
        assert_eq!(world.dataplane.legs.len(), 2, "the replacement is closed");
        world.dataplane.refuse = None;
        world.say(talk.bob, "hangup", json!({ "callsid": talk.bob_sid }));
        world.assert_clean();
    }
}

#[test]
fn a_replacement_whose_call_ends_meanwhile_is_closed() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    let fresh = sdp("frsh", "CC", "actpass", "sendrecv");
    world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": fresh }));
    world.say(talk.bob, "hangup", json!({ "callsid": talk.bob_sid }));
    world.unstick();
    world.assert_clean();
}

#[test]
fn both_pages_reloaded_at_once_are_joined_with_each_other() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    for (who, sid, byte) in [(talk.alice, &talk.alice_sid, "CC"), (talk.bob, &talk.bob_sid, "DD")] {
        world.say(who, "reinvite", json!({ "callsid": sid, "sdp": sdp("frsh", byte, "actpass", "sendrecv") }));
    }
    world.unstick();
    assert_eq!((world.kinds(talk.alice), world.kinds(talk.bob)), (vec!["answer".into()], vec!["answer".into()]));
    let legs = [world.core.sids[&talk.alice_sid], world.core.sids[&talk.bob_sid]];
    let joined = |pair: &[LegId; 2]| pair.contains(&legs[0]) && pair.contains(&legs[1]);
    assert!(world.dataplane.bridges.values().any(joined));
    assert_eq!(world.dataplane.legs.len(), 2);
}
