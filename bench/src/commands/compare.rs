//! `compare`: targets in turn, A B A B …, and the ratio of each pair of rounds.
//!
//! A noisy machine is noisy for all, and what drifts drifts for all: so the ratio of two neighbouring rounds says more than
//! that of two medians. The first round warms up and is not counted. All targets hold their calls all the time.

use crate::commands::load_args::LoadArgs;
use crate::commands::relay::{plan_for, wire_subject};
use crate::host::affinity::SessionPriority;
use crate::interrupt;
use crate::measure::rig::Rig;
use crate::measure::search::{self, Goal};
use crate::measure::trial::Trial;
use crate::report::document::{Document, Ratio, Subject, median};
use crate::report::progress::Progress;
use crate::target::{Options, Target};
use anyhow::bail;
use clap::Args;

#[derive(Args, Debug)]
pub struct CompareArgs {
    /// What is measured, in turn: self, rtpengine, bare:uring, bare:mmsg, a path, or ng:udp:ADDRESS:PORT; each
    /// may be given a name, as in old=/tmp/crosspoint.
    #[arg(long, default_values = ["self", "rtpengine", "bare:uring", "bare:mmsg"], num_args = 1.., value_delimiter = ',')]
    pub target: Vec<String>,
    /// Counted rounds of each.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Search the highest rate of each target after the rounds: with nothing lost (ndr), or at most 0.5 % (pdr).
    #[arg(long, value_enum)]
    pub search: Option<Goal>,
    /// Seconds of each step of the search.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub search_step: f64,
}

pub fn run(args: &CompareArgs, progress: &Progress) -> anyhow::Result<Document> {
    if args.target.len() < 2 || args.rounds == 0 {
        bail!("compare needs two targets or more, and a round");
    }
    let plan = args.load.plan()?;
    let settings = args.load.settings()?;
    let _priority = SessionPriority::raise(settings.nice);
    let load = format!("{}; {} rounds in turn", args.load.describe(&plan), args.rounds);
    let mut document = Document::new("compare", load);
    let mut rigs = Vec::new();
    for (place, name) in args.target.iter().enumerate() {
        let options = Options {
            core: settings.relay_core,
            nice: settings.nice,
            ports: args.load.ports(place, args.target.len())?,
            arguments: args.load.relay_arg.clone(),
            allow_remote: false,
        };
        let target = Target::open(name, None, &options)?;
        let plan = plan_for(&args.load, &target)?;
        let rig = Rig::new(target, plan, settings.clone(), progress)?;
        document.subjects.push(wire_subject(&rig));
        rigs.push(rig);
    }
    for round in 0..=args.rounds {
        for (rig, subject) in rigs.iter_mut().zip(&mut document.subjects) {
            let rate = args.load.rate(&rig.plan);
            if round == 0 {
                rig.warm_up(rate, args.load.warmup, progress)?;
            } else {
                subject.trials.push(rig.trial(rate, args.load.duration, progress)?);
            }
            interrupt::check()?;
        }
    }
    if let Some(goal) = args.search {
        for (rig, subject) in rigs.iter_mut().zip(&mut document.subjects) {
            subject.found = Some(search::run(rig, goal, args.search_step, progress)?);
        }
    }
    document.ratios = ratios(&document.subjects);
    Ok(document)
}

/// One figure of a trial.
type Of = fn(&Trial) -> Option<f64>;

/// Of the first subject's figures to each other's, round by round.
fn ratios(subjects: &[Subject]) -> Vec<Ratio> {
    let Some((first, others)) = subjects.split_first() else { return Vec::new() };
    let figures: [(&str, Of); 3] = [
        ("cpu_ns_per_packet", |trial| trial.cpu_ns_per_packet),
        ("latency_p99_us", |trial| Some(trial.latency_us.p99)),
        ("latency_p99_9_us", |trial| Some(trial.latency_us.p99_9)),
    ];
    let mut ratios = Vec::new();
    for (figure, of) in figures {
        for other in others {
            let pairs = first.trials.iter().zip(&other.trials).filter_map(|(a, b)| Some(of(b)? / of(a)?));
            let pairs: Vec<f64> = pairs.filter(|pair| pair.is_finite()).collect();
            if !pairs.is_empty() {
                let (of, to) = (other.name.clone(), first.name.clone());
                ratios.push(Ratio { figure: figure.into(), of, to, median: median(pairs.clone()), pairs });
            }
        }
    }
    ratios
}
