//! A worker's outlets: events and answers to the link thread, DTLS to the lobby.
//!
//! Input: what stages, doors, timers and commands have to say. Output: entries in the worker's rings, and at most one
//! wake per receiving thread and turn. Owns nothing but the note of who has to be woken. Never waits: a full ring drops
//! an event or a datagram and counts it; answers always have room because orders are only taken when they do. What is
//! true until it changes (state, address, silence) is not lost with the event that says so: the leg knows what was told,
//! and the timers tell the rest.

use crate::counters::Counters;
use crate::io::{Remote, Waker};
use crate::leg::{Leg, LegHandle};
use crate::queues::{Answered, Datagram, Knock, Spent, WorkerEnds, WorkerNote};
use crosspoint_contract::limits::{COMMANDS_PER_TICK_MAX, WORKER_TO_CONTROL_MAX};
use crosspoint_contract::{Event, LegState};
use crosspoint_wire::Nanos;

/// Places that events leave free, so that a tick's answers always fit.
const ANSWERS_RESERVED: usize = COMMANDS_PER_TICK_MAX;

const _: () = assert!(ANSWERS_RESERVED * 4 < WORKER_TO_CONTROL_MAX);

pub struct Outlets<'ends> {
    pub ends: &'ends mut WorkerEnds,
    wakers: Wakers,
    link_told: bool,
    lobby_told: bool,
}

/// Of the two threads that a worker talks to.
#[derive(Clone)]
pub struct Wakers {
    pub link: Waker,
    pub lobby: Waker,
}

impl<'ends> Outlets<'ends> {
    pub fn new(ends: &'ends mut WorkerEnds, wakers: Wakers) -> Self {
        Outlets { ends, wakers, link_told: false, lobby_told: false }
    }

    /// A fact for control that nobody repeats.
    pub fn event(&mut self, event: Event, counters: &Counters) {
        if !self.happened(event) {
            counters.events_dropped.add(1);
        }
    }

    /// A fact that the peer can bring about as often as it likes: a bounded number between two visits of the timers.
    pub fn fact(&mut self, leg: &mut Leg, event: Event, counters: &Counters) {
        if leg.facts_left == 0 {
            return counters.events_dropped.add(1);
        }
        leg.facts_left -= 1;
        self.event(event, counters);
    }

    /// Tells control and the lobby what is true of the leg and was not told yet, as far as there is room.
    pub fn tell(&mut self, leg: &mut Leg, now: Nanos) {
        self.tell_state(leg);
        self.tell_silence(leg, now);
        let shakes_hands = leg.ports.as_ref().map_or(leg.state == LegState::Opening, |ports| ports.uses_dtls);
        if !leg.told.reachable && shakes_hands && leg.remote != Remote::UNSPECIFIED {
            self.lobby_told = true;
            leg.told.reachable = self.ends.to_lobby.push(Knock::Reachable { leg: leg.handle() }).is_ok();
        }
    }

    fn tell_state(&mut self, leg: &mut Leg) {
        let id = leg.id;
        let event = match (leg.state, leg.failure, leg.suite, leg.remote_addr()) {
            (LegState::Connected, _, Some(suite), Some(remote_addr)) if leg.told.state != LegState::Connected => {
                Event::LegConnected { leg: id, remote_addr, suite }
            }
            (LegState::Connected, _, _, Some(remote_addr)) if leg.told.remote != leg.remote && leg.facts_left > 0 => {
                leg.facts_left -= 1;
                Event::LegMoved { leg: id, remote_addr }
            }
            (LegState::Failed, Some(why), ..) if leg.told.state != LegState::Failed => {
                Event::LegFailed { leg: id, why }
            }
            _ => return,
        };
        if self.happened(event) {
            (leg.told.state, leg.told.remote) = (leg.state, leg.remote);
        }
    }

    fn tell_silence(&mut self, leg: &mut Leg, now: Nanos) {
        if leg.silent == leg.told.silent || leg.state == LegState::Failed {
            return;
        }
        let silent_ms = u32::try_from(now.since(leg.last_heard).as_millis()).unwrap_or(u32::MAX);
        let event =
            if leg.silent { Event::LegSilent { leg: leg.id, silent_ms } } else { Event::LegHeard { leg: leg.id } };
        if self.happened(event) {
            leg.told.silent = leg.silent;
        }
    }

    /// False when there is no room.
    fn happened(&mut self, event: Event) -> bool {
        self.ends.to_link.slots() > ANSWERS_RESERVED && self.note(WorkerNote::Happened(event))
    }

    /// Whether there is room for the answer to one more order.
    pub fn may_answer(&self) -> bool {
        self.ends.to_link.slots() > 0
    }

    /// Wakes the link thread only when somebody waits for an answer; else it finds this one when it is up next.
    pub fn answer(&mut self, answered: Answered, counters: &Counters) {
        let said = self.ends.to_link.push(WorkerNote::Answered(answered)).is_ok();
        debug_assert!(said, "an order was taken without room for its answer");
        // What was written before the order was queued is seen by who took the order from the queue.
        self.link_told |= counters.answers_awaited.get() > 0;
    }

    fn note(&mut self, note: WorkerNote) -> bool {
        self.link_told = true;
        self.ends.to_link.push(note).is_ok()
    }

    /// A DTLS datagram for the lobby; false when the ring is full.
    pub fn knock(&mut self, leg: LegHandle, stranger: Option<Remote>, bytes: &[u8]) -> bool {
        self.lobby_told = true;
        let Some(datagram) = Datagram::new(bytes) else { return false };
        self.ends.to_lobby.push(Knock::Datagram { leg, stranger, datagram }).is_ok()
    }

    /// Memory that the worker has no use for goes to where it may be freed. Without room it is freed here.
    pub fn give_back(&mut self, spent: Spent) {
        if self.ends.to_link.slots() > ANSWERS_RESERVED {
            self.note(WorkerNote::Spent(spent));
        }
    }

    /// The worker has begun: its predecessor's orders are behind it.
    pub fn begun(&mut self) {
        self.note(WorkerNote::Begun);
    }

    /// Wakes whoever was told something since the last call.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.link_told) {
            self.wakers.link.wake();
        }
        if std::mem::take(&mut self.lobby_told) {
            self.wakers.lobby.wake();
        }
    }
}
