//! What "done" means: every packet that comes later is handled accordingly, although the worker has yet to take the order.

use super::party::Party;
use super::*;

/// Carries the command out as far as control is concerned; the worker sleeps.
fn tell(stand: &mut Stand, command: Command) {
    stand.commands += 1;
    let answer = stand.registry.command(Order { id: CommandId(stand.commands), command });
    assert!(answer.expect("answered at once").result.is_ok());
}

fn tell_of_call(stand: &mut Stand, alice: &Party, bob: &Party) {
    for party in [alice, bob] {
        let transport = TransportRequest::Rtp(party.request.clone());
        tell(stand, Command::OpenLeg { leg: party.leg, call: CALL, transport });
        tell(stand, Command::SetRtpRemote { leg: party.leg, remote: party.remote.clone() });
    }
    tell(stand, Command::Forward { source: alice.leg, sinks: vec![bob.leg] });
}

#[test]
fn packet_is_relayed_although_it_is_harvested_together_with_the_orders_that_open_its_leg() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    tell_of_call(&mut stand, &alice, &bob);
    let packet = alice.next_packet();
    stand.net.inject_to(alice.request.rtp, alice.addr, &packet);
    stand.turn();
    assert_eq!(stand.sent_to(bob.addr), [(bob.request.rtp, packet)]);
    assert_eq!(stand.dropped(DropReason::PortUnknown), 0);
}

#[test]
fn packet_is_withheld_although_it_is_harvested_together_with_the_order_that_blocks_it() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    stand.turn();
    tell(
        &mut stand,
        Command::Filter { leg: alice.leg, filter: FlowFilter { media_blocked: true, ..FlowFilter::default() } },
    );
    let packet = alice.next_packet();
    stand.net.inject_to(alice.request.rtp, alice.addr, &packet);
    stand.turn();
    assert!(stand.sent_to(bob.addr).is_empty());
}

#[test]
fn packet_of_a_leg_that_closes_in_the_same_turn_is_nobodys_and_others_pass_beside_its_goodbye() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    let end = Party::subscriber(1).with(|party| party.request.relaying = Relaying::Endpoint);
    stand.call(&alice, &bob);
    stand.admit(&end);
    stand.turn();
    let packet = alice.next_packet();
    stand.net.inject_to(end.request.rtp, end.addr, &packet);
    stand.net.inject_to(alice.request.rtp, alice.addr, &packet);
    stand.ask(Command::CloseLeg { leg: end.leg }).expect("closes");
    assert_eq!(stand.sent_to(bob.addr), [(bob.request.rtp, packet)]);
    assert_eq!(stand.sent_to(end.rtcp_addr()).len(), 1, "the goodbye leaves from a port that is still open");
}
