//! What is due: deletions, timeouts, repairs, answers that waited long enough.
//!
//! Input: `DeadlineReached`. Output: calls and parties that end. Owns no state of its own; the deadlines are in [`crate::timers`].

use super::NgCore;
use crate::effect::Turn;
use crate::party::Deletion;
use crate::timers::Timer;
use crosspoint_contract::CallKey;

impl NgCore {
    pub(super) fn act_on_deadlines(&mut self, turn: &mut Turn) {
        while let Some(timer) = self.timers.pop(turn.now.monotonic_ms) {
            match timer {
                Timer::Delete(key) => self.delete_due(key, turn),
                Timer::Expire(key) => self.expire(key, turn),
                Timer::Silence(key) => self.end_silent(key, turn),
                Timer::Repair(key) => self.repair(key, turn),
                Timer::Wait(id) => self.finish(id, turn),
                Timer::Held(last) => self.release(last, turn),
                Timer::Orphans => self.close_orphans(turn),
                Timer::Close => self.close_again(turn),
            }
        }
    }

    pub(super) fn repair(&mut self, key: CallKey, turn: &mut Turn) {
        let (mut kit, calls) = self.kit();
        if let Some(call) = calls.get_mut(&key) {
            call.repeat(&mut kit, turn);
            self.note_call(key, turn);
        }
    }

    /// Parties whose time has come stop; a call without others ends.
    fn delete_due(&mut self, key: CallKey, turn: &mut Turn) {
        let Some(call) = self.calls.get(&key) else { return };
        let now_ms = turn.now.monotonic_ms;
        let is_due = |deletion: Option<Deletion>| matches!(deletion, Some(Deletion::At(at_ms)) if at_ms <= now_ms);
        let due: Vec<usize> = (0..call.parties.len()).filter(|id| is_due(call.parties[*id].deleted)).collect();
        self.delete_parties(key, &due, turn);
        let Some(call) = self.calls.get(&key) else { return };
        let later = call.parties.iter().filter_map(|party| match party.deleted {
            Some(Deletion::At(at_ms)) => Some(at_ms),
            _ => None,
        });
        if let Some(at_ms) = later.min() {
            self.timers.set(Timer::Delete(key), at_ms);
        }
    }

    /// Closes the legs of parties at once. A call in which nobody is left ends.
    pub(crate) fn delete_parties(&mut self, key: CallKey, parties: &[usize], turn: &mut Turn) {
        let (mut kit, calls) = self.kit();
        let Some(call) = calls.get_mut(&key) else { return };
        if call.is_over_without(parties) {
            self.statistics.sessions_ended += 1;
            return self.end(key, turn);
        }
        for party in parties {
            call.close_party(*party, &mut kit, turn);
        }
        self.count_silence_anew(key, turn);
    }

    /// The longest that a call may last, and before it is answered, the longest that an offer may wait.
    pub(crate) fn set_expiry(&mut self, key: CallKey, turn: &mut Turn) {
        let Some(call) = self.calls.get(&key) else { return };
        let age_ms = (turn.now.unix_us.saturating_sub(call.created_us)) / 1000;
        let of = |limit_s: u32| (limit_s > 0).then_some(u64::from(limit_s) * 1000);
        let offer_ms = of(self.settings.offer_timeout_s).filter(|_| !call.answered);
        let limit_ms = [of(self.settings.final_timeout_s), offer_ms].into_iter().flatten().min();
        match limit_ms {
            Some(limit_ms) => {
                self.timers.set(Timer::Expire(key), turn.now.monotonic_ms + limit_ms.saturating_sub(age_ms));
            }
            None => self.timers.cancel(Timer::Expire(key)),
        }
    }

    fn expire(&mut self, key: CallKey, turn: &mut Turn) {
        let Some(call) = self.calls.get(&key) else { return };
        match call.answered {
            true => self.statistics.sessions_final_timed_out += 1,
            false => self.statistics.sessions_offer_timed_out += 1,
        }
        self.end_by_timeout(key, "it lasted as long as it may", turn);
    }
}
