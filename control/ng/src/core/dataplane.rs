//! The link to the dataplane: it comes, answers, tells, goes.
//!
//! Input: attachment, loss, answers and events. Output: the calls said anew, answers that waited, calls that end. What an earlier
//! control plane left behind is [`super::adopt`]'s.

use super::NgCore;
use crate::call::{Kit, call_of};
use crate::effect::{Level, Turn};
use crate::error::NgError;
use crate::limits::REPAIR_MS;
use crate::options::FingerprintHash;
use crate::orders::Purpose;
use crate::sdp::Fingerprint;
use crate::timers::Timer;
use aws_lc_rs::digest;
use crosspoint_contract::{
    Answer, CallKey, Command, DataplaneHello, Done, Event, HashFunction, LegId, Refused, Snapshot,
};

/// What a dataplane said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    fingerprint: Fingerprint,
    certificate_der: Vec<u8>,
}

impl Attached {
    /// RFC 8122 §5: any of the registered functions, over the certificate in DER.
    pub fn fingerprint(&self, with: Option<FingerprintHash>) -> Fingerprint {
        let (hash, function) = match with {
            None | Some(FingerprintHash::Sha256) => return self.fingerprint.clone(),
            Some(FingerprintHash::Sha1) => (HashFunction::Sha1, &digest::SHA1_FOR_LEGACY_USE_ONLY),
            Some(FingerprintHash::Sha224) => (HashFunction::Sha224, &digest::SHA224),
            Some(FingerprintHash::Sha384) => (HashFunction::Sha384, &digest::SHA384),
            Some(FingerprintHash::Sha512) => (HashFunction::Sha512, &digest::SHA512),
        };
        Fingerprint { hash, digest: digest::digest(function, &self.certificate_der).as_ref().to_vec() }
    }
}

impl NgCore {
    pub(super) fn attach(&mut self, hello: DataplaneHello, snapshot: Snapshot, turn: &mut Turn) {
        let digest = hello.fingerprint.sha256.to_vec();
        let fingerprint = Fingerprint { hash: HashFunction::Sha256, digest };
        self.orders.attach(hello.line.is_some());
        let certificate_der = hello.certificate_der;
        self.dataplane = Some(Attached { fingerprint, certificate_der });
        let known: Vec<CallKey> = self.calls.keys().copied().collect();
        self.adopt(snapshot, turn);
        for key in known {
            self.repair(key, turn);
            self.count_silence_anew(key, turn);
        }
    }

    pub(super) fn detach(&mut self, turn: &mut Turn) {
        self.dataplane = None;
        self.orders.detach();
        let waiting: Vec<u64> = self.waits.keys().copied().collect();
        for id in waiting {
            self.finish(id, turn);
        }
        self.release_all(turn);
        turn.note(Level::Warn, "dataplane_lost", None, "new calls are refused until a dataplane attaches");
    }

    pub(super) fn take_answer(&mut self, answer: Answer, turn: &mut Turn) {
        let Some((number, purpose)) = self.orders.answered(answer.id, turn) else { return };
        if let Err(refused) = &answer.result {
            self.take_refusal(number, purpose, refused, turn);
        }
        match (purpose, answer.result) {
            (Purpose::Figures { wait, leg }, result) => {
                if let Ok(done) = result {
                    self.keep_figures(wait, leg, done, turn);
                }
                self.count_down(wait, turn);
            }
            (Purpose::Farewell { wait, leg }, result) => {
                if let Ok(Done::Report(report)) = result {
                    self.statistics.leg_closed(&report);
                    self.keep_figures(wait, leg, Done::Report(report), turn);
                }
                self.count_down(wait, turn);
            }
            (Purpose::Close { .. }, Ok(Done::Report(report))) => self.statistics.leg_closed(&report),
            _ => {}
        }
        self.order_done(number, turn);
    }

    fn keep_figures(&mut self, wait: u64, leg: LegId, done: Done, turn: &mut Turn) {
        let read_us = turn.now.unix_us;
        let Some(local) = self.figured(wait, leg).and_then(|call| call.local_mut(leg)) else { return };
        local.read_us = read_us;
        match done {
            Done::Report(report) => local.report = report,
            Done::Streams(streams) => local.streams = streams,
            _ => {}
        }
    }

    fn take_refusal(&mut self, number: u64, purpose: Purpose, refused: &Refused, turn: &mut Turn) {
        let key = match purpose {
            Purpose::Open { call, .. } | Purpose::Change { call } => call,
            Purpose::Close { leg } | Purpose::Closing { leg } | Purpose::Farewell { leg, .. } => {
                return self.refuse_close(leg, refused, turn);
            }
            Purpose::Figures { .. } => return,
        };
        match (purpose, refused) {
            (Purpose::Open { call, leg }, Refused::PortTaken(_)) => {
                return self.try_other_ports(number, call, leg, turn);
            }
            (_, Refused::Busy(_)) => self.timers.set(Timer::Repair(key), turn.now.monotonic_ms + REPAIR_MS),
            (Purpose::Open { call, leg }, Refused::LegsExhausted | Refused::Draining) => {
                self.refuse_open(number, call, leg, NgError::LoadLimit, turn);
            }
            (Purpose::Open { call, leg }, Refused::NoSuchAddress(_)) => {
                self.refuse_open(number, call, leg, NgError::OutOfPorts, turn);
            }
            _ => {}
        }
        let id = self.calls.get(&key).map(|call| call.id.clone());
        turn.note(Level::Warn, "order_refused", id.as_deref(), refused.to_string());
    }

    fn refuse_close(&mut self, leg: LegId, refused: &Refused, turn: &mut Turn) {
        if matches!(refused, Refused::Busy(_)) {
            self.unclosed.push(leg);
            self.timers.set_earlier(Timer::Close, turn.now.monotonic_ms + REPAIR_MS);
        }
    }

    pub(super) fn take_event(&mut self, event: Event, turn: &mut Turn) {
        match event {
            Event::LegSilent { leg, .. } => self.leg_silent(leg, turn),
            Event::LegHeard { leg } => {
                self.orphan_is_silent(leg, false, turn);
                if let Some(local) = self.local_of(leg) {
                    local.silent = false;
                }
                if let Some(key) = call_of(leg) {
                    self.timers.cancel(Timer::Silence(key));
                }
            }
            Event::LegConnected { leg, remote_addr, .. } | Event::LegMoved { leg, remote_addr } => {
                if let Some(local) = self.local_of(leg) {
                    local.connected_to = Some(remote_addr);
                }
            }
            Event::LegFailed { leg, why } | Event::LegUnreachable { leg, why } => {
                let id = call_of(leg).and_then(|key| self.calls.get(&key)).map(|call| call.id.clone());
                if let Some(id) = id {
                    turn.note(Level::Warn, "leg_failed", Some(&id), why.to_string());
                }
            }
            Event::PromiseBroken { leg, why } => match call_of(leg).filter(|_| self.local_of(leg).is_some()) {
                Some(call) => self.take_refusal(0, Purpose::Change { call }, &why, turn),
                // All that is promised of a leg that no call has is its end.
                None => self.refuse_close(leg, &why, turn),
            },
            Event::WorkerLost { legs, .. } => self.reopen(&legs, turn),
            Event::DigitHeard { .. } | Event::LegReported { .. } | Event::Drained => {}
        }
    }

    fn local_of(&mut self, leg: LegId) -> Option<&mut crate::party::Local> {
        self.calls.get_mut(&call_of(leg)?)?.local_mut(leg)
    }

    /// Calls whose legs went with a worker are told anew to those that are left.
    fn reopen(&mut self, legs: &[LegId], turn: &mut Turn) {
        self.forget_orphans(|orphan| legs.contains(&orphan), turn);
        let (mut kit, calls) = self.kit();
        for leg in legs {
            if let Some(call) = call_of(*leg).and_then(|key| calls.get_mut(&key)) {
                call.lose(*leg, &mut kit);
            }
        }
        let mut keys: Vec<CallKey> = legs.iter().filter_map(|leg| call_of(*leg)).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            self.timers.set(Timer::Repair(key), turn.now.monotonic_ms);
            self.count_silence_anew(key, turn);
        }
    }

    /// A call ends when none of its legs has heard anything for as long as it may be silent.
    fn leg_silent(&mut self, leg: LegId, turn: &mut Turn) {
        self.orphan_is_silent(leg, true, turn);
        let Some(local) = self.local_of(leg) else { return };
        local.silent = true;
        if let Some(key) = call_of(leg) {
            self.end_if_silent(key, turn);
        }
    }

    pub(super) fn end_if_silent(&mut self, key: CallKey, turn: &mut Turn) {
        let Some(call) = self.calls.get(&key).filter(|call| call.is_silent()) else { return };
        match call.patience_s(&self.settings).saturating_sub(self.settings.timeout_s) {
            0 => self.end_silent(key, turn),
            more_s => self.timers.set_earlier(Timer::Silence(key), turn.now.monotonic_ms + u64::from(more_s) * 1000),
        }
    }

    /// What is signaled may change how long a silent call may be so, and it gives the parties another chance to speak. A leg
    /// that is silent already is not told of again.
    pub(crate) fn count_silence_anew(&mut self, key: CallKey, turn: &mut Turn) {
        self.timers.cancel(Timer::Silence(key));
        let Some(call) = self.calls.get(&key).filter(|call| call.is_silent()) else { return };
        let patience_ms = u64::from(call.patience_s(&self.settings)) * 1000;
        self.timers.set(Timer::Silence(key), turn.now.monotonic_ms + patience_ms);
    }

    pub(super) fn end_silent(&mut self, key: CallKey, turn: &mut Turn) {
        let Some(call) = self.calls.get(&key) else { return };
        match call.patience_s(&self.settings) > self.settings.timeout_s {
            true => self.statistics.sessions_silent_timed_out += 1,
            false => self.statistics.sessions_timed_out += 1,
        }
        self.end_by_timeout(key, "no media was heard for the timeout", turn);
    }

    pub(super) fn end_by_timeout(&mut self, key: CallKey, why: &str, turn: &mut Turn) {
        let id = self.calls.get(&key).map(|call| call.id.clone());
        turn.note(Level::Info, "call_timed_out", id.as_deref(), why);
        self.end(key, turn);
    }

    pub(super) fn shut_down(&mut self, turn: &mut Turn) {
        self.shutting_down = true;
        let keys: Vec<CallKey> = self.calls.keys().copied().collect();
        for key in keys {
            self.remove(key, turn);
        }
        self.close_orphans(turn);
    }

    /// Orders figures of all legs of a call; how many answers there will be.
    pub(crate) fn order_figures(&mut self, key: CallKey, wait: u64, turn: &mut Turn) -> usize {
        let (kit, calls) = self.kit();
        let Kit { orders, .. } = kit;
        let Some(call) = calls.get(&key).filter(|_| orders.is_attached()) else { return 0 };
        let mut answers = 0;
        for local in call.legs().filter(|local| local.described) {
            let purpose = Purpose::Figures { wait, leg: local.leg };
            orders.give(Command::ReadLeg { leg: local.leg }, purpose, turn);
            orders.give(Command::ReadStreams { leg: local.leg }, purpose, turn);
            answers += 2;
        }
        answers
    }
}
