//! Sends digits to a leg's peer as telephone events (RFC 4733 §2.5).
//!
//! Input: digits queued by a command, and the time. Output: clear RTP packets in the leg's audio stream, between those
//! that are forwarded. Owns the list of legs that are sending digits. Does not know when a digit is due: that is
//! `wire::telephone_event`.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::leg::{DigitSending, Leg, Slot};
use crate::legs::LegTable;
use crate::queues::DigitText;
use crate::stages::RTP;
use crosspoint_contract::{Codec, DropReason, Medium, Refused};
use crosspoint_wire::Nanos;
use crosspoint_wire::rtp::RtpHeader;
use crosspoint_wire::telephone_event::{DigitSender, EventPacket};

/// Legs that send digits right now.
pub struct DigitDesk {
    sending: Vec<Slot>,
}

impl DigitDesk {
    pub fn new(legs_max: usize) -> Self {
        DigitDesk { sending: Vec::with_capacity(legs_max) }
    }

    /// Queues digits behind those the leg has left.
    pub fn queue(&mut self, leg: &mut Leg, digits: &DigitText) -> Result<(), Refused> {
        let (payload_type, clock_rate_hz) = telephone_event(leg).ok_or(Refused::NoTelephoneEvent(leg.id))?;
        let slot = leg.slot;
        let session = leg.part.session_mut().ok_or(Refused::UnsuitedLeg(leg.id))?;
        let sending = session.digits_sent.get_or_insert_with(|| {
            self.sending.push(slot);
            DigitSending { sender: DigitSender::new(clock_rate_hz), payload_type, clock_rate_hz }
        });
        if sending.sender.queue(digits.as_str()) { Ok(()) } else { Err(Refused::BadDigits) }
    }

    /// A leg is going.
    pub fn forget(&mut self, slot: Slot) {
        self.sending.retain(|&sending| sending != slot);
    }

    /// When the next event packet is due.
    pub fn next_deadline(&self, legs: &LegTable) -> Option<Nanos> {
        let deadline = |&slot: &Slot| legs.get(slot)?.part.session()?.digits_sent.as_ref()?.sender.next_deadline();
        self.sending.iter().filter_map(deadline).min()
    }

    /// Adds what is due to the batch.
    pub fn send_due(&mut self, batch: &mut PacketBatch, legs: &mut LegTable, now: Nanos, counters: &Counters) {
        self.sending.retain(|&slot| {
            let Some(leg) = legs.get_mut(slot) else { return false };
            send_leg(batch, leg, now, counters);
            let Some(session) = leg.part.session_mut() else { return false };
            session.digits_sent.take_if(|sending| sending.sender.is_idle());
            session.digits_sent.is_some()
        });
    }
}

/// RFC 4733 §2.1: events use the clock of the audio they stand beside.
fn telephone_event(leg: &Leg) -> Option<(u8, u32)> {
    let session = leg.part.session()?;
    let formats = session.description.as_ref()?.formats();
    let events = || formats.iter().filter(|format| format.codec == Codec::TelephoneEvent);
    let beside = events().find(|format| format.clock_rate_hz == session.audio.clock_rate_hz);
    beside.or_else(|| events().next()).map(|format| (format.payload_type, format.clock_rate_hz))
}

fn send_leg(batch: &mut PacketBatch, leg: &mut Leg, now: Nanos, counters: &Counters) {
    while let Some(session) = leg.part.session_mut()
        && let Some(sending) = &mut session.digits_sent
        && let Some(event) = sending.sender.next(now, session.audio.continuity.timestamp_at(now, sending.clock_rate_hz))
    {
        let payload_type = sending.payload_type;
        if !leg.is_ready() || !leg.may_send(Medium::Audio) {
            counters.drop_packet(DropReason::OtherLegNotReady);
            continue;
        }
        send_event(batch, leg, &event, payload_type, now, counters);
    }
}

fn send_event(
    batch: &mut PacketBatch,
    leg: &mut Leg,
    event: &EventPacket,
    payload_type: u8,
    now: Nanos,
    counters: &Counters,
) {
    let (port, remote) = leg.rtp_path();
    let Some(session) = leg.part.session_mut() else { return };
    let Some(i) = batch.push_new_from(port, remote) else { return counters.drop_packet(DropReason::SendExhausted) };
    let stream = &mut session.audio;
    let header = RtpHeader::new(
        payload_type,
        event.marker,
        stream.continuity.reserve(),
        event.timestamp,
        stream.continuity.ssrc(),
    );
    let room = batch.buffer_mut(i);
    let start = header.write(room).unwrap_or_default();
    let len = start + event.payload.len();
    room[start..len].copy_from_slice(&event.payload);
    batch.set_len(i, len);
    let packet = batch.packet_mut(i);
    (packet.leg, packet.kind) = (leg.slot, RTP);
    stream.count_sent(event.payload.len(), now);
    leg.figures.packets_sent += 1;
    leg.figures.payload_bytes_sent += event.payload.len() as u64;
}
