//! Answers that wait for the dataplane: for figures, or for ports that may turn out to be taken.
//!
//! ```text
//!   command ──Later──▶ Wait { how many answers } ──each answer──▶ … ──the last, or the deadline──▶ Reply
//! ```
//!
//! Input: what commands leave to be answered later; answers of the dataplane. Output: replies. Owns which question waits for what. A deadline
//! bounds each wait: then the answer says what is known.

use super::{NgCore, Question};
use crate::call::Call;
use crate::commands::{Setup, write_setup};
use crate::effect::Turn;
use crate::error::NgError;
use crate::figures;
use crate::limits::{FIGURES_WAIT_MS, PORT_TRIES_MAX, PORTS_WAIT_MS};
use crate::party::PartyId;
use crate::reply::Reply;
use crate::timers::Timer;
use crosspoint_contract::{CallKey, LegId};

/// What a command leaves behind.
pub(crate) struct Later {
    pub id: u64,
    /// Answers to come.
    pub remaining: usize,
    pub what: Await,
}

pub(crate) struct Wait {
    question: Question,
    pub remaining: usize,
    pub what: Await,
}

pub(crate) enum Await {
    /// Figures of a call, or of some parties of it.
    Figures { call: Figured, parties: Option<Vec<PartyId>>, then_delete: Vec<PartyId> },
    /// Ports of an offer or an answer, which were not known to be free.
    Ports { setup: Box<Setup>, tries: u32 },
}

/// Whose figures.
pub(crate) enum Figured {
    Live(CallKey),
    /// Deleted meanwhile.
    Gone(Box<Call>),
}

impl NgCore {
    pub(super) fn wait(&mut self, question: Question, later: Later, turn: &mut Turn) {
        let allowed_ms = match later.what {
            Await::Figures { .. } => FIGURES_WAIT_MS,
            Await::Ports { .. } => PORTS_WAIT_MS,
        };
        let wait = Wait { question, remaining: later.remaining, what: later.what };
        self.waits.insert(later.id, wait);
        match later.remaining {
            0 => self.finish(later.id, turn),
            _ => self.timers.set(Timer::Wait(later.id), turn.now.monotonic_ms + allowed_ms),
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
        let reply = match wait.what {
            Await::Figures { call, parties, then_delete } => self.figures_reply(call, parties, then_delete, turn),
            Await::Ports { setup, .. } => match write_setup(self, &setup) {
                Ok(reply) => reply,
                Err(error) => Reply::error(error),
            },
        };
        self.reply(wait.question, &reply, turn);
    }

    fn figures_reply(
        &mut self,
        call: Figured,
        parties: Option<Vec<PartyId>>,
        then_delete: Vec<PartyId>,
        turn: &mut Turn,
    ) -> Reply {
        let dict = match &call {
            Figured::Gone(call) => {
                self.statistics.call_ended(call, turn.now);
                self.statistics.count_figures(call);
                figures::call(call, parties.as_deref(), turn.now)
            }
            Figured::Live(key) => match self.calls.get(key) {
                Some(call) => figures::call(call, parties.as_deref(), turn.now),
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
        match &mut self.waits.get_mut(&wait)?.what {
            Await::Figures { call: Figured::Gone(call), .. } => Some(call),
            _ => self.calls.get_mut(&crate::call::call_of(leg)?),
        }
    }

    /// A leg whose ports are taken gets others, while an offer or answer waits for it.
    pub(super) fn try_other_ports(&mut self, key: CallKey, leg: LegId, turn: &mut Turn) {
        let waiting = self.waits.iter_mut().find_map(|(id, wait)| match &mut wait.what {
            Await::Ports { setup, tries } if setup.key == key => Some((*id, tries)),
            _ => None,
        });
        let Some((id, tries)) = waiting else { return };
        *tries += 1;
        let exhausted = *tries > PORT_TRIES_MAX;
        let (mut kit, calls) = self.kit();
        let reopened = calls.get_mut(&key).filter(|_| !exhausted);
        if reopened.and_then(|call| call.reopen_elsewhere(leg, &mut kit, turn)).is_none() {
            self.refuse_wait(id, NgError::OutOfPorts, turn);
        }
    }

    fn refuse_wait(&mut self, id: u64, error: NgError, turn: &mut Turn) {
        self.timers.cancel(Timer::Wait(id));
        if let Some(wait) = self.waits.remove(&id) {
            self.reply(wait.question, &Reply::error(error), turn);
        }
    }

    /// A leg is open: one thing less to wait for.
    pub(super) fn port_opened(&mut self, key: CallKey, turn: &mut Turn) {
        let waiting = self
            .waits
            .iter()
            .find_map(|(id, wait)| matches!(&wait.what, Await::Ports { setup, .. } if setup.key == key).then_some(*id));
        if let Some(id) = waiting {
            self.count_down(id, turn);
        }
    }
}
