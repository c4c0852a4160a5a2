//! `crosspoint-wire`: in place, contexts prepared.

use super::{Implementation, STREAMS, Slot, Streams, key};
use crosspoint_wire::srtp::{SrtpReceiver, SrtpSender, Suite};

pub struct Ours {
    senders: Vec<SrtpSender>,
    receivers: Vec<SrtpReceiver>,
}

impl Ours {
    pub fn new(suite: Suite) -> Ours {
        Ours {
            senders: (0..STREAMS).map(|stream| SrtpSender::new(&key(suite, stream))).collect(),
            receivers: (0..STREAMS).map(|stream| SrtpReceiver::new(&key(suite, stream))).collect(),
        }
    }
}

impl Implementation for Ours {
    fn protect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        slots.iter_mut().enumerate().all(|(packet, slot)| {
            let protected = self.senders[streams.of(packet)].protect_rtp(&mut slot.bytes, slot.length);
            protected.map(|length| slot.length = length).is_ok()
        })
    }

    fn unprotect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        slots.iter_mut().enumerate().all(|(packet, slot)| {
            let opened = self.receivers[streams.of(packet)].unprotect_rtp(&mut slot.bytes[..slot.length]);
            opened.map(|length| slot.length = length).is_ok()
        })
    }
}
