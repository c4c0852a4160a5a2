//! A target with its calls up, and the generator that loads it: everything that trials need, set up once.
//!
//! Input: a target and a plan. Output: trials at any rate. Owns the generator's socket, the calls and their packets.

use crate::host::affinity;
use crate::host::process::{self, Memory};
use crate::interrupt;
use crate::load::generator::{self, Outcome, Run};
use crate::load::packets::Packets;
use crate::load::plan::Plan;
use crate::load::schedule::Schedule;
use crate::load::socket::LoadSocket;
use crate::measure::trial::{Reading, Trial};
use crate::measure::validity::{self, Bounds};
use crate::report::progress::Progress;
use crate::target::Target;
use anyhow::bail;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long arrivals are awaited after the last packet.
const DRAIN: Duration = Duration::from_millis(200);

/// Between looks at a generator that runs.
const LOOK: Duration = Duration::from_millis(100);

/// Where things run and how they are judged.
#[derive(Clone, Debug)]
pub struct Settings {
    pub relay_core: Option<usize>,
    pub load_core: Option<usize>,
    pub nice: i32,
    pub prepare_bytes_max: u64,
    pub bounds: Bounds,
    pub throttle_ns: u64,
}

pub struct Rig {
    pub target: Target,
    pub plan: Plan,
    settings: Settings,
    socket: LoadSocket,
    packets: Packets,
    /// Memory that the calls of the plan took: the processes', and the kernel's for sockets where that is visible.
    pub memory_of_calls: Option<CallMemory>,
}

/// Bytes for each call.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallMemory {
    pub resident_bytes: f64,
    pub proportional_bytes: f64,
    /// For sockets; absent without the right to read `/proc/slabinfo`.
    pub kernel_bytes: Option<f64>,
    pub descriptors: f64,
}

impl Rig {
    /// Sets up the calls.
    pub fn new(mut target: Target, plan: Plan, settings: Settings, progress: &Progress) -> anyhow::Result<Rig> {
        let socket = LoadSocket::open()?;
        // What a first call makes once and for all is not a call's cost.
        target.hold_calls(&Plan { calls: 1, ..plan.clone() }, socket.port(), || Ok(()))?;
        target.release_calls()?;
        let before = Footprint::of(&target);
        let bar = progress.bar(plan.calls as u64, &format!("{}: calls", target.name));
        let legs = target.hold_calls(&plan, socket.port(), || {
            bar.inc(1);
            Ok(interrupt::check()?)
        })?;
        bar.finish_and_clear();
        let memory_of_calls = before.until(&Footprint::of(&target), plan.calls);
        let packets = Packets::new(&plan, &legs, settings.prepare_bytes_max);
        Ok(Rig { target, plan, settings, socket, packets, memory_of_calls })
    }

    /// Ends the calls and gives the target back.
    pub fn into_target(mut self) -> anyhow::Result<Target> {
        self.target.release_calls()?;
        Ok(self.target)
    }

    /// Loads the relay without looking at the result.
    pub fn warm_up(&mut self, rate: f64, seconds: f64, progress: &Progress) -> anyhow::Result<()> {
        if seconds > 0.0 {
            let outcome = self.load(rate, seconds, "warm-up", progress)?;
            self.refuse_silence(&outcome)?;
        }
        Ok(())
    }

    /// One trial: `rate` packets a second of all flows together.
    pub fn trial(&mut self, rate: f64, seconds: f64, progress: &Progress) -> anyhow::Result<Trial> {
        let core = self.settings.relay_core;
        let schedule = Schedule::new(self.plan.flows(), rate, self.plan.seed);
        let rounds = schedule.rounds(seconds);
        self.packets.prepare(&schedule, rounds)?;
        let before = Reading::before(&self.target, core);
        let outcome = self.run(&schedule, rounds, "measuring", progress)?;
        let after = Reading::after(&self.target, core);
        let mut trial = Trial::new(&self.target.name, self.plan.calls, self.plan.flows(), &outcome, &before, &after);
        trial.invalid = validity::reasons(&outcome, self.settings.bounds);
        if let Some(status) = self.target.ended() {
            trial.invalid.push(format!("the relay ended during the run: {status}"));
        }
        Ok(trial)
    }

    fn load(&mut self, rate: f64, seconds: f64, what: &str, progress: &Progress) -> anyhow::Result<Outcome> {
        let schedule = Schedule::new(self.plan.flows(), rate, self.plan.seed);
        let rounds = schedule.rounds(seconds);
        self.packets.prepare(&schedule, rounds)?;
        self.run(&schedule, rounds, what, progress)
    }

    /// On a thread of its own, pinned; this one shows how far it is.
    fn run(&mut self, schedule: &Schedule, rounds: u64, what: &str, progress: &Progress) -> anyhow::Result<Outcome> {
        let sent = AtomicU64::new(0);
        let bar = progress.bar(rounds * self.plan.flows() as u64, &format!("{}: {what}", self.target.name));
        let run = Run {
            schedule,
            rounds,
            drain: DRAIN,
            impair: self.plan.impair,
            seed: self.plan.seed,
            progress: &sent,
            throttle_ns: self.settings.throttle_ns,
        };
        let (socket, packets) = (&mut self.socket, &mut self.packets);
        let (core, nice) = (self.settings.load_core, self.settings.nice);
        let outcome = std::thread::scope(|scope| {
            let generator = scope.spawn(move || {
                core.map_or(Ok(()), affinity::pin)?;
                affinity::set_nice(nice)?;
                anyhow::Ok(generator::run(socket, packets, &run))
            });
            while !generator.is_finished() {
                bar.set_position(sent.load(Ordering::Relaxed));
                std::thread::sleep(LOOK);
            }
            generator.join().expect("the generator does not panic")
        })?;
        bar.finish_and_clear();
        if outcome.interrupted {
            return Err(interrupt::Interrupted.into());
        }
        Ok(outcome)
    }

    /// Nothing at all came back: whatever would be measured is not a relay at work.
    fn refuse_silence(&self, outcome: &Outcome) -> anyhow::Result<()> {
        if outcome.sent > 0 && outcome.totals.received == 0 {
            bail!(
                "{}: of {} packets none came back. Does it forward between 127.0.0.1 and 127.64.0.0/12, where the parties \
                 are? Its log may say why not",
                self.target.name,
                outcome.sent
            );
        }
        Ok(())
    }
}

/// What a relay occupies.
struct Footprint {
    memory: Memory,
    kernel_bytes: Option<u64>,
    descriptors: usize,
    is_visible: bool,
}

impl Footprint {
    fn of(target: &Target) -> Footprint {
        let ids = target.process_ids();
        Footprint {
            memory: process::memory(&ids),
            kernel_bytes: process::socket_memory_bytes(),
            descriptors: process::descriptors(&ids),
            is_visible: !ids.is_empty(),
        }
    }

    fn until(&self, after: &Footprint, calls: usize) -> Option<CallMemory> {
        let per_call = |before: u64, after: u64| after.saturating_sub(before) as f64 / calls as f64;
        (self.is_visible && after.is_visible).then(|| CallMemory {
            resident_bytes: per_call(self.memory.resident_bytes, after.memory.resident_bytes),
            proportional_bytes: per_call(self.memory.proportional_bytes, after.memory.proportional_bytes),
            kernel_bytes: self.kernel_bytes.zip(after.kernel_bytes).map(|(before, after)| per_call(before, after)),
            descriptors: per_call(self.descriptors as u64, after.descriptors as u64),
        })
    }
}
