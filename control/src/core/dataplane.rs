//! What the dataplane says: answers go to the flow that asked, facts to the legs they are about.

use super::Core;
use super::call::LegState;
use super::effect::{Effect, Level};
use super::ending::Ending;
use super::limits::{MEDIA_GONE_MS_MAX, ORDER_ANSWER_MS_MAX, ORDER_RETRY_MS};
use super::orders::{Asked, Purpose};
use super::refusal::Refusal;
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::{Answer, Done, Event, LegFailure, LegId, Refused};

impl Core {
    pub(super) fn dataplane_answered(&mut self, turn: &mut Turn, answer: Answer) {
        let Some(asked) = self.orders.answered(answer.id) else { return };
        match answer.result {
            Ok(done) => self.order_done(turn, asked.purpose, done),
            Err(Refused::Busy(_)) => self.order_busy(turn, asked),
            Err(why) => self.order_refused(turn, asked.purpose, why),
        }
        self.orders.pump(turn);
    }

    fn order_done(&mut self, turn: &mut Turn, purpose: Purpose, done: Done) {
        match (purpose, done) {
            (Purpose::Open(leg), Done::Opened(local)) => self.leg_opened(turn, leg, local),
            (Purpose::Join(key), Done::Ok) => self.joined(turn, key),
            (Purpose::Restart { leg, serial }, Done::Opened(local)) => self.restarted(turn, leg, serial, local),
            (Purpose::Replace { leg, replacement, serial }, Done::Opened(local)) => {
                self.replacement_opened(turn, leg, replacement, serial, local);
            }
            (Purpose::Replace { leg, replacement, serial }, Done::Ok) => {
                self.replacement_advanced(turn, leg, replacement, serial);
            }
            (Purpose::Reoffer { leg, serial }, Done::Ok) => self.reoffered(turn, leg, serial),
            (Purpose::Close { call, leg }, Done::Report(report)) => self.leg_closed(turn, call, leg, Some(report)),
            (Purpose::Digits { .. } | Purpose::Nothing, _) => {}
            (purpose, done) => {
                // The contract gives each command one kind of answer; another is a broken dataplane.
                turn.note(
                    Level::Warn,
                    "answer_unexpected",
                    &[("to", &format!("{purpose:?}")), ("was", &format!("{done:?}"))],
                );
                self.order_failed(turn, purpose);
            }
        }
    }

    /// It is asked again later, unless it was given up meanwhile: what it would open would belong to nobody.
    fn order_busy(&mut self, turn: &mut Turn, asked: Asked) {
        match asked.purpose {
            Purpose::Open(leg) if self.leg(leg).is_none() => return,
            Purpose::Replace { leg, replacement, serial } if !self.is_in_work(leg, serial) => {
                return self.abandon_replacement(turn, leg, replacement);
            }
            // What overtook it may have been done meanwhile, and must not be undone.
            Purpose::Restart { leg, serial } | Purpose::Reoffer { leg, serial } if !self.is_in_work(leg, serial) => {
                return;
            }
            _ => self.orders.put_back(asked),
        }
        if !self.timers.is_set(Timer::Orders) {
            self.timers.set(Timer::Orders, turn.now.monotonic_ms + ORDER_RETRY_MS);
        }
    }

    /// Whether the dataplane takes what a client asks for now.
    pub(super) fn check_dataplane(&self) -> Result<(), Refusal> {
        if !self.orders.is_answering() {
            return Err(Refusal::NoDataplane);
        }
        if self.orders.is_full() { Err(Refusal::Overloaded) } else { Ok(()) }
    }

    pub(super) fn watch_for_mute(&mut self) {
        if !self.timers.is_set(Timer::Mute)
            && let Some(given_ms) = self.orders.oldest_given_ms()
        {
            self.timers.set(Timer::Mute, given_ms + ORDER_ANSWER_MS_MAX);
        }
    }

    pub(super) fn check_mute(&mut self, turn: &mut Turn) {
        let Some(given_ms) = self.orders.oldest_given_ms() else { return };
        if given_ms + ORDER_ANSWER_MS_MAX <= turn.now.monotonic_ms {
            turn.note(Level::Warn, "dataplane_mute", &[("unanswered_ms", &(turn.now.monotonic_ms - given_ms))]);
            self.orders.declare_mute();
            turn.effects.push(Effect::DataplaneMute);
        }
    }

    fn order_refused(&mut self, turn: &mut Turn, purpose: Purpose, why: Refused) {
        if let Purpose::Open(leg) = purpose {
            return self.leg_refused(turn, leg, &why);
        }
        turn.note(Level::Warn, "order_refused", &[("order", &format!("{purpose:?}")), ("why", &why)]);
        self.order_failed(turn, purpose);
    }

    pub(super) fn order_failed(&mut self, turn: &mut Turn, purpose: Purpose) {
        match purpose {
            Purpose::Open(leg) => self.leg_refused(turn, leg, &"unexpected answer"),
            Purpose::Join(key) => self.end_call(turn, key, Ending::NoCommonMedia),
            Purpose::Replace { leg, replacement, serial } => {
                self.reoffer_failed(turn, leg, serial);
                self.abandon_replacement(turn, leg, replacement);
            }
            Purpose::Restart { leg, serial } | Purpose::Reoffer { leg, serial } => {
                self.reoffer_failed(turn, leg, serial);
            }
            Purpose::Digits { session, call_sid } => self.digits_refused(turn, session, call_sid),
            Purpose::Close { call, leg } => self.leg_closed(turn, call, leg, None),
            Purpose::Nothing => {}
        }
    }

    pub(super) fn dataplane_said(&mut self, turn: &mut Turn, event: Event) {
        match event {
            Event::LegConnected { leg, remote_addr, .. } => {
                self.set_connected(leg, true);
                self.note_leg(turn, Level::Info, "leg_connected", leg, &[("remote", &remote_addr)]);
            }
            Event::LegReported { leg, report } => {
                if let Some(entry) = self.leg_mut(leg) {
                    entry.report = Some(report);
                }
            }
            Event::LegFailed { leg, why } => self.leg_failed(turn, leg, why),
            // Said of RTP legs, of which this core has none.
            Event::LegUnreachable { .. } => {}
            Event::WorkerLost { worker, legs } => {
                turn.note(Level::Warn, "worker_lost", &[("worker", &worker), ("legs", &legs.len())]);
                for leg in legs {
                    self.leg_failed(turn, leg, LegFailure::WorkerLost);
                }
            }
            Event::LegMoved { leg, remote_addr } => {
                self.note_leg(turn, Level::Debug, "leg_moved", leg, &[("remote", &remote_addr)]);
            }
            Event::DigitHeard { leg, .. } => self.note_leg(turn, Level::Debug, "digit_heard", leg, &[]),
            Event::LegSilent { leg, silent_ms } => {
                self.note_leg(turn, Level::Debug, "leg_silent", leg, &[("silent_ms", &silent_ms)]);
            }
            Event::LegHeard { leg } => self.note_leg(turn, Level::Debug, "leg_heard", leg, &[]),
            Event::PromiseBroken { leg, why } => {
                self.note_leg(turn, Level::Warn, "promise_broken", leg, &[("why", &why)]);
            }
            Event::Drained => turn.note(Level::Info, "dataplane_drained", &[]),
        }
    }

    /// A line about a leg: with the number by which the dataplane's lines name it, and the SID by which its client knows it and
    /// its record is found.
    pub(super) fn note_leg(
        &self,
        turn: &mut Turn,
        level: Level,
        kind: &'static str,
        leg: LegId,
        fields: &[(&'static str, &dyn std::fmt::Display)],
    ) {
        let sid = self.leg(leg).map(|entry| entry.sid.as_str());
        let mut all: Vec<(&'static str, &dyn std::fmt::Display)> = vec![("leg", &leg)];
        all.extend(sid.as_ref().map(|sid| ("call_sid", sid as &dyn std::fmt::Display)));
        all.extend_from_slice(fields);
        turn.note(level, kind, &all);
    }

    pub(super) fn set_media_gone(&mut self, leg: LegId) {
        if let Some(entry) = self.leg_mut(leg) {
            entry.media_gone = true;
        }
    }

    /// A client whose peer connection is closed has a moment for another one: to hang up, or to offer it.
    pub(super) fn await_media(&mut self, turn: &mut Turn, leg: LegId) {
        if self.leg(leg).is_some_and(|entry| entry.media_gone && entry.state == LegState::Up) {
            self.timers.set(Timer::MediaGone(leg), turn.now.monotonic_ms + MEDIA_GONE_MS_MAX);
        }
    }

    pub(super) fn leg_failed(&mut self, turn: &mut Turn, leg: LegId, why: LegFailure) {
        let Some((role, state)) = self.leg(leg).map(|l| (l.role, l.state)) else { return };
        self.note_leg(turn, Level::Info, "leg_failed", leg, &[("why", &why)]);
        let key = self.legs.get(&leg).copied();
        match (why, state) {
            // A client that hangs up closes its media too, and the packet may overtake the message.
            (LegFailure::PeerClosed, LegState::Up) => {
                self.set_media_gone(leg);
                self.await_media(turn, leg);
            }
            // It may come back with another peer connection within its time.
            (LegFailure::PeerClosed, LegState::Away) => self.set_media_gone(leg),
            (_, LegState::Opening | LegState::Waiting) if role == super::record::LegRole::Callee => {
                if let Some(key) = key {
                    self.cancel_branch_and_go_on(turn, key, leg);
                }
            }
            _ => self.end_call_of_leg(turn, leg, Ending::MediaFailed),
        }
    }

    /// Whether media of a leg flows; until it does, its ICE and DTLS are under way.
    pub(super) fn set_connected(&mut self, leg: LegId, connected: bool) {
        let Some(entry) = self.leg_mut(leg) else { return };
        entry.connected = connected;
        if entry.is_established() && !connected {
            self.handshakes.insert(leg);
        } else {
            self.handshakes.remove(&leg);
        }
    }
}
