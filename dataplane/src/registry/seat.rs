//! One worker as the link thread knows it: its ring, its free slots, and the answers it owes.
//!
//! Input: orders for the worker. Output: the ring's entries. Owns the slots of the worker, and the queue of what its
//! answers mean.

use super::Attachment;
use crate::bell::Bell;
use crate::counters::Counters;
use crate::leg::Slot;
use crate::queues::WorkerOrder;
use crosspoint_contract::{CommandId, LegId, LocalDescription, Refused, WorkerHello};
use rtrb::Producer;
use std::collections::VecDeque;
use std::sync::Arc;

/// One worker as the link thread sees it.
pub struct Seat {
    pub hello: WorkerHello,
    pub bell: Bell,
    pub counters: Arc<Counters>,
    pub thread_id: i32,
    pub orders: Producer<WorkerOrder>,
    pub free: Vec<Slot>,
    pub awaited: VecDeque<Awaited>,
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
        Seat { hello, bell, counters, thread_id, orders, free, awaited: VecDeque::new() }
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
    Opened(Box<LocalDescription>),
    Report,
    Closed(LegId),
    Refused(Refused),
}
