//! When each packet of a run is meant to leave.
//!
//! Every flow sends a packet each interval, at a phase of its own that the seed decides: calls do not start together, so
//! their packets clump as chance has it. The time a packet is *meant* to leave follows from its number alone. It does not
//! move when the generator or the relay is late, so lateness of either shows in the latency and nothing is left out.
//!
//! ```text
//!   flow 0   |---x---------|---x---------|---x----      intended = round × interval + phase
//!   flow 1   |---------x---|---------x---|--------
//!   order      0     1       0     1       0            one pass over `order` is a round
//! ```

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub struct Schedule {
    interval_ns: u64,
    /// By flow.
    phases_ns: Vec<u64>,
    /// Flows in the order in which they send.
    order: Vec<u32>,
}

impl Schedule {
    /// `rate`: packets a second of all flows together.
    pub fn new(flows: usize, rate: f64, seed: u64) -> Schedule {
        let interval_ns = (flows as f64 * 1e9 / rate).max(1.0) as u64;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let phases_ns: Vec<u64> = (0..flows).map(|_| random.next_u64() % interval_ns).collect();
        let mut order: Vec<u32> = (0..flows as u32).collect();
        order.sort_by_key(|flow| phases_ns[*flow as usize]);
        Schedule { interval_ns, phases_ns, order }
    }

    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Full rounds in so many seconds, at least one.
    pub fn rounds(&self, seconds: f64) -> u64 {
        ((seconds * 1e9 / self.interval_ns as f64).round() as u64).max(1)
    }

    /// From the start of the run.
    pub fn intended_ns(&self, flow: usize, round: u64) -> u64 {
        round * self.interval_ns + self.phases_ns[flow]
    }

    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_round_leave_in_order_and_the_rate_is_met() {
        let schedule = Schedule::new(1000, 50_000.0, 7);
        assert_eq!(schedule.interval_ns(), 20_000_000);
        let times: Vec<u64> = schedule.order().iter().map(|flow| schedule.intended_ns(*flow as usize, 0)).collect();
        assert!(times.is_sorted() && times.iter().all(|time| *time < 20_000_000));
        assert_eq!(schedule.rounds(2.0), 100);
    }

    #[test]
    fn the_seed_decides_the_phases() {
        let phases = |seed| Schedule::new(50, 1000.0, seed).phases_ns;
        assert_eq!(phases(1), phases(1));
        assert_ne!(phases(1), phases(2));
    }
}
