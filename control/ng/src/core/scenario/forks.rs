//! Parallel forking and other ways in which parties come to be.

use super::*;

#[test]
fn branches_are_parties_of_their_own_and_the_last_answer_gets_the_callers_media() {
    let mut world = World::new();
    let caller = audio("198.51.100.10", 4000);
    let first = sdp(&world.offer("c1", "f", &caller, &[("via-branch", "b1")]));
    let second = sdp(&world.offer("c1", "f", &caller, &[("via-branch", "b2")]));
    assert_ne!(port(&first), port(&second));
    let again = sdp(&world.offer("c1", "f", &caller, &[("via-branch", "b2")]));
    assert_eq!(port(&again), port(&second), "a repeated branch is the same party");
    world.answer("c1", "f", "t2", &audio("203.0.113.22", 5000), &[("via-branch", "b2")]);
    world.answer("c1", "f", "t1", &audio("203.0.113.21", 6000), &[("via-branch", "b1")]);
    let leg_at = |world: &World, port: u16| {
        *world.dataplane.legs.iter().find(|(_, request)| request.rtp.port() == port).expect("open").0
    };
    let (one, two) = (leg_at(&world, port(&first)), leg_at(&world, port(&second)));
    let callers: Vec<LegId> = world.dataplane.legs.keys().copied().filter(|leg| *leg != one && *leg != two).collect();
    assert_eq!(callers.len(), 2, "the caller has ports for each place that answered");
    for caller in &callers {
        assert_eq!(world.dataplane.sinks[caller], [one], "the caller is heard by whoever answered last");
    }
    let newest = callers[1];
    assert_eq!((&world.dataplane.sinks[&one], &world.dataplane.sinks[&two]), (&vec![newest], &vec![newest]));
    let answered = world.answer("c1", "f", "t2", &audio("203.0.113.22", 5000), &[("via-branch", "b2")]);
    assert_eq!(leg_at(&world, port(&sdp(&answered))), callers[0], "each answer names the ports it named before");
    assert_eq!(world.dataplane.sinks[&callers[0]], [two]);
}

#[test]
fn an_answer_without_a_branch_names_the_waiting_party_and_a_second_one_makes_another() {
    let mut world = World::new();
    let caller = audio("198.51.100.10", 4000);
    world.offer("c1", "f", &caller, &[]);
    world.answer("c1", "f", "t1", &audio("203.0.113.21", 5000), &[]);
    world.answer("c1", "f", "t2", &audio("203.0.113.22", 5000), &[]);
    let tags = world.ask("query", &[("call-id", "c1")]);
    let names: Vec<_> = tags.get("tags").unwrap().as_dict().unwrap().iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["f", "t1", "t2"]);
}

#[test]
fn an_offer_without_a_to_tag_goes_to_the_party_in_dialogue() {
    let mut world = World::new();
    let (offered, answered) = world.plain_call("c1");
    let again = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]));
    assert_eq!(port(&again), port(&offered));
    let back = sdp(&world.offer("c1", "t", &audio("203.0.113.20", 5000), &[]));
    assert_eq!(port(&back), port(&answered));
    world.offer("c1", "stranger", &audio("203.0.113.99", 5000), &[]);
    let tags = world.ask("query", &[("call-id", "c1")]);
    assert_eq!(tags.get("tags").unwrap().as_dict().unwrap().len(), 4, "a stranger calls somebody else");
}

#[test]
fn a_party_does_not_talk_to_itself() {
    let mut world = World::new();
    let reply = world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("to-tag", "f")]);
    assert_eq!(error(&reply), "Invalid dialogue association");
    assert_eq!(world.core.calls(), 0);
}
