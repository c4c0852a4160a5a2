//! `crosspoint-bench`: load for relays that speak ng, ours and others, side by side in one run.
//!
//! ```text
//!   setup   how fast calls are set up and torn down over ng
//!   hold    what a held call costs in memory
//! ```
//!
//! Quote ratios of one run: rounds alternate between the targets, so that a noisy machine is noisy for all.

mod hold;
mod ng;
mod proc;
mod setup;
mod target;

use clap::{Parser, Subcommand};

/// Measures media relays that speak the ng protocol.
#[derive(Parser, Debug)]
#[command(name = "crosspoint-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Offer, answer and delete, as fast as the target answers; each client waits for its reply.
    Setup(setup::SetupArgs),
    /// Calls held open: memory of the relay's processes for each.
    Hold(hold::HoldArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Hold(args) => hold::run(&args),
    }
}
