//! Addresses of the parties: each has an IP address of 127.0.0.0/8 of its own, and all have one port.
//!
//! One socket bound to the wildcard address thus speaks and hears for any number of parties: the source of each packet
//! is chosen by `IP_PKTINFO` (ip(7)). A socket a party would run into the limit of descriptors at 10,000 calls, and
//! asking each whether something came would cost the generator more than the packets do.

use std::net::Ipv4Addr;

/// Parties of a run.
pub const PARTIES_MAX: usize = 1 << 20;

/// Party n. The two of a call differ in the last bit, so that a relay without tables can swap them.
pub fn of_party(party: usize) -> Ipv4Addr {
    assert!(party < PARTIES_MAX);
    let [_, high, middle, low] = (party as u32).to_be_bytes();
    Ipv4Addr::new(127, 64 + high, middle, low)
}

/// The other party of a call, by address.
pub fn of_other_party(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) ^ 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_have_loopback_addresses_of_their_own_in_pairs() {
        assert_eq!(of_party(0), Ipv4Addr::new(127, 64, 0, 0));
        assert_eq!(of_party(PARTIES_MAX - 1), Ipv4Addr::new(127, 79, 255, 255));
        assert_eq!(of_other_party(of_party(7)), of_party(6));
        assert!(of_party(12_345).is_loopback());
    }
}
