//! Memory of held calls: resident memory of the relay's processes and the kernel's UDP memory, before and after.

use crate::host::process;
use crate::target::ng::{ANSWERED, Client, OFFERED};
use crate::target::{Options, Target};
use anyhow::Context;
use clap::Args;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct HoldArgs {
    /// What to measure, one after another: crosspoint, rtpengine, or a path to either.
    #[arg(long, default_values = ["crosspoint", "rtpengine"], num_args = 1..)]
    target: Vec<String>,
    /// Calls to hold, each with two plain legs.
    #[arg(long, default_value_t = 4000)]
    calls: usize,
}

pub fn run(args: &HoldArgs) -> anyhow::Result<()> {
    println!("{} calls held, two plain legs each", args.calls);
    for name in &args.target {
        let target = Target::open(
            name,
            None,
            &Options { core: None, nice: 0, ports: (10_000, 32_767), arguments: Vec::new(), allow_remote: false },
        )?;
        let ids = target.process_ids();
        let mut client = Client::connect(target.ng_addr()?, Duration::from_secs(5))?;
        // What a first call makes once and for all is not a call's cost.
        set_up(&mut client, usize::MAX)?;
        let before = process::memory(&ids).resident_bytes + process::socket_memory_bytes().unwrap_or(0);
        let descriptors_before = process::descriptors(&ids);
        for number in 0..args.calls {
            set_up(&mut client, number).with_context(|| format!("{name}, call {number}"))?;
        }
        let after = process::memory(&ids).resident_bytes + process::socket_memory_bytes().unwrap_or(0);
        let descriptors = process::descriptors(&ids) - descriptors_before;
        println!(
            "{name:<12} {:>6.1} KiB a call, {:>4.1} descriptors a call",
            (after.saturating_sub(before)) as f64 / 1024.0 / args.calls as f64,
            descriptors as f64 / args.calls as f64,
        );
    }
    Ok(())
}

fn set_up(client: &mut Client, number: usize) -> anyhow::Result<()> {
    let id = format!("held-{number}");
    client.offer(&id, OFFERED, None)?;
    client.answer(&id, ANSWERED).map(drop)
}
