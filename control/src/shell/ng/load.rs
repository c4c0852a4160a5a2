//! How busy the machine is, once a second, for the limits that refuse new calls first.
//!
//! Input: `/proc/stat` and `/proc/loadavg`, and the dataplane's byte counters. Output: [`NgArrival::LoadMeasured`].

use super::relay::NgArrival;
use crate::shell::dataplane_link::LinkRequest;
use crosspoint_ng::effect::Load;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the relay has ended. `bytes` asks the dataplane too, which costs it a moment: only where there is a limit.
pub async fn measure(arrivals: mpsc::Sender<NgArrival>, link: mpsc::Sender<LinkRequest>, bytes: bool) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut before, mut bytes_before) = (Times::read(), None);
    loop {
        ticks.tick().await;
        let now = Times::read();
        let relayed = if bytes { bytes_relayed(&link).await } else { None };
        let load = Load {
            cpu_percent: now.busy_percent_since(&before),
            load: load_average(),
            bytes_per_second: relayed
                .zip(bytes_before)
                .map_or(0, |(now, before): (u64, u64)| now.saturating_sub(before)),
        };
        (before, bytes_before) = (now, relayed.or(bytes_before));
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

async fn bytes_relayed(link: &mpsc::Sender<LinkRequest>) -> Option<u64> {
    let (reply, answered) = oneshot::channel();
    link.try_send(LinkRequest::ReadCounters(reply)).ok()?;
    let (workers, _) = tokio::time::timeout(INTERVAL, answered).await.ok()?.ok()?;
    Some(workers.iter().map(|worker| worker.bytes_received).sum())
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
