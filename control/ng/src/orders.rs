//! Orders under way to the dataplane: numbered, and remembered until answered.
//!
//! Input: a command and what its answer is for. Output: `Effect::Order`; the purpose back with its answer. Owns the command numbers, which
//! have a range of their own, because the rest of control may speak to the same dataplane. An order that was refused for want of room is not
//! kept: the call says all it has to say again, which is harmless.

use crate::effect::{Effect, Turn};
use crosspoint_contract::limits::COMMANDS_OUTSTANDING_MAX;
use crosspoint_contract::{CallKey, Command, CommandId, LegId, Order};
use std::collections::{HashMap, VecDeque};

/// Numbers of this core have this bit.
const OURS: u64 = crate::ORDER;

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A leg of this call, whose ports may turn out to be taken.
    Open { call: CallKey, leg: LegId },
    /// Any other order of this call.
    Change { call: CallKey },
    /// Figures that an answer waits for.
    Figures { wait: u64, leg: LegId },
    /// The end of a leg whose last figures an answer waits for.
    Farewell { wait: u64, leg: LegId },
    /// The end of a leg that nobody waits for.
    Close { leg: LegId },
    /// The same, whose last figures were read before.
    Closing { leg: LegId },
}

#[derive(Debug, Default)]
pub struct Orders {
    attached: bool,
    may_promise: bool,
    /// The number given last; orders leave in the order of their numbers.
    last: u64,
    outstanding: HashMap<u64, Purpose>,
    /// Beyond what may be outstanding.
    waiting: VecDeque<(u64, Command, Purpose)>,
}

impl Orders {
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// While detached nothing is kept: at attachment the calls say everything anew.
    pub fn give(&mut self, command: Command, purpose: Purpose, turn: &mut Turn) {
        if !self.attached {
            return;
        }
        self.last += 1;
        match self.outstanding.len() < COMMANDS_OUTSTANDING_MAX {
            true => self.send(self.last, command, purpose, turn),
            false => self.waiting.push_back((self.last, command, purpose)),
        }
    }

    /// Gives a command that cannot be refused and only lets more pass than before. No reply waits for it, where there is a
    /// board to announce it on; behind orders that wait themselves it is one of them.
    pub fn promise(&mut self, command: Command, purpose: Purpose, turn: &mut Turn) {
        match self.may_promise && self.waiting.is_empty() {
            true => turn.effects.push(Effect::Promise(command)),
            false => self.give(command, purpose, turn),
        }
    }

    /// Whether there is a board.
    pub fn may_promise(&self) -> bool {
        self.may_promise
    }

    /// The number of the order given last.
    pub fn last_given(&self) -> u64 {
        self.last
    }

    fn send(&mut self, number: u64, command: Command, purpose: Purpose, turn: &mut Turn) {
        self.outstanding.insert(number, purpose);
        turn.effects.push(Effect::Order(Order { id: CommandId(OURS | number), command }));
    }

    /// What is answered, and the order's number; `None` for the orders of others and of earlier attachments.
    pub fn answered(&mut self, id: CommandId, turn: &mut Turn) -> Option<(u64, Purpose)> {
        let answered = (id.0 & OURS != 0).then_some(id.0 & !OURS)?;
        let purpose = self.outstanding.remove(&answered)?;
        if let Some((number, command, purpose)) = self.waiting.pop_front() {
            self.send(number, command, purpose, turn);
        }
        Some((answered, purpose))
    }

    pub fn attach(&mut self, may_promise: bool) {
        self.detach();
        (self.attached, self.may_promise) = (true, may_promise);
    }

    pub fn detach(&mut self) {
        (self.attached, self.may_promise) = (false, false);
        self.outstanding.clear();
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Now;

    const PURPOSE: Purpose = Purpose::Change { call: CallKey(1) };

    fn given(orders: &mut Orders, action: impl FnOnce(&mut Orders, &mut Turn)) -> Vec<CommandId> {
        let mut effects = Vec::new();
        action(orders, &mut Turn { now: Now::default(), effects: &mut effects });
        let id = |effect| match effect {
            Effect::Order(order) => Some(order.id),
            _ => None,
        };
        effects.into_iter().filter_map(id).collect()
    }

    #[test]
    fn no_more_orders_are_outstanding_than_the_contract_allows_and_the_rest_follows() {
        let mut orders = Orders::default();
        assert!(given(&mut orders, |o, t| o.give(Command::ReadCounters, PURPOSE, t)).is_empty());
        orders.attach(false);
        let ids: Vec<_> = (0..COMMANDS_OUTSTANDING_MAX + 2)
            .flat_map(|_| given(&mut orders, |o, t| o.give(Command::ReadCounters, PURPOSE, t)))
            .collect();
        assert_eq!(ids.len(), COMMANDS_OUTSTANDING_MAX);
        assert_eq!(given(&mut orders, |o, t| _ = o.answered(ids[0], t)).len(), 1);
        assert!(given(&mut orders, |o, t| _ = o.answered(ids[0], t)).is_empty(), "an answer counts once");
        assert!(given(&mut orders, |o, t| _ = o.answered(CommandId(1), t)).is_empty(), "another's order");
    }
}
