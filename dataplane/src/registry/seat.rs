//! One worker as the link thread knows it: its ring, its free slots, and the answers it owes.
//!
//! Input: orders for the worker. Output: the ring's entries, in order, and one ring of the bell for all that were queued since
//! the last. Owns the slots of the worker, the queue of what its answers mean, and the few orders that must arrive and found
//! no room. Never waits for the worker.

use super::Attachment;
use crate::bell::Bell;
use crate::counters::Counters;
use crate::leg::Slot;
use crate::queues::WorkerOrder;
use crosspoint_contract::limits::COMMANDS_PER_TICK_MAX;
use crosspoint_contract::{CommandId, Done, LegId, LegReport, LocalDescription, Refused, WorkerHello};
use rtrb::{Producer, PushError};
use std::collections::VecDeque;
use std::sync::Arc;

/// One worker as the link thread sees it.
pub struct Seat {
    pub hello: WorkerHello,
    pub bell: Bell,
    pub counters: Arc<Counters>,
    pub thread_id: i32,
    pub free: Vec<Slot>,
    pub awaited: VecDeque<Awaited>,
    /// Lost, and its successor has not begun: takes no legs.
    pub is_down: bool,
    orders: Producer<WorkerOrder>,
    /// Orders that are answered, since the start.
    sent: u64,
    /// Something was queued that the worker was not woken for.
    unrung: bool,
    /// `Begin` and `Stop`, which must arrive, while there is no room for them.
    owed: Vec<WorkerOrder>,
}

impl Seat {
    pub fn new(
        hello: WorkerHello,
        bell: Bell,
        counters: Arc<Counters>,
        thread_id: i32,
        orders: Producer<WorkerOrder>,
        legs_max: usize,
    ) -> Self {
        let free = (0..legs_max as Slot).rev().collect();
        let awaited = VecDeque::new();
        Seat {
            hello,
            bell,
            counters,
            thread_id,
            free,
            awaited,
            is_down: false,
            orders,
            sent: 0,
            unrung: false,
            owed: Vec::new(),
        }
    }

    /// Orders for which there is room now.
    pub fn room(&self) -> usize {
        if self.owed.is_empty() { self.orders.slots() } else { 0 }
    }

    /// Queues an order that is answered; false when there is no room.
    pub fn send(&mut self, order: WorkerOrder, awaited: Awaited) -> bool {
        if !self.give_owed() || self.orders.is_full() {
            return false;
        }
        // Before the order, so that the worker wakes us for its answer.
        self.count_awaited(if awaited.is_waited_for() { 1 } else { 0 });
        self.awaited.push_back(awaited);
        self.sent += 1;
        self.unrung = true;
        let pushed = self.orders.push(order).is_ok();
        debug_assert!(pushed, "only we fill the ring");
        pushed
    }

    /// What the worker's next answer means.
    pub fn take_awaited(&mut self) -> Option<Awaited> {
        let awaited = self.awaited.pop_front()?;
        self.count_awaited(if awaited.is_waited_for() { -1 } else { 0 });
        Some(awaited)
    }

    /// The worker answers none of them any more.
    pub fn take_all_awaited(&mut self) -> VecDeque<Awaited> {
        self.counters.answers_awaited.set(0);
        std::mem::take(&mut self.awaited)
    }

    fn count_awaited(&self, change: i64) {
        let cell = &self.counters.answers_awaited;
        cell.set(cell.get().wrapping_add_signed(change));
    }

    /// The number of the order that was sent last.
    pub fn last_sent(&self) -> u64 {
        self.sent
    }

    /// Whether the order with this number has been answered.
    pub fn has_answered(&self, order: u64) -> bool {
        order + self.awaited.len() as u64 <= self.sent
    }

    /// Whether the worker carries out one more order before it looks at any packet that is yet to come.
    pub fn is_prompt(&self) -> bool {
        self.owed.is_empty() && self.awaited.len() < COMMANDS_PER_TICK_MAX
    }

    /// Wakes the worker if there is something new for it.
    pub fn ring(&mut self) {
        if std::mem::take(&mut self.unrung) {
            self.bell.wake();
        }
    }

    /// Queues an order that is not answered, now or when there is room.
    pub fn owe(&mut self, order: WorkerOrder) {
        self.owed.push(order);
        self.give_owed();
    }

    /// Gives what must arrive, as far as there is room; true when nothing is owed any more.
    pub fn give_owed(&mut self) -> bool {
        while let Some(order) = (!self.owed.is_empty()).then(|| self.owed.remove(0)) {
            if let Err(PushError::Full(order)) = self.orders.push(order) {
                self.owed.insert(0, order);
                break;
            }
            self.unrung = true;
        }
        self.owed.is_empty()
    }
}

/// An order that its worker has not answered.
pub struct Awaited {
    /// Whom to answer; nobody when the order was our own.
    pub command: Option<(Attachment, CommandId)>,
    pub reply: Reply,
}

impl Awaited {
    fn is_waited_for(&self) -> bool {
        !matches!(self.reply, Reply::Told)
    }
}

/// What to answer when the worker says that it is done.
pub enum Reply {
    /// Control was told already that it is done: the worker does not refuse it.
    Told,
    Ok,
    /// When it says that it could not, the leg is none.
    Opened(LegId, Box<LocalDescription>),
    Described(Box<LocalDescription>),
    Streams,
    Report,
    Closed(LegId),
    /// Asked while it was being closed: the same figures.
    ClosedToo(LegId),
    Figures(Box<LegReport>),
    Refused(Refused),
}

impl Reply {
    /// What control is told once the order is done. Reports come with the worker's answer.
    pub fn done(self) -> Result<Done, Refused> {
        match self {
            Reply::Opened(_, local) | Reply::Described(local) => Ok(Done::Opened(*local)),
            Reply::Figures(report) => Ok(Done::Report(*report)),
            Reply::Refused(refused) => Err(refused),
            Reply::Told | Reply::Ok | Reply::Streams | Reply::Report | Reply::Closed(_) | Reply::ClosedToo(_) => {
                Ok(Done::Ok)
            }
        }
    }
}
