//! Answers that wait for figures of the dataplane, and calls that have ended and wait for their last ones.
//!
//! ```text
//!   command ──Later──▶ Wait { how many answers } ──each answer──▶ … ──the last, or the deadline──▶ Reply
//! ```
//!
//! Input: what commands leave to be answered later; answers of the dataplane. Output: replies. Owns which question waits for what. A deadline
//! bounds each wait: then the answer says what is known.

use super::{NgCore, Question};
use crate::call::{Call, close_leg_for};
use crate::effect::Turn;
use crate::error::NgError;
use crate::figures;
use crate::limits::FIGURES_WAIT_MS;
use crate::orders::Purpose;
use crate::party::PartyId;
use crate::reply::Reply;
use crate::timers::Timer;
use crosspoint_contract::{CallKey, Command, LegId};

/// What a command leaves behind.
pub(crate) struct Later {
    pub id: u64,
    /// Answers to come.
    pub remaining: usize,
    pub what: Await,
}

pub(crate) struct Wait {
    /// Nothing: the call ended by itself.
    question: Option<Question>,
    pub remaining: usize,
    pub what: Await,
}

/// Figures of a call, or of some parties of it.
pub(crate) struct Await {
    pub call: Figured,
    pub parties: Option<Vec<PartyId>>,
    pub then_delete: Vec<PartyId>,
}

/// Whose figures.
pub(crate) enum Figured {
    Live(CallKey),
    /// Deleted meanwhile.
    Gone(Box<Call>),
}

impl NgCore {
    pub(super) fn wait(&mut self, question: Option<Question>, later: Later, turn: &mut Turn) {
        let wait = Wait { question, remaining: later.remaining, what: later.what };
        self.waits.insert(later.id, wait);
        match later.remaining {
            0 => self.finish(later.id, turn),
            _ => self.timers.set(Timer::Wait(later.id), turn.now.monotonic_ms + FIGURES_WAIT_MS),
        }
    }

    /// One of the awaited answers has come.
    pub(super) fn count_down(&mut self, id: u64, turn: &mut Turn) {
        let Some(wait) = self.waits.get_mut(&id) else { return };
        wait.remaining = wait.remaining.saturating_sub(1);
        if wait.remaining == 0 {
            self.finish(id, turn);
        }
    }

    /// Answers with what is known.
    pub(super) fn finish(&mut self, id: u64, turn: &mut Turn) {
        self.timers.cancel(Timer::Wait(id));
        let Some(wait) = self.waits.remove(&id) else { return };
        let Await { call, parties, then_delete } = wait.what;
        if let Figured::Gone(call) = &call {
            self.statistics.call_ended(call, turn.now);
            self.statistics.count_figures(call);
            self.say_ended(call, turn);
        }
        if let Some(question) = wait.question {
            let reply = self.figures_reply(call, parties, then_delete, turn);
            self.reply(question, &reply, turn);
        }
    }

    /// A call is a call no longer: its legs close, its ports rest, and what its legs say last is counted and, if somebody
    /// asked, told. `None`: there is no such call.
    pub(crate) fn take_leave(&mut self, key: CallKey, parties: Option<Vec<PartyId>>, turn: &mut Turn) -> Option<Later> {
        let (id, call) = (self.next_wait(), self.retire(key)?);
        let (mut kit, _) = self.kit();
        let before = kit.orders.last_given();
        for local in call.legs() {
            let leg = local.leg;
            if local.described {
                kit.orders.give(Command::ReadStreams { leg }, Purpose::Figures { wait: id, leg }, turn);
            }
            close_leg_for(Purpose::Farewell { wait: id, leg }, local, &mut kit, turn);
        }
        let remaining = (kit.orders.last_given() - before) as usize;
        let what = Await { call: Figured::Gone(Box::new(call)), parties, then_delete: Vec::new() };
        Some(Later { id, remaining, what })
    }

    /// The same of a call that nobody waits for.
    pub(crate) fn end(&mut self, key: CallKey, turn: &mut Turn) {
        if let Some(later) = self.take_leave(key, None, turn) {
            self.wait(None, later, turn);
        }
    }

    fn figures_reply(
        &mut self,
        call: Figured,
        parties: Option<Vec<PartyId>>,
        then_delete: Vec<PartyId>,
        turn: &mut Turn,
    ) -> Reply {
        let dict = match &call {
            Figured::Gone(call) => figures::call(call, parties.as_deref()),
            Figured::Live(key) => match self.calls.get(key) {
                Some(call) => figures::call(call, parties.as_deref()),
                None => return Reply::warning(NgError::CallNotFound),
            },
        };
        if let (Figured::Live(key), false) = (call, then_delete.is_empty()) {
            self.delete_parties(key, &then_delete, turn);
        }
        Reply::ok(dict)
    }

    /// The call that an answer with figures is about.
    pub(super) fn figured(&mut self, wait: u64, leg: LegId) -> Option<&mut Call> {
        match &mut self.waits.get_mut(&wait)?.what.call {
            Figured::Gone(call) => Some(call),
            Figured::Live(_) => self.calls.get_mut(&crate::call::call_of(leg)?),
        }
    }
}
