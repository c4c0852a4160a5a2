//! What a translator leaves as it is, what it withholds, and what it counts.

use super::handshake::dtls;
use super::party::Party;
use super::*;
use crosspoint_contract::limits::{BATCH_PACKETS_MAX, SINKS_PER_LEG_MAX};
use crosspoint_contract::{DtlsRole, SrtpSuite};
use crosspoint_wire::rtcp::{ReportBlock, SenderInfo, write_report};

/// A report of `from` about the stream `about`.
pub fn receiver_report(from: u32, about: u32) -> Vec<u8> {
    report(from, None, ReportBlock { ssrc: about, ..ReportBlock::default() })
}

fn report(from: u32, sender: Option<SenderInfo>, block: ReportBlock) -> Vec<u8> {
    let mut room = [0; 500];
    let len = write_report(&mut room, from, sender.as_ref(), &[block], "party").expect("room");
    room[..len].to_vec()
}

#[test]
fn numbers_extensions_unknown_formats_and_padding_pass_untouched() {
    let mut stand = Stand::new();
    let (alice, bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    let with_extension = [0x91, 0xE5, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0xBE, 0xDE, 0, 1, 0x10, 7, 0, 0, 1, 2];
    let padded_badly = [0xA0, 96, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 200];
    for packet in [&with_extension[..], &padded_badly] {
        stand.arrive(alice.request.rtp, alice.addr, packet);
        assert_eq!(stand.sent_to(bob.addr), [(bob.request.rtp, packet.to_vec())]);
    }
}

#[test]
fn rtcp_crosses_between_muxed_and_separate_ports_and_between_plain_and_keyed_legs() {
    for (a_muxed, b_muxed) in [(false, false), (true, false), (false, true), (true, true)] {
        for keyed in [false, true] {
            let kind = |party: Party, muxed| if muxed { party.muxed() } else { party };
            let (mut alice, mut bob) = (kind(Party::alice(), a_muxed), kind(Party::bob(), b_muxed));
            if keyed {
                alice = alice.sdes(SrtpSuite::AesCm128HmacSha1_80, 1, None);
            }
            let mut stand = Stand::new();
            stand.call(&alice, &bob);
            stand.speak(&mut alice);
            stand.sent_to(bob.addr);
            let clear = receiver_report(alice.ssrc, bob.ssrc);
            let packet = alice.protect_rtcp(&clear);
            stand.arrive(alice.our_rtcp(), alice.rtcp_addr(), &packet);
            let sent: Vec<_> = stand.sent_to(bob.rtcp_addr());
            assert_eq!(sent, [(bob.our_rtcp(), clear.clone())], "{a_muxed} {b_muxed} {keyed}");
            stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &clear);
            let (from, sent) = stand.sent_to(alice.rtcp_addr()).remove(0);
            assert_eq!((from, alice.open_rtcp(sent)), (alice.our_rtcp(), Some(clear)));
            assert!(bob.open_rtcp(vec![0x80, 0]).is_none());
        }
    }
}

#[test]
fn peer_that_muxes_gets_rtcp_where_it_gets_rtp_although_we_have_two_ports() {
    let mut stand = Stand::new();
    let (alice, bob) = (Party::alice(), Party::bob().muxing());
    stand.call(&alice, &bob);
    let clear = receiver_report(1, 2);
    stand.arrive(alice.our_rtcp(), alice.rtcp_addr(), &clear);
    assert_eq!(stand.sent_to(bob.addr), [(bob.request.rtp, clear.clone())]);
    for to in [bob.our_rtcp(), bob.request.rtp] {
        stand.arrive(to, bob.addr, &clear);
        assert_eq!(stand.sent_to(alice.rtcp_addr()), [(alice.our_rtcp(), clear.clone())]);
    }
}

#[test]
fn rtcp_of_a_dtls_leg_without_multiplexing_stays_here_because_nobody_has_keys_for_it() {
    let identity = Identity::generate().expect("a certificate");
    let (mut stand, mut alice, bob) = (Stand::new(), Party::alice(), Party::bob());
    alice.remote.security = dtls(&identity, DtlsRole::Server);
    stand.call(&alice, &bob);
    stand.key(&mut alice, &identity, crosspoint_wire::dtls::Role::Client);
    stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &receiver_report(1, 2));
    assert!(stand.sent_to(alice.rtcp_addr()).is_empty());
}

#[test]
fn every_subscriber_gets_every_packet_sealed_with_its_own_keys_in_order() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob().sdes(SrtpSuite::AeadAes128Gcm, 1, None));
    stand.call(&alice, &bob);
    let mut listeners: Vec<Party> = (0..SINKS_PER_LEG_MAX as u64 - 1)
        .map(|n| match n % 2 {
            0 => Party::subscriber(n),
            _ => Party::subscriber(n).sdes(SrtpSuite::AesCm128HmacSha1_80, n as u8, None),
        })
        .collect();
    listeners.iter().for_each(|listener| stand.admit(listener));
    let sinks: Vec<_> = std::iter::once(&bob).chain(&listeners).collect();
    stand.forward(&alice, &sinks);
    let said: Vec<_> = (0..BATCH_PACKETS_MAX).map(|_| alice.next_packet()).collect();
    said.iter().for_each(|packet| stand.net.inject_to(alice.request.rtp, alice.addr, packet));
    for _ in 0..20 {
        stand.turn();
    }
    assert_eq!(stand.heard_by(&mut bob), said);
    for listener in &mut listeners {
        assert_eq!(stand.heard_by(listener), said);
    }
    assert_eq!(stand.dropped(DropReason::SendExhausted), 0);

    stand.forward(&alice, &[]);
    stand.speak(&mut alice);
    assert_eq!(stand.dropped(DropReason::Unbridged), 1);
    assert!(stand.heard_by(&mut bob).is_empty());
}

#[test]
fn sink_that_cannot_take_a_packet_does_not_keep_it_from_the_others() {
    let mut stand = Stand::new();
    let (mut alice, mut bob, mut carol) = (Party::alice(), Party::bob(), Party::subscriber(1));
    stand.call(&alice, &bob);
    stand.admit(&carol);
    stand.forward(&alice, &[&bob, &carol]);
    stand.done(Command::CloseLeg { leg: bob.leg });
    let said = stand.speak(&mut alice);
    assert_eq!(stand.heard_by(&mut carol), [said]);
    bob.leg = LegId(77);
    bob.request.rtp = addr("192.0.2.1:42000");
    bob.request.rtcp = None;
    stand.admit(&bob);
    stand.speak(&mut alice);
    assert!(stand.heard_by(&mut bob).is_empty(), "the place of a closed sink is no sink");
}

#[test]
fn blocked_media_and_digits_do_not_pass_and_silence_sounds_like_the_codec() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    let mut send = |stand: &mut Stand, payload_type, payload: &[u8]| {
        (alice.payload_type, alice.payload) = (payload_type, payload.to_vec());
        stand.speak(&mut alice);
        stand.heard_by(&mut bob).pop().map(|packet| packet[12..].to_vec())
    };
    let digit = [5, 0x0A, 0, 160];
    assert_eq!(send(&mut stand, 101, &digit), Some(digit.to_vec()));
    assert_eq!(stand.events.pop_back(), Some(Event::DigitHeard { leg: LegId(1), digit: '5' }));

    let filter = |filter| Command::Filter { leg: LegId(1), filter };
    stand.done(filter(FlowFilter { digits_blocked: true, ..FlowFilter::default() }));
    assert_eq!(send(&mut stand, 101, &digit), None);
    assert_eq!(stand.dropped(DropReason::DigitsBlocked), 1);
    assert_eq!(send(&mut stand, 0, b"voice"), Some(b"voice".to_vec()));

    stand.done(filter(FlowFilter { silenced: true, ..FlowFilter::default() }));
    for (payload_type, silence) in [(0, Some(0xFF)), (8, Some(0xD5)), (9, Some(0xFA)), (96, None)] {
        assert_eq!(send(&mut stand, payload_type, b"voice"), silence.map(|byte| vec![byte; 5]), "{payload_type}");
    }
    stand.done(filter(FlowFilter { media_blocked: true, ..FlowFilter::default() }));
    assert_eq!(send(&mut stand, 0, b"voice"), None);
    assert_eq!(stand.dropped(DropReason::MediaBlocked), 2);
    stand.done(filter(FlowFilter::default()));
    assert_eq!(send(&mut stand, 0, b"voice"), Some(b"voice".to_vec()));
}

#[test]
fn held_direction_stops_media_and_lets_reports_pass() {
    for (direction, hears, speaks) in
        [(Direction::SendOnly, true, false), (Direction::ReceiveOnly, false, true), (Direction::Inactive, false, false)]
    {
        let mut stand = Stand::new();
        let (mut alice, mut bob) = (Party::alice(), Party::bob());
        alice.remote.direction = direction;
        stand.call(&alice, &bob);
        stand.speak(&mut alice);
        stand.speak(&mut bob);
        assert_eq!(stand.heard_by(&mut bob).len(), usize::from(speaks), "{direction:?}");
        assert_eq!(stand.heard_by(&mut alice).len(), usize::from(hears), "{direction:?}");
        stand.arrive(alice.our_rtcp(), alice.rtcp_addr(), &receiver_report(1, 2));
        assert_eq!(stand.sent_to(bob.rtcp_addr()).len(), 1);
    }
}

#[test]
fn call_between_address_families() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob());
    bob.addr = addr("[2001:db8::b0b]:5000");
    (bob.request, bob.remote) = (request(addr("[2001:db8::1]:40010")), remote(bob.addr));
    stand.call(&alice, &bob);
    let said = stand.speak(&mut alice);
    assert_eq!(stand.heard_by(&mut bob), [said]);
    let said = stand.speak(&mut bob);
    assert_eq!(stand.heard_by(&mut alice), [said]);
}

#[test]
fn streams_are_counted_and_what_receivers_say_of_them_is_kept_with_them() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    for n in 0..10 {
        if n == 4 {
            alice.next_packet();
        }
        stand.speak(&mut alice);
        stand.pass(STEP);
    }
    stand.speak(&mut bob);
    let ntp = 0x1234_5678_9ABC_DEF0;
    let sender = SenderInfo { ssrc: alice.ssrc, ntp, rtp_timestamp: 0, packet_count: 9, octet_count: 99 };
    stand.arrive(alice.our_rtcp(), alice.rtcp_addr(), &report(alice.ssrc, Some(sender), ReportBlock::default()));
    stand.pass(Nanos::from_millis(140));
    let block = ReportBlock {
        ssrc: alice.ssrc,
        fraction_lost: 26,
        cumulative_lost: 1,
        jitter: 80,
        last_sender_report: (ntp >> 16) as u32,
        delay_since_last_sender_report: Nanos::from_millis(100).as_ntp_middle(),
        ..ReportBlock::default()
    };
    stand.arrive(bob.our_rtcp(), bob.rtcp_addr(), &report(bob.ssrc, None, block));

    let streams = stand.streams(&alice);
    let [stream] = &streams[..] else { panic!("{streams:?}") };
    assert_eq!((stream.ssrc, stream.packets, stream.payload_type), (alice.ssrc, 10, 0));
    assert_eq!((stream.payload_bytes, stream.packets_lost), (10 * alice.payload.len() as u64, 1));
    assert_eq!((stream.quality.samples, stream.quality.packet_loss_percent.max), (1, 10));
    assert_eq!(stream.quality.jitter_ms.sum, 10);
    assert!(stream.quality.round_trip_us.max.abs_diff(40_000) < 50, "{:?}", stream.quality);
    assert!((30..=44).contains(&stream.quality.mos_x10.min), "{:?}", stream.quality);

    let Ok(Done::Report(report)) = stand.ask(Command::ReadLeg { leg: alice.leg }) else { panic!("no report") };
    assert_eq!((report.packets_received, report.packets_sent, report.packets_lost), (10, 1, 1));
    assert_eq!((report.rtcp_packets_received, report.remote_addr), (1, Some(alice.addr)));
    assert_eq!(report.local_addr, Some(alice.request.rtp));
    let Ok(Done::Report(last)) = stand.ask(Command::CloseLeg { leg: alice.leg }) else { panic!("no report") };
    assert_eq!(last.packets_received, 10);
}

#[test]
fn peer_that_falls_silent_is_told_of_once_and_only_when_asked_for() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    alice.request.silent_ms = 2000;
    stand.call(&alice, &bob);
    stand.speak(&mut alice);
    stand.pass(Nanos::from_secs(5));
    let events: Vec<_> = stand.events.drain(..).collect();
    assert!(matches!(events[..], [Event::LegSilent { leg: LegId(1), silent_ms: 2000.. }]), "{events:?}");
    stand.speak(&mut alice);
    assert_eq!(stand.events.pop_front(), Some(Event::LegHeard { leg: alice.leg }));
}

#[test]
fn translators_peer_is_silent_on_hold_and_before_its_handshake_too() {
    let mut stand = Stand::new();
    let held = Party::alice().with(|alice| {
        alice.request.silent_ms = 2000;
        alice.remote.direction = Direction::SendOnly;
    });
    let unkeyed = Party::bob().with(|bob| {
        bob.request.silent_ms = 2000;
        bob.remote.security = dtls(&Identity::generate().expect("a certificate"), DtlsRole::Server);
    });
    stand.call(&held, &unkeyed);
    let waiting = Party::subscriber(1).with(|waiting| waiting.request.silent_ms = 2000);
    stand.open(waiting.leg.0, waiting.request.clone()).expect("opens");
    stand.pass(Nanos::from_secs(5));
    let mut silent: Vec<_> = stand
        .events
        .iter()
        .filter_map(|event| match event {
            Event::LegSilent { leg, .. } => Some(*leg),
            _ => None,
        })
        .collect();
    silent.sort_unstable();
    assert_eq!(silent, [held.leg, unkeyed.leg], "each once, and nothing of who was not described");
}

#[test]
fn snapshot_shows_what_legs_were_told() {
    let mut stand = Stand::new();
    let (alice, bob) = (Party::alice(), Party::bob().sdes(SrtpSuite::AeadAes128Gcm, 1, None));
    stand.call(&alice, &bob);
    let filter = FlowFilter { silenced: true, ..FlowFilter::default() };
    stand.filter(&alice, filter);
    let parts = stand.registry.snapshot();
    let legs: Vec<_> = parts.iter().flat_map(|part| &part.legs).collect();
    let [first, second] = &legs[..] else { panic!("{legs:?}") };
    let told = first.rtp.as_ref().expect("an RTP leg");
    assert_eq!((&told.request, &told.remote), (&alice.request, &Some(alice.remote.clone())));
    assert_eq!((&told.sinks[..], told.filter), (&[bob.leg][..], filter));
    assert_eq!(first.local.candidates, [alice.request.rtp, alice.our_rtcp()]);
    assert_eq!(first.state, crosspoint_contract::LegState::Connected);
    assert_eq!(second.state, crosspoint_contract::LegState::Connected);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut stand = Stand::new();
    let (alice, bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    assert_eq!(stand.open(9, alice.request.clone()), Err(Refused::PortTaken(alice.request.rtp)));
    let elsewhere = addr("192.0.2.99:40000");
    assert_eq!(stand.open(9, request(elsewhere)), Err(Refused::NoSuchAddress(elsewhere.ip())));
    let forward =
        |sinks: &[u64]| Command::Forward { source: LegId(1), sinks: sinks.iter().map(|&n| LegId(n)).collect() };
    assert_eq!(stand.ask(forward(&[1])), Err(Refused::SameLeg(LegId(1))));
    assert_eq!(stand.ask(forward(&[2, 8])), Err(Refused::UnknownLeg(LegId(8))));
    assert_eq!(stand.ask(forward(&[2; SINKS_PER_LEG_MAX + 1])), Err(Refused::TooManySinks));
    let bridge = Command::Bridge { bridge: crosspoint_contract::BridgeId(1), legs: [alice.leg, bob.leg] };
    assert_eq!(stand.ask(bridge), Err(Refused::UnsuitedLeg(alice.leg)));

    let again = stand.open(1, alice.request.clone());
    assert!(matches!(again, Ok(Done::Opened(_))), "a repetition gives the same answer");
    stand.done(Command::CloseLeg { leg: alice.leg });
    stand.open(9, alice.request.clone()).expect("the port is free again");
}

#[test]
fn shared_port_and_own_ports_do_not_hear_each_others_packets() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    let packet = alice.next_packet();
    stand.net.inject(alice.addr, &packet);
    stand.turn();
    assert_eq!(stand.dropped(DropReason::UnknownSource), 1);
    stand.arrive(alice.our_rtcp(), alice.addr, &packet);
    assert_eq!(stand.dropped(DropReason::RtcpMalformed), 1);
    stand.arrive(alice.request.rtp, alice.addr, &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stand.dropped(DropReason::DtlsUnexpected), 1);
    assert!(stand.sent_to(bob.addr).is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, ..Default::default() })]
    #[test]
    fn whatever_arrives_is_sent_or_counted_and_harms_nobody(
        noise in proptest::collection::vec(
            (0..4usize, 0..3usize, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)),
            1..100,
        ),
    ) {
        let mut stand = Stand::new();
        let mut alice = Party::alice();
        let mut bob = Party::bob().sdes(SrtpSuite::AesCm128HmacSha1_80, 1, None);
        stand.call(&alice, &bob);
        stand.filter(&alice, FlowFilter { silenced: true, ..FlowFilter::default() });
        let ports = [alice.request.rtp, alice.our_rtcp(), bob.request.rtp, bob.our_rtcp()];
        for (port, kind, mut bytes) in noise {
            // RTP and RTCP more often than chance would have it.
            if let Some(first) = bytes.first_mut().filter(|_| kind > 0) {
                *first = 0x80 | (*first & 0x3F);
            }
            if let Some(second) = bytes.get_mut(1).filter(|_| kind > 1) {
                *second = 200 + (*second % 8);
            }
            stand.arrive(ports[port], alice.addr, &bytes);
        }
        let dropped: u64 = DropReason::ALL.iter().map(|reason| stand.dropped(*reason)).sum();
        let (received, sent) = (stand.counters.packets_received.get(), stand.counters.packets_sent.get());
        proptest::prop_assert_eq!(received, sent + dropped);
        stand.sent.clear();
        stand.filter(&alice, FlowFilter::default());
        // Noise may have used up the streams of bob's key; they are quiet by then.
        stand.pass(Nanos::from_secs(6));
        (alice.ssrc, alice.sequence_number) = (0xFEED_F00D, 1);
        let said = stand.speak(&mut alice);
        proptest::prop_assert!(stand.heard_by(&mut bob).contains(&said));
    }
}
