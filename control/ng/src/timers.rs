//! Deadlines: what is due when, on the monotonic clock that inputs carry.
//!
//! Input: `set` and `cancel`. Output: `next` for the shell's one timer and `pop` for what is due. Owns no clock.

use crosspoint_contract::CallKey;
use std::collections::{BTreeSet, HashMap};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// A deleted call stops relaying, or a party of it does.
    Delete(CallKey),
    /// The longest a call may last, or an offer may wait.
    Expire(CallKey),
    /// All streams are silent and the call is on hold.
    Silence(CallKey),
    /// Orders of this call were refused for want of room: give them again.
    Repair(CallKey),
    /// An answer waits for figures no longer.
    Wait(u64),
    /// A reply waits no longer for the orders behind it.
    Held(u64),
    /// Legs that a former control plane left behind.
    Orphans,
    /// Legs that the dataplane was too busy to close.
    Close,
}

#[derive(Debug, Default)]
pub struct Timers {
    order: BTreeSet<(u64, Timer)>,
    due: HashMap<Timer, u64>,
}

impl Timers {
    /// Replaces an earlier deadline of the same timer.
    pub fn set(&mut self, timer: Timer, at_ms: u64) {
        self.cancel(timer);
        self.due.insert(timer, at_ms);
        self.order.insert((at_ms, timer));
    }

    /// Keeps an earlier deadline of the same timer.
    pub fn set_earlier(&mut self, timer: Timer, at_ms: u64) {
        if self.due.get(&timer).is_none_or(|due_ms| at_ms < *due_ms) {
            self.set(timer, at_ms);
        }
    }

    pub fn cancel(&mut self, timer: Timer) {
        if let Some(at_ms) = self.due.remove(&timer) {
            self.order.remove(&(at_ms, timer));
        }
    }

    pub fn next(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    /// The next timer that is due.
    pub fn pop(&mut self, now_ms: u64) -> Option<Timer> {
        let (at_ms, timer) = *self.order.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_order_and_a_later_setting_replaces() {
        let mut timers = Timers::default();
        timers.set(Timer::Wait(1), 20);
        timers.set(Timer::Wait(2), 10);
        timers.set(Timer::Wait(1), 5);
        timers.set(Timer::Orphans, 7);
        timers.cancel(Timer::Orphans);
        assert_eq!(timers.next(), Some(5));
        assert_eq!(timers.pop(4), None);
        assert_eq!(
            (timers.pop(30), timers.pop(30), timers.pop(30)),
            (Some(Timer::Wait(1)), Some(Timer::Wait(2)), None)
        );
    }
}
