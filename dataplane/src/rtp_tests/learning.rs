//! Addresses: what is learnt, when, and what a stranger cannot do. The rules themselves are tested at `leg::latch`.

use super::party::Party;
use super::*;
use crosspoint_contract::{IceCredentials, SrtpSuite};

const BEHIND_NAT: &str = "198.51.100.1:61234";
const STRANGER: &str = "203.0.113.66:6666";

#[test]
fn peer_behind_nat_is_answered_where_it_sends_from_for_rtp_and_rtcp_apart() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    stand.speak_from(&mut alice, addr(BEHIND_NAT));
    assert_eq!(stand.events.pop_front(), Some(Event::LegMoved { leg: alice.leg, remote_addr: addr(BEHIND_NAT) }));
    let said = stand.speak(&mut bob);
    assert_eq!(stand.sent_to(addr(BEHIND_NAT)), [(alice.request.rtp, said)]);

    let report = relaying::receiver_report(1, 2);
    stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
    assert_eq!(stand.sent_to(alice.rtcp_addr()).len(), 1, "nothing was learnt about RTCP");
    stand.arrive(alice.our_rtcp(), addr("198.51.100.1:61999"), &report);
    stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
    assert_eq!(stand.sent_to(addr("198.51.100.1:61999")), [(alice.our_rtcp(), report)]);
}

const LEARNING: [LearnFrom; 3] = [LearnFrom::FirstPacket, LearnFrom::LastPacketOfWindow, LearnFrom::BestMatch];

#[test]
fn spray_from_a_third_address_is_neither_followed_nor_heard_after_the_window() {
    for (from, strict_source) in LEARNING.into_iter().flat_map(|from| [(from, false), (from, true)]) {
        let mut stand = Stand::new();
        let (mut alice, mut bob) = (Party::alice(), Party::bob());
        alice.remote.learning = Learning { strict_source, ..learning(from) };
        alice.request.silent_ms = 2000;
        stand.call(&alice, &bob);
        stand.speak(&mut alice);
        stand.pass(Nanos::from_secs(5));
        stand.heard_by(&mut bob);
        stand.speak_from(&mut alice, addr(STRANGER));
        assert!(stand.heard_by(&mut bob).is_empty(), "{from:?}");
        assert_eq!(stand.dropped(DropReason::SourceNotLearned), 1);
        stand.speak(&mut bob);
        assert!(stand.sent_to(addr(STRANGER)).is_empty());
        assert_eq!(stand.heard_by(&mut alice).len(), 1);
        stand.events.clear();
        for _ in 0..150 {
            stand.speak_from(&mut alice, addr(STRANGER));
            stand.pass(STEP);
        }
        let is_silent = |event: &Event| matches!(event, Event::LegSilent { .. });
        assert!(!stand.events.iter().any(|event| matches!(event, Event::LegHeard { .. } | Event::LegMoved { .. })));
        assert!(stand.events.iter().all(is_silent), "a stranger is no sign of life");
    }
}

#[test]
fn spray_within_the_window_takes_over_neither_a_peer_at_its_address_nor_one_behind_nat_that_speaks() {
    for from in LEARNING {
        for (place, strangers_heard) in [("198.51.100.1:4000", 0), (BEHIND_NAT, 20)] {
            let mut stand = Stand::new();
            let (mut alice, mut bob) = (Party::alice(), Party::bob());
            alice.remote.learning = learning(from);
            stand.call(&alice, &bob);
            stand.speak_from(&mut alice, addr(place));
            let report = relaying::receiver_report(1, 2);
            stand.arrive(alice.our_rtcp(), alice.rtcp_addr(), &report);
            stand.heard_by(&mut bob);
            for _ in 0..20 {
                stand.speak_from(&mut alice, addr(STRANGER));
                stand.arrive(alice.our_rtcp(), addr(STRANGER), &report);
                let strangers = stand.heard_by(&mut bob).len();
                let expected = usize::from(strangers_heard > 0 && from != LearnFrom::FirstPacket);
                assert_eq!(strangers, expected, "{from:?} {place}: heard while nobody is confirmed");
                stand.pass(Nanos::from_millis(100));
                stand.speak_from(&mut alice, addr(place));
                stand.heard_by(&mut bob);
            }
            let said = stand.speak(&mut bob);
            stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
            assert!(stand.sent_to(addr(STRANGER)).is_empty(), "{from:?} {place}");
            assert_eq!(stand.sent_to(addr(place)), [(alice.request.rtp, said)]);
        }
    }
}

#[test]
fn peer_that_begins_late_is_heard_and_answered_and_nobody_else_after_it() {
    for from in LEARNING {
        let mut stand = Stand::new();
        let (mut alice, mut bob) = (Party::alice(), Party::bob());
        alice.remote.learning = learning(from);
        stand.call(&alice, &bob);
        stand.pass(Nanos::from_secs(60));
        let report = relaying::receiver_report(1, 2);
        stand.arrive(alice.our_rtcp(), addr(STRANGER), &report);
        stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
        assert!(stand.sent_to(addr(STRANGER)).is_empty(), "reports are not learnt late from anywhere");
        for _ in 0..10 {
            stand.speak_from(&mut alice, addr(BEHIND_NAT));
            stand.pass(STEP);
        }
        assert_eq!(stand.heard_by(&mut bob).len(), 10, "{from:?}");
        stand.arrive(alice.our_rtcp(), addr("198.51.100.1:61999"), &report);
        stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
        assert_eq!(stand.sent_to(addr("198.51.100.1:61999")).len(), 1, "but from where RTP comes from");
        stand.pass(Nanos::from_secs(5));
        stand.speak_from(&mut alice, addr(STRANGER));
        assert!(stand.heard_by(&mut bob).is_empty());
        let said = stand.speak(&mut bob);
        assert_eq!(stand.sent_to(addr(BEHIND_NAT)), [(alice.request.rtp, said)]);
    }
}

#[test]
fn muxed_reports_are_heard_from_the_confirmed_address_only_and_any_source_of_an_asymmetric_peer_is() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice().muxed(), Party::bob());
    stand.call(&alice, &bob);
    stand.speak(&mut alice);
    let report = relaying::receiver_report(1, 2);
    stand.arrive(alice.request.rtp, addr(STRANGER), &report);
    assert!(stand.sent_to(bob.rtcp_addr()).is_empty());
    stand.arrive(alice.request.rtp, alice.addr, &report);
    assert_eq!(stand.sent_to(bob.rtcp_addr()).len(), 1);

    alice.remote.learning = learning(LearnFrom::Nothing);
    stand.describe(&alice);
    stand.pass(Nanos::from_secs(60));
    stand.heard_by(&mut bob);
    stand.speak_from(&mut alice, addr(BEHIND_NAT));
    assert_eq!(stand.heard_by(&mut bob).len(), 1);
    stand.speak(&mut bob);
    assert_eq!(stand.heard_by(&mut alice).len(), 1, "and is sent to where it said");
}

#[test]
fn hold_by_an_unspecified_address_keeps_the_peer_and_stops_what_is_sent_to_it() {
    for muxed in [false, true] {
        let mut stand = Stand::new();
        let (mut alice, mut bob) = (Party::alice(), Party::bob());
        if muxed {
            alice = alice.muxed();
        }
        stand.call(&alice, &bob);
        stand.speak(&mut alice);
        stand.heard_by(&mut bob);
        let named = alice.remote.clone();
        (alice.remote.rtp, alice.remote.rtcp) = (None, None);
        stand.describe(&alice);
        stand.pass(Nanos::from_secs(10));
        stand.speak_from(&mut alice, addr(STRANGER));
        assert_eq!(stand.dropped(DropReason::SourceNotLearned), 1);
        assert!(stand.heard_by(&mut bob).is_empty());
        for _ in 0..2 {
            stand.speak(&mut bob);
            stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &relaying::receiver_report(1, 2));
            assert!(stand.sent.is_empty(), "{:?}", stand.sent);
            // It may speak all the same: music.
            stand.speak(&mut alice);
            assert_eq!(stand.heard_by(&mut bob).len(), 1);
        }
        alice.remote = named;
        stand.describe(&alice);
        stand.speak(&mut bob);
        assert_eq!(stand.heard_by(&mut alice).len(), 1);
    }
}

/// Packets of alice's stream that reach bob, of so many.
fn reached(stand: &mut Stand, alice: &mut Party, bob: &mut Party, packets: usize) -> usize {
    (0..packets).for_each(|_| _ = stand.speak(alice));
    stand.heard_by(bob).len()
}

#[test]
fn address_that_never_spoke_gets_so_many_packets_and_all_of_them_once_it_speaks() {
    let report = relaying::receiver_report(1, 2);
    for speech in ["media", "a report", "a report over the port of RTP", "keyed media", "a keyed report"] {
        let mut stand = Stand::new();
        let (mut alice, mut bob) = (Party::alice(), Party::bob());
        if speech.ends_with("RTP") {
            bob = bob.muxed();
        }
        if speech.contains("keyed") {
            bob = bob.sdes(SrtpSuite::AeadAes128Gcm, 1, None);
        }
        bob.remote.unheard_packets_max = 30;
        stand.call(&alice, &bob);
        assert_eq!(reached(&mut stand, &mut alice, &mut bob, 40), 30);
        assert_eq!(stand.dropped(DropReason::PeerNeverSpoke), 10);
        // Not his.
        stand.arrive(bob.our_rtcp(), addr(STRANGER), &report);
        if speech.contains("keyed") {
            stand.arrive(bob.request.rtp, bob.addr, &bob.next_packet());
            stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
        }
        assert_eq!(reached(&mut stand, &mut alice, &mut bob, 1), 0);
        match speech.ends_with("media") {
            true => _ = stand.speak(&mut bob),
            false => {
                let report = bob.protect_rtcp(&report);
                stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
            }
        }
        assert_eq!(reached(&mut stand, &mut alice, &mut bob, 60), 60, "{speech}");
        stand.describe(&bob);
        assert_eq!(reached(&mut stand, &mut alice, &mut bob, 60), 60, "{speech}: a repetition keeps what is known");
        bob.remote.rtp = Some(addr("203.0.113.9:5000"));
        stand.describe(&bob);
        (0..40).for_each(|_| _ = stand.speak(&mut alice));
        assert_eq!(stand.sent_to(addr("203.0.113.9:5000")).len(), 30, "{speech}: another address has yet to speak");
    }
}

#[test]
fn reports_to_a_host_that_never_spoke_are_as_few_and_those_beside_media_that_is_heard_are_not() {
    let report = relaying::receiver_report(1, 2);
    for (rtcp, expected) in [("203.0.113.2:5001", 60), ("203.0.113.77:5001", 30)] {
        let mut stand = Stand::new();
        let (alice, mut bob) = (Party::alice(), Party::bob());
        (bob.remote.rtcp, bob.remote.unheard_packets_max) = (Some(addr(rtcp)), 30);
        stand.call(&alice, &bob);
        stand.speak(&mut bob);
        (0..60).for_each(|_| stand.arrive(alice.our_rtcp(), alice.rtcp_addr(), &report));
        assert_eq!(stand.sent_to(addr(rtcp)).len(), expected);
    }
}

#[test]
fn peer_that_sends_from_elsewhere_and_one_that_checks_are_heard_too() {
    let ours = IceCredentials { ufrag: "bridge01".into(), pwd: "a-password-of-the-bridge".into() };
    let (mut stand, mut alice) = (Stand::new(), Party::alice());
    let mut bob = Party::bob().with(|bob| {
        bob.remote.unheard_packets_max = 30;
        bob.remote.learning = learning(LearnFrom::Nothing);
    });
    stand.call(&alice, &bob);
    stand.speak_from(&mut bob, addr(BEHIND_NAT));
    assert_eq!(reached(&mut stand, &mut alice, &mut bob, 60), 60);

    let (mut stand, mut alice) = (Stand::new(), Party::alice());
    let mut bob = Party::bob().with(|bob| {
        bob.remote.unheard_packets_max = 30;
        bob.request.ice = Some(ours.clone());
        bob.remote.ice = Some(IceCredentials { ufrag: "peer".into(), pwd: "a-password-of-the-peer-01".into() });
    });
    stand.call(&alice, &bob);
    assert!(stand.check(Some(bob.request.rtp), bob.addr, &ours));
    assert_eq!(reached(&mut stand, &mut alice, &mut bob, 60), 60);
}

#[test]
fn nothing_is_heard_before_the_peer_is_described() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    stand.open(1, alice.request.clone()).expect("opens");
    stand.admit(&bob);
    stand.forward(&alice, &[&bob]);
    stand.speak(&mut alice);
    assert_eq!(stand.dropped(DropReason::SourceNotLearned), 1);
    assert!(stand.sent_to(bob.addr).is_empty());
}

#[test]
fn port_of_an_ended_call_is_deaf_and_its_next_call_prefers_the_peer_that_was_signaled() {
    let mut stand = Stand::new();
    let (mut old, mut bob) = (Party::alice(), Party::bob());
    stand.call(&old, &bob);
    stand.speak(&mut old);
    stand.done(Command::CloseLeg { leg: old.leg });
    stand.heard_by(&mut bob);
    stand.speak(&mut old);
    assert!(stand.heard_by(&mut bob).is_empty());
    assert_eq!(stand.dropped(DropReason::PortUnknown), 1);

    let mut new = Party::alice().with(|party| {
        (party.leg, party.addr) = (LegId(3), addr("192.0.2.200:4000"));
        party.remote = remote(party.addr);
        party.remote.learning = Learning { strict_source: true, ..learning(LearnFrom::BestMatch) };
    });
    stand.admit(&new);
    stand.forward(&new, &[&bob]);
    stand.forward(&bob, &[&new]);
    for _ in 0..10 {
        stand.speak_from(&mut new, old.addr);
        stand.speak(&mut new);
        stand.pass(Nanos::from_millis(500));
    }
    stand.speak(&mut bob);
    assert!(stand.sent_to(old.addr).is_empty());
    assert_eq!(stand.heard_by(&mut new).len(), 1);
    stand.heard_by(&mut bob);
    stand.speak_from(&mut new, old.addr);
    assert!(stand.heard_by(&mut bob).is_empty());
}

#[test]
fn port_of_our_own_is_never_learnt_so_that_nothing_goes_in_circles() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    stand.speak_from(&mut alice, bob.request.rtp);
    assert_eq!(stand.dropped(DropReason::OwnAddress), 1);
    assert!(stand.sent_to(bob.addr).is_empty());
}

#[test]
fn plain_leg_with_ice_follows_validated_pairs_only_on_both_components() {
    let ours = IceCredentials { ufrag: "bridge01".into(), pwd: "a-password-of-the-bridge".into() };
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob());
    alice.request.ice = Some(ours.clone());
    alice.remote.ice = Some(IceCredentials { ufrag: "peer".into(), pwd: "a-password-of-the-peer-01".into() });
    stand.call(&alice, &bob);
    stand.speak(&mut alice);
    stand.speak(&mut bob);
    assert!(stand.heard_by(&mut bob).is_empty() && stand.heard_by(&mut alice).is_empty(), "no pair is validated");
    let (rtp, rtcp) = (addr("198.51.100.1:7000"), addr("198.51.100.1:7005"));
    assert!(stand.check(Some(alice.request.rtp), rtp, &ours));
    assert!(stand.check(Some(alice.our_rtcp()), rtcp, &ours));
    stand.speak_from(&mut alice, rtp);
    assert_eq!(stand.heard_by(&mut bob).len(), 1);
    stand.speak(&mut bob);
    let report = relaying::receiver_report(1, 2);
    stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
    assert_eq!((stand.sent_to(rtp).len(), stand.sent_to(rtcp).len()), (1, 1));

    stand.pass(Nanos::from_secs(31));
    stand.speak(&mut bob);
    assert!(stand.sent_to(rtp).is_empty(), "consent has expired");
    assert!(stand.check(Some(alice.request.rtp), rtp, &ours));
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(rtp).len(), 1, "and was given again");
}

#[test]
fn peer_that_checks_and_muxes_gets_rtcp_over_the_pair_of_rtp_although_we_have_two_ports() {
    let ours = IceCredentials { ufrag: "bridge01".into(), pwd: "a-password-of-the-bridge".into() };
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice().muxing(), Party::bob());
    alice.request.ice = Some(ours.clone());
    alice.remote.ice = Some(IceCredentials { ufrag: "peer".into(), pwd: "a-password-of-the-peer-01".into() });
    stand.call(&alice, &bob);
    let pair = addr("198.51.100.1:7000");
    let report = relaying::receiver_report(1, 2);
    // A check of the second component changes nothing: who muxes has none, but may have begun with it.
    for second in [None, Some(addr("198.51.100.1:7005"))] {
        assert!(stand.check(Some(alice.request.rtp), pair, &ours));
        if let Some(second) = second {
            assert!(stand.check(Some(alice.our_rtcp()), second, &ours));
        }
        stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report);
        assert_eq!(stand.sent_to(pair), [(alice.request.rtp, report.clone())], "{second:?}");
        stand.arrive(alice.request.rtp, pair, &report);
        assert_eq!(stand.sent_to(bob.rtcp_addr()).len(), 1);
    }
}

#[test]
fn consent_that_expired_is_asked_for_no_more_once_ice_is_taken_away() {
    let ours = IceCredentials { ufrag: "bridge01".into(), pwd: "a-password-of-the-bridge".into() };
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice().muxed(), Party::bob());
    alice.request.ice = Some(ours.clone());
    alice.remote.ice = Some(IceCredentials { ufrag: "peer".into(), pwd: "a-password-of-the-peer-01".into() });
    stand.call(&alice, &bob);
    assert!(stand.check(Some(alice.request.rtp), alice.addr, &ours));
    stand.pass(Nanos::from_secs(31));
    stand.speak(&mut bob);
    assert_eq!(stand.dropped(DropReason::ConsentExpired), 1);
    alice.remote.ice = None;
    stand.describe(&alice);
    stand.speak(&mut bob);
    assert_eq!(stand.heard_by(&mut alice).len(), 1);
}

#[test]
fn checks_to_a_leg_without_ice_are_not_answered() {
    let mut stand = Stand::new();
    let alice = Party::alice();
    stand.admit(&alice);
    let ours = IceCredentials { ufrag: "bridge01".into(), pwd: "a-password-of-the-bridge".into() };
    assert!(!stand.check(Some(alice.request.rtp), alice.addr, &ours));
    assert_eq!(stand.dropped(DropReason::StunUnexpected), 1);
}

#[test]
fn restart_of_ice_takes_new_credentials_and_keeps_the_pair_until_they_are_used() {
    let credentials =
        |n: u8| IceCredentials { ufrag: format!("bridge{n:02}"), pwd: format!("a-password-of-number-{n:03}") };
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice().muxed(), Party::bob());
    alice.request.ice = Some(credentials(1));
    alice.remote.ice = Some(IceCredentials { ufrag: "peer".into(), pwd: "a-password-of-the-peer-01".into() });
    stand.call(&alice, &bob);
    assert!(stand.check(Some(alice.request.rtp), alice.addr, &credentials(1)));
    alice.remote.our_ice = Some(credentials(2));
    stand.describe(&alice);
    stand.speak(&mut bob);
    assert_eq!(stand.heard_by(&mut alice).len(), 1, "the pair in use stays in use");
    alice.addr = addr("198.51.100.1:8000");
    assert!(stand.check(Some(alice.request.rtp), alice.addr, &credentials(2)));
    stand.speak(&mut bob);
    assert_eq!(stand.heard_by(&mut alice).len(), 1);
    assert!(!stand.check(Some(alice.request.rtp), alice.addr, &credentials(1)));
}

#[test]
fn port_of_our_own_is_heard_where_signaling_joined_two_legs_and_nowhere_else() {
    let mut stand = Stand::new();
    let linked = Party::subscriber(1);
    let joined = |party: &mut Party| {
        (party.remote.rtp, party.remote.rtcp) = (Some(linked.request.rtp), linked.request.rtcp);
        party.addr = linked.request.rtp;
    };
    let (mut alice, bob) = (Party::alice().with(joined), Party::bob());
    stand.call(&alice, &bob);
    stand.admit(&linked);
    stand.turn();
    for _ in 0..3 {
        stand.speak(&mut alice);
    }
    assert_eq!(stand.sent_to(bob.addr).len(), 3);
    let report = super::relaying::receiver_report(1, 2);
    stand.arrive(alice.our_rtcp(), linked.request.rtcp.expect("a port of its own"), &report);
    assert_eq!(stand.sent_to(bob.rtcp_addr()), [(bob.our_rtcp(), report)]);
    stand.speak_from(&mut alice, bob.request.rtp);
    assert_eq!((stand.dropped(DropReason::OwnAddress), stand.sent_to(bob.addr).len()), (1, 0));
}
