//! Commands under way to the dataplane: numbered, remembered until answered, given again after a lost link.
//!
//! Input: a command and its [`Purpose`]; the answers. Output: `Effect::Order`; the purpose back with its answer. Owns
//! the command numbers and the queue beyond `COMMANDS_OUTSTANDING_MAX`. Commands are idempotent, so a repetition after
//! a new attachment is harmless. It does not know what the answers mean.

use super::effect::Effect;
use super::input::SessionId;
use crosspoint_contract::limits::COMMANDS_OUTSTANDING_MAX;
use crosspoint_contract::{CallKey, Command, CommandId, LegId, Order};
use std::collections::{BTreeMap, VecDeque};

/// What its answer is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Purpose {
    /// A leg is opened for the first time.
    Open(LegId),
    /// One of the orders that join a call.
    Join(CallKey),
    /// New local credentials for a re-offer.
    Restart {
        leg: LegId,
        serial: u64,
    },
    /// Another leg in the place of one whose client came back with a new peer connection.
    Replace {
        leg: LegId,
        replacement: LegId,
        serial: u64,
    },
    /// The last order of a re-offer: its answer completes it.
    Reoffer {
        leg: LegId,
        serial: u64,
    },
    Digits {
        session: SessionId,
        call_sid: String,
    },
    /// A leg of a call that ended.
    Close {
        call: CallKey,
        leg: LegId,
    },
    /// Nobody waits for the answer.
    Nothing,
}

#[derive(Debug, Default)]
pub struct Orders {
    attached: bool,
    next: u64,
    outstanding: BTreeMap<CommandId, (Command, Purpose)>,
    queued: VecDeque<(Command, Purpose)>,
}

impl Orders {
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    pub fn give(&mut self, command: Command, purpose: Purpose, effects: &mut Vec<Effect>) {
        self.queued.push_back((command, purpose));
        self.pump(effects);
    }

    /// The purpose of the command that is answered; `None` for numbers of an earlier attachment.
    pub fn answered(&mut self, id: CommandId, effects: &mut Vec<Effect>) -> Option<(Command, Purpose)> {
        let order = self.outstanding.remove(&id);
        self.pump(effects);
        order
    }

    /// Keeps an order for `pump` that the dataplane was too busy for.
    pub fn put_back(&mut self, command: Command, purpose: Purpose) {
        self.queued.push_front((command, purpose));
    }

    /// Gives what waits, as far as allowed.
    pub fn pump(&mut self, effects: &mut Vec<Effect>) {
        while self.attached && self.outstanding.len() < COMMANDS_OUTSTANDING_MAX {
            let Some((command, purpose)) = self.queued.pop_front() else { return };
            self.next += 1;
            let id = CommandId(self.next);
            effects.push(Effect::Order(Order { id, command: command.clone() }));
            self.outstanding.insert(id, (command, purpose));
        }
    }

    /// The same dataplane again: what it has not answered is given once more, in order.
    pub fn attach(&mut self, effects: &mut Vec<Effect>) {
        self.detach();
        self.attached = true;
        self.pump(effects);
    }

    pub fn detach(&mut self) {
        self.attached = false;
        for order in std::mem::take(&mut self.outstanding).into_values().rev() {
            self.queued.push_front(order);
        }
    }

    /// The dataplane is gone and with it whatever was asked of it.
    pub fn forget(&mut self) {
        self.attached = false;
        self.outstanding.clear();
        self.queued.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(leg: u64) -> Command {
        Command::ReadLeg { leg: LegId(leg) }
    }

    fn legs(effects: &[Effect]) -> Vec<u64> {
        let leg = |e: &Effect| match e {
            Effect::Order(Order { command: Command::ReadLeg { leg }, .. }) => Some(leg.0),
            _ => None,
        };
        effects.iter().filter_map(leg).collect()
    }

    #[test]
    fn orders_given_while_detached_or_unanswered_are_given_after_attachment_in_order() {
        let (mut orders, mut effects) = (Orders::default(), Vec::new());
        orders.give(read(1), Purpose::Nothing, &mut effects);
        assert!(effects.is_empty());
        orders.attach(&mut effects);
        orders.give(read(2), Purpose::Nothing, &mut effects);
        orders.detach();
        orders.give(read(3), Purpose::Nothing, &mut effects);
        effects.clear();
        orders.attach(&mut effects);
        assert_eq!(legs(&effects), [1, 2, 3]);
    }

    #[test]
    fn no_more_orders_are_outstanding_than_the_contract_allows() {
        let (mut orders, mut effects) = (Orders::default(), Vec::new());
        orders.attach(&mut effects);
        for leg in 0..COMMANDS_OUTSTANDING_MAX as u64 + 5 {
            orders.give(read(leg), Purpose::Nothing, &mut effects);
        }
        assert_eq!(effects.len(), COMMANDS_OUTSTANDING_MAX);
        orders.answered(CommandId(1), &mut effects);
        assert_eq!(effects.len(), COMMANDS_OUTSTANDING_MAX + 1);
    }
}
