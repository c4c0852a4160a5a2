//! How busy the machine is, once a second: for the limits that refuse new calls first, and for the rates that are told.
//!
//! Input: `/proc/stat` and `/proc/loadavg`, and the dataplane's counters. Output: [`NgArrival::LoadMeasured`].

use super::relay::NgArrival;
use crate::shell::dataplane_link::LinkRequest;
use crosspoint_contract::WorkerCounters;
use crosspoint_ng::effect::{Load, Traffic};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the relay has ended.
pub async fn measure(arrivals: mpsc::Sender<NgArrival>, link: mpsc::Sender<LinkRequest>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut before, mut counted_before, mut relayed) = (Times::read(), None, Traffic::default());
    loop {
        ticks.tick().await;
        let now = Times::read();
        let counted = traffic(&link).await;
        let second = counted.zip(counted_before).map_or(Traffic::default(), |(now, before)| since(now, before));
        relayed = sum(relayed, second);
        let load = Load {
            cpu_percent: now.busy_percent_since(&before),
            load: load_average(),
            bytes_per_second: second.bytes,
            packets_per_second: second.packets,
            errors_per_second: second.errors,
            relayed,
        };
        (before, counted_before) = (now, counted.or(counted_before));
        if arrivals.send(NgArrival::LoadMeasured(load)).await.is_err() {
            return;
        }
    }
}

/// Jiffies of all processors since boot (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    busy: u64,
    all: u64,
}

impl Times {
    fn read() -> Times {
        Times::parse(&std::fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
    }

    fn parse(stat: &str) -> Option<Times> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let times: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guest times are in user's already.
        let all = times.iter().take(8).sum();
        let idle = times.get(3)? + times.get(4)?;
        Some(Times { busy: all - idle, all })
    }

    fn busy_percent_since(&self, before: &Times) -> f32 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { self.busy.saturating_sub(before.busy) as f32 * 100.0 / all as f32 }
    }
}

fn load_average() -> f32 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0.0)
}

/// Totals of all workers since they started.
async fn traffic(link: &mpsc::Sender<LinkRequest>) -> Option<Traffic> {
    let (reply, answered) = oneshot::channel();
    link.try_send(LinkRequest::ReadCounters(reply)).ok()?;
    let (workers, _) = tokio::time::timeout(INTERVAL, answered).await.ok()?.ok()?;
    let of = |worker: &WorkerCounters| Traffic {
        packets: worker.packets_received,
        bytes: worker.bytes_received,
        errors: worker.packets_dropped.iter().sum(),
    };
    Some(workers.iter().map(of).fold(Traffic::default(), sum))
}

fn sum(a: Traffic, b: Traffic) -> Traffic {
    Traffic { packets: a.packets + b.packets, bytes: a.bytes + b.bytes, errors: a.errors + b.errors }
}

/// Nothing, when another dataplane began from zero meanwhile.
fn since(now: Traffic, before: Traffic) -> Traffic {
    let grown = |now: u64, before: u64| now.saturating_sub(before);
    Traffic {
        packets: grown(now.packets, before.packets),
        bytes: grown(now.bytes, before.bytes),
        errors: grown(now.errors, before.errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_busy_time_is_that_between_two_readings() {
        let before = Times::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 …").expect("parsed");
        let now = Times::parse("cpu  150 0 125 815 10 0 0 0 50 0\n").expect("parsed");
        assert_eq!((before, now), (Times { busy: 200, all: 1000 }, Times { busy: 275, all: 1100 }));
        assert_eq!(now.busy_percent_since(&before), 75.0);
        assert_eq!(before.busy_percent_since(&before), 0.0);
        assert_eq!(Times::parse(""), None);
    }
}
