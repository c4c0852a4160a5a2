//! Replies that are held until the dataplane has taken the orders behind them: `ok` means done.
//!
//! ```text
//!   command ──▶ orders 7, 8, 9 and a reply ──▶ held, 3 to come ── answers 7, 8, 9, or the deadline ──▶ Reply
//!                                                 '── 8: the port is another's ──▶ other ports, orders 10 … 12: 4 to come
//! ```
//!
//! A proxy lets media flow, or believes it blocked, as soon as it has the reply; a packet that overtook the order behind it
//! would be lost or let through. What is promised ([`crate::orders::Orders::promise`]) is not waited for. Input: what is to be said, and the numbers of its orders; answers. Output: the reply. Owns
//! the replies held.

use super::{NgCore, Question};
use crate::commands::{Setup, write_setup};
use crate::effect::Turn;
use crate::error::NgError;
use crate::limits::{ORDERS_WAIT_MS, PORT_TRIES_MAX};
use crate::reply::Reply;
use crate::timers::Timer;
use crosspoint_contract::{CallKey, LegId};
use std::collections::HashMap;

/// What a held reply says.
pub(crate) enum Words {
    Reply(Reply),
    /// The SDP of an offer or answer, written when its ports are sure.
    Setup(Box<Setup>),
}

#[derive(Default)]
pub(crate) struct HeldReplies {
    last: u64,
    replies: HashMap<u64, Held>,
    /// Which reply an order is behind.
    by_order: HashMap<u64, u64>,
}

struct Held {
    question: Question,
    words: Words,
    remaining: u64,
    tries: u32,
}

impl NgCore {
    /// `before`: the number of the last order that was given before this question.
    pub(super) fn reply_when_done(&mut self, question: Question, words: Words, before: u64, turn: &mut Turn) {
        if self.orders.last_given() == before {
            return self.say(question, words, turn);
        }
        self.held.last += 1;
        let id = self.held.last;
        self.timers.set(Timer::Held(id), turn.now.monotonic_ms + ORDERS_WAIT_MS);
        self.held.replies.insert(id, Held { question, words, remaining: 0, tries: 0 });
        self.hold_for(id, before);
    }

    /// The reply waits for all orders after `before`, too.
    fn hold_for(&mut self, id: u64, before: u64) {
        let Some(held) = self.held.replies.get_mut(&id) else { return };
        for number in before + 1..=self.orders.last_given() {
            self.held.by_order.insert(number, id);
            held.remaining += 1;
        }
    }

    /// An order has been answered, whatever the answer.
    pub(super) fn order_done(&mut self, number: u64, turn: &mut Turn) {
        let Some(id) = self.held.by_order.remove(&number) else { return };
        let Some(held) = self.held.replies.get_mut(&id) else { return };
        held.remaining -= 1;
        if held.remaining == 0 {
            self.release(id, turn);
        }
    }

    /// The port that this order was to open is another's: the call gets others, while its reply is held.
    pub(super) fn try_other_ports(&mut self, number: u64, key: CallKey, leg: LegId, turn: &mut Turn) {
        let held = self.held.by_order.get(&number).and_then(|id| Some((*id, self.held.replies.get_mut(id)?)));
        let Some((id, held)) = held else { return self.refuse_open(number, key, leg, NgError::OutOfPorts, turn) };
        held.tries += 1;
        let exhausted = held.tries > PORT_TRIES_MAX;
        let before = self.orders.last_given();
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).filter(|_| !exhausted);
        match call.and_then(|call| call.reopen_elsewhere(leg, &mut kit, turn)) {
            Some(()) => self.hold_for(id, before),
            None => self.refuse_open(number, key, leg, NgError::OutOfPorts, turn),
        }
    }

    /// The dataplane does not open a leg: whoever asked is told, and the line has none.
    pub(super) fn refuse_open(&mut self, number: u64, key: CallKey, leg: LegId, error: NgError, turn: &mut Turn) {
        if let Some(id) = self.held.by_order.get(&number).copied() {
            self.refuse_held(id, error, turn);
        }
        let (mut kit, calls) = self.kit();
        if let Some(call) = calls.get_mut(&key) {
            call.drop_leg(leg, &mut kit, turn);
        }
    }

    fn refuse_held(&mut self, id: u64, error: NgError, turn: &mut Turn) {
        self.timers.cancel(Timer::Held(id));
        self.count_refusal(error);
        let Some(held) = self.held.replies.remove(&id) else { return };
        let reply = match &held.words {
            Words::Setup(setup) => {
                if setup.is_new {
                    self.remove(setup.key, turn);
                }
                Reply::refusal(error, &setup.request.options)
            }
            Words::Reply(_) => Reply::error(error),
        };
        self.reply(held.question, &reply, turn);
    }

    pub(super) fn release(&mut self, id: u64, turn: &mut Turn) {
        self.timers.cancel(Timer::Held(id));
        if let Some(Held { question, words, .. }) = self.held.replies.remove(&id) {
            self.say(question, words, turn);
        }
    }

    /// Nobody will answer any more.
    pub(super) fn release_all(&mut self, turn: &mut Turn) {
        self.held.by_order.clear();
        let mut ids: Vec<u64> = self.held.replies.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.release(id, turn);
        }
    }

    fn say(&mut self, question: Question, words: Words, turn: &mut Turn) {
        let reply = match words {
            Words::Reply(reply) => reply,
            Words::Setup(setup) => match write_setup(self, &setup) {
                Ok(reply) => {
                    self.note_call(setup.key, turn);
                    reply
                }
                Err(error) => {
                    if setup.is_new {
                        // An offer that failed leaves no call behind.
                        self.remove(setup.key, turn);
                    }
                    Reply::error(error)
                }
            },
        };
        self.reply(question, &reply, turn);
    }
}
