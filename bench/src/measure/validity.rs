//! When a trial says nothing about the relay, and why.
//!
//! Input: what the generator did. Output: the reasons, in words. A trial with a reason is reported, marked, and makes the
//! program exit with a status of its own.

use crate::load::generator::Outcome;

/// Share of its core's time above which the generator, not the relay, decides the rate.
pub const GENERATOR_BUSY_MAX: f64 = 0.95;

/// What is asked of the generator.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The 99th percentile of how late packets left.
    pub lateness_p99_ns_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { lateness_p99_ns_max: 2_000_000 }
    }
}

pub fn reasons(outcome: &Outcome, bounds: Bounds) -> Vec<String> {
    let mut reasons = Vec::new();
    let lateness_ns = outcome.lateness_ns.value_at_quantile(0.99);
    if outcome.generator_busy > GENERATOR_BUSY_MAX {
        let busy = outcome.generator_busy * 100.0;
        reasons.push(format!("the generator was saturated: busy for {busy:.1} % of the time; offer less"));
    }
    if lateness_ns > bounds.lateness_p99_ns_max {
        reasons.push(format!(
            "packets left late: p99 {} µs after their time, allowed are {} µs; the generator's core is shared or too slow",
            lateness_ns / 1000,
            bounds.lateness_p99_ns_max / 1000
        ));
    }
    if outcome.overflowed > 0 {
        reasons
            .push(format!("the generator lost {} arrivals: net.core.rmem_max is too small for it", outcome.overflowed));
    }
    if outcome.refused_by_kernel > 0 {
        reasons.push(format!("the kernel refused {} packets of the generator", outcome.refused_by_kernel));
    }
    if outcome.clock_stepped_ns > 1_000_000 {
        reasons.push(format!("the wall clock was set by {} µs during the run", outcome.clock_stepped_ns / 1000));
    }
    if outcome.broken > 0 {
        reasons
            .push(format!("{} of {} sampled packets did not open to what was sent", outcome.broken, outcome.sampled));
    }
    reasons
}
