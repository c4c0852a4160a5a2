//! Exchanges within a call that overtake each other, cross, fail, come late or are never completed.
//!
//! ```text
//!   alice ──reinvite──▶ bridge ──SetRemote──▶ dataplane (slow, busy, or it refuses)
//!   alice ◀───answer─── bridge ──reinvite──▶ bob (slow, mute, or it answers nonsense)
//! ```

use super::video::{directions, with_video};
use super::*;
use crosspoint_contract::{Direction, Directions};

use Direction::{Inactive, ReceiveOnly, SendOnly, SendReceive};

/// Longer than any offer waits for its answer.
const LONG_MS: u64 = 10_000;

fn audio_only(audio: Direction) -> Directions {
    Directions { audio, video: Inactive }
}

impl World {
    /// A call without pictures between two clients that take offers.
    fn offerable_call(&mut self) -> Talk {
        let clients = [self.offerable("alice"), self.offerable("bob")];
        self.video_call(clients, [Inactive; 2]).0
    }

    fn speak(&mut self, talk: &Talk, by_alice: bool, kind: &str, audio: Direction) {
        self.describe(talk, by_alice, kind, audio, Inactive);
    }

    /// Alice offers that, and is answered.
    fn alice_turns(&mut self, talk: &Talk, audio: Direction) -> Directions {
        self.speak(talk, true, "reinvite", audio);
        directions(&self.only(talk.alice, "answer"))
    }

    fn bob_answers(&mut self, talk: &Talk, offer: &Value, audio: Direction) {
        let sdp = with_video(&sdp("bobb", "BB", "active", super::video::word(audio)), Inactive);
        self.say(talk.bob, "answer", json!({ "callsid": talk.bob_sid, "sdp": sdp, "offer": offer["offer"] }));
    }
}

#[test]
fn a_resume_that_overtakes_its_hold_is_what_the_dataplane_hears_last() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.dataplane.is_stuck = true;
    world.speak(&talk, true, "reinvite", SendOnly);
    world.speak(&talk, true, "reinvite", SendReceive);
    world.unstick();
    assert_eq!(directions(&world.only(talk.alice, "answer")), audio_only(SendReceive));
    assert_eq!(world.allowed(&talk, true), audio_only(SendReceive));
    assert!(world.kinds(talk.bob).is_empty(), "for him nothing has changed");
}

#[test]
fn an_overtaken_order_that_found_the_dataplane_busy_is_not_given_again() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.dataplane.is_stuck = true;
    world.speak(&talk, true, "reinvite", SendOnly);
    world.speak(&talk, true, "reinvite", SendReceive);
    let hold = world.dataplane.unanswered.remove(0);
    let busy = Err(Refused::Busy(WorkerId(0)));
    world.input(Input::DataplaneAnswered(Answer { id: hold.id, result: busy }));
    world.unstick();
    world.pass(1_000);
    assert_eq!(world.allowed(&talk, true), audio_only(SendReceive));
}

#[test]
fn news_that_waited_for_a_re_offer_is_told_when_the_dataplane_refuses_that() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.dataplane.is_stuck = true;
    world.dataplane.refuse =
        Some(|command| matches!(command, Command::RestartIce { .. }).then_some(Refused::WorkerLost(WorkerId(0))));
    world.speak(&talk, true, "reinvite", SendOnly);
    let restart = with_video(&sdp("rest", "BB", "actpass", "sendrecv"), Inactive);
    world.say(talk.bob, "reinvite", json!({ "callsid": talk.bob_sid, "sdp": restart }));
    world.unstick();
    let heard = world.heard(talk.bob);
    let kinds: Vec<_> = heard.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["error", "reinvite"]);
    assert_eq!(directions(&heard[1].1), audio_only(SendOnly));
}

#[test]
fn an_answer_that_the_dataplane_refuses_is_not_asked_for_again_but_the_next_change_is_told() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.alice_turns(&talk, SendOnly);
    let offer = world.only(talk.bob, "reinvite");
    world.dataplane.refuse =
        Some(|command| matches!(command, Command::SetRemote { .. }).then_some(Refused::TooManyFormats));
    world.bob_answers(&talk, &offer, ReceiveOnly);
    assert_eq!(world.kinds(talk.bob), ["error"]);
    world.dataplane.refuse = None;
    world.alice_turns(&talk, SendReceive);
    assert_eq!(directions(&world.only(talk.bob, "reinvite")), audio_only(SendReceive));
}

#[test]
fn a_client_on_hold_whose_answer_could_not_be_used_is_told_of_the_resumption() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.alice_turns(&talk, SendOnly);
    let hold = world.only(talk.bob, "reinvite");
    let foreign = with_video(&sdp("else", "CC", "active", "recvonly"), Inactive);
    let answer = json!({ "callsid": talk.bob_sid, "sdp": foreign, "offer": hold["offer"] });
    world.say(talk.bob, "answer", answer);
    assert_eq!(world.kinds(talk.bob), ["error"], "and the same offer is not repeated");
    world.alice_turns(&talk, SendReceive);
    assert_eq!(directions(&world.only(talk.bob, "reinvite")), audio_only(SendReceive));
}

#[test]
fn an_unreadable_offer_that_crossed_ours_does_not_keep_ours_open() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.alice_turns(&talk, SendOnly);
    world.only(talk.bob, "reinvite");
    world.say(talk.bob, "reinvite", json!({ "callsid": talk.bob_sid, "sdp": "v=0" }));
    let heard = world.heard(talk.bob);
    assert_eq!(heard.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["error", "reinvite"]);
    assert_eq!(directions(&heard[1].1), audio_only(SendOnly));
}

#[test]
fn an_offer_that_is_never_answered_makes_room_for_what_has_changed_since() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.alice_turns(&talk, SendOnly);
    world.only(talk.bob, "reinvite");
    world.alice_turns(&talk, SendReceive);
    assert!(world.kinds(talk.bob).is_empty(), "one offer at a time");
    world.pass(LONG_MS);
    assert_eq!(directions(&world.only(talk.bob, "reinvite")), audio_only(SendReceive));
    world.pass(10 * LONG_MS);
    assert!(world.kinds(talk.bob).is_empty(), "what has not changed is not repeated");
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn a_late_answer_counts_until_another_offer_has_followed_and_never_for_that_one() {
    for follows in [false, true] {
        let mut world = World::new();
        let talk = world.offerable_call();
        world.alice_turns(&talk, SendOnly);
        let hold = world.only(talk.bob, "reinvite");
        world.pass(LONG_MS);
        if !follows {
            world.bob_answers(&talk, &hold, ReceiveOnly);
            assert_eq!(world.allowed(&talk, false), audio_only(SendOnly));
            continue;
        }
        world.alice_turns(&talk, SendReceive);
        let resumption = world.only(talk.bob, "reinvite");
        world.bob_answers(&talk, &hold, ReceiveOnly);
        world.bob_answers(&talk, &json!({}), ReceiveOnly);
        assert_eq!(
            world.kinds(talk.bob),
            ["error", "error"],
            "neither is to the offer that is open, as far as we know"
        );
        world.bob_answers(&talk, &resumption, SendReceive);
        assert_eq!(world.allowed(&talk, false), audio_only(SendReceive));
        assert!(world.kinds(talk.alice).is_empty() && world.kinds(talk.bob).is_empty());
    }
}

#[test]
fn a_hold_answered_by_inactive_is_followed_by_a_resumption_both_ways() {
    let mut world = World::new();
    let talk = world.offerable_call();
    world.alice_turns(&talk, SendOnly);
    let hold = world.only(talk.bob, "reinvite");
    world.bob_answers(&talk, &hold, Inactive);
    let offer = world.only(talk.alice, "reinvite");
    assert_eq!(directions(&offer), audio_only(Inactive), "bob does not listen");
    world.speak(&talk, true, "answer", Inactive);
    assert_eq!(world.alice_turns(&talk, SendReceive), audio_only(SendReceive));
    let resumption = world.only(talk.bob, "reinvite");
    assert_eq!(directions(&resumption), audio_only(SendReceive));
    world.bob_answers(&talk, &resumption, SendReceive);
    assert!(world.kinds(talk.alice).is_empty() && world.kinds(talk.bob).is_empty());
}

#[test]
fn our_answer_bears_the_number_of_the_offer() {
    let mut world = World::new();
    let talk = world.connected_call();
    for (offer, direction) in [(7, "sendrecv"), (8, "sendonly")] {
        let sdp = sdp("alic", "AA", "actpass", direction);
        world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": sdp, "offer": offer }));
        assert_eq!(world.only(talk.alice, "answer")["offer"], offer);
    }
    world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": offer_sdp("alic") }));
    assert!(world.only(talk.alice, "answer").get("offer").is_none(), "nobody asked for it");
}

#[test]
fn a_callee_may_describe_itself_anew_while_the_legs_are_being_joined() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "bob");
    let bob_sid = text(&world.only(bob, "invite"), "callsid");
    world.dataplane.is_stuck = true;
    world.say(bob, "answer", json!({ "callsid": bob_sid, "sdp": answer_sdp("bobb") }));
    let held = sdp("bobb", "BB", "actpass", "sendonly");
    world.say(bob, "reinvite", json!({ "callsid": bob_sid, "sdp": held }));
    // Alice has no answer yet, so an offer of hers crosses nothing that we could answer.
    world.say(alice, "reinvite", json!({ "callsid": "TJS1", "sdp": offer_sdp("rest") }));
    world.unstick();
    assert_eq!(world.kinds(bob), ["answer"]);
    assert_eq!(world.kinds(alice), ["ringing", "error", "answer"]);
    let leg = world.core.sids[&bob_sid];
    assert_eq!(world.dataplane.legs[&leg].2.as_ref().map(|r| r.directions.audio), Some(ReceiveOnly));
}

#[test]
fn a_hold_outlives_control_and_its_end_reaches_who_was_held() {
    let mut world = World::new();
    let mut talk = world.offerable_call();
    world.alice_turns(&talk, SendOnly);
    let offer = world.only(talk.bob, "reinvite");
    world.bob_answers(&talk, &offer, ReceiveOnly);
    world.restart_control();
    (talk.alice, talk.bob) = (world.offerable("alice"), world.offerable("bob"));
    let described =
        |ufrag, byte, setup, audio| with_video(&sdp(ufrag, byte, setup, super::video::word(audio)), Inactive);
    for (back, sid, token, sdp) in [
        (talk.alice, &talk.alice_sid, &talk.alice_token, described("alic", "AA", "actpass", SendOnly)),
        (talk.bob, &talk.bob_sid, &talk.bob_token, described("bobb", "BB", "active", ReceiveOnly)),
    ] {
        world.say(back, "invite", json!({ "callsid": sid, "sdp": sdp, "twilio": {}, "reconnect": token }));
        world.only(back, "answer");
    }
    world.alice_turns(&talk, SendReceive);
    let offer = world.only(talk.bob, "reinvite");
    assert_eq!(directions(&offer), audio_only(SendReceive));
    world.bob_answers(&talk, &offer, SendReceive);
    assert_eq!([true, false].map(|who| world.allowed(&talk, who)), [audio_only(SendReceive); 2]);
}
