//! `hold`: what a held call costs in memory and descriptors, without media.
//!
//! Resident memory of the relay's processes and what the kernel keeps for sockets, before and after; one target after
//! another, so that none is measured beside another's sockets.

use crate::commands::load_args::PortRange;
use crate::host::process;
use crate::interrupt;
use crate::report::document::{Document, Measure, Subject};
use crate::report::progress::Progress;
use crate::target::ng::{ANSWERED, Client, OFFERED};
use crate::target::{Options, Target};
use anyhow::Context;
use clap::Args;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct HoldArgs {
    /// What to measure, one after another: self, rtpengine, or a path to either.
    #[arg(long, default_values = ["self", "rtpengine"], num_args = 1.., value_delimiter = ',')]
    target: Vec<String>,
    /// Calls to hold, each with two plain legs.
    #[arg(long, default_value_t = 4000)]
    calls: usize,
    /// Media ports that started relays may use: a call takes four.
    #[arg(long, default_value = "10000-32767", value_name = "FROM-TO")]
    ports: PortRange,
}

pub fn run(args: &HoldArgs, progress: &Progress) -> anyhow::Result<Document> {
    let mut document = Document::new("hold", format!("{} calls held, two plain legs each", args.calls));
    for name in &args.target {
        let options =
            Options { core: None, nice: 0, ports: args.ports.ends(), arguments: Vec::new(), allow_remote: false };
        let target = Target::open(name, None, &options)?;
        document.subjects.push(hold(args, &target, progress)?);
    }
    Ok(document)
}

fn hold(args: &HoldArgs, target: &Target, progress: &Progress) -> anyhow::Result<Subject> {
    let ids = target.process_ids();
    let mut client = Client::connect(target.ng_addr()?, Duration::from_secs(5))?;
    // What a first call makes once and for all is not a call's cost.
    set_up(&mut client, usize::MAX)?;
    let before = (process::memory(&ids).resident_bytes, process::socket_memory_bytes(), process::descriptors(&ids));
    let bar = progress.bar(args.calls as u64, &format!("{}: calls", target.name));
    for number in 0..args.calls {
        set_up(&mut client, number).with_context(|| format!("{}, call {number}", target.name))?;
        bar.inc(1);
        interrupt::check()?;
    }
    bar.finish_and_clear();
    let after = (process::memory(&ids).resident_bytes, process::socket_memory_bytes(), process::descriptors(&ids));
    let mut subject = Subject { name: target.name.clone(), ..Subject::default() };
    let mut put = |name: &str, grown: f64, unit: &str| {
        // Adding zero takes the sign off a zero.
        subject.measures.insert(name.into(), Measure { value: grown / args.calls as f64 + 0.0, unit: unit.into() });
    };
    put("resident_per_call", (after.0 as f64 - before.0 as f64) / 1024.0, "KiB");
    if let (Some(before), Some(after)) = (before.1, after.1) {
        put("kernel_sockets_per_call", (after as f64 - before as f64) / 1024.0, "KiB");
    }
    put("descriptors_per_call", after.2 as f64 - before.2 as f64, "descriptors");
    Ok(subject)
}

fn set_up(client: &mut Client, number: usize) -> anyhow::Result<()> {
    let id = format!("held-{number}");
    client.offer(&id, OFFERED, &[])?;
    client.answer(&id, ANSWERED).map(drop)
}
