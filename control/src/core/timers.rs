//! Deadlines: one of each kind for each thing, on the monotonic clock that inputs carry.
//!
//! Input: `set` and `cancel`. Output: `next` for the shell's one timer and `pop` for what is due. Owns no clock.

use super::input::SessionId;
use crosspoint_contract::{CallKey, LegId};
use std::collections::{BTreeSet, HashMap};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// A socket has shown no good token.
    Listen(SessionId),
    /// The token of a session runs out.
    TokenExpires(SessionId),
    /// A call was not answered, or not set up.
    Ring(CallKey),
    /// The length limit of a grant.
    CallEnds(CallKey),
    /// The client of a leg did not come back.
    Reconnect(LegId),
    /// The peer of a leg closed its media and has said nothing since.
    MediaGone(LegId),
    /// The client of a leg did not answer our offer.
    Offer(LegId),
    /// The last reports of a call's legs did not come.
    Reports(CallKey),
    /// A leg in the dataplane that belongs to no call.
    Orphan(LegId),
    /// Routes are soft state and renewed.
    Routes,
    /// Orders that the dataplane was too busy for.
    Orders,
    /// An order that the dataplane does not answer.
    Mute,
}

#[derive(Debug, Default)]
pub struct Timers {
    at: HashMap<Timer, u64>,
    order: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Sets or moves `timer` to `at_ms`.
    pub fn set(&mut self, timer: Timer, at_ms: u64) {
        self.cancel(timer);
        self.at.insert(timer, at_ms);
        self.order.insert((at_ms, timer));
    }

    pub fn cancel(&mut self, timer: Timer) {
        if let Some(at_ms) = self.at.remove(&timer) {
            self.order.remove(&(at_ms, timer));
        }
    }

    /// What was due for one thing is now due for another.
    pub fn rename(&mut self, timer: Timer, new: Timer) {
        if let Some(at_ms) = self.at.get(&timer).copied() {
            self.cancel(timer);
            self.set(new, at_ms);
        }
    }

    pub fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    pub fn next(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    /// The earliest timer that is due, removed.
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
    fn timers_fire_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Routes, 30);
        timers.set(Timer::Orders, 10);
        timers.set(Timer::Routes, 20);
        assert_eq!(timers.next(), Some(10));
        assert_eq!(timers.pop(9), None);
        assert_eq!((timers.pop(25), timers.pop(25), timers.pop(25)), (Some(Timer::Orders), Some(Timer::Routes), None));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn cancelled_timer_never_fires() {
        let mut timers = Timers::default();
        timers.set(Timer::Routes, 1);
        timers.cancel(Timer::Routes);
        assert_eq!((timers.next(), timers.pop(100)), (None, None));
    }
}
