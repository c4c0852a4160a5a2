//! Which leg an address belongs to, and which of its addresses a leg uses: validation, theft, consent, restarts.
//!
//! ```text
//!   peer A (198.51.100.1) -- leg 1 ==bridge== leg 2 -- peer B (198.51.100.2)      virtual clock
//! ```

mod support;

use crosspoint_contract::{DropReason, Event, IceCredentials, LegFailure};
use crosspoint_dataplane::queues::WorkerOrder;
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_lite::Credentials;
use crosspoint_wire::srtp::Suite;
use std::net::SocketAddr;
use support::OPUS;
use support::stand::{SimPeer, Stand};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Restarts the ICE of a peer's leg; returns what its peer would read in the offer.
fn restart(stand: &mut Stand, peer: &SimPeer, n: u32) -> IceCredentials {
    let ice = IceCredentials { ufrag: format!("new{n:05}"), pwd: format!("the-new-password-of-a-leg-{n}") };
    let credentials = Credentials { ufrag: ice.ufrag.clone(), pwd: ice.pwd.clone() };
    stand.done(WorkerOrder::RestartIce { leg: peer.leg, ice: credentials });
    ice
}

#[test]
fn address_that_a_leg_lives_on_cannot_be_taken_by_another() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let thief = stand.open(2, &[OPUS]);
    assert!(!stand.check(&thief, a.addr), "a forged source is not even answered");
    assert_eq!(stand.dropped(DropReason::AddressTaken), 1);
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b).len(), 1, "A is still heard");
    assert!(stand.check(&thief, thief.addr), "the thief may live on an address of its own");
}

#[test]
fn address_of_a_leg_whose_consent_is_gone_may_be_used_by_the_next() {
    let mut stand = Stand::new();
    let a = stand.open(0, &[OPUS]);
    assert!(stand.check(&a, a.addr));
    stand.pass(Nanos::from_secs(31));
    let mut next = stand.open(1, &[OPUS]);
    next.addr = a.addr;
    assert!(stand.check(&next, next.addr));
    stand.key(&mut next, Suite::AeadAes128Gcm);
    stand.speak(&mut next);
    assert_eq!(stand.dropped(DropReason::Unbridged), 1, "its media is recognised");
}

#[test]
fn address_that_another_leg_was_seen_at_comes_back_with_the_next_check() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let shared = addr("198.51.100.50:5000");
    assert!(stand.check_with(&b, shared, false), "B was seen there, but lives elsewhere");
    assert!(stand.check(&a, shared));
    a.addr = shared;
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b).len(), 1);
    stand.done(WorkerOrder::Close(b.leg));
    stand.speak(&mut a);
    assert_eq!(stand.dropped(DropReason::Unbridged), 1, "B's end takes nothing of A's along");
}

#[test]
fn consent_of_a_peer_that_never_nominates_expires_too() {
    let mut stand = Stand::new();
    let mut a = stand.open(0, &[OPUS]);
    assert!(stand.check_with(&a, a.addr, false));
    stand.key(&mut a, Suite::AeadAes128Gcm);
    stand.pass(Nanos::from_secs(31));
    let failed = stand.event(|event| matches!(event, Event::LegFailed { .. }));
    assert_eq!(failed, Some(Event::LegFailed { leg: a.leg.leg, why: LegFailure::ConsentExpired }));
}

#[test]
fn ice_restart_goes_unheard_and_the_peer_may_move_with_it() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let old = b.local.ice.clone();
    let ice = restart(&mut stand, &b, 1);
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b).len(), 1, "the old pair carries on");
    assert!(stand.check(&b, b.addr), "the old credentials are still good");

    b.local.ice = ice;
    let moved = addr("198.51.100.77:5000");
    assert!(stand.check(&b, moved));
    let event = stand.event(|event| matches!(event, Event::LegMoved { .. }));
    assert_eq!(event, Some(Event::LegMoved { leg: b.leg.leg, remote_addr: moved }));
    b.addr = moved;
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b).len(), 1, "media follows");
    stand.speak(&mut b);
    assert_eq!(stand.heard_by(&mut a).len(), 1);

    b.local.ice = old;
    stand.net.inject(b.addr, &support::peer::check(&b.local, 9));
    stand.turn();
    assert_eq!(stand.dropped(DropReason::StunUnknownUser), 1, "the old credentials are void");
    assert!(stand.event(|event| matches!(event, Event::LegFailed { .. })).is_none());
}

#[test]
fn second_restart_before_a_nomination_leaves_the_pair_in_use_its_consent() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    restart(&mut stand, &b, 1);
    let newest = restart(&mut stand, &b, 2);
    for _ in 0..40 {
        assert!(stand.check(&a, a.addr));
        assert!(stand.check_with(&b, b.addr, false), "with the credentials the pair was taken into use with");
        stand.pass(Nanos::from_secs(1));
    }
    assert!(stand.event(|event| matches!(event, Event::LegFailed { .. })).is_none());
    b.local.ice = newest;
    assert!(stand.check(&b, b.addr));
    stand.sent.clear();
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b).len(), 1);
}
