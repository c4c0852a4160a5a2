//! Carries out control's orders on the worker, before it looks at the packets of its batch and a bounded number at a time.
//!
//! Input: orders from the link thread. Output: changed legs and one answer an order, in order. Owns nothing. Allocates
//! nothing: legs and descriptions arrive in their memory, and what they replace goes back with the answer. Each order is
//! idempotent.

mod rtp;

use crate::batch::PacketBatch;
use crate::check_desk::CheckDesk;
use crate::counters::Counters;
use crate::digits::DigitDesk;
use crate::io::Io;
use crate::leg::{Description, Leg, LegHandle, NO_SLOT, PayloadType, Session, Slot, UNMAPPED, medium};
use crate::legs::LegTable;
use crate::queues::{Answered, Spent, WorkerOrder};
use crate::rtcp;
use crate::timers::CONNECT_TIMEOUT;
use crosspoint_contract::{Codec, Directions, Format, LegReport, LegState, Medium, Refused};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_lite::Credentials;
use std::net::SocketAddr;

/// What an order may touch.
pub struct Desk<'turn> {
    pub io: &'turn mut Io,
    pub batch: &'turn mut PacketBatch,
    pub legs: &'turn mut LegTable,
    pub digits: &'turn mut DigitDesk,
    pub checks: &'turn mut CheckDesk,
    pub counters: &'turn Counters,
    pub local_addr: SocketAddr,
    pub now: Nanos,
}

type Result<T> = std::result::Result<T, Refused>;

impl Desk<'_> {
    /// Nothing for orders that are not answered.
    pub fn carry_out(&mut self, order: WorkerOrder) -> Option<Answered> {
        Some(match order {
            WorkerOrder::Begin | WorkerOrder::Stop => return None,
            WorkerOrder::Open(leg) => self.open(leg),
            WorkerOrder::Describe { leg, description } => self.describe(leg, description),
            WorkerOrder::DescribeRtp { leg, change } => self.describe_rtp(leg, change),
            WorkerOrder::Forward { leg, sinks } => self.forward(leg, sinks),
            WorkerOrder::Filter { leg, filter } => {
                let relay = self.known(leg).and_then(|leg| leg.part.relay_mut().ok_or(Refused::UnsuitedLeg(leg.id)));
                done(relay.map(|relay| relay.filter = filter))
            }
            WorkerOrder::ReadStreams { leg, sheet } => self.read_streams(leg, sheet),
            WorkerOrder::RestartIce { leg, ice } => self.restart_ice(leg, ice),
            WorkerOrder::Join(legs) => done(self.join(legs)),
            WorkerOrder::Part(legs) => {
                legs.into_iter().for_each(|leg| self.part(leg));
                done(Ok(()))
            }
            WorkerOrder::SendDigits { leg, digits } => {
                let leg = self.legs.of(leg).ok_or(Refused::UnknownLeg(leg.leg));
                done(leg.and_then(|leg| self.digits.queue(leg, &digits)))
            }
            WorkerOrder::Read(leg) => {
                let local_addr = self.local_addr;
                reported(self.known(leg).map(|leg| leg.report(local_addr)), Spent::Nothing)
            }
            WorkerOrder::Close(leg) => self.close(leg),
            WorkerOrder::Echo => done(Ok(())),
            #[cfg(test)]
            WorkerOrder::Panic => panic!("asked to"),
        })
    }

    fn known(&mut self, leg: LegHandle) -> Result<&mut Leg> {
        self.legs.of(leg).ok_or(Refused::UnknownLeg(leg.leg))
    }

    fn open(&mut self, mut leg: Box<Leg>) -> Answered {
        leg.opened = self.now;
        if let Err(refused) = self.open_ports(&mut leg) {
            self.close_ports(&mut leg);
            return Answered { result: Err(refused), spent: Spent::Leg(leg) };
        }
        match self.legs.insert(leg) {
            Ok(()) => done(Ok(())),
            Err(mut leg) => {
                self.close_ports(&mut leg);
                Answered { result: Err(Refused::LegsExhausted), spent: Spent::Leg(leg) }
            }
        }
    }

    fn restart_ice(&mut self, handle: LegHandle, ice: Credentials) -> Answered {
        match self.known(handle).map(drop) {
            Ok(()) => {
                let forgotten = self.legs.restart_ice(handle.slot, ice);
                Answered { result: Ok(None), spent: forgotten.map_or(Spent::Nothing, Spent::Credentials) }
            }
            Err(refused) => Answered { result: Err(refused), spent: Spent::Credentials(ice) },
        }
    }

    fn describe(&mut self, handle: LegHandle, description: Box<Description>) -> Answered {
        let now = self.now;
        let Ok(leg) = self.known(handle) else {
            return refused(Refused::UnknownLeg(handle.leg), Spent::Description(description));
        };
        // The lobby forgets peers whose description does not come.
        leg.told.reachable = false;
        if leg.state == LegState::Opening && leg.deadlines.connect.is_none() {
            leg.deadlines.connect = Some(now + CONNECT_TIMEOUT);
        }
        let before = std::mem::replace(&mut leg.directions, description.directions);
        match self.apply_description(handle, description, before) {
            Ok(replaced) => Answered { result: Ok(None), spent: replaced.map_or(Spent::Nothing, Spent::Description) },
            Err(description) => refused(Refused::UnsuitedLeg(handle.leg), Spent::Description(description)),
        }
    }

    /// What an end's peer is able to receive, and what flows; gives back the description before, or this one when the leg
    /// is no end.
    fn apply_description(
        &mut self,
        handle: LegHandle,
        description: Box<Description>,
        before: Directions,
    ) -> std::result::Result<Option<Box<Description>>, Box<Description>> {
        let Some(leg) = self.legs.of(handle) else { return Err(description) };
        let Some(session) = leg.part.session_mut() else { return Err(description) };
        session.mids = description.mids;
        session.payload_types = payload_types(description.formats());
        if session.audio.last_sent.is_none() {
            session.audio.clock_rate_hz = first_audio_clock_rate(description.formats(), session.audio.clock_rate_hz);
        }
        let replaced = session.description.replace(description);
        let (other, now_is) = (session.other, leg.directions);
        for medium in [Medium::Audio, Medium::Video] {
            if before.of(medium) != now_is.of(medium) {
                self.interrupt([handle.slot, other], medium);
            }
        }
        self.map_payload_types(handle.slot, other);
        Ok(replaced)
    }

    fn join(&mut self, [a, b]: [LegHandle; 2]) -> Result<()> {
        let (first, second) = (self.other(a)?, self.other(b)?);
        if first == b.slot && second == a.slot {
            return Ok(());
        }
        self.part(a);
        self.part(b);
        self.session(a)?.other = b.slot;
        self.session(b)?.other = a.slot;
        self.interrupt([a.slot, b.slot], Medium::Audio);
        self.interrupt([a.slot, b.slot], Medium::Video);
        self.map_payload_types(a.slot, b.slot);
        Ok(())
    }

    fn session(&mut self, leg: LegHandle) -> Result<&mut Session> {
        self.known(leg)?.part.session_mut().ok_or(Refused::UnsuitedLeg(leg.leg))
    }

    fn other(&mut self, leg: LegHandle) -> Result<Slot> {
        Ok(self.session(leg)?.other)
    }

    /// What either receives next follows what it received last: what was withheld in between is not lost.
    fn interrupt(&mut self, slots: [Slot; 2], medium: Medium) {
        for slot in slots {
            let Some(session) = self.legs.get_mut(slot).and_then(|leg| leg.part.session_mut()) else { continue };
            session.outgoing(medium).continuity.interrupt();
        }
    }

    /// Takes a leg and its partner apart, if it has one.
    fn part(&mut self, leg: LegHandle) {
        let Some(session) = self.legs.of(leg).and_then(|leg| leg.part.session_mut()) else { return };
        let other = std::mem::replace(&mut session.other, NO_SLOT);
        session.outgoing_payload_types = [UNMAPPED; 128];
        if let Some(other) = self.legs.get_mut(other).and_then(|leg| leg.part.session_mut()) {
            other.other = NO_SLOT;
            other.outgoing_payload_types = [UNMAPPED; 128];
        }
    }

    fn close(&mut self, handle: LegHandle) -> Answered {
        self.part(handle);
        self.digits.forget(handle.slot);
        let Some(mut leg) = self.legs.remove(handle) else { return reported(Ok(LegReport::default()), Spent::Nothing) };
        self.checks.forget(&leg);
        let goodbye = self.batch.len();
        rtcp::say_bye(self.batch, &mut leg, self.counters);
        // What says goodbye leaves before its port closes, and before the batch's packets are looked at.
        self.io.submit_from(goodbye, self.batch);
        self.close_ports(&mut leg);
        reported(Ok(leg.report(self.local_addr)), Spent::Leg(leg))
    }

    /// Works out both directions of a bridge anew.
    fn map_payload_types(&mut self, a: Slot, b: Slot) {
        for (from, to) in [(a, b), (b, a)] {
            let (Some(source), Some(sink)) = (self.formats(from), self.formats(to)) else { continue };
            let map = map_formats(source, sink);
            if let Some(session) = self.legs.get_mut(from).and_then(|leg| leg.part.session_mut()) {
                session.outgoing_payload_types = map;
            }
        }
    }

    fn formats(&self, slot: Slot) -> Option<&[Format]> {
        Some(self.legs.get(slot)?.part.session()?.description.as_ref()?.formats())
    }
}

fn done(result: Result<()>) -> Answered {
    Answered { result: result.map(|()| None), spent: Spent::Nothing }
}

fn refused(why: Refused, spent: Spent) -> Answered {
    Answered { result: Err(why), spent }
}

fn reported(report: Result<LegReport>, spent: Spent) -> Answered {
    Answered { result: report.map(Some), spent }
}

fn payload_types(formats: &[Format]) -> [PayloadType; 128] {
    let mut table = [PayloadType::default(); 128];
    for format in formats {
        table[usize::from(format.payload_type & 0x7f)] = PayloadType::new(format);
    }
    table
}

fn first_audio_clock_rate(formats: &[Format], otherwise: u32) -> u32 {
    formats.iter().find(|format| medium(format) == Medium::Audio).map_or(otherwise, |format| format.clock_rate_hz)
}

/// For each payload type of `source`, what `sink` calls the same format.
fn map_formats(source: &[Format], sink: &[Format]) -> [u8; 128] {
    let mut table = [UNMAPPED; 128];
    for format in source.iter().filter(|format| is_carried(format, source, sink)) {
        if let Some(same) = sink.iter().find(|other| is_same(format, other)) {
            table[usize::from(format.payload_type & 0x7f)] = same.payload_type & 0x7f;
        }
    }
    table
}

fn is_same(a: &Format, b: &Format) -> bool {
    (a.codec, a.clock_rate_hz, a.channels) == (b.codec, b.clock_rate_hz, b.channels)
}

/// Formats that name other payload types inside their payload cannot be renumbered from outside.
fn is_carried(format: &Format, source: &[Format], sink: &[Format]) -> bool {
    match format.codec {
        // RFC 4588 §8.6: `apt` ties it to a format, which SDP knows and we do not.
        Codec::Rtx => false,
        // RFC 2198 §3: each block names its payload type; they must mean the same on both sides.
        Codec::Red => source
            .iter()
            .filter(|inner| inner.clock_rate_hz == format.clock_rate_hz && inner.codec != Codec::Red)
            .all(|inner| sink.iter().all(|other| !is_same(inner, other) || inner.payload_type == other.payload_type)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(payload_type: u8, codec: Codec, clock_rate_hz: u32, channels: u8) -> Format {
        Format { payload_type, codec, clock_rate_hz, channels }
    }

    #[test]
    fn formats_are_paired_by_codec_clock_and_channels_whatever_their_numbers() {
        let source = [
            format(111, Codec::Opus, 48_000, 2),
            format(0, Codec::Pcmu, 8_000, 1),
            format(110, Codec::TelephoneEvent, 48_000, 1),
            format(126, Codec::TelephoneEvent, 8_000, 1),
        ];
        let sink = [
            format(96, Codec::Opus, 48_000, 2),
            format(97, Codec::TelephoneEvent, 8_000, 1),
            format(98, Codec::TelephoneEvent, 48_000, 1),
        ];
        let map = map_formats(&source, &sink);
        assert_eq!([map[111], map[110], map[126]], [96, 98, 97]);
        assert_eq!(map[0], UNMAPPED, "the sink takes no G.711");
        assert!(map.iter().filter(|&&to| to != UNMAPPED).count() == 3);
    }

    #[test]
    fn redundant_audio_passes_only_when_its_blocks_keep_their_numbers() {
        let source = [format(111, Codec::Opus, 48_000, 2), format(63, Codec::Red, 48_000, 2)];
        assert_eq!(map_formats(&source, &source)[63], 63);
        let renumbered = [format(96, Codec::Opus, 48_000, 2), format(63, Codec::Red, 48_000, 2)];
        assert_eq!(map_formats(&source, &renumbered)[63], UNMAPPED);
    }
}
