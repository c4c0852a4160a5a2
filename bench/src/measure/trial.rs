//! One trial: so many packets a second for so long, and what they cost the relay.
//!
//! Input: an [`Outcome`] and two readings of the relay. Output: a [`Trial`], which is what reports are made of. Owns nothing.

use crate::host::facts;
use crate::host::process::{self, CoreTicks};
use crate::load::generator::Outcome;
use crate::target::Target;
use crate::target::metrics::Metrics;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// `/proc/stat` counts hundredths of a second, whatever the kernel's tick is (USER_HZ).
const TICK_NS: u64 = 10_000_000;

/// Points of the latency distribution that are kept for plots.
const PLOTTED_POINTS: usize = 120;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    pub target: String,
    pub calls: usize,
    pub flows: usize,
    pub offered_per_second: f64,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub loss_ratio: f64,
    pub reordered: u64,
    pub duplicates: u64,
    pub flows_with_loss: usize,
    pub silent_flows: usize,
    /// Processor time of the relay's threads, and of the kernel's deferred network work on its core, for each packet that
    /// it forwarded. Absent where the relay's processes are not visible.
    pub cpu_ns_per_packet: Option<f64>,
    /// The part of it that is the kernel's deferred work.
    pub deferred_ns_per_packet: Option<f64>,
    /// Share of the relay's core that was in use, by anybody.
    pub core_busy: Option<f64>,
    /// Share of it that others used: their work makes the relay's caches cold and its figure higher.
    pub core_used_by_others: Option<f64>,
    /// Share of it in network interrupts (included in the figure above), and taken away by the hypervisor.
    pub core_softirq: Option<f64>,
    pub core_steal: Option<f64>,
    /// Of our own relay only: others do not say.
    pub packets_per_batch: Option<f64>,
    pub system_calls_per_packet: Option<f64>,
    pub latency_us: Percentiles,
    pub latency_curve: Vec<(f64, f64)>,
    /// How late packets left.
    pub lateness_us: Percentiles,
    pub generator_busy: f64,
    /// Packets that were opened and compared with what was sent.
    pub sampled: u64,
    /// Empty when the trial counts.
    pub invalid: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

impl Percentiles {
    /// Of nanoseconds, in microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max() as f64 / 1000.0,
        }
    }
}

/// Quantile and microseconds, denser towards the end.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let point = |step: usize| {
        let quantile = 1.0 - 10_f64.powf(-5.0 * step as f64 / PLOTTED_POINTS as f64);
        (quantile, histogram.value_at_quantile(quantile) as f64 / 1000.0)
    };
    if histogram.is_empty() { Vec::new() } else { (0..=PLOTTED_POINTS).map(point).collect() }
}

/// What the relay had used at one moment.
pub struct Reading {
    at: Instant,
    threads: BTreeMap<u32, u64>,
    deferred_ns: u64,
    ticks: CoreTicks,
    metrics: Option<Metrics>,
}

impl Reading {
    /// Before the packets: asking for metrics costs the relay something, which is not counted.
    pub fn before(target: &Target, core: Option<usize>) -> Reading {
        let metrics = target.metrics();
        Reading { metrics, ..Reading::of_kernel(target, core) }
    }

    /// After them.
    pub fn after(target: &Target, core: Option<usize>) -> Reading {
        let reading = Reading::of_kernel(target, core);
        Reading { metrics: target.metrics(), ..reading }
    }

    fn of_kernel(target: &Target, core: Option<usize>) -> Reading {
        Reading {
            threads: process::thread_cpu_ns(&target.process_ids()),
            deferred_ns: core.map_or(0, process::deferred_cpu_ns),
            ticks: core.map(process::core_ticks).unwrap_or_default(),
            at: Instant::now(),
            metrics: None,
        }
    }

    /// Processor time of the relay until `after`, and that of the kernel's deferred work.
    pub fn used_until(&self, after: &Reading) -> Used {
        // Where the kernel counts interrupts apart, those of sending are not in the threads' time.
        let is_apart = facts::interrupts_counted_apart().unwrap_or(false);
        let softirq = after.ticks.softirq.saturating_sub(self.ticks.softirq);
        let apart_ns = if is_apart { softirq * TICK_NS } else { 0 };
        Used {
            relay_ns: process::cpu_between_ns(&self.threads, &after.threads),
            deferred_ns: after.deferred_ns.saturating_sub(self.deferred_ns) + apart_ns,
            elapsed_ns: (after.at - self.at).as_nanos() as u64,
            is_visible: !after.threads.is_empty(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub relay_ns: u64,
    pub deferred_ns: u64,
    pub elapsed_ns: u64,
    pub is_visible: bool,
}

impl Trial {
    pub fn new(
        target: &str,
        calls: usize,
        flows: usize,
        outcome: &Outcome,
        before: &Reading,
        after: &Reading,
    ) -> Trial {
        let used = before.used_until(after);
        let per_packet = |ns: u64| {
            let packets = outcome.totals.received + outcome.totals.duplicates;
            (used.is_visible && packets > 0).then(|| ns as f64 / packets as f64)
        };
        let ticks = |of: fn(&CoreTicks) -> u64| {
            let all = after.ticks.all.saturating_sub(before.ticks.all);
            (all > 0).then(|| of(&after.ticks).saturating_sub(of(&before.ticks)) as f64 / all as f64)
        };
        let own = before.metrics.zip(after.metrics);
        let ratio = |a: fn(&Metrics) -> f64, b: fn(&Metrics) -> f64| {
            own.and_then(|(before, after)| {
                let (a, b) = (a(&after) - a(&before), b(&after) - b(&before));
                (b > 0.0).then_some(a / b)
            })
        };
        Trial {
            target: target.into(),
            calls,
            flows,
            offered_per_second: outcome.rate(),
            sent: outcome.sent,
            received: outcome.totals.received,
            lost: outcome.lost(),
            loss_ratio: outcome.loss_ratio(),
            reordered: outcome.totals.reordered,
            duplicates: outcome.totals.duplicates,
            flows_with_loss: outcome.totals.flows_with_loss,
            silent_flows: outcome.totals.silent_flows,
            cpu_ns_per_packet: per_packet(used.relay_ns + used.deferred_ns),
            deferred_ns_per_packet: per_packet(used.deferred_ns),
            core_busy: ticks(|ticks| ticks.all - ticks.idle),
            core_used_by_others: ticks(|ticks| ticks.all - ticks.idle)
                .map(|busy| (busy - used.relay_ns as f64 / used.elapsed_ns as f64).max(0.0)),
            core_softirq: ticks(|ticks| ticks.softirq),
            core_steal: ticks(|ticks| ticks.steal),
            packets_per_batch: ratio(|m| m.packets_sent, |m| m.batches),
            system_calls_per_packet: ratio(|m| m.system_calls, |m| m.packets_sent),
            latency_us: Percentiles::of(&outcome.latency_ns),
            latency_curve: curve(&outcome.latency_ns),
            lateness_us: Percentiles::of(&outcome.lateness_ns),
            generator_busy: outcome.generator_busy,
            sampled: outcome.sampled,
            invalid: Vec::new(),
        }
    }

    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}
