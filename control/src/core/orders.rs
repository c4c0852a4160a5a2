//! Commands under way to the dataplane: numbered, remembered until answered, given again after a lost link.
//!
//! ```text
//!   give ──▶ waiting ──pump──▶ outstanding ──answered──▶ its purpose, with the answer
//!               ▲                  │
//!               └──put_back, detach┘     in the order in which they were given first
//! ```
//!
//! Input: a command and its [`Purpose`]; the answers. Output: `Effect::Order`; the purpose back with its answer. Owns
//! the command numbers and the queue beyond `COMMANDS_OUTSTANDING_MAX`. Commands are idempotent, so a repetition after
//! a new attachment is harmless; digits alone are not repeated. It does not know what the answers mean.

use super::effect::Effect;
use super::input::SessionId;
use super::limits::ORDERS_WAITING_MAX;
use super::turn::Turn;
use crosspoint_contract::limits::COMMANDS_OUTSTANDING_MAX;
use crosspoint_contract::{CallKey, Command, CommandId, LegId, Order};
use std::collections::BTreeMap;

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
    /// One of the orders that put another leg in the place of one whose client came back with a new peer connection.
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

/// A command with its place in the order of giving.
#[derive(Debug)]
pub struct Asked {
    place: u64,
    given_ms: u64,
    pub command: Command,
    pub purpose: Purpose,
}

#[derive(Debug, Default)]
pub struct Orders {
    attached: bool,
    /// The dataplane was busy: nothing is given until `resume`.
    held: bool,
    /// It left an order unanswered too long.
    mute: bool,
    last_id: u64,
    last_place: u64,
    outstanding: BTreeMap<CommandId, Asked>,
    waiting: BTreeMap<u64, (Command, Purpose)>,
}

impl Orders {
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Attached, and as far as we know alive.
    pub fn is_answering(&self) -> bool {
        self.attached && !self.mute
    }

    /// As many wait as may: whatever asks for more on a client's behalf is to be refused.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= ORDERS_WAITING_MAX
    }

    pub fn give(&mut self, command: Command, purpose: Purpose, turn: &mut Turn) {
        self.last_place += 1;
        self.waiting.insert(self.last_place, (command, purpose));
        self.pump(turn);
    }

    /// What is answered; `None` for numbers of an earlier attachment. `pump` is due after the answer has been acted on.
    pub fn answered(&mut self, id: CommandId) -> Option<Asked> {
        self.mute = false;
        self.outstanding.remove(&id)
    }

    /// The dataplane was too busy for it: nothing is given before `resume`.
    pub fn put_back(&mut self, asked: Asked) {
        self.held = true;
        self.waiting.insert(asked.place, (asked.command, asked.purpose));
    }

    pub fn resume(&mut self, turn: &mut Turn) {
        self.held = false;
        self.pump(turn);
    }

    /// Gives what waits, as far as allowed.
    pub fn pump(&mut self, turn: &mut Turn) {
        while self.attached && !self.held && self.outstanding.len() < COMMANDS_OUTSTANDING_MAX {
            let Some((place, (command, purpose))) = self.waiting.pop_first() else { return };
            self.last_id += 1;
            let id = CommandId(self.last_id);
            turn.effects.push(Effect::Order(Order { id, command: command.clone() }));
            self.outstanding.insert(id, Asked { place, given_ms: turn.now.monotonic_ms, command, purpose });
        }
    }

    /// When the oldest unanswered order was given; `None` also after `declare_mute`.
    pub fn oldest_given_ms(&self) -> Option<u64> {
        self.outstanding.first_key_value().map(|(_, asked)| asked.given_ms).filter(|_| !self.mute)
    }

    pub fn declare_mute(&mut self) {
        self.mute = true;
    }

    /// A dataplane is there, the same as before or a first one: what waits is given, in order.
    pub fn attach(&mut self, turn: &mut Turn) {
        self.attached = true;
        self.resume(turn);
    }

    /// What is unanswered waits again, except digits, which might be sent twice: those are returned.
    pub fn detach(&mut self) -> Vec<Purpose> {
        (self.attached, self.mute) = (false, false);
        let mut spoilt = Vec::new();
        for asked in std::mem::take(&mut self.outstanding).into_values() {
            match asked.purpose {
                Purpose::Digits { .. } => spoilt.push(asked.purpose),
                purpose => drop(self.waiting.insert(asked.place, (asked.command, purpose))),
            }
        }
        spoilt
    }

    /// The dataplane is gone and with it whatever was asked of it.
    pub fn forget(&mut self) {
        let (last_id, last_place) = (self.last_id, self.last_place);
        *self = Orders { last_id, last_place, ..Orders::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::input::Now;

    fn read(leg: u64) -> Command {
        Command::ReadLeg { leg: LegId(leg) }
    }

    /// What `action` gives, as the legs it is about.
    fn given(orders: &mut Orders, action: impl FnOnce(&mut Orders, &mut Turn)) -> Vec<u64> {
        let mut effects = Vec::new();
        action(orders, &mut Turn { now: Now { monotonic_ms: 0, unix_ms: 0 }, effects: &mut effects });
        let leg = |e: &Effect| match e {
            Effect::Order(Order { command: Command::ReadLeg { leg }, .. }) => Some(leg.0),
            _ => None,
        };
        effects.iter().filter_map(leg).collect()
    }

    fn give(orders: &mut Orders, leg: u64) -> Vec<u64> {
        given(orders, |orders, turn| orders.give(read(leg), Purpose::Nothing, turn))
    }

    #[test]
    fn orders_given_while_detached_or_unanswered_are_given_after_attachment_in_order() {
        let mut orders = Orders::default();
        assert!(give(&mut orders, 1).is_empty());
        assert_eq!(given(&mut orders, |orders, turn| orders.attach(turn)), [1]);
        assert_eq!(give(&mut orders, 2), [2]);
        assert!(orders.detach().is_empty());
        assert!(give(&mut orders, 3).is_empty());
        assert_eq!(given(&mut orders, |orders, turn| orders.attach(turn)), [1, 2, 3]);
    }

    #[test]
    fn no_more_orders_are_outstanding_than_the_contract_allows() {
        let mut orders = Orders::default();
        given(&mut orders, |orders, turn| orders.attach(turn));
        let given_at_once = (0..COMMANDS_OUTSTANDING_MAX as u64 + 5).map(|leg| give(&mut orders, leg).len());
        assert_eq!(given_at_once.sum::<usize>(), COMMANDS_OUTSTANDING_MAX);
        assert!(orders.answered(CommandId(1)).is_some());
        assert_eq!(given(&mut orders, |orders, turn| orders.pump(turn)), [COMMANDS_OUTSTANDING_MAX as u64]);
    }

    #[test]
    fn a_busy_dataplane_is_left_alone_until_resumed_and_then_asked_in_the_first_order() {
        let mut orders = Orders::default();
        given(&mut orders, |orders, turn| orders.attach(turn));
        assert_eq!((give(&mut orders, 1), give(&mut orders, 2)), (vec![1], vec![2]));
        for id in [1, 2] {
            let asked = orders.answered(CommandId(id)).expect("outstanding");
            orders.put_back(asked);
            assert!(given(&mut orders, |orders, turn| orders.pump(turn)).is_empty());
        }
        assert!(give(&mut orders, 3).is_empty());
        assert_eq!(given(&mut orders, |orders, turn| orders.resume(turn)), [1, 2, 3]);
    }
}
