//! Two hundred calls at once.
//!
//! ```text
//!  400 clients, each with a WebSocket and a UDP socket of its own ── crosspoint, one worker
//! ```

use crosspoint_tests::load::{Moment, Plan, run};
use crosspoint_tests::{Server, process};
use std::time::Duration;

const CALLS: usize = 200;

#[derive(Default)]
struct Reading {
    cpu_ns: u64,
    packets: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_at_once_all_come_up_and_carry_audio_both_ways() {
    let server = Server::start();
    let (control, dataplane) = (server.control_pid(), server.dataplane_pid());
    let idle = [process::memory(control), process::memory(dataplane)];
    let mut loaded = idle;
    let mut readings = Vec::new();
    let plan = Plan { calls: CALLS, per_second: 50, talk: Duration::from_secs(10) };
    let report = run(&server.signal_url(), &plan, |moment| {
        if moment == Moment::AllUp {
            loaded = [process::memory(control), process::memory(dataplane)];
        }
        let metrics = server.metrics();
        let packets = metrics.sum("crosspoint_worker_packets_sent_total", "");
        readings.push(Reading { cpu_ns: process::cpu_ns(dataplane), packets });
    })
    .await;

    let per_call = |before: u64, after: u64| after.saturating_sub(before) as f64 / CALLS as f64;
    for (name, (idle, loaded)) in ["control", "dataplane"].into_iter().zip(idle.into_iter().zip(loaded)) {
        let resident = per_call(idle.resident_kib, loaded.resident_kib);
        let proportional = per_call(idle.proportional_kib, loaded.proportional_kib);
        println!(
            "figure: memory per call, {name}: {resident:.1} KiB resident, {proportional:.1} KiB proportional \
             ({} KiB resident in all, {} KiB idle)",
            loaded.resident_kib, idle.resident_kib
        );
    }
    let packets = readings[1].packets - readings[0].packets;
    let cpu_ns = (readings[1].cpu_ns - readings[0].cpu_ns) as f64;
    println!("figure: dataplane CPU per forwarded packet: {:.2} us over {packets} packets", cpu_ns / packets / 1000.0);
    println!("figure: call set-up {:?} median, {:?} p99", report.set_up_at(50), report.set_up_at(99));
    println!("figure: {} voice packets heard, {} lost", report.packets(), report.lost());

    assert!(report.failures.is_empty(), "{} calls failed: {:#?}", report.failures.len(), report.failures);
    assert_eq!(report.sides.len(), 2 * CALLS);
    let deaf = report.sides.iter().filter(|heard| heard.packets < 100).count();
    assert_eq!(deaf, 0, "sides that heard almost nothing");
    assert_eq!(server.await_calls(CALLS).len(), CALLS, "one record for each call");
}
