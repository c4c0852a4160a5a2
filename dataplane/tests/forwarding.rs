//! What happens to media packets, one worker at a time, on a simulated network with a virtual clock.
//!
//! ```text
//!   peer A (198.51.100.1) -- leg 1 ==bridge== leg 2 -- peer B (198.51.100.2)
//! ```

mod support;

use crosspoint_contract::{Codec, Direction, Directions, DropReason, Event, Format, LegFailure, LegId, Refused};
use crosspoint_dataplane::queues::{Admission, DigitText, WorkerOrder};
use crosspoint_wire::Nanos;
use crosspoint_wire::srtp::Suite;
use support::stand::{LEGS_MAX, Stand};
use support::{DIGITS, OPUS};

const VP8: Format = Format { payload_type: 98, codec: Codec::Vp8, clock_rate_hz: 90_000, channels: 1 };

#[test]
fn media_flows_both_ways_in_every_suite() {
    for suite in [
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ] {
        let mut stand = Stand::new();
        let mut a = stand.connect_with(0, &[OPUS], suite);
        let mut b = stand.connect_with(1, &[OPUS], Suite::AeadAes128Gcm);
        stand.join(&a, &b);
        let packet = a.next_packet(111, b"from A");
        stand.arrive(&a, &packet);
        let packet = b.next_packet(111, b"from B");
        stand.arrive(&b, &packet);
        let (header, bytes) = stand.heard_by(&mut b).remove(0);
        assert_eq!((header.ssrc, header.payload(&bytes)), (b.local.ssrc, &b"from A"[..]));
        let (header, bytes) = stand.heard_by(&mut a).remove(0);
        assert_eq!((header.ssrc, header.payload(&bytes)), (a.local.ssrc, &b"from B"[..]));
    }
}

#[test]
fn payload_types_are_rewritten_to_what_the_other_peer_calls_the_format() {
    let mut stand = Stand::new();
    let mut a = stand.connect_with(0, &[OPUS, DIGITS], Suite::AeadAes128Gcm);
    let theirs = [
        Format { payload_type: 96, ..OPUS },
        Format { payload_type: 0, codec: Codec::Pcmu, clock_rate_hz: 8000, channels: 1 },
    ];
    let mut b = stand.connect_with(1, &theirs, Suite::AeadAes128Gcm);
    stand.join(&a, &b);
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b)[0].0.payload_type, 96);

    let digit = a.next_packet(110, &[5, 0, 0, 160]);
    stand.arrive(&a, &digit);
    assert_eq!(stand.dropped(DropReason::PayloadTypeUnmapped), 1, "B takes no telephone events");
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b)[0].0.sequence_number, 101, "and misses none");
    let pcmu = b.next_packet(0, b"pcmu");
    stand.arrive(&b, &pcmu);
    assert_eq!(stand.dropped(DropReason::PayloadTypeUnmapped), 2, "A takes no G.711");
    let unknown = a.next_packet(77, b"what?");
    stand.arrive(&a, &unknown);
    assert_eq!(stand.dropped(DropReason::PayloadTypeUnknown), 1);
}

#[test]
fn receiver_sees_one_continuous_stream_when_the_source_changes() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let mut c = stand.connect(2);
    for _ in 0..5 {
        stand.speak(&mut a);
        stand.pass(Nanos::from_millis(20));
    }
    (c.sequence_number, c.timestamp) = (60_000, 4_000_000_000);
    stand.join(&b, &c);
    for _ in 0..5 {
        stand.speak(&mut c);
        stand.pass(Nanos::from_millis(20));
    }
    let heard = stand.heard_by(&mut b);
    assert_eq!(heard.len(), 10);
    for pair in heard.windows(2) {
        let (before, after) = (&pair[0].0, &pair[1].0);
        assert_eq!(after.ssrc, before.ssrc);
        assert_eq!(after.sequence_number, before.sequence_number.wrapping_add(1));
        let step = after.timestamp.wrapping_sub(before.timestamp);
        assert!((1..=1920).contains(&step), "timestamp jumps by {step}");
    }
    stand.speak(&mut a);
    assert_eq!(stand.dropped(DropReason::Unbridged), 1, "A was taken out of the bridge");
}

#[test]
fn header_extensions_stay_behind_and_the_receivers_mid_takes_their_place() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    stand.describe(&b, &[OPUS], Direction::SendReceive, Some((3, "audio0")));
    let mut clear = vec![0x90, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xA];
    clear.extend([0xBE, 0xDE, 0, 1, 0x10, 0x55, 0, 0]);
    clear.extend(b"voice");
    let packet = a.protect(&clear);
    stand.arrive(&a, &packet);
    let (header, bytes) = stand.heard_by(&mut b).remove(0);
    assert_eq!(header.payload(&bytes), b"voice");
    let mut elements = header.extensions(&bytes);
    let mid = elements.next(&bytes).expect("one element");
    assert_eq!((mid.id, &bytes[mid.value]), (3, &b"audio0"[..]));
    assert!(elements.next(&bytes).is_none(), "A's audio level is not for B");

    stand.describe(&b, &[OPUS], Direction::SendReceive, None);
    clear[3] = 2;
    let packet = a.protect(&clear);
    stand.arrive(&a, &packet);
    let (header, bytes) = stand.heard_by(&mut b).remove(0);
    assert!(!header.has_extension);
    assert_eq!(header.payload(&bytes), b"voice");
}

#[test]
fn hold_stops_media_in_the_held_direction_only() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    stand.speak(&mut a);
    let before = stand.heard_by(&mut b)[0].0.sequence_number;
    stand.describe(&b, &[OPUS, DIGITS], Direction::ReceiveOnly, None);
    for _ in 0..3 {
        stand.speak(&mut a);
    }
    assert!(stand.heard_by(&mut b).is_empty());
    assert_eq!(stand.dropped(DropReason::DirectionForbids), 3);
    stand.speak(&mut b);
    assert_eq!(stand.heard_by(&mut a).len(), 1, "B may still be heard");

    stand.describe(&b, &[OPUS, DIGITS], Direction::SendReceive, None);
    stand.speak(&mut a);
    let heard = stand.heard_by(&mut b);
    assert_eq!(heard.len(), 1, "the hold is over");
    assert_eq!(heard[0].0.sequence_number, before.wrapping_add(1), "what was withheld is not lost");
}

#[test]
fn replayed_packet_is_dropped_and_counted() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let packet = a.next_packet(111, b"once");
    for _ in 0..3 {
        stand.arrive(&a, &packet);
    }
    assert_eq!(stand.heard_by(&mut b).len(), 1);
    assert_eq!(stand.dropped(DropReason::SrtpReplayed), 2);
}

#[test]
fn flood_of_bad_tags_is_counted_and_changes_nothing() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let genuine = a.next_packet(111, b"forged");
    for n in 0..1000u16 {
        let mut packet = genuine.clone();
        packet[2..4].copy_from_slice(&(2000 + n).to_be_bytes());
        stand.net.inject(a.addr, &packet);
    }
    stand.pass(Nanos::from_millis(200));
    assert_eq!(stand.dropped(DropReason::SrtpUnauthentic), 1000);
    assert!(stand.heard_by(&mut b).is_empty());
    stand.speak(&mut a);
    assert_eq!(stand.heard_by(&mut b).len(), 1, "the call is unharmed");
    assert!(stand.event(|event| matches!(event, Event::LegFailed { .. })).is_none());
}

#[test]
fn media_from_an_address_that_was_not_validated_is_dropped() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let packet = a.next_packet(111, b"authentic, but from elsewhere");
    stand.net.inject("203.0.113.9:9".parse().expect("an address"), &packet);
    stand.turn();
    assert!(stand.heard_by(&mut b).is_empty());
    assert_eq!(stand.dropped(DropReason::UnknownSource), 1);
}

#[test]
fn noise_and_oversized_datagrams_are_dropped_by_name() {
    let mut stand = Stand::new();
    let (a, _) = stand.call();
    stand.arrive(&a, &[]);
    stand.arrive(&a, &[0xff; 20]);
    assert_eq!(stand.dropped(DropReason::Unclassified), 2);
    stand.arrive(&a, &[0x80; 1501]);
    assert_eq!(stand.dropped(DropReason::Truncated), 1);
    stand.arrive(&a, &[0x80, 111, 0]);
    assert_eq!(stand.dropped(DropReason::SrtpMalformed), 1);
}

#[test]
fn media_before_keys_is_dropped_on_both_sides() {
    let mut stand = Stand::new();
    let mut a = stand.connect(0);
    let b = stand.open(1, &[OPUS]);
    stand.join(&a, &b);
    stand.speak(&mut a);
    assert_eq!(stand.dropped(DropReason::OtherLegNotReady), 1);
    assert!(stand.check(&b, b.addr));
    stand.arrive(&b, &[0x80; 60]);
    assert_eq!(stand.dropped(DropReason::NoKeys), 1);
}

#[test]
fn leg_without_a_bridge_is_heard_but_not_forwarded() {
    let mut stand = Stand::new();
    let mut a = stand.connect(0);
    stand.speak(&mut a);
    assert_eq!(stand.dropped(DropReason::Unbridged), 1);
    let report = stand.order(WorkerOrder::Read(a.leg)).result.expect("known").expect("a report");
    assert_eq!((report.packets_received, report.packets_dropped), (1, 1));
}

#[test]
fn parted_and_closed_legs_forward_no_more() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    stand.done(WorkerOrder::Part([a.leg, b.leg]));
    stand.speak(&mut a);
    assert!(stand.heard_by(&mut b).is_empty());
    stand.join(&a, &b);
    stand.done(WorkerOrder::Close(b.leg));
    stand.speak(&mut a);
    assert_eq!(stand.dropped(DropReason::Unbridged), 2);
    stand.speak(&mut b);
    assert_eq!(stand.dropped(DropReason::UnknownSource), 1, "a closed leg's address is nobody's");
    assert_eq!(stand.reports_to(&mut b).len(), 1, "B was told goodbye");
    assert!(stand.order(WorkerOrder::Read(b.leg)).result.is_err());
    assert_eq!(stand.order(WorkerOrder::Close(b.leg)).result.ok().flatten(), Some(Default::default()));
}

#[test]
fn a_new_leg_in_an_old_slot_knows_nothing_of_the_old_one() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    stand.speak(&mut b);
    stand.done(WorkerOrder::SendDigits { leg: b.leg, digits: DigitText::new("123").expect("digits") });
    let late_keys = stand.keys_for(&mut b, Suite::AeadAes128Gcm);
    stand.done(WorkerOrder::Close(b.leg));
    stand.sent.clear();
    let mut next = stand.open_as(1, LegId(99), &[OPUS, DIGITS]);
    assert!(stand.check(&next, next.addr));

    assert!(stand.lobby.to_worker.push(late_keys).is_ok());
    let failed = Admission::Failed { leg: b.leg, why: LegFailure::PeerClosed };
    assert!(stand.lobby.to_worker.push(failed).is_ok());
    for late in [WorkerOrder::Read(b.leg), WorkerOrder::Join([a.leg, b.leg])] {
        assert_eq!(stand.order(late).result, Err(Refused::UnknownLeg(b.leg.leg)));
    }
    stand.done(WorkerOrder::Close(b.leg));
    assert!(stand.events.is_empty(), "keys and failures of the old leg are not the new one's: {:?}", stand.events);

    stand.key(&mut next, Suite::AeadAes128Gcm);
    stand.speak(&mut a);
    stand.speak(&mut next);
    stand.pass(Nanos::from_millis(500));
    assert!(stand.heard_by(&mut a).is_empty() && stand.heard_by(&mut next).is_empty(), "no bridge, no digits");
    assert_eq!(stand.dropped(DropReason::Unbridged), 2);
    let report = stand.order(WorkerOrder::Read(next.leg)).result.expect("known").expect("a report");
    assert_eq!((report.packets_received, report.packets_sent), (1, 0));
}

#[test]
fn video_is_a_stream_of_its_own() {
    let mut stand = Stand::new();
    let mut a = stand.connect_with(0, &[OPUS, VP8], Suite::AeadAes128Gcm);
    let mut b = stand.connect_with(1, &[OPUS, VP8], Suite::AeadAes128Gcm);
    stand.join(&a, &b);
    stand.speak(&mut a);
    a.ssrc = 0xA0FE;
    let frame = a.next_packet(98, b"frame");
    stand.arrive(&a, &frame);
    let heard = stand.heard_by(&mut b);
    assert_eq!([heard[0].0.ssrc, heard[1].0.ssrc], [b.local.ssrc, b.local.video_ssrc]);
    assert_eq!([heard[0].0.marker, heard[1].0.marker], [true, false], "a frame of video ends where its sender says");
}

#[test]
fn each_medium_has_a_direction_and_a_mid_of_its_own() {
    let mut stand = Stand::new();
    let mut a = stand.connect_with(0, &[OPUS, VP8], Suite::AeadAes128Gcm);
    let mut b = stand.connect_with(1, &[OPUS, VP8], Suite::AeadAes128Gcm);
    stand.join(&a, &b);
    let mids = [Some((3, "0")), Some((3, "1"))];
    for (video, passes) in [
        (Direction::SendReceive, true),
        (Direction::SendOnly, true),
        (Direction::ReceiveOnly, false),
        (Direction::Inactive, false),
        (Direction::SendReceive, true),
    ] {
        stand.describe_media(&b, &[OPUS, VP8], Directions { video, ..Directions::default() }, mids);
        let ssrc = a.ssrc;
        stand.speak(&mut a);
        a.ssrc = 0xA0FE;
        let frame = a.next_packet(98, b"frame");
        stand.arrive(&a, &frame);
        a.ssrc = ssrc;
        let heard: Vec<_> = stand
            .heard_by(&mut b)
            .into_iter()
            .map(|(header, bytes)| {
                let mid = header.extensions(&bytes).next(&bytes).map(|mid| bytes[mid.value].to_vec());
                (header.ssrc, mid)
            })
            .collect();
        let mut expected = vec![(b.local.ssrc, Some(b"0".to_vec()))];
        if passes {
            expected.push((b.local.video_ssrc, Some(b"1".to_vec())));
        }
        assert_eq!(heard, expected, "video is {video:?}");
    }
    assert_eq!(stand.dropped(DropReason::DirectionForbids), 2);
}

/// Enough legs that their packets are authenticated sixteen at a time, several packets of a leg in one batch, some forged and
/// some sent twice among them.
#[test]
fn packets_of_many_legs_in_one_batch_are_opened_and_sealed_each_under_its_own_key() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32, Suite::AesCm256HmacSha1_80] {
        let mut stand = Stand::new();
        let mut calls: Vec<_> = (0..LEGS_MAX as u32 / 2)
            .map(|n| {
                let a = stand.connect_with(2 * n, &[OPUS], suite);
                let b = stand.connect_with(2 * n + 1, &[OPUS], suite);
                stand.join(&a, &b);
                (a, b)
            })
            .collect();
        for (n, (a, _)) in calls.iter_mut().enumerate() {
            let (first, second) = (a.next_packet(111, &[n as u8, 1]), a.next_packet(111, &[n as u8, 2]));
            stand.net.inject(a.addr, &first);
            let mut forged = second.clone();
            forged[3] ^= 0x40;
            stand.net.inject(a.addr, &forged);
            stand.net.inject(a.addr, &second);
            stand.net.inject(a.addr, &first);
        }
        stand.pass(Nanos::from_millis(10));
        for (n, (_, b)) in calls.iter_mut().enumerate() {
            let heard = stand.heard_by(b);
            let payloads: Vec<_> = heard.iter().map(|(header, bytes)| header.payload(bytes)).collect();
            assert_eq!(payloads, [[n as u8, 1], [n as u8, 2]], "call {n} with {suite:?}");
        }
        assert_eq!(stand.dropped(DropReason::SrtpUnauthentic), calls.len() as u64);
        assert_eq!(stand.dropped(DropReason::SrtpReplayed), calls.len() as u64);
    }
}
