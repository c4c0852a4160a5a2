//! `crosspoint-wire`: in place, contexts prepared. Packets of a batch are taken as the dataplane takes them: where the tag is
//! computed apart from the cipher, in rounds of [`LANES`] whose tags are made together.

use super::{Implementation, STREAMS, Slot, Streams, key};
use crosspoint_wire::srtp::{Engine, LANES, SrtpReceiver, SrtpSender, Suite, tags};
use std::array::from_fn;

pub struct Ours {
    engine: Engine,
    has_separate_tag: bool,
    senders: Vec<SrtpSender>,
    receivers: Vec<SrtpReceiver>,
}

impl Ours {
    pub fn new(suite: Suite, engine: Engine) -> Ours {
        Ours {
            engine,
            has_separate_tag: suite.has_separate_tag(),
            senders: (0..STREAMS).map(|stream| SrtpSender::with_engine(&key(suite, stream), engine)).collect(),
            receivers: (0..STREAMS).map(|stream| SrtpReceiver::with_engine(&key(suite, stream), engine)).collect(),
        }
    }

    fn protect_round(&mut self, first: usize, slots: &mut [Slot; LANES]) -> Option<()> {
        let senders = &mut self.senders[first..first + LANES];
        let begun = from_fn(|n| senders[n].begin_rtp(&mut slots[n].bytes, slots[n].length).ok());
        let begun = all(begun)?;
        let covered = all(from_fn(|n| senders[n].authenticated(&begun[n], &slots[n].bytes)))?;
        let mut made = [[0; 20]; LANES];
        tags(self.engine, &covered, &mut made);
        for (n, tag) in made.iter().enumerate() {
            slots[n].length = senders[n].finish_rtp(&begun[n], tag, &mut slots[n].bytes).ok()?;
        }
        Some(())
    }

    fn unprotect_round(&mut self, first: usize, slots: &mut [Slot; LANES]) -> Option<()> {
        let receivers = &mut self.receivers[first..first + LANES];
        let begun = all(from_fn(|n| receivers[n].begin_rtp(slots[n].packet_mut()).ok()))?;
        let covered = all(from_fn(|n| receivers[n].authenticated(&begun[n], &slots[n].bytes)))?;
        let mut made = [[0; 20]; LANES];
        tags(self.engine, &covered, &mut made);
        for (n, tag) in made.iter().enumerate() {
            slots[n].length = receivers[n].finish_rtp(&begun[n], tag, slots[n].packet_mut()).ok()?;
        }
        Some(())
    }

    fn goes_in_rounds(&self, slots: &[Slot], streams: Streams) -> bool {
        streams == Streams::Batch && self.has_separate_tag && slots.len() == STREAMS
    }
}

const _: () = assert!(STREAMS.is_multiple_of(LANES));

fn all<T>(some: [Option<T>; LANES]) -> Option<[T; LANES]> {
    let all: Option<Vec<T>> = some.into_iter().collect();
    all?.try_into().ok()
}

impl Implementation for Ours {
    fn protect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        if self.goes_in_rounds(slots, streams) {
            let (rounds, _) = slots.as_chunks_mut::<LANES>();
            return rounds.iter_mut().enumerate().all(|(n, round)| self.protect_round(n * LANES, round).is_some());
        }
        slots.iter_mut().enumerate().all(|(packet, slot)| {
            let protected = self.senders[streams.of(packet)].protect_rtp(&mut slot.bytes, slot.length);
            protected.map(|length| slot.length = length).is_ok()
        })
    }

    fn unprotect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        if self.goes_in_rounds(slots, streams) {
            let (rounds, _) = slots.as_chunks_mut::<LANES>();
            return rounds.iter_mut().enumerate().all(|(n, round)| self.unprotect_round(n * LANES, round).is_some());
        }
        slots.iter_mut().enumerate().all(|(packet, slot)| {
            let opened = self.receivers[streams.of(packet)].unprotect_rtp(slot.packet_mut());
            opened.map(|length| slot.length = length).is_ok()
        })
    }
}
