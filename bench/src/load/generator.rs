//! The loop that sends each packet when it is due and reads what came back.
//!
//! Open loop: what is due is sent, whatever came back. A packet that leaves late (the generator was busy, or its core was
//! taken away) still counts from the time it was meant to leave, so a stalled relay cannot hide behind the packets that
//! were not sent meanwhile (coordinated omission). How late packets left is reported too: it bounds what the
//! latencies can be believed to.
//!
//! Input: [`Packets`] and a [`Schedule`]. Output: an [`Outcome`]. Runs on the calling thread, which never sleeps: nobody pays
//! for waking it, and arrivals are read soon. Owns nothing beyond the run.

use crate::interrupt;
use crate::load::packets::Packets;
use crate::load::plan::Impair;
use crate::load::schedule::Schedule;
use crate::load::socket::LoadSocket;
use crate::load::tally::{Tally, Totals};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Every n-th arrival is opened and compared with what was sent.
const SAMPLE_EVERY: u64 = 256;

/// Latencies above are counted as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Between preparing and the first packet.
const LEAD_NS: u64 = 2_000_000;

/// Packets sent before arrivals are looked at again, when behind.
const SENDS_PER_TURN_MAX: usize = 64;

pub struct Run<'a> {
    pub schedule: &'a Schedule,
    pub rounds: u64,
    /// How long arrivals are awaited after the last packet.
    pub drain: Duration,
    pub impair: Impair,
    pub seed: u64,
    /// Packets sent so far, for who watches.
    pub progress: &'a AtomicU64,
    /// Busy-wait added per packet: for tests of what a saturated generator looks like.
    pub throttle_ns: u64,
}

pub struct Outcome {
    pub sent: u64,
    pub totals: Totals,
    pub latency_ns: Histogram<u64>,
    /// Actual minus intended time of departure.
    pub lateness_ns: Histogram<u64>,
    /// From the first intended departure to the last actual one.
    pub elapsed_ns: u64,
    /// Share of that time in which the generator had something to do.
    pub generator_busy: f64,
    pub refused_by_kernel: u64,
    pub sampled: u64,
    pub broken: u64,
    /// Arrivals that are no packet of ours.
    pub foreign: u64,
    /// Arrivals that this socket had no room for.
    pub overflowed: u64,
    /// The wall clock was set during the run by so much: latencies are wrong by it.
    pub clock_stepped_ns: u64,
    pub interrupted: bool,
}

/// Sends `rounds` rounds and awaits what comes back. `packets` must be prepared for them.
pub fn run(socket: &mut LoadSocket, packets: &mut Packets, run: &Run) -> Outcome {
    let firsts = packets.firsts();
    let overflowed = socket.overflowed();
    let mut turn = Turn {
        tally: Tally::new(&firsts),
        firsts,
        sent_by_flow: vec![0; packets.flows()],
        held: vec![None; if run.impair.reorder > 0.0 { packets.flows() } else { 0 }],
        start_ns: now_ns() + LEAD_NS,
        run,
        arrivals: 0,
        slot: 0,
        outcome: Outcome::empty(),
    };
    let clocks = clock_offset_ns();
    turn.discard_earlier(socket);
    turn.send_all(socket, packets);
    let mut outcome = turn.finish();
    outcome.overflowed = socket.overflowed().saturating_sub(overflowed);
    outcome.clock_stepped_ns = clock_offset_ns().abs_diff(clocks);
    packets.used(run.rounds);
    outcome
}

impl Outcome {
    fn empty() -> Outcome {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("bounds are in order");
        Outcome {
            sent: 0,
            totals: Totals::default(),
            latency_ns: histogram(),
            lateness_ns: histogram(),
            elapsed_ns: 0,
            generator_busy: 0.0,
            refused_by_kernel: 0,
            sampled: 0,
            broken: 0,
            foreign: 0,
            overflowed: 0,
            clock_stepped_ns: 0,
            interrupted: false,
        }
    }

    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.totals.received)
    }

    pub fn loss_ratio(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.lost() as f64 / self.sent as f64 }
    }

    pub fn rate(&self) -> f64 {
        self.sent as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }
}

struct Turn<'a> {
    run: &'a Run<'a>,
    tally: Tally,
    firsts: Vec<u64>,
    sent_by_flow: Vec<u64>,
    /// A packet of the flow that was held back to leave after its successor: its round and place.
    held: Vec<Option<(u64, usize)>>,
    start_ns: u64,
    arrivals: u64,
    /// Memory of the next queued packet.
    slot: usize,
    outcome: Outcome,
}

impl Turn<'_> {
    fn discard_earlier(&self, socket: &mut LoadSocket) {
        while socket.receive() > 0 {}
    }

    fn send_all(&mut self, socket: &mut LoadSocket, packets: &mut Packets) {
        let (mut round, mut place, mut busy_ns) = (0, 0, 0);
        let mut now = now_ns();
        while round < self.run.rounds && !self.outcome.interrupted {
            let mut queued = 0;
            while queued < SENDS_PER_TURN_MAX && round < self.run.rounds {
                let flow = self.run.schedule.order()[place] as usize;
                let intended = self.start_ns + self.run.schedule.intended_ns(flow, round);
                if intended > now {
                    break;
                }
                let _ = self.outcome.lateness_ns.record((now - intended).max(1));
                self.depart(socket, packets, round, place, flow);
                queued += 1;
                place += 1;
                if place == self.run.schedule.order().len() {
                    (round, place) = (round + 1, 0);
                    self.outcome.interrupted = interrupt::is_requested();
                }
            }
            self.flush(socket);
            let received = self.hear(socket, packets);
            let then = now_ns();
            if queued + received > 0 {
                busy_ns += then.saturating_sub(now.max(self.start_ns));
                self.run.progress.fetch_add(queued as u64, Ordering::Relaxed);
            }
            now = then;
        }
        self.outcome.elapsed_ns = now.saturating_sub(self.start_ns).max(1);
        self.outcome.generator_busy = busy_ns as f64 / self.outcome.elapsed_ns as f64;
        self.drain(socket, packets, now + self.run.drain.as_nanos() as u64);
    }

    /// Until the time has come, or everything has come back.
    fn drain(&mut self, socket: &mut LoadSocket, packets: &mut Packets, until_ns: u64) {
        while now_ns() < until_ns && self.arrivals < self.outcome.sent {
            self.hear(socket, packets);
        }
    }

    /// Queues the packet, or does to it what the impairment says.
    fn depart(&mut self, socket: &mut LoadSocket, packets: &mut Packets, round: u64, place: usize, flow: usize) {
        if self.run.impair.is_none() {
            return self.queue(socket, packets, round, place, flow);
        }
        match self.fate(flow, self.firsts[flow] + round) {
            Fate::Lost => {}
            Fate::Held => {
                if let Some((round, place)) = self.held[flow].replace((round, place)) {
                    self.queue(socket, packets, round, place, flow);
                }
                return;
            }
            Fate::Doubled => {
                self.queue(socket, packets, round, place, flow);
                self.queue(socket, packets, round, place, flow);
                // Counted once: the second is no packet of its own.
                self.sent_by_flow[flow] -= 1;
                self.outcome.sent -= 1;
            }
            Fate::Sent => self.queue(socket, packets, round, place, flow),
        }
        if let Some((round, place)) = self.held.get_mut(flow).and_then(Option::take) {
            self.queue(socket, packets, round, place, flow);
        }
    }

    fn queue(&mut self, socket: &mut LoadSocket, packets: &mut Packets, round: u64, place: usize, flow: usize) {
        if socket.is_full() {
            self.flush(socket);
        }
        let route: *const _ = &packets.routes()[flow];
        let packet = packets.packet(round, place, flow, self.slot);
        // SAFETY: routes never change. The packet lies in prepared memory that never changes, or in the slot of this place in
        // the batch, which the next batch writes again: after the flush that empties the socket's queue.
        unsafe { socket.queue(packet, &*route) };
        self.slot += 1;
        self.sent_by_flow[flow] += 1;
        self.outcome.sent += 1;
        if self.run.throttle_ns > 0 {
            let until = now_ns() + self.run.throttle_ns;
            while now_ns() < until {}
        }
    }

    fn flush(&mut self, socket: &mut LoadSocket) {
        self.outcome.refused_by_kernel += socket.flush();
        self.slot = 0;
    }

    fn hear(&mut self, socket: &mut LoadSocket, packets: &mut Packets) -> usize {
        let received = socket.receive();
        for arrival in socket.arrivals() {
            let Some((flow, sequence_number)) = packets.flow_of(arrival.bytes) else {
                self.outcome.foreign += 1;
                continue;
            };
            let Some(number) = self.tally.note(flow, sequence_number) else { continue };
            self.arrivals += 1;
            let intended = self.start_ns + self.run.schedule.intended_ns(flow, number - self.firsts[flow]);
            let at = arrival.at_ns.unwrap_or_else(now_ns);
            if self.run.impair.is_none() || self.fate(flow, number) != Fate::Held {
                let _ = self.outcome.latency_ns.record(at.saturating_sub(intended).clamp(1, LATENCY_NS_MAX));
            }
            if self.arrivals % SAMPLE_EVERY == 1 {
                self.outcome.sampled += 1;
                self.outcome.broken += u64::from(!packets.is_intact(flow, number, arrival.bytes));
            }
        }
        received
    }

    /// What becomes of a packet: the same at each asking.
    fn fate(&self, flow: usize, number: u64) -> Fate {
        let draw = mix(self.run.seed ^ mix((flow as u64) << 32 ^ number)) as f64 / u64::MAX as f64;
        let Impair { loss, reorder, duplicate } = self.run.impair;
        match draw {
            draw if draw < loss => Fate::Lost,
            draw if draw < loss + reorder => Fate::Held,
            draw if draw < loss + reorder + duplicate => Fate::Doubled,
            _ => Fate::Sent,
        }
    }

    fn finish(mut self) -> Outcome {
        self.outcome.totals = self.tally.totals(&self.sent_by_flow);
        self.outcome
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sent,
    Lost,
    Held,
    Doubled,
}

/// SplitMix64's finaliser: neighbouring inputs have unrelated outputs.
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The kernel stamps arrivals by the wall clock, so departures are told by it too.
fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Changes only when somebody sets the wall clock.
fn clock_offset_ns() -> u64 {
    let (wall, steady) = (clock_ns(libc::CLOCK_REALTIME), clock_ns(libc::CLOCK_MONOTONIC));
    wall - steady
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to, and both clocks exist.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
