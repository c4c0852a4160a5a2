//! `crosspoint-bench`: load for relays that speak ng, ours and others, side by side in one run.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use crosspoint_bench::bare::{self, BareArgs};
use crosspoint_bench::commands::{compare, crypto, hold, relay, setup, soak};
use crosspoint_bench::interrupt::{self, Interrupted};
use crosspoint_bench::report::output::{self, OutputArgs};
use crosspoint_bench::report::progress::Progress;
use std::process::ExitCode;

/// Measures media relays that speak the ng protocol.
#[derive(Parser, Debug)]
#[command(name = "crosspoint-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// What a relay's packets cost, how long they take and how many it forwards, beside bare loops.
    Relay(Box<relay::RelayArgs>),
    /// Targets in turn, and their ratios pair by pair.
    Compare(Box<compare::CompareArgs>),
    /// SRTP by suite, alone and in batches, beside webrtc-srtp and libsrtp2.
    Crypto(crypto::CryptoArgs),
    /// Media for a long time while other calls come and go.
    Soak(Box<soak::SoakArgs>),
    /// Calls set up a second, over ng or as WebRTC clients place them.
    Setup(setup::SetupArgs),
    /// What a held call costs in memory and descriptors.
    Hold(hold::HoldArgs),
    /// A control, as this program starts it.
    #[command(hide = true)]
    Bare(BareArgs),
}

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
    let progress = Progress::new(cli.output.quiet);
    let document = match &cli.command {
        Command::Relay(args) => relay::run(args, &progress).context("relay")?,
        Command::Compare(args) => compare::run(args, &progress).context("compare")?,
        Command::Crypto(args) => crypto::run(args, &progress).context("crypto")?,
        Command::Soak(args) => soak::run(args, &progress).context("soak")?,
        Command::Setup(args) => setup::run(args, &progress).context("setup")?,
        Command::Hold(args) => hold::run(args, &progress).context("hold")?,
        Command::Bare(_) => unreachable!("it does not come here"),
    };
    output::deliver(&document, &cli.output)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        eprintln!("interrupted; what was started has ended");
        return ExitCode::from(INTERRUPTED);
    }
    eprintln!("crosspoint-bench: {error:#}");
    ExitCode::FAILURE
}
