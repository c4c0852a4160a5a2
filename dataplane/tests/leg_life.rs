//! The life of a leg: checks, keys, reports, digits, silence, moving, and its several ends.
//!
//! ```text
//!   peer A (198.51.100.1) -- leg 1 ==bridge== leg 2 -- peer B (198.51.100.2)      virtual clock
//! ```

mod support;

use crosspoint_contract::limits::WORKER_TO_LOBBY_MAX;
use crosspoint_contract::{DropReason, Event, LegFailure, Refused};
use crosspoint_dataplane::leg::KNOCKS_PER_VISIT_MAX;
use crosspoint_dataplane::queues::{Admission, Datagram, DigitText, Knock, WorkerOrder};
use crosspoint_wire::Nanos;
use crosspoint_wire::rtcp::{self, Packet, ReportBlock};
use crosspoint_wire::srtp::Suite;
use std::net::SocketAddr;
use support::OPUS;
use support::stand::{SimPeer, Stand};

const CLIENT_HELLO: [u8; 60] = [22; 60];

/// A second of checks and voice of both peers, as browsers do.
fn talk(stand: &mut Stand, a: &mut SimPeer, b: &mut SimPeer) {
    for _ in 0..50 {
        stand.speak(a);
        stand.speak(b);
        stand.pass(Nanos::from_millis(20));
    }
    stand.check(a, a.addr);
    stand.check(b, b.addr);
}

#[test]
fn checks_are_answered_before_the_peers_description_is_known() {
    let mut stand = Stand::new();
    let peer = stand.open(0, &[OPUS]);
    assert!(stand.check(&peer, peer.addr));
    assert_eq!(stand.counters.stun_checks_answered.get(), 1);
    assert!(matches!(stand.lobby.from_worker.pop(), Ok(Knock::Reachable { leg }) if leg == peer.leg));
}

#[test]
fn checks_of_strangers_are_dropped_by_name() {
    let mut stand = Stand::new();
    let peer = stand.open(0, &[OPUS]);
    let mut stranger = peer.local.clone();
    stranger.ice.ufrag = "nobody-s".into();
    stand.net.inject(peer.addr, &support::peer::check(&stranger, 1));
    stranger = peer.local.clone();
    stranger.ice.pwd = "not-the-password-of-leg-00".into();
    stand.net.inject(peer.addr, &support::peer::check(&stranger, 2));
    stand.net.inject(peer.addr, &[0, 1, 0, 0]);
    stand.turn();
    assert_eq!(stand.dropped(DropReason::StunUnknownUser), 1);
    assert_eq!(stand.dropped(DropReason::StunUnauthentic), 1);
    assert_eq!(stand.dropped(DropReason::StunMalformed), 1);
    stand.arrive(&peer, &CLIENT_HELLO);
    assert_eq!(stand.dropped(DropReason::UnknownSource), 1, "none of them validated the address");
}

#[test]
fn dtls_reaches_the_lobby_from_validated_addresses_only() {
    let mut stand = Stand::new();
    let peer = stand.open(0, &[OPUS]);
    stand.arrive(&peer, &CLIENT_HELLO);
    assert_eq!(stand.dropped(DropReason::UnknownSource), 1);
    assert!(stand.lobby.from_worker.pop().is_err());
    stand.check(&peer, peer.addr);
    assert!(matches!(stand.lobby.from_worker.pop(), Ok(Knock::Reachable { .. })));
    stand.arrive(&peer, &CLIENT_HELLO);
    let Ok(Knock::Datagram { leg, datagram, .. }) = stand.lobby.from_worker.pop() else { panic!("no knock") };
    assert_eq!((leg, datagram.bytes()), (peer.leg, &CLIENT_HELLO[..]));
    let datagram = Datagram::new(b"\x16server hello").expect("short");
    assert!(stand.lobby.to_worker.push(Admission::Datagram { leg, stranger: None, datagram }).is_ok());
    stand.turn();
    let answer = stand.sent.pop_back().expect("an answer");
    assert_eq!((SocketAddr::from(answer.remote), &answer.bytes[..]), (peer.addr, &b"\x16server hello"[..]));
}

#[test]
fn dtls_flood_of_one_peer_leaves_the_lobby_to_the_others() {
    let mut stand = Stand::new();
    let (a, b) = (stand.open(0, &[OPUS]), stand.open(1, &[OPUS]));
    stand.check(&a, a.addr);
    stand.check(&b, b.addr);
    for _ in 0..WORKER_TO_LOBBY_MAX {
        stand.net.inject(a.addr, &CLIENT_HELLO);
    }
    for _ in 0..WORKER_TO_LOBBY_MAX.div_ceil(64) {
        stand.turn();
    }
    let flood = WORKER_TO_LOBBY_MAX as u64 - u64::from(KNOCKS_PER_VISIT_MAX);
    assert_eq!(stand.dropped(DropReason::DtlsOverflow), flood);
    stand.arrive(&b, &CLIENT_HELLO);
    assert_eq!(stand.dropped(DropReason::DtlsOverflow), flood, "B's hello found room");
}

#[test]
fn keys_for_a_leg_that_is_gone_are_thrown_away() {
    let mut stand = Stand::new();
    let mut peer = stand.open(0, &[OPUS]);
    stand.check(&peer, peer.addr);
    stand.done(WorkerOrder::Close(peer.leg));
    stand.key(&mut peer, Suite::AeadAes128Gcm);
    assert!(stand.event(|event| matches!(event, Event::LegConnected { .. })).is_none());
}

#[test]
fn peer_that_does_not_connect_in_time_fails() {
    let mut stand = Stand::new();
    let peer = stand.open(0, &[OPUS]);
    stand.check(&peer, peer.addr);
    stand.pass(Nanos::from_millis(29_900));
    assert!(stand.events.is_empty());
    stand.pass(Nanos::from_secs(1));
    let failed = Event::LegFailed { leg: peer.leg.leg, why: LegFailure::ConnectTimeout };
    assert_eq!(stand.event(|_| true), Some(failed));
}

#[test]
fn silence_is_said_once_and_so_is_its_end() {
    let mut stand = Stand::new();
    let mut a = stand.connect(0);
    for _ in 0..10 {
        stand.check(&a, a.addr);
        stand.pass(Nanos::from_millis(1500));
    }
    let of_silence = |event: &Event| matches!(event, Event::LegSilent { .. } | Event::LegHeard { .. });
    let silent = stand.event(of_silence);
    assert!(matches!(silent, Some(Event::LegSilent { silent_ms: 10_000..=10_300, .. })), "{silent:?}");
    assert_eq!(stand.event(of_silence), None);
    stand.speak(&mut a);
    assert_eq!(stand.event(of_silence), Some(Event::LegHeard { leg: a.leg.leg }));
}

#[test]
fn forged_media_is_no_sign_of_life() {
    let mut stand = Stand::new();
    let a = stand.connect(0);
    for _ in 0..11 {
        stand.check(&a, a.addr);
        stand.arrive(&a, &[0x80; 60]);
        stand.pass(Nanos::from_secs(1));
    }
    assert!(stand.event(|event| matches!(event, Event::LegSilent { .. })).is_some());
}

#[test]
fn consent_that_is_not_renewed_ends_the_leg_and_what_is_sent_to_it() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    for _ in 0..31 {
        stand.check(&a, a.addr);
        stand.speak(&mut a);
        stand.pass(Nanos::from_secs(1));
    }
    let failed = stand.event(|event| matches!(event, Event::LegFailed { .. }));
    assert_eq!(failed, Some(Event::LegFailed { leg: b.leg.leg, why: LegFailure::ConsentExpired }));
    stand.sent.clear();
    stand.speak(&mut a);
    assert!(stand.heard_by(&mut b).is_empty());
    assert!(stand.dropped(DropReason::ConsentExpired) > 0);
}

#[test]
fn digit_is_reported_once_and_forwarded() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    let timestamp = a.timestamp;
    for (duration, end) in [(960u16, 0), (1920, 0), (2880, 0x80), (2880, 0x80), (2880, 0x80)] {
        let [high, low] = duration.to_be_bytes();
        let packet = a.next_packet(110, &[5, end | 10, high, low]);
        a.timestamp = timestamp;
        stand.arrive(&a, &packet);
    }
    assert_eq!(stand.event(|_| true), Some(Event::DigitHeard { leg: a.leg.leg, digit: '5' }));
    assert!(stand.events.is_empty());
    let heard = stand.heard_by(&mut b);
    assert_eq!(heard.len(), 5);
    assert!(heard.iter().all(|(header, _)| header.payload_type == 110 && header.timestamp == heard[0].0.timestamp));
}

#[test]
fn digits_are_sent_between_the_voice_without_a_gap_in_the_numbers() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    stand.speak(&mut a);
    let digits = DigitText::new("42").expect("digits");
    stand.done(WorkerOrder::SendDigits { leg: b.leg, digits });
    for _ in 0..60 {
        stand.speak(&mut a);
        stand.pass(Nanos::from_millis(20));
    }
    let heard = stand.heard_by(&mut b);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0.sequence_number, pair[0].0.sequence_number.wrapping_add(1));
    }
    let events: Vec<u8> = heard
        .iter()
        .filter(|(header, _)| header.payload_type == 110 && header.marker)
        .map(|(header, bytes)| header.payload(bytes)[0])
        .collect();
    assert_eq!(events, [4, 2]);
    assert_eq!(heard.iter().filter(|(header, _)| header.payload_type == 111).count(), 61);
}

#[test]
fn digits_for_a_peer_without_telephone_events_are_refused() {
    let mut stand = Stand::new();
    let a = stand.connect_with(0, &[OPUS], Suite::AeadAes128Gcm);
    let digits = DigitText::new("1").expect("a digit");
    let refused = stand.order(WorkerOrder::SendDigits { leg: a.leg, digits }).result;
    assert_eq!(refused, Err(Refused::NoTelephoneEvent(a.leg.leg)));
}

#[test]
fn failed_leg_sends_nothing_more() {
    let mut stand = Stand::new();
    let (a, _) = stand.call();
    let digits = DigitText::new("12345").expect("digits");
    stand.done(WorkerOrder::SendDigits { leg: a.leg, digits });
    let admit = |stand: &mut Stand, admission| assert!(stand.lobby.to_worker.push(admission).is_ok());
    admit(&mut stand, Admission::Failed { leg: a.leg, why: LegFailure::PeerClosed });
    let datagram = Datagram::new(b"\x15an alert").expect("short");
    admit(&mut stand, Admission::Datagram { leg: a.leg, stranger: None, datagram });
    stand.turn();
    stand.sent.clear();
    stand.pass(Nanos::from_secs(3));
    stand.done(WorkerOrder::SendDigits { leg: a.leg, digits });
    stand.pass(Nanos::from_secs(3));
    assert!(stand.sent.iter().all(|datagram| SocketAddr::from(datagram.remote) != a.addr));
}

#[test]
fn both_peers_are_told_how_they_are_received() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    a.next_packet(111, b"lost on the way");
    for _ in 0..6 {
        talk(&mut stand, &mut a, &mut b);
    }
    let compounds = stand.reports_to(&mut a);
    let last = compounds.last().expect("reports");
    let Some(Packet::SenderReport { info, mut reports }) = rtcp::parse(last).expect("RTCP").next() else {
        panic!("we send to A, so it gets sender reports");
    };
    assert_eq!(info.ssrc, a.local.ssrc);
    assert!(info.packet_count > 200);
    let block = reports.next().expect("A is received");
    assert_eq!((block.ssrc, block.cumulative_lost), (a.ssrc, 0), "the first packet counts from where it was heard");
    assert!((2..=6).contains(&compounds.len()), "{} reports in six seconds", compounds.len());
}

#[test]
fn round_trip_and_remote_loss_come_from_the_peers_report_blocks() {
    let mut stand = Stand::new();
    let (mut a, mut b) = stand.call();
    talk(&mut stand, &mut a, &mut b);
    talk(&mut stand, &mut a, &mut b);
    let compound = stand.reports_to(&mut b).pop().expect("a report");
    let Some(Packet::SenderReport { info, .. }) = rtcp::parse(&compound).expect("RTCP").next() else { panic!() };
    let since = (stand.now + Nanos::from_secs(3_000_000_000)).as_ntp_middle().wrapping_sub((info.ntp >> 16) as u32);
    let block = ReportBlock {
        ssrc: b.local.ssrc,
        cumulative_lost: 7,
        jitter: 480,
        last_sender_report: (info.ntp >> 16) as u32,
        delay_since_last_sender_report: since,
        ..ReportBlock::default()
    };
    let mut clear = [0; 256];
    let len = rtcp::write_report(&mut clear, b.ssrc, None, &[block], "b").expect("room");
    let packet = b.protect_rtcp(&clear[..len]);
    stand.pass(Nanos::from_millis(40));
    stand.arrive(&b, &packet);
    let report = stand.order(WorkerOrder::Read(b.leg)).result.expect("known").expect("a report");
    assert!((39_000..=41_000).contains(&report.round_trip_us), "{} µs", report.round_trip_us);
    assert_eq!((report.remote_packets_lost, report.remote_jitter_us), (7, 10_000));
}

#[test]
fn lost_packets_are_counted_in_the_legs_report() {
    let mut stand = Stand::new();
    let (mut a, _) = stand.call();
    stand.speak(&mut a);
    a.next_packet(111, b"lost on the way");
    stand.speak(&mut a);
    let report = stand.order(WorkerOrder::Read(a.leg)).result.expect("known").expect("a report");
    assert_eq!((report.packets_received, report.packets_lost), (2, 1));
    assert_eq!(report.remote_addr, Some(a.addr));
}

#[test]
fn wish_for_a_key_frame_reaches_the_source_in_its_own_terms() {
    use crosspoint_contract::{Codec, Format};
    const VP8: Format = Format { payload_type: 98, codec: Codec::Vp8, clock_rate_hz: 90_000, channels: 1 };
    let mut stand = Stand::new();
    let mut a = stand.connect_with(0, &[OPUS, VP8], Suite::AeadAes128Gcm);
    let mut b = stand.connect_with(1, &[OPUS, VP8], Suite::AeadAes128Gcm);
    stand.join(&a, &b);
    let frame = a.next_packet(98, b"frame");
    stand.arrive(&a, &frame);
    let outgoing = stand.heard_by(&mut b)[0].0.sequence_number;

    let mut clear = [0; 256];
    let mut len = rtcp::write_report(&mut clear, b.ssrc, None, &[], "b").expect("room");
    len += rtcp::write_pli(&mut clear[len..], b.ssrc, b.local.video_ssrc).expect("room");
    len += rtcp::write_nack(&mut clear[len..], b.ssrc, b.local.video_ssrc, outgoing, 0b10).expect("room");
    let packet = b.protect_rtcp(&clear[..len]);
    stand.arrive(&b, &packet);
    let feedback = stand.reports_to(&mut a).pop().expect("feedback for A");
    let packets: Vec<_> = rtcp::parse(&feedback).expect("RTCP").collect();
    assert!(packets.iter().any(|packet| matches!(packet, Packet::Pli { media_ssrc, .. } if *media_ssrc == a.ssrc)));
    let missing = packets.iter().find_map(|packet| match packet {
        Packet::Nack { media_ssrc, missing, .. } if *media_ssrc == a.ssrc => Some(missing.collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(missing, Some(vec![1000, 1002]));
}
