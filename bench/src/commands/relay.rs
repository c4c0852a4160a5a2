//! `relay`: what a relay's packets cost, how long they take, how many it forwards; and the controls in the same run.
//!
//! ```text
//!   for the target, then each control:  calls up -> idle -> warm-up -> trial -> search -> curve -> calls down
//! ```

use crate::bare::Loop;
use crate::commands::load_args::LoadArgs;
use crate::host::affinity::SessionPriority;
use crate::measure::idle;
use crate::measure::rig::{Rig, Settings};
use crate::measure::search::{self, Goal};
use crate::report::document::{Document, Subject};
use crate::report::progress::Progress;
use crate::target::{Options, Target};
use clap::Args;

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
    /// Leave the two bare loops out.
    #[arg(long)]
    pub no_controls: bool,
}

pub fn run(args: &RelayArgs, progress: &Progress) -> anyhow::Result<Document> {
    let plan = args.load.plan()?;
    let settings = args.load.settings()?;
    let _priority = SessionPriority::raise(settings.nice);
    let mut document = Document::new("relay", args.load.describe(&plan));
    let options = Options {
        core: settings.relay_core,
        nice: settings.nice,
        ports: args.load.ports(0, 1)?,
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
    let mut plan = args.load.plan()?;
    if target.is_bare() {
        // A control passes on what it gets: sealing would change its packets, not its work.
        plan.security = Default::default();
        plan.payload_bytes += added_bytes(args)?;
    }
    let is_control = target.is_bare();
    let rate = args.load.rate(&plan);
    let mut rig = Rig::new(target, plan, settings.clone(), progress)?;
    let mut subject =
        Subject { name: rig.target.name.clone(), is_control, memory: rig.memory_of_calls, ..Subject::default() };
    subject.idle_share = idle::share_of_core(&rig, IDLE_SECONDS);
    rig.warm_up(rate, args.load.warmup, progress)?;
    subject.trials.push(rig.trial(rate, args.load.duration, progress)?);
    if let Some(goal) = args.search {
        subject.found = Some(search::run(&mut rig, goal, args.search_step, progress)?);
    }
    rig.target.release_calls()?;
    Ok(subject)
}

/// Tags of the suites, as far as both directions have them: a control carries packets as long as those of the wire.
fn added_bytes(args: &RelayArgs) -> anyhow::Result<usize> {
    let legs = args.load.plan()?.security.legs;
    Ok(legs.into_iter().flatten().map(|suite| suite.rtp_tag_bytes()).max().unwrap_or(0))
}
