//! `soak`: media for a long time while other calls come and go, and whether memory, descriptors and loss stay where they were.
//!
//! ```text
//!   held calls   ── the plan's rate, one trial after another ──────────────>   loss, latency, CPU each
//!   churn        ── offer, answer, delete, at its own rate ────────────────>   refusals
//!   every trial  ── memory and descriptors of the relay ───────────────────>   growth from the second trial to the last
//! ```

use crate::commands::load_args::LoadArgs;
use crate::commands::relay::wire_subject;
use crate::host::affinity::SessionPriority;
use crate::host::process;
use crate::interrupt;
use crate::measure::rig::Rig;
use crate::report::document::{Document, Measure, Subject};
use crate::report::progress::Progress;
use crate::target::ng::{ANSWERED, Client, OFFERED};
use crate::target::{Options, Target};
use clap::Args;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of a request of the churn.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call of the churn needs ports beside those that are held; this many may be open or resting.
const CHURN_CALLS_MAX: usize = 500;

#[derive(Args, Debug)]
pub struct SoakArgs {
    /// What is measured: self, rtpengine, a path to either, or ng:udp:ADDRESS:PORT.
    #[arg(long, default_value = "self")]
    pub target: String,
    /// Start this behind an ng:udp: target.
    #[arg(long, value_name = "PROGRAM")]
    pub spawn: Option<String>,
    /// How long.
    #[arg(long, default_value_t = 20.0)]
    pub minutes: f64,
    /// Calls set up and torn down a second, beside those that carry media.
    #[arg(long, default_value_t = 20.0)]
    pub churn: f64,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// What the other calls met.
#[derive(Default)]
struct Churn {
    stop: AtomicBool,
    done: AtomicU64,
    refused: AtomicU64,
}

/// What the relay occupied after a trial.
#[derive(Clone, Copy)]
struct Sample {
    resident_bytes: f64,
    descriptors: f64,
}

pub fn run(args: &SoakArgs, progress: &Progress) -> anyhow::Result<Document> {
    let plan = args.load.plan()?;
    let settings = args.load.settings()?;
    let _priority = SessionPriority::raise(settings.nice);
    let options = Options {
        core: settings.relay_core,
        nice: settings.nice,
        ports: args.load.ports_for(plan.calls + CHURN_CALLS_MAX, 0, 1)?,
        arguments: args.load.relay_arg.clone(),
        allow_remote: false,
    };
    let rate = args.load.rate(&plan);
    let load =
        format!("{}; for {} minutes, {} other calls a second", args.load.describe(&plan), args.minutes, args.churn);
    let mut document = Document::new("soak", load);
    let target = Target::open(&args.target, args.spawn.as_deref(), &options)?;
    let addr = target.ng_addr()?;
    let mut rig = Rig::new(target, plan, settings, progress)?;
    let mut subject = wire_subject(&rig);
    rig.warm_up(rate, args.load.warmup, progress)?;
    let churn = Churn::default();
    let samples = std::thread::scope(|scope| {
        scope.spawn(|| churn.run(addr, args.churn));
        let samples = trials(args, &mut rig, rate, &mut subject, progress);
        churn.stop.store(true, Ordering::Relaxed);
        samples
    })?;
    summarise(&mut subject, &samples, &churn);
    rig.into_target()?;
    document.subjects.push(subject);
    Ok(document)
}

/// Trials until the time is over, at least two. Ctrl-C ends them early; what was measured counts.
fn trials(
    args: &SoakArgs,
    rig: &mut Rig,
    rate: f64,
    subject: &mut Subject,
    progress: &Progress,
) -> anyhow::Result<Vec<Sample>> {
    let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut samples = Vec::new();
    while samples.len() < 2 || Instant::now() < end {
        match rig.trial(rate, args.load.duration, progress) {
            Ok(trial) => subject.trials.push(trial),
            Err(error) if error.is::<interrupt::Interrupted>() && samples.len() >= 2 => break,
            Err(error) => return Err(error),
        }
        let ids = rig.target.process_ids();
        let resident_bytes = process::memory(&ids).resident_bytes as f64;
        samples.push(Sample { resident_bytes, descriptors: process::descriptors(&ids) as f64 });
    }
    Ok(samples)
}

fn summarise(subject: &mut Subject, samples: &[Sample], churn: &Churn) {
    let mut put = |name: &str, value: f64, unit: &str| {
        subject.measures.insert(name.into(), Measure { value, unit: unit.into() });
    };
    // What the first trial still grew into is warm-up.
    if let [_, first, .., last] | [first, last] = samples {
        put("memory_growth", (last.resident_bytes - first.resident_bytes) / 1024.0, "KiB");
        put("descriptor_growth", last.descriptors - first.descriptors, "descriptors");
    }
    put("churned_calls", churn.done.load(Ordering::Relaxed) as f64, "calls");
    put("churn_refused", churn.refused.load(Ordering::Relaxed) as f64, "calls");
    let lost: u64 = subject.trials.iter().map(|trial| trial.lost).sum();
    put("lost_in_all", lost as f64, "packets");
}

impl Churn {
    fn run(&self, addr: SocketAddr, per_second: f64) {
        let Ok(mut client) = Client::connect(addr, PATIENCE) else { return };
        let begun = Instant::now();
        for number in 0_u64.. {
            let due = begun + Duration::from_secs_f64(number as f64 / per_second.max(0.001));
            while Instant::now() < due {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep((due - Instant::now()).min(Duration::from_millis(20)));
            }
            let id = format!("soak-{}-{number}", std::process::id());
            let came_and_went = client.offer(&id, OFFERED, &[]).is_ok()
                && client.answer(&id, ANSWERED).is_ok()
                && client.delete(&id).is_ok();
            let counter = if came_and_went { &self.done } else { &self.refused };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}
