//! Legs that carry what is not RTP: fax over UDPTL, which begins with two bytes of sequence number.

use super::party::Party;
use super::*;
use crosspoint_contract::SrtpSuite;

/// First bytes that look like STUN, DTLS, RTP, RTCP and nothing at all.
const DATAGRAMS: [&[u8]; 6] = [
    &[0x00, 0x00, 1, 6, 0xC0, 1, 0x80, 0, 0],
    &[0x00, 0x01, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[22, 254, 253, 0],
    &[0x80, 0x00, 1, 6],
    &[0x80, 200, 1, 6],
    &[0x7f],
];

fn opaque(party: Party) -> Party {
    party.with(|party| party.remote.security = Security::Opaque)
}

#[test]
fn whatever_an_opaque_leg_gets_passes_as_it_is() {
    let mut stand = Stand::new();
    let (alice, bob) = (opaque(Party::alice()), opaque(Party::bob()));
    stand.call(&alice, &bob);
    for datagram in DATAGRAMS {
        for (from, to) in [(&alice, &bob), (&bob, &alice)] {
            stand.arrive(from.request.rtp, from.addr, datagram);
            assert_eq!(stand.sent_to(to.addr), [(to.request.rtp, datagram.to_vec())]);
        }
    }
    let Ok(Done::Report(report)) = stand.ask(Command::ReadLeg { leg: alice.leg }) else { panic!("a report") };
    let bytes = DATAGRAMS.iter().map(|datagram| datagram.len() as u64).sum();
    assert_eq!((report.packets_received, report.bytes_received), (6, bytes));
    assert_eq!((report.packets_sent, report.bytes_sent), (6, bytes));
}

#[test]
fn an_opaque_leg_learns_its_peer_as_a_plain_one_and_listens_to_no_stranger() {
    let mut stand = Stand::new();
    let (alice, bob) = (opaque(Party::alice()), opaque(Party::bob()));
    stand.call(&alice, &bob);
    let behind_nat = addr("198.51.100.1:4444");
    for _ in 0..20 {
        stand.arrive(alice.request.rtp, behind_nat, DATAGRAMS[0]);
        stand.pass(STEP);
    }
    stand.pass(Nanos::from_secs(4));
    stand.arrive(bob.request.rtp, bob.addr, DATAGRAMS[0]);
    assert_eq!(stand.sent_to(behind_nat).len(), 1);
    stand.sent_to(bob.addr);
    stand.arrive(alice.request.rtp, addr("198.51.100.66:6666"), DATAGRAMS[0]);
    assert_eq!(stand.sent_to(bob.addr), []);
}

#[test]
fn a_call_goes_from_speech_to_fax_and_back() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    let spoken = stand.speak(&mut alice);
    assert_eq!(stand.heard_by(&mut bob), [spoken]);
    for party in [&mut alice, &mut bob] {
        party.remote.security = Security::Opaque;
        stand.describe(party);
    }
    stand.arrive(alice.request.rtp, alice.addr, DATAGRAMS[0]);
    assert_eq!(stand.sent_to(bob.addr), [(bob.request.rtp, DATAGRAMS[0].to_vec())]);
    for party in [&mut alice, &mut bob] {
        party.remote.security = Security::Plain;
        stand.describe(party);
    }
    stand.arrive(alice.request.rtp, alice.addr, DATAGRAMS[0]);
    assert_eq!(stand.sent_to(bob.addr), [], "fax in a call of speech");
    let spoken = stand.speak(&mut alice);
    assert_eq!(stand.heard_by(&mut bob), [spoken]);
    assert_eq!(stand.worker.opaque_legs(), 0);
}

#[test]
fn nothing_crosses_between_fax_and_speech_and_least_of_all_in_the_clear() {
    for keyed in [false, true] {
        let mut stand = Stand::new();
        let (alice, mut bob) = (opaque(Party::alice()), Party::bob());
        if keyed {
            bob = bob.sdes(SrtpSuite::AesCm128HmacSha1_80, 1, None);
        }
        stand.call(&alice, &bob);
        stand.arrive(alice.request.rtp, alice.addr, DATAGRAMS[3]);
        assert_eq!(stand.sent_to(bob.addr), []);
        stand.speak(&mut bob);
        assert_eq!(stand.sent_to(alice.addr), []);
        assert_eq!(stand.dropped(DropReason::OtherLegNotReady), 2);
    }
}

#[test]
fn an_end_of_rtp_sessions_carries_nothing_else_and_closed_legs_are_not_counted() {
    let mut stand = Stand::new();
    let end = opaque(Party::alice()).with(|party| party.request.relaying = Relaying::Endpoint);
    stand.open(end.leg.0, end.request.clone()).expect("opens");
    let described = stand.ask(Command::SetRtpRemote { leg: end.leg, remote: end.remote.clone() });
    assert_eq!(described, Err(Refused::UnsuitedLeg(end.leg)));
    let bob = opaque(Party::bob());
    stand.admit(&bob);
    stand.turn();
    assert_eq!(stand.worker.opaque_legs(), 1);
    stand.done(Command::CloseLeg { leg: bob.leg });
    stand.turn();
    assert_eq!(stand.worker.opaque_legs(), 0);
}
