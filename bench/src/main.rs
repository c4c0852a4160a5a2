//! `crosspoint-bench`: load for relays that speak ng, ours and others, side by side in one run.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use crosspoint_bench::bare::{self, BareArgs};
use crosspoint_bench::commands::{hold, relay, setup};
use crosspoint_bench::interrupt::{self, Interrupted};
use crosspoint_bench::report::progress::Progress;
use crosspoint_bench::report::text;
use std::process::ExitCode;

/// Measures media relays that speak the ng protocol.
#[derive(Parser, Debug)]
#[command(name = "crosspoint-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// No progress on the terminal.
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// What a relay's packets cost, how long they take and how many it forwards, beside bare loops.
    Relay(Box<relay::RelayArgs>),
    /// Offer, answer and delete, as fast as the target answers; each client waits for its reply.
    Setup(setup::SetupArgs),
    /// Calls held open: memory of the relay's processes for each.
    Hold(hold::HoldArgs),
    /// A control, as this program starts it.
    #[command(hide = true)]
    Bare(BareArgs),
}

/// Exit status of a run that says nothing about the relay.
const INVALID: u8 = 3;

/// As a shell reports SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Bare(args) = &cli.command {
        return bare::run(args).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS);
    }
    interrupt::install();
    run(&cli).unwrap_or_else(|error| fail(&error))
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(cli.quiet);
    let document = match &cli.command {
        Command::Relay(args) => relay::run(args, &progress).context("relay")?,
        Command::Setup(args) => return setup::run(args).map(|()| ExitCode::SUCCESS),
        Command::Hold(args) => return hold::run(args).map(|()| ExitCode::SUCCESS),
        Command::Bare(_) => unreachable!("it does not come here"),
    };
    print!("{}", text::of(&document));
    Ok(if document.is_valid() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

fn fail(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        eprintln!("interrupted; what was started has ended");
        return ExitCode::from(INTERRUPTED);
    }
    eprintln!("crosspoint-bench: {error:#}");
    ExitCode::FAILURE
}
