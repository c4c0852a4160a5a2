//! `crosspoint-load`: many WebRTC calls at once against a running dev-mode server, for trying things out by hand.
//!
//! Input: the server's URL. Output: how many calls failed, set-up times, packets heard and lost.

use clap::Parser;
use crosspoint_tests::load::{Plan, run};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "crosspoint-load", about = "Many WebRTC calls at once against a crosspoint in dev mode")]
struct Arguments {
    /// Where the server takes signaling.
    #[arg(long, default_value = "ws://127.0.0.1:8088/signal")]
    url: String,
    #[arg(long, default_value_t = 200)]
    calls: usize,
    /// Calls placed per second.
    #[arg(long, default_value_t = 50)]
    per_second: u32,
    /// Seconds that all calls talk at the same time.
    #[arg(long, default_value_t = 10)]
    talk_seconds: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        calls: arguments.calls,
        per_second: arguments.per_second,
        talk: Duration::from_secs(arguments.talk_seconds),
    };
    let report = run(&arguments.url, &plan, |moment| println!("{moment:?}")).await;
    println!("{} of {} calls failed", report.failures.len(), plan.calls);
    for failure in &report.failures {
        println!("  {failure}");
    }
    println!("set up in {:?} (median), {:?} (p99)", report.set_up_at(50), report.set_up_at(99));
    println!("{} packets heard, {} lost", report.packets(), report.lost());
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
