//! The loop of one worker.
//!
//! Input: datagrams by its io backend, orders by the link thread, keys by the lobby, the time. Output: datagrams, events,
//! answers. Owns its io, leg table, timers and the writing end of its counters; shares nothing else. After start it does
//! not allocate, lock, log, or ask the kernel for anything outside `io`, and it reads the clock once a batch.
//!
//! ```text
//!  turn:  early packets -> stages -> submit    what came before what was promised, once that is kept
//!         harvest                              what peers sent
//!         orders                               what control wants
//!         stages -> submit
//!         admissions, timers, digits           what lobby and time want
//!         -> protect -> submit
//! ```
//!
//! Orders come between harvest and stages: a packet that reached the socket when an order was in the ring is handled after
//! that order, as long as no more orders wait than one turn carries out. On this the link thread relies when it says that an
//! order is done although the worker has not seen it yet. What control promised may be on its way to the ring: packets that
//! cannot be passed on before it is there wait in [`crate::early`].
//!
//! A turn is all there is: `worker_thread` repeats it, tests call it one by one over a simulated network.

use crate::batch::{Nanos as IoNanos, PacketBatch};
use crate::check_desk::CheckDesk;
use crate::clock;
use crate::commands::Desk;
use crate::counters::Counters;
use crate::digits::DigitDesk;
use crate::early::{self, EarlyPackets};
use crate::fan_out::FanOut;
use crate::io::{Fault, Io, IoCounters};
use crate::legs::LegTable;
use crate::outlets::Outlets;
use crate::queues::WorkerOrder;
use crate::stages::{
    admit::admit, classify::classify, follow::follow, lookup::lookup, protect::protect, receive::receive, relay::relay,
    rewrite::rewrite, select::select, unprotect::unprotect,
};
use crate::timers::{TimerSettings, Timers};
use crate::{lobby_door, rtcp, stun_door};
use crosspoint_contract::DropReason;
use crosspoint_contract::limits::COMMANDS_PER_TICK_MAX;
use crosspoint_wire::Nanos;
use std::sync::Arc;

/// Batches of copies that a turn sends: sixteen subscribers of one full batch.
const COPY_BATCHES_PER_TURN_MAX: usize = 8;

/// What a worker is made of.
pub struct WorkerParts<'ends> {
    pub io: Io,
    pub batch: PacketBatch,
    pub legs_max: usize,
    pub timers: TimerSettings,
    pub outlets: Outlets<'ends>,
    pub counters: Arc<Counters>,
    /// Random: keeps peers from choosing colliding addresses, and reports from falling into step.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Again,
    /// Told to stop; peers have been told goodbye.
    Stopped,
}

pub struct Worker<'ends> {
    io: Io,
    batch: PacketBatch,
    legs: LegTable,
    digits: DigitDesk,
    checks: CheckDesk,
    fan_out: FanOut,
    early: EarlyPackets,
    timers: Timers,
    outlets: Outlets<'ends>,
    counters: Arc<Counters>,
    published: IoCounters,
    /// Orders before the first `Begin` were for a predecessor.
    begun: bool,
    now: Nanos,
}

impl<'ends> Worker<'ends> {
    pub fn new(parts: WorkerParts<'ends>) -> Self {
        Worker {
            io: parts.io,
            batch: parts.batch,
            legs: LegTable::new(parts.legs_max, parts.seed),
            digits: DigitDesk::new(parts.legs_max),
            checks: CheckDesk::new(parts.legs_max),
            fan_out: FanOut::new(),
            early: EarlyPackets::new(),
            timers: Timers::new(parts.timers, parts.seed),
            outlets: parts.outlets,
            counters: parts.counters,
            published: IoCounters::default(),
            begun: false,
            now: Nanos::ZERO,
        }
    }

    /// One batch, and whatever else is due. Sleeps only when there is nothing to do.
    pub fn turn(&mut self) -> Result<Turn, Fault> {
        if !self.early.is_empty() && self.pass_early() == Turn::Stopped {
            self.say_goodbye();
            self.io.submit(&mut self.batch);
            return Ok(Turn::Stopped);
        }
        let sleep_until = self.sleep_until();
        self.io.harvest(&mut self.batch, sleep_until)?;
        self.now = clock::of(&self.batch);
        // Before the orders: what is carried out by now is among them.
        let promise = self.counters.board.open_promise();
        let turn = self.carry_out_orders();
        self.io.resolve_ports(&mut self.batch);
        let early = (!self.early.is_empty()).then_some(0);
        self.pass_stages(promise.or_else(|| self.left_over()).or(early));
        self.io.submit(&mut self.batch);
        self.send_copies();
        self.make_packets();
        if turn == Turn::Stopped {
            self.say_goodbye();
        }
        self.io.submit(&mut self.batch);
        self.publish();
        self.outlets.flush();
        Ok(turn)
    }

    #[cfg(test)]
    pub(crate) fn opaque_legs(&self) -> u32 {
        self.legs.opaque_legs()
    }

    /// Packets that came before what was promised, once that is carried out.
    fn pass_early(&mut self) -> Turn {
        if !self.early.are_due(&self.counters.board, self.now) {
            return Turn::Again;
        }
        let turn = self.carry_out_orders();
        if turn == Turn::Again && (self.left_over().is_none() || self.early.are_late(self.now)) {
            self.early.give_back(&mut self.batch, &self.legs, &self.counters);
            self.pass_stages(None);
            self.io.submit(&mut self.batch);
        }
        turn
    }

    /// More orders than one turn carries out: packets wait for the rest, whatever is promised.
    fn left_over(&self) -> Option<u64> {
        (!self.outlets.ends.from_link.is_empty()).then_some(0)
    }

    /// What peers sent, from classify to protect. `promise`: there may be commands that were to be carried out before.
    fn pass_stages(&mut self, promise: Option<u64>) {
        if self.batch.is_empty() {
            return;
        }
        let Worker { batch, legs, checks, fan_out, early, outlets, timers, now, .. } = self;
        let counters = &*self.counters;
        counters.batches.add(1);
        // What a packet is, a description may have to say.
        if let Some(promised) = promise {
            early.take(batch, legs, promised, *now, counters);
        }
        classify(batch, legs, counters);
        stun_door::take_stun(batch, legs, checks, outlets, counters);
        lookup(batch, legs, counters);
        admit(batch, legs, outlets, counters);
        lobby_door::pass_dtls(batch, legs, outlets, counters);
        unprotect(batch, legs, counters);
        follow(batch, legs, outlets);
        relay(batch, legs, fan_out, outlets, counters);
        rtcp::receive(batch, legs, timers.settings().ntp_origin, counters);
        receive(batch, legs, outlets, counters);
        select(batch, legs, counters);
        rewrite(batch, legs, counters);
        protect(batch, legs, counters);
    }

    /// Copies for subscribers, a bounded number a turn: calls come first.
    fn send_copies(&mut self) {
        for _ in 0..COPY_BATCHES_PER_TURN_MAX {
            if self.fan_out.is_empty() {
                return;
            }
            self.fan_out.fill(&mut self.batch, &mut self.legs, &self.counters);
            protect(&mut self.batch, &mut self.legs, &self.counters);
            self.io.submit(&mut self.batch);
        }
    }

    /// Orders, a bounded number a turn, so that control cannot delay media.
    fn carry_out_orders(&mut self) -> Turn {
        for _ in 0..COMMANDS_PER_TICK_MAX {
            if !self.outlets.may_answer() {
                break;
            }
            let Ok(order) = self.outlets.ends.from_link.pop() else { break };
            if matches!(order, WorkerOrder::Stop) {
                return Turn::Stopped;
            }
            if matches!(order, WorkerOrder::Begin) {
                self.begun = true;
                self.outlets.begun();
            }
            if !self.begun {
                continue;
            }
            let mut desk = Desk {
                io: &mut self.io,
                batch: &mut self.batch,
                legs: &mut self.legs,
                digits: &mut self.digits,
                checks: &mut self.checks,
                counters: &self.counters,
                local_addr: self.timers.settings().local_addr,
                now: self.now,
            };
            if let Some(answered) = desk.carry_out(order) {
                self.outlets.answer(answered, &self.counters);
            }
        }
        Turn::Again
    }

    /// Packets of our own: handshake answers, reports, digits.
    fn make_packets(&mut self) {
        let Worker { batch, legs, digits, checks, timers, outlets, now, .. } = self;
        let counters = &*self.counters;
        lobby_door::admit(batch, legs, outlets, *now, counters);
        timers.turn(batch, legs, checks, outlets, *now, counters);
        checks.send_due(batch, legs, *now, counters);
        digits.send_due(batch, legs, *now, counters);
        protect(batch, legs, counters);
    }

    /// The last turn: a BYE to every peer, a batch at a time.
    fn say_goodbye(&mut self) {
        let mut position = 0;
        while let Some(slot) = self.legs.open_slot(position) {
            if let Some(leg) = self.legs.get_mut(slot) {
                rtcp::say_bye(&mut self.batch, leg, &self.counters);
            }
            position += 1;
            if self.batch.len() >= crosspoint_contract::limits::BATCH_PACKETS_MAX {
                self.io.submit(&mut self.batch);
            }
        }
    }

    /// When the next timer is due; not at all while orders wait.
    fn sleep_until(&self) -> Option<IoNanos> {
        let orders = !self.outlets.ends.from_link.is_empty() || !self.outlets.ends.from_lobby.is_empty();
        if orders || !self.fan_out.is_empty() {
            return None;
        }
        let timers = self.timers.next_turn(&self.legs, self.now);
        let digits = self.digits.next_deadline(&self.legs);
        let early = (!self.early.is_empty()).then(|| self.now + early::LOOK_PAUSE);
        let next = [timers, digits, self.checks.next_deadline(), early].into_iter().flatten().min();
        Some(next.map_or(IoNanos::MAX, |next| IoNanos(next.0)))
    }

    /// Adds what the io backend has counted since the last time to the page that the link thread reads: the page outlives
    /// a worker, its backend does not.
    fn publish(&mut self) {
        let (io, page) = (self.io.counters(), &self.counters);
        let before = std::mem::replace(&mut self.published, io);
        page.packets_received.add(io.packets_received - before.packets_received);
        page.bytes_received.add(io.bytes_received - before.bytes_received);
        page.packets_sent.add(io.packets_sent - before.packets_sent);
        page.bytes_sent.add(io.bytes_sent - before.bytes_sent);
        page.enters.add(io.enters - before.enters);
        page.receive_rearmed.add(io.receive_rearmed - before.receive_rearmed);
        page.drop_packets(DropReason::PortUnknown, io.port_unknown - before.port_unknown);
        page.drop_packets(DropReason::SendFailed, io.send_failed - before.send_failed);
        page.drop_packets(DropReason::SendExhausted, io.send_exhausted - before.send_exhausted);
        page.legs.set(self.legs.len() as u64);
    }
}
