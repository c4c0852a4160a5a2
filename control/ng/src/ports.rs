//! UDP ports for legs: an even one for RTP and the next for RTCP, from one range on each address.
//!
//! ```text
//!   free, shuffled once ──take──▶ a leg ──release──▶ resting, oldest first ──after the rest──▶ free
//! ```
//!
//! Input: the addresses of the settings; takings and releases. Output: pairs, or nothing when none is left. Owns which
//! port belongs to whom. Both ways cost the same whatever the range holds: queues, no search.
//!
//! A released pair rests, so that packets of the call that had it do not reach the next one. Where a range is too small for the
//! calls it serves, the pair that rested longest is taken early rather than refusing a call.

use crate::keys::Draw;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

/// The RTP port of a pair. RTCP's is the next.
pub type Pair = u16;

#[derive(Debug, Default)]
pub struct Ports {
    ranges: HashMap<IpAddr, Range>,
}

/// How the ports of one address are used, for the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub min: u16,
    pub max: u16,
    /// Single ports, both of each pair.
    pub used: u32,
    pub last: u16,
}

#[derive(Debug)]
struct Range {
    min: u16,
    max: u16,
    free: VecDeque<Pair>,
    /// With the time from which a pair may be taken.
    resting: VecDeque<(u64, Pair)>,
    taken: HashSet<Pair>,
    last: Pair,
}

impl Ports {
    /// Makes `addresses` with the range `min..=max` the ones that ports are taken from. Known ranges that stay keep their state.
    pub fn configure(&mut self, addresses: impl Iterator<Item = IpAddr>, min: u16, max: u16, draw: &mut Draw) {
        let mut before = std::mem::take(&mut self.ranges);
        for address in addresses {
            let kept = before.remove(&address).filter(|range| (range.min, range.max) == (min, max));
            self.ranges.insert(address, kept.unwrap_or_else(|| Range::shuffled(min, max, draw)));
        }
    }

    /// A pair on `address`; `None` when it has run out, or is no address of ours.
    pub fn take(&mut self, address: IpAddr, now_ms: u64) -> Option<Pair> {
        self.ranges.get_mut(&address)?.take(now_ms)
    }

    /// Gives a pair back; it rests for `rest_ms`.
    pub fn release(&mut self, address: IpAddr, pair: Pair, now_ms: u64, rest_ms: u64) {
        if let Some(range) = self.ranges.get_mut(&address) {
            range.release(pair & !1, now_ms + rest_ms);
        }
    }

    /// A leg from before this process was started has it.
    pub fn reserve(&mut self, address: IpAddr, port: u16) {
        let Some(range) = self.ranges.get_mut(&address) else { return };
        let pair = port & !1;
        range.free.retain(|free| *free != pair);
        range.resting.retain(|(_, resting)| *resting != pair);
        range.taken.insert(pair);
    }

    pub fn usage(&self, address: IpAddr) -> Option<Usage> {
        let range = self.ranges.get(&address)?;
        Some(Usage { min: range.min, max: range.max, used: 2 * range.taken.len() as u32, last: range.last })
    }
}

impl Range {
    fn shuffled(min: u16, max: u16, draw: &mut Draw) -> Range {
        // RFC 3550 §11: RTP takes the even port, RTCP the next higher one.
        let first = u32::from(min).next_multiple_of(2);
        let mut pairs: Vec<Pair> =
            (first..u32::from(max)).step_by(2).filter_map(|port| Pair::try_from(port).ok()).collect();
        draw.shuffle(&mut pairs);
        let (resting, taken) = (VecDeque::new(), HashSet::new());
        Range { min, max, free: pairs.into(), resting, taken, last: 0 }
    }

    fn take(&mut self, now_ms: u64) -> Option<Pair> {
        while let Some((_, pair)) = self.resting.pop_front_if(|(from_ms, _)| *from_ms <= now_ms) {
            self.free.push_back(pair);
        }
        let pair = self.free.pop_front().or_else(|| self.resting.pop_front().map(|(_, pair)| pair))?;
        self.taken.insert(pair);
        self.last = pair;
        Some(pair)
    }

    fn release(&mut self, pair: Pair, from_ms: u64) {
        if self.taken.remove(&pair) {
            self.resting.push_back((from_ms, pair));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn ports(min: u16, max: u16) -> Ports {
        let mut ports = Ports::default();
        ports.configure([HOME].into_iter(), min, max, &mut Draw::seeded([7; 32]));
        ports
    }

    #[test]
    fn pairs_are_even_within_the_range_and_given_out_once() {
        let mut ports = ports(41, 50);
        let mut taken: Vec<_> = std::iter::from_fn(|| ports.take(HOME, 0)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [42, 44, 46, 48]);
        assert_eq!(ports.take(HOME, 0), None, "ran out");
        assert_eq!(ports.usage(HOME).map(|usage| usage.used), Some(8));
    }

    #[test]
    fn a_released_pair_rests_as_long_as_others_are_free() {
        let mut ports = ports(1000, 1007);
        let first = ports.take(HOME, 0).unwrap();
        ports.release(HOME, first, 0, 100);
        let next: Vec<_> = (0..3).filter_map(|_| ports.take(HOME, 10)).collect();
        assert!(!next.contains(&first));
        assert_eq!(ports.take(HOME, 10), Some(first), "rather early than not at all");
        ports.release(HOME, first, 10, 100);
        ports.release(HOME, next[0], 10, 100);
        assert_eq!(ports.take(HOME, 200), Some(first), "the one that rested longest");
    }

    #[test]
    fn the_order_is_not_to_be_guessed() {
        let mut ports = ports(10_000, 20_000);
        let taken: Vec<_> = (0..20).filter_map(|_| ports.take(HOME, 0)).collect();
        assert!(!taken.is_sorted());
    }

    #[test]
    fn a_reserved_port_is_not_given_out() {
        let mut ports = ports(1000, 1003);
        ports.reserve(HOME, 1001);
        assert_eq!((ports.take(HOME, 0), ports.take(HOME, 0)), (Some(1002), None));
    }

    #[test]
    fn a_port_that_rests_is_reserved_as_well() {
        let mut ports = ports(1000, 1003);
        let pair = ports.take(HOME, 0).unwrap();
        ports.release(HOME, pair, 0, 100);
        ports.reserve(HOME, pair);
        let other = ports.take(HOME, 200);
        assert!(other.is_some() && other != Some(pair));
        assert_eq!(ports.take(HOME, 200), None);
    }

    #[test]
    fn a_double_release_has_no_effect() {
        let mut ports = ports(1000, 1003);
        let pair = ports.take(HOME, 0).unwrap();
        ports.release(HOME, pair, 0, 0);
        ports.release(HOME, pair, 0, 0);
        assert!(ports.take(HOME, 1).is_some() && ports.take(HOME, 1).is_some());
        assert_eq!(ports.take(HOME, 1), None);
    }
}
