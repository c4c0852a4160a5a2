//! How an order goes to its worker, and when control is told that it is done.
//!
//! Input: orders. Output: entries of the worker's ring and of the queue of awaited answers; what control may be told at once.
//! Owns nothing: it is the fourth part of [`Registry`].
//!
//! A worker carries out its orders before it looks at the packets of its batch. So what it cannot refuse is done for every
//! packet that comes once the order is in its ring, and control need not wait for the worker. Two things keep an answer
//! waiting: an earlier command for the same leg that is not answered yet, and more orders than the worker takes in one turn.

use super::seat::{Awaited, Reply};
use super::{Asked, Outcome, Registry, Result};
use crate::queues::WorkerOrder;
use crosspoint_contract::{LegId, Refused, WorkerId};

impl Registry {
    /// Queues an order that the worker cannot refuse.
    pub(super) fn tell(
        &mut self,
        worker: usize,
        legs: &[LegId],
        order: WorkerOrder,
        asked: Asked,
        reply: Reply,
    ) -> Outcome {
        if !self.seats[worker].is_prompt() || !self.is_settled(worker, legs) {
            return self.ask(worker, legs, order, asked, reply);
        }
        self.queue(worker, order, Awaited { command: None, reply: Reply::Told })?;
        reply.done().map(Some)
    }

    /// Queues an order whose answer becomes `reply`.
    pub(super) fn ask(
        &mut self,
        worker: usize,
        legs: &[LegId],
        order: WorkerOrder,
        asked: Asked,
        reply: Reply,
    ) -> Outcome {
        self.queue(worker, order, Awaited { command: asked, reply })?;
        let awaited = self.seats[worker].last_sent();
        for leg in legs {
            if let Some(record) = self.legs.get_mut(leg) {
                record.awaited = awaited;
            }
        }
        Ok(None)
    }

    /// Answers a command that changes nothing, behind what is awaited for its leg.
    pub(super) fn say_in_turn(&mut self, worker: usize, leg: LegId, asked: Asked, reply: Reply) -> Outcome {
        if self.is_settled(worker, &[leg]) {
            return reply.done().map(Some);
        }
        self.ask(worker, &[leg], WorkerOrder::Echo, asked, reply)
    }

    /// Whether no answer about these legs is awaited.
    fn is_settled(&self, worker: usize, legs: &[LegId]) -> bool {
        let mut records = legs.iter().filter_map(|leg| self.legs.get(leg));
        records.all(|record| self.seats[worker].has_answered(record.awaited))
    }

    fn queue(&mut self, worker: usize, order: WorkerOrder, awaited: Awaited) -> Result<()> {
        let sent = self.seats[worker].send(order, awaited);
        if sent { Ok(()) } else { Err(Refused::Busy(WorkerId(worker as u16))) }
    }
}
