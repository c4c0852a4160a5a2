//! `relay`: what a relay's packets cost, how long they take, how many it forwards; and the controls in the same run.
//!
//! ```text
//!   for the target, then each control:  calls up -> idle -> warm-up -> trial -> search -> curve -> calls down
//! ```

use crate::bare::Loop;
use crate::commands::load_args::LoadArgs;
use crate::host::affinity::SessionPriority;
use crate::load::plan::{Plan, Security};
use crate::measure::idle;
use crate::measure::rig::{Rig, Settings};
use crate::measure::search::{self, Goal};
use crate::report::document::{Document, Subject};
use crate::report::progress::Progress;
use crate::target::{Options, Target};
use clap::Args;
use std::str::FromStr;

/// Of silence, before the load.
const IDLE_SECONDS: f64 = 1.0;

/// Sockets that the control with a socket a party opens at most.
const CONTROL_PARTIES_MAX: usize = 18_000;

#[derive(Args, Debug)]
pub struct RelayArgs {
    /// What is measured: self, rtpengine, a path to either, ng:udp:ADDRESS:PORT, bare:uring or bare:mmsg.
    #[arg(long, default_value = "self")]
    pub target: String,
    /// Start this behind an ng:udp: target: rtpengine, crosspoint, a path, or a command with {ng}, {port-min}, {port-max}.
    #[arg(long, value_name = "PROGRAM")]
    pub spawn: Option<String>,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Search the highest rate with nothing lost (ndr) or at most 0.5 % lost (pdr).
    #[arg(long, value_enum)]
    pub search: Option<Goal>,
    /// Seconds of each step of the search.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub search_step: f64,
    /// Also measure at these numbers of flows, each held and loaded anew, at the rate of the run.
    #[arg(long, value_delimiter = ',', value_name = "FLOWS,…")]
    pub flows_curve: Vec<Count>,
    /// Leave the two bare loops out.
    #[arg(long)]
    pub no_controls: bool,
}

pub fn run(args: &RelayArgs, progress: &Progress) -> anyhow::Result<Document> {
    let plan = args.load.plan()?;
    let settings = args.load.settings()?;
    let _priority = SessionPriority::raise(settings.nice);
    let mut document = Document::new("relay", args.load.describe(&plan));
    let most_calls = args.flows_curve.iter().map(|flows| flows.0.div_ceil(if plan.one_way { 1 } else { 2 })).max();
    let most_calls = plan.calls.max(most_calls.unwrap_or(0));
    let options = Options {
        core: settings.relay_core,
        nice: settings.nice,
        ports: args.load.ports_for(most_calls, 0, 1)?,
        arguments: args.load.relay_arg.clone(),
        allow_remote: false,
    };
    let target = Target::open(&args.target, args.spawn.as_deref(), &options)?;
    document.subjects.push(measure(args, target, &settings, progress)?);
    let controls = if args.no_controls { &[][..] } else { &[Loop::Uring, Loop::Mmsg] };
    for control in controls.iter().filter(|control| control.to_string() != args.target) {
        if *control == Loop::Uring && 2 * plan.calls > CONTROL_PARTIES_MAX {
            continue;
        }
        let target = Target::open(&control.to_string(), None, &options)?;
        document.subjects.push(measure(args, target, &settings, progress)?);
    }
    Ok(document)
}

fn measure(args: &RelayArgs, target: Target, settings: &Settings, progress: &Progress) -> anyhow::Result<Subject> {
    let plan = plan_for(&args.load, &target)?;
    let rate = args.load.rate(&plan);
    let mut rig = Rig::new(target, plan, settings.clone(), progress)?;
    let mut subject = wire_subject(&rig);
    subject.idle_share = idle::share_of_core(&rig, IDLE_SECONDS);
    rig.warm_up(rate, args.load.warmup, progress)?;
    subject.trials.push(rig.trial(rate, args.load.duration, progress)?);
    if let Some(goal) = args.search {
        subject.found = Some(search::run(&mut rig, goal, args.search_step, progress)?);
    }
    let mut target = rig.into_target()?;
    for flows in &args.flows_curve {
        target = curve_point(args, target, flows.0, rate, settings, progress, &mut subject)?;
    }
    Ok(subject)
}

/// The same rate over another number of flows. Gives the target back without calls.
fn curve_point(
    args: &RelayArgs,
    target: Target,
    flows: usize,
    rate: f64,
    settings: &Settings,
    progress: &Progress,
    subject: &mut Subject,
) -> anyhow::Result<Target> {
    let mut plan = plan_for(&args.load, &target)?;
    plan.calls = if plan.one_way { flows } else { flows.div_ceil(2) };
    if target.name == Loop::Uring.to_string() && 2 * plan.calls > CONTROL_PARTIES_MAX {
        return Ok(target);
    }
    let mut rig = Rig::new(target, plan, settings.clone(), progress)?;
    rig.warm_up(rate, args.load.warmup, progress)?;
    subject.curve.push(rig.trial(rate, args.load.duration, progress)?);
    rig.into_target()
}

/// The plan as this target gets it. A control passes on what it gets: sealing would change its packets, not its work, so it
/// gets plain ones as long as the longest of the wire.
pub fn plan_for(load: &LoadArgs, target: &Target) -> anyhow::Result<Plan> {
    let mut plan = load.plan()?;
    if target.is_bare() {
        let tags = plan.security.legs.into_iter().flatten().map(|suite| suite.rtp_tag_bytes());
        plan.payload_bytes += tags.max().unwrap_or(0);
        plan.security = Security::default();
    }
    Ok(plan)
}

pub fn wire_subject(rig: &Rig) -> Subject {
    let memory = rig.memory_of_calls;
    Subject { name: rig.target.name.clone(), is_control: rig.target.is_bare(), memory, ..Subject::default() }
}

/// A number such as `500` or `10k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(usize);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, factor) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1000));
        let number = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(factor));
        number
            .filter(|number| *number > 0)
            .map(Count)
            .ok_or_else(|| format!("`{text}`: expected a number such as 500 or 10k"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_counted_in_thousands_too() {
        assert_eq!(("10k".parse(), "500".parse()), (Ok(Count(10_000)), Ok(Count(500))));
        assert!("0".parse::<Count>().is_err() && "k".parse::<Count>().is_err());
    }
}
