//! The rules of learning, packet by packet.

use super::*;
use std::net::SocketAddr;

const SIGNALED: &str = "192.0.2.7:4000";
const SAME_ADDRESS: &str = "192.0.2.7:4444";
const SAME_PORT: &str = "198.51.100.1:4000";
const OTHER: &str = "203.0.113.5:9999";
const SIXTH: &str = "[2001:db8::1]:4000";

/// After the window, in milliseconds.
const AFTER: u64 = 3_500;

fn remote(text: &str) -> Remote {
    text.parse::<SocketAddr>().expect("an address").into()
}

fn learning(from: LearnFrom) -> Learning {
    Learning { from, window_ms: 3000, strict_source: false, media_handover: false }
}

fn strict(from: LearnFrom) -> Learning {
    Learning { strict_source: true, ..learning(from) }
}

fn handover(from: LearnFrom) -> Learning {
    Learning { media_handover: true, ..learning(from) }
}

const START: Nanos = Nanos::from_secs(100);

fn at(ms: u64) -> Nanos {
    START + Nanos::from_millis(ms)
}

fn judged(latch: &mut Latch, learning: &Learning, ms: u64, source: &str) -> char {
    match latch.judge(remote(source), learning, at(ms)) {
        Ok(Heard::Peer) => 'p',
        Ok(Heard::Elsewhere) => 'e',
        Err(_) => 'x',
    }
}

fn play(learning: Learning, packets: &[(u64, &str)]) -> (String, Remote) {
    let mut latch = Latch::default();
    latch.describe(remote(SIGNALED), &learning, START);
    let meant = packets.iter().map(|&(ms, source)| judged(&mut latch, &learning, ms, source));
    (meant.collect(), latch.in_use())
}

/// The rule, packets at milliseconds, what each meant (peer, elsewhere, x: dropped), and the address in use at the end.
type Case<'a> = (Learning, &'a [(u64, &'a str)], &'a str, &'a str);

fn assert_each(cases: &[Case]) {
    for (learning, packets, meant, in_use) in cases {
        assert_eq!(play(*learning, packets), (meant.to_string(), remote(in_use)), "{learning:?} {packets:?}");
    }
}

const LEARNING: [LearnFrom; 3] = [LearnFrom::FirstPacket, LearnFrom::LastPacketOfWindow, LearnFrom::BestMatch];

#[test]
fn each_rule_of_learning_moves_the_address_as_it_says() {
    use LearnFrom::{BestMatch, FirstPacket, LastPacketOfWindow, Nothing};
    assert_each(&[
        (learning(Nothing), &[(0, OTHER), (0, SIGNALED), (AFTER, OTHER)], "epe", SIGNALED),
        (strict(Nothing), &[(0, OTHER), (0, SIGNALED)], "xp", SIGNALED),
        (handover(Nothing), &[(0, OTHER), (AFTER, OTHER)], "ee", SIGNALED),
        (learning(FirstPacket), &[(0, OTHER), (900, SAME_PORT)], "px", OTHER),
        (learning(FirstPacket), &[(0, SIXTH), (0, OTHER)], "xp", OTHER),
        (learning(LastPacketOfWindow), &[(0, OTHER), (900, SAME_PORT)], "pp", SAME_PORT),
        (strict(LastPacketOfWindow), &[(0, OTHER), (900, SAME_PORT)], "pp", SAME_PORT),
        (learning(BestMatch), &[(0, OTHER), (9, SAME_PORT), (320, SAME_PORT), (900, OTHER)], "pepe", SAME_PORT),
        (learning(BestMatch), &[(0, SAME_PORT), (9, SAME_ADDRESS), (900, SAME_PORT)], "ppe", SAME_ADDRESS),
        (strict(BestMatch), &[(0, SAME_PORT), (900, OTHER)], "px", SAME_PORT),
    ]);
}

#[test]
fn nobody_is_learnt_or_heard_beside_the_signaled_address_once_it_spoke() {
    for from in LEARNING {
        assert_each(&[
            (learning(from), &[(0, SIGNALED), (900, SAME_ADDRESS), (AFTER, OTHER)], "pxx", SIGNALED),
            (learning(from), &[(0, OTHER), (9, SIGNALED), (20, OTHER), (900, OTHER)], "ppxx", SIGNALED),
            (strict(from), &[(0, OTHER), (9, SIGNALED), (20, OTHER)], "ppx", SIGNALED),
            (handover(from), &[(0, SIGNALED), (9, OTHER), (20, SAME_PORT)], "ppp", SAME_PORT),
        ]);
    }
}

#[test]
fn address_that_speaks_keeps_its_place_and_one_that_fell_quiet_does_not() {
    for from in [LearnFrom::LastPacketOfWindow, LearnFrom::BestMatch] {
        let stranger = "203.0.113.66:7777";
        assert_each(&[
            (learning(from), &[(0, OTHER), (20, OTHER), (319, stranger), (319, OTHER)], "ppep", OTHER),
            (learning(from), &[(0, OTHER), (20, OTHER), (320, stranger), (330, OTHER)], "pppe", stranger),
            (strict(from), &[(0, OTHER), (20, stranger)], "px", OTHER),
            (handover(from), &[(0, OTHER), (20, stranger)], "pp", stranger),
        ]);
    }
}

#[test]
fn confirmed_address_stands_after_the_window_until_the_signaled_one_speaks_into_its_silence() {
    for from in LEARNING {
        let (ends, quiet) = (AFTER + 299, AFTER + 300);
        let peer = &[(0, OTHER), (100, OTHER), (AFTER, OTHER)];
        let after = |more: &[(u64, &'static str)]| [peer.as_slice(), more].concat();
        assert_each(&[
            (learning(from), &after(&[(60_000, SAME_PORT), (60_000, SAME_ADDRESS)]), "pppxx", OTHER),
            (learning(from), &after(&[(ends, SIGNALED)]), "pppx", OTHER),
            (learning(from), &after(&[(quiet, SIGNALED), (quiet, OTHER)]), "ppppx", SIGNALED),
            (strict(from), &after(&[(quiet, SIGNALED)]), "pppx", OTHER),
            (handover(from), &after(&[(AFTER, SAME_PORT)]), "pppp", SAME_PORT),
            (learning(from), &[(0, OTHER), (100, OTHER), (60_000, SAME_PORT)], "ppx", OTHER),
        ]);
    }
}

#[test]
fn peer_that_begins_late_is_learnt_and_a_stray_packet_is_not_taken_for_it() {
    for from in LEARNING {
        assert_each(&[
            (learning(from), &[(60_000, OTHER), (60_100, OTHER), (64_000, SAME_PORT)], "ppx", OTHER),
            (strict(from), &[(60_000, OTHER), (60_100, OTHER), (64_000, SAME_PORT)], "ppx", OTHER),
            (learning(from), &[(60_000, OTHER), (60_020, SIGNALED), (60_030, OTHER)], "ppx", SIGNALED),
            (learning(from), &[(60_000, SIGNALED), (60_020, OTHER)], "px", SIGNALED),
            (learning(from), &[(60_000, SIXTH)], "x", SIGNALED),
        ]);
    }
    for from in [LearnFrom::LastPacketOfWindow, LearnFrom::BestMatch] {
        assert_each(&[
            (learning(from), &[(60_000, SAME_PORT), (70_000, OTHER), (70_100, OTHER)], "ppp", OTHER),
            (learning(from), &[(0, SAME_PORT), (70_000, OTHER), (70_900, OTHER)], "ppp", OTHER),
            (strict(from), &[(2_990, OTHER), (3_010, SIGNALED)], "pp", SIGNALED),
            // The window is open again.
            (
                learning(from),
                &[(60_000, OTHER), (60_100, OTHER), (60_900, OTHER), (61_300, "203.0.113.5:1")],
                "pppp",
                "203.0.113.5:1",
            ),
        ]);
    }
}

#[test]
fn what_was_heard_before_the_window_opened_again_counts_when_it_is_over() {
    for from in LEARNING {
        for (peer, newcomer) in [(SIGNALED, OTHER), (OTHER, "203.0.113.66:7777")] {
            let (mut latch, learning) = (Latch::default(), learning(from));
            latch.describe(remote(SIGNALED), &learning, START);
            assert_eq!(judged(&mut latch, &learning, 0, peer), 'p');
            assert_eq!(judged(&mut latch, &learning, 5_000, peer), 'p');
            latch.describe(remote(SIGNALED), &learning, at(5_000 + 1));
            assert_eq!(judged(&mut latch, &learning, 5_002, newcomer), 'e', "{from:?}: the peer is not quiet");
            assert_eq!(judged(&mut latch, &learning, 60_000, newcomer), 'x', "{from:?}: it is on hold");
            assert_eq!(latch.in_use(), remote(peer));
        }
    }
}

#[test]
fn nothing_is_sent_or_heard_before_an_address_is_known_unless_one_may_be_learnt() {
    for (from, expected) in [(LearnFrom::Nothing, None), (LearnFrom::FirstPacket, Some(OTHER))] {
        let (mut latch, learning) = (Latch::default(), learning(from));
        latch.describe(Remote::UNSPECIFIED, &learning, Nanos::from_secs(1));
        let heard = latch.judge(remote(OTHER), &learning, Nanos::from_secs(2));
        assert_eq!(heard.is_ok(), expected.is_some(), "{from:?}");
        assert_eq!(latch.in_use(), expected.map_or(Remote::UNSPECIFIED, remote));
    }
}

#[test]
fn repeated_signaling_keeps_what_was_learnt_and_opens_the_window_again() {
    let (mut latch, learning) = (Latch::default(), learning(LearnFrom::FirstPacket));
    latch.describe(remote(SIGNALED), &learning, Nanos::from_secs(1));
    assert_eq!(latch.judge(remote(OTHER), &learning, Nanos::from_secs(1)), Ok(Heard::Peer));
    latch.describe(remote(SIGNALED), &learning, Nanos::from_secs(60));
    assert_eq!(latch.in_use(), remote(OTHER));
    assert_eq!(latch.judge(remote(SAME_PORT), &learning, Nanos::from_secs(61)), Ok(Heard::Peer));
    latch.describe(remote(SAME_ADDRESS), &learning, Nanos::from_secs(90));
    assert_eq!(latch.in_use(), remote(SAME_ADDRESS), "another signaled address is used at once");
}

#[test]
fn an_authentic_packet_moves_the_address_at_any_time_unless_told_not_to() {
    for (learning, tried, in_use) in [
        (learning(LearnFrom::FirstPacket), true, OTHER),
        (learning(LearnFrom::Nothing), true, SIGNALED),
        (strict(LearnFrom::FirstPacket), false, SIGNALED),
    ] {
        let mut latch = Latch::default();
        latch.describe(remote(SIGNALED), &learning, Nanos::from_secs(1));
        latch.follow(remote(SIGNALED), &learning, Nanos::from_secs(1));
        assert_eq!(latch.may_try(remote(OTHER), &learning).is_ok(), tried, "{learning:?}");
        if tried {
            latch.follow(remote(OTHER), &learning, Nanos::from_secs(60));
        }
        assert_eq!(latch.in_use(), remote(in_use), "{learning:?}");
    }
}
