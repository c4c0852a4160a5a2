//! One worker as the link thread knows it: its ring, its free slots, and the answers it owes.
//!
//! Input: orders for the worker. Output: the ring's entries, in order. Owns the slots of the worker, the queue of what its
//! answers mean, and the few orders that must arrive and found no room. Never waits for the worker.

use super::Attachment;
use crate::bell::Bell;
use crate::counters::Counters;
use crate::leg::Slot;
use crate::queues::WorkerOrder;
use crosspoint_contract::{CommandId, LegId, LegReport, LocalDescription, Refused, WorkerHello};
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
        Seat { hello, bell, counters, thread_id, free, awaited, is_down: false, orders, owed: Vec::new() }
    }

    /// Orders for which there is room now.
    pub fn room(&self) -> usize {
        if self.owed.is_empty() { self.orders.slots() } else { 0 }
    }

    /// Queues an order that is answered; false when there is no room.
    pub fn send(&mut self, order: WorkerOrder, awaited: Awaited) -> bool {
        let sent = self.give_owed() && self.orders.push(order).is_ok();
        if sent {
            self.awaited.push_back(awaited);
        }
        self.bell.wake();
        sent
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
        }
        self.bell.wake();
        self.owed.is_empty()
    }
}

/// An order that its worker has not answered.
pub struct Awaited {
    /// Whom to answer; nobody when the order was our own.
    pub command: Option<(Attachment, CommandId)>,
    pub reply: Reply,
}

/// What to answer when the worker says that it is done.
pub enum Reply {
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
