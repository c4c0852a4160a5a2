//! The engines against each other, and packets worked on in rounds against the same packets one by one. Without AVX-512 both
//! engines are the portable one.
//!
//! ```text
//!  sixteen keys, engine A, begin .. tags .. finish  ->  engine B, one by one     and the other way round
//! ```

use crosspoint_wire::srtp::{
    Engine, LANES, MasterKey, OVERHEAD_BYTES_MAX, SrtpError, SrtpReceiver, SrtpSender, Suite, tags,
};
use proptest::collection::vec;
use proptest::prelude::*;

const TAGGED: [Suite; 3] = [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32, Suite::AesCm256HmacSha1_80];
const ALL: [Suite; 5] = [TAGGED[0], TAGGED[1], TAGGED[2], Suite::AeadAes128Gcm, Suite::AeadAes256Gcm];

fn key(suite: Suite, seed: u8) -> MasterKey {
    let key: Vec<u8> = (0..suite.key_bytes() as u8).map(|byte| byte ^ seed).collect();
    MasterKey::new(suite, &key, &[seed; 14][..suite.salt_bytes()]).unwrap()
}

fn packet(sequence_number: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 8, 0, 0, 0, 0, 0, 160, 1, 2, 3, 4];
    packet[2..4].copy_from_slice(&sequence_number.to_be_bytes());
    packet.extend(payload);
    packet
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    [packet, &[0; OVERHEAD_BYTES_MAX]].concat()
}

fn seal_round(engine: Engine, senders: &mut [SrtpSender], packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut buffers: Vec<_> = packets.iter().map(|packet| with_room(packet)).collect();
    let sealings: Vec<_> = (senders.iter().zip(&mut buffers).zip(packets))
        .map(|((sender, buffer), packet)| sender.begin_rtp(buffer, packet.len()).unwrap())
        .collect();
    let covered: Vec<_> = (senders.iter().zip(&sealings).zip(&buffers))
        .map(|((sender, sealing), buffer)| sender.authenticated(sealing, buffer).unwrap())
        .collect();
    let mut round = [[0; 20]; LANES];
    tags(engine, &covered, &mut round);
    for (((sender, sealing), buffer), tag) in senders.iter_mut().zip(&sealings).zip(&mut buffers).zip(&round) {
        let len = sender.finish_rtp(sealing, tag, buffer).unwrap();
        buffer.truncate(len);
    }
    buffers
}

fn open_round(
    engine: Engine,
    receivers: &mut [SrtpReceiver],
    packets: &mut [Vec<u8>],
) -> Vec<Result<usize, SrtpError>> {
    let openings: Vec<_> = (receivers.iter().zip(packets.iter_mut()))
        .map(|(receiver, packet)| receiver.begin_rtp(packet).unwrap())
        .collect();
    let covered: Vec<_> = (receivers.iter().zip(&openings).zip(packets.iter()))
        .map(|((receiver, opening), packet)| receiver.authenticated(opening, packet).unwrap())
        .collect();
    let mut round = [[0; 20]; LANES];
    tags(engine, &covered, &mut round);
    (receivers.iter_mut().zip(&openings).zip(packets).zip(&round))
        .map(|(((receiver, opening), packet), tag)| receiver.finish_rtp(opening, tag, packet))
        .collect()
}

proptest! {
    #[test]
    fn a_round_gives_what_packets_one_by_one_give(
        suite in 0..TAGGED.len(),
        payloads in vec(vec(any::<u8>(), 0..300), 1..=LANES),
        first in any::<u16>(),
        forged in vec(any::<bool>(), LANES),
    ) {
        let suite = TAGGED[suite];
        let keys: Vec<_> = (0..payloads.len()).map(|seed| key(suite, seed as u8)).collect();
        for (one, other) in [(Engine::detect(), Engine::Portable), (Engine::Portable, Engine::detect())] {
            let mut senders: Vec<_> = keys.iter().map(|key| SrtpSender::with_engine(key, one)).collect();
            let mut alone: Vec<_> = keys.iter().map(|key| SrtpSender::with_engine(key, other)).collect();
            let mut receivers: Vec<_> = keys.iter().map(|key| SrtpReceiver::with_engine(key, one)).collect();
            // Twice, so that the second round goes on from the state that the first left, over a rollover now and then.
            for sequence_number in [first, first.wrapping_add(1)] {
                let packets: Vec<_> = payloads.iter().map(|payload| packet(sequence_number, payload)).collect();
                let mut sealed = seal_round(one, &mut senders, &packets);
                for ((sender, packet), sealed) in alone.iter_mut().zip(&packets).zip(&sealed) {
                    let mut buffer = with_room(packet);
                    let len = sender.protect_rtp(&mut buffer, packet.len()).unwrap();
                    prop_assert_eq!(&buffer[..len], &sealed[..]);
                }
                let untouched = sealed.clone();
                for (packet, _) in sealed.iter_mut().zip(&forged).filter(|(_, forged)| **forged) {
                    *packet.last_mut().unwrap() ^= 1;
                }
                let opened = open_round(one, &mut receivers, &mut sealed);
                for (((opened, packet), sealed), forged) in opened.iter().zip(&packets).zip(&sealed).zip(&forged) {
                    if *forged {
                        prop_assert_eq!(*opened, Err(SrtpError::Unauthentic));
                    } else {
                        prop_assert_eq!(&sealed[..opened.unwrap()], &packet[..]);
                    }
                }
                // What was forged may still come, what was opened may not.
                for ((receiver, packet), forged) in receivers.iter_mut().zip(untouched).zip(&forged) {
                    prop_assert_eq!(receiver.unprotect_rtp(&mut packet.clone()).is_ok(), *forged);
                }
            }
        }
    }

    #[test]
    fn each_engine_opens_what_the_other_sealed(suite in 0..ALL.len(), payload in vec(any::<u8>(), 0..1400), first in any::<u16>()) {
        let key = key(ALL[suite], 7);
        for (one, other) in [(Engine::detect(), Engine::Portable), (Engine::Portable, Engine::detect())] {
            let (mut sender, mut receiver) = (SrtpSender::with_engine(&key, one), SrtpReceiver::with_engine(&key, other));
            for sequence_number in [first, first.wrapping_add(1)] {
                let clear = packet(sequence_number, &payload);
                let mut buffer = with_room(&clear);
                let len = sender.protect_rtp(&mut buffer, clear.len()).unwrap();
                let len = receiver.unprotect_rtp(&mut buffer[..len]).unwrap();
                prop_assert_eq!(&buffer[..len], &clear[..]);
            }
            let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
            let mut buffer = with_room(&report);
            let len = sender.protect_rtcp(&mut buffer, report.len()).unwrap();
            prop_assert_eq!(receiver.unprotect_rtcp(&mut buffer[..len]), Ok(report.len()));
            prop_assert_eq!(&buffer[..report.len()], &report[..]);
        }
    }
}
