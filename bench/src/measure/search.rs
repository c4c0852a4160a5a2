//! How many packets a second a relay forwards without loss (NDR) or with a little (PDR).
//!
//! Bisection over the offered rate (RFC 2544 §26.1), each step a trial. A rate that fails is tried once more before it is
//! believed: on a shared machine a packet may be lost to somebody else's work. If the generator gives up first, its
//! rate is a lower bound and is marked as such.

use crate::measure::rig::Rig;
use crate::measure::trial::Trial;
use crate::report::progress::Progress;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The search ends when the two rates are this close.
const PRECISION: f64 = 0.02;

/// Where the search begins to double.
const RATE_FIRST: f64 = 50_000.0;

const RATE_MAX: f64 = 2_000_000.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// No drop rate: nothing lost.
    Ndr,
    /// Partial drop rate: at most 0.5 % lost.
    Pdr,
}

impl Goal {
    fn loss_ratio_max(self) -> f64 {
        match self {
            Goal::Ndr => 0.0,
            Goal::Pdr => 0.005,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    pub target: String,
    pub goal: Goal,
    pub packets_per_second: f64,
    /// The generator gave up before the relay did.
    pub at_least: bool,
    /// At that rate.
    pub trial: Option<Trial>,
    pub trials: usize,
}

enum Verdict {
    Forwarded(Box<Trial>),
    Lost,
    GeneratorGaveUp,
}

pub fn run(rig: &mut Rig, goal: Goal, seconds: f64, progress: &Progress) -> anyhow::Result<Found> {
    let mut found = Found {
        target: rig.target.name.clone(),
        goal,
        packets_per_second: 0.0,
        at_least: false,
        trial: None,
        trials: 0,
    };
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut rate = RATE_FIRST;
    while rate < RATE_MAX && high - low > PRECISION * low.max(1000.0) {
        match judge(rig, goal, rate, seconds, &mut found.trials, progress)? {
            Verdict::Forwarded(trial) => {
                low = rate;
                found.packets_per_second = trial.offered_per_second;
                found.trial = Some(*trial);
            }
            Verdict::Lost => (high, found.at_least) = (rate, false),
            Verdict::GeneratorGaveUp => (high, found.at_least) = (rate, true),
        }
        rate = if high.is_finite() { (low + high) / 2.0 } else { rate * 1.5 };
    }
    Ok(found)
}

fn judge(
    rig: &mut Rig,
    goal: Goal,
    rate: f64,
    seconds: f64,
    trials: &mut usize,
    progress: &Progress,
) -> anyhow::Result<Verdict> {
    let mut gave_up = false;
    for _ in 0..2 {
        *trials += 1;
        let trial = rig.trial(rate, seconds, progress)?;
        // A generator that lags has not offered the rate, whether or not anything was lost.
        gave_up = !trial.is_valid();
        if !gave_up && trial.loss_ratio <= goal.loss_ratio_max() {
            return Ok(Verdict::Forwarded(Box::new(trial)));
        }
    }
    Ok(if gave_up { Verdict::GeneratorGaveUp } else { Verdict::Lost })
}
