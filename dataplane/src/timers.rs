//! What happens to legs because time passes: reports, consent, silence, and giving up.
//!
//! Input: the time. Output: RTCP reports in the batch, events, failed legs. Owns a hand that goes round the open legs, so
//! that each is looked at four times a second and a turn's share is bounded; no heap of deadlines. Deadlines are
//! therefore kept to a quarter of a second. Digits, which are due every 20 ms, are not here.

use crate::batch::PacketBatch;
use crate::check_desk::CheckDesk;
use crate::counters::Counters;
use crate::leg::{FACTS_PER_VISIT_MAX, KNOCKS_PER_VISIT_MAX, Leg};
use crate::legs::LegTable;
use crate::lobby_door::fail;
use crate::outlets::Outlets;
use crate::rtcp;
use crosspoint_contract::{Event, LegFailure, LegState, Medium};
use crosspoint_wire::Nanos;
use std::net::SocketAddr;

/// One round of the hand.
const ROUND: Nanos = Nanos::from_millis(250);

/// Legs looked at in one turn; each may add two packets to the batch.
const VISITS_PER_TURN_MAX: u64 = 32;

/// A peer has this long from its description to keys.
pub const CONNECT_TIMEOUT: Nanos = Nanos::from_secs(30);

/// Mean time between our reports. RFC 4585 §3.4: with the AVPF profiles the five seconds of RFC 3550 are no minimum;
/// a report of 120 bytes each two seconds stays below 5 % of any voice stream (RFC 3550 §6.2).
const RTCP_INTERVAL: Nanos = Nanos::from_secs(2);

/// The first report, early so that round trip and loss are known early.
const RTCP_FIRST: Nanos = Nanos::from_millis(1000);

/// Fixed for the life of a worker.
#[derive(Clone, Copy, Debug)]
pub struct TimerSettings {
    pub silence: Nanos,
    pub report_interval: Nanos,
    /// NTP time at which the workers' clock was zero.
    pub ntp_origin: Nanos,
    /// What reports name as our address.
    pub local_addr: SocketAddr,
}

pub struct Timers {
    settings: TimerSettings,
    hand: usize,
    turned: Nanos,
    /// Leg-nanoseconds that the hand is behind.
    owed: u64,
    random: u64,
}

impl Timers {
    pub fn new(settings: TimerSettings, seed: u64) -> Self {
        Timers { settings, hand: 0, turned: Nanos::ZERO, owed: 0, random: seed | 1 }
    }

    pub fn settings(&self) -> &TimerSettings {
        &self.settings
    }

    /// When to be called again at the latest; at once while the hand is behind.
    pub fn next_turn(&self, legs: &LegTable, now: Nanos) -> Option<Nanos> {
        if self.owed >= ROUND.0 {
            return Some(now);
        }
        let share = legs.len().clamp(1, 10) as u64;
        (!legs.is_empty()).then(|| now + Nanos(ROUND.0 / share))
    }

    /// Moves the hand on by the time that has passed.
    pub fn turn(
        &mut self,
        batch: &mut PacketBatch,
        legs: &mut LegTable,
        checks: &mut CheckDesk,
        outlets: &mut Outlets,
        now: Nanos,
        counters: &Counters,
    ) {
        let elapsed = now.since(self.turned).0.min(ROUND.0);
        self.turned = now;
        self.owed = (self.owed + elapsed * legs.len() as u64).min(ROUND.0 * legs.len() as u64);
        let visits = (self.owed / ROUND.0).min(VISITS_PER_TURN_MAX);
        self.owed -= visits * ROUND.0;
        for _ in 0..visits {
            self.hand = if self.hand + 1 < legs.len() { self.hand + 1 } else { 0 };
            let Some(leg) = legs.open_slot(self.hand).and_then(|slot| legs.get_mut(slot)) else { return };
            checks.wake(leg, now);
            self.visit(batch, leg, outlets, now, counters);
        }
    }

    fn visit(
        &mut self,
        batch: &mut PacketBatch,
        leg: &mut Leg,
        outlets: &mut Outlets,
        now: Nanos,
        counters: &Counters,
    ) {
        leg.knocks_left = KNOCKS_PER_VISIT_MAX;
        leg.facts_left = FACTS_PER_VISIT_MAX;
        if let Some(keys) = &mut leg.keys {
            keys.sender.turn();
        }
        outlets.tell(leg, now);
        if leg.failure.is_some_and(|_| leg.state == LegState::Failed) {
            return;
        }
        if leg.ice.as_ref().and_then(|ice| ice.checks.as_ref()).is_some_and(|checks| checks.has_failed()) {
            self.tell_unreachable(leg, LegFailure::NoCandidatePair, outlets, counters);
        }
        match leg.state {
            LegState::Opening => self.visit_opening(leg, outlets, now),
            LegState::Connected => self.visit_connected(batch, leg, outlets, now, counters),
            LegState::Failed => {}
        }
    }

    /// Said once, until a check succeeds.
    fn tell_unreachable(&self, leg: &mut Leg, why: LegFailure, outlets: &mut Outlets, counters: &Counters) {
        if leg.told.unreachable.is_none() {
            leg.told.unreachable = Some(why);
            outlets.fact(leg, Event::LegUnreachable { leg: leg.id, why }, counters);
        }
    }

    fn visit_opening(&mut self, leg: &mut Leg, outlets: &mut Outlets, now: Nanos) {
        if leg.last_heard != Nanos::ZERO && leg.part.session().is_none() {
            self.notice_silence(leg, outlets, now);
        }
        if leg.deadlines.connect.is_some_and(|deadline| now >= deadline) {
            fail(leg, LegFailure::ConnectTimeout, outlets, now);
        }
    }

    fn visit_connected(
        &mut self,
        batch: &mut PacketBatch,
        leg: &mut Leg,
        outlets: &mut Outlets,
        now: Nanos,
        counters: &Counters,
    ) {
        // RFC 7675 §5.1: without fresh consent we stop sending.
        if leg.ice.as_ref().is_some_and(|ice| ice.rtp.consent_expired(now)) {
            match &leg.ports {
                None => return fail(leg, LegFailure::ConsentExpired, outlets, now),
                // Its call may be signaled anew, so the leg waits for another check.
                Some(ports) if ports.uses_ice => {
                    leg.failure = Some(LegFailure::ConsentExpired);
                    self.tell_unreachable(leg, LegFailure::ConsentExpired, outlets, counters);
                }
                Some(_) => {}
            }
        }
        self.notice_silence(leg, outlets, now);
        // A translator is no end of any session (RFC 3550 §7.2): it has nothing to report, and control asks.
        if leg.part.session().is_none() || leg.failure.is_some() {
            return;
        }
        if now >= *leg.deadlines.rtcp.get_or_insert(now + RTCP_FIRST) {
            leg.deadlines.rtcp = Some(now + self.next_rtcp_interval());
            rtcp::report(batch, leg, now, self.settings.ntp_origin, counters);
        }
        if now >= *leg.deadlines.report.get_or_insert(now + self.settings.report_interval) {
            leg.deadlines.report = Some(now + self.settings.report_interval);
            let report = leg.report(self.settings.local_addr);
            outlets.event(Event::LegReported { leg: leg.id, report }, counters);
        }
    }

    /// A peer that may send and does not is silent; one that is held is not expected to. Of a translator's peer that is told
    /// all the same: control knows of holds and has another patience with them.
    fn notice_silence(&self, leg: &mut Leg, outlets: &mut Outlets, now: Nanos) {
        let is_end = leg.part.session().is_some();
        if is_end && !leg.may_receive(Medium::Audio) && !leg.may_receive(Medium::Video) {
            leg.last_heard = now;
            return;
        }
        let silence = leg.ports.as_ref().map_or(self.settings.silence, |ports| ports.silence);
        if !leg.silent && silence != Nanos::ZERO && now.since(leg.last_heard) >= silence {
            leg.silent = true;
            outlets.tell(leg, now);
        }
    }

    /// RFC 3550 §6.3.1: between half and one and a half of the mean, so that reports do not fall into step.
    fn next_rtcp_interval(&mut self) -> Nanos {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Nanos(RTCP_INTERVAL.0 / 2 + self.random % RTCP_INTERVAL.0)
    }
}
