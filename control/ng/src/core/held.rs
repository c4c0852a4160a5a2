//! Replies that are held until the dataplane has taken the orders behind them: `ok` means done.
//!
//! ```text
//!   command ──▶ orders 7, 8, 9 and a reply ──▶ held (7..=9, 3 to come) ── answers 7, 8, 9, or the deadline ──▶ Reply
//! ```
//!
//! A proxy lets media flow, or believes it blocked, as soon as it has the reply; a packet that overtook the order behind it
//! would be lost or let through. Input: a reply and the numbers of its orders; answers. Output: the reply. Owns the replies held.

use super::{NgCore, Question};
use crate::effect::Turn;
use crate::limits::ORDERS_WAIT_MS;
use crate::reply::Reply;
use crate::timers::Timer;
use std::collections::BTreeMap;

/// By the last of its orders: numbers only grow, so ranges do not overlap.
pub(crate) type HeldReplies = BTreeMap<u64, Held>;

pub(crate) struct Held {
    first: u64,
    remaining: u64,
    question: Question,
    reply: Reply,
}

impl NgCore {
    /// `before`: the number of the last order that was given before this question.
    pub(super) fn reply_when_done(&mut self, question: Question, reply: Reply, before: u64, turn: &mut Turn) {
        let last = self.orders.last_given();
        if last == before {
            return self.reply(question, &reply, turn);
        }
        self.timers.set(Timer::Held(last), turn.now.monotonic_ms + ORDERS_WAIT_MS);
        self.held.insert(last, Held { first: before + 1, remaining: last - before, question, reply });
    }

    /// An order has been answered, whatever the answer.
    pub(super) fn order_done(&mut self, number: u64, turn: &mut Turn) {
        let Some((&last, held)) = self.held.range_mut(number..).next() else { return };
        if held.first > number {
            return;
        }
        held.remaining -= 1;
        if held.remaining == 0 {
            self.release(last, turn);
        }
    }

    pub(super) fn release(&mut self, last: u64, turn: &mut Turn) {
        self.timers.cancel(Timer::Held(last));
        if let Some(Held { question, reply, .. }) = self.held.remove(&last) {
            self.reply(question, &reply, turn);
        }
    }

    /// Nobody will answer any more.
    pub(super) fn release_all(&mut self, turn: &mut Turn) {
        while let Some((&last, _)) = self.held.first_key_value() {
            self.release(last, turn);
        }
    }
}
