//! Which way a call's media takes: a pure function from endpoints and policy to a path.
//!
//! Input: where the endpoints are attached and what must be done to the media. Output: a [`Path`] and the rule that
//! decided. Owns nothing, remembers nothing.
//!
//! | rule | condition | path |
//! |---|---|---|
//! | M2 | both endpoints in one region, every needed resource is there | inside that region, processing node left out |
//! | M5 | endpoints in two regions | gateway A ⇄ gateway B directly |
//!
//! M3 (gateways left out) and M4 (peer to peer) need clients that accept the other's candidates; until then a call
//! which they would allow takes the gateways' way. Rules about resources follow with the resources.

use std::fmt;

/// Where an endpoint is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub gateway: &'a str,
    pub region: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    M2,
    M5,
}

/// The gateways that media passes, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub gateways: Vec<String>,
    pub rule: Rule,
}

pub fn choose(caller: Place, callee: Place) -> Path {
    let mut gateways = vec![caller.gateway.to_owned()];
    if callee.gateway != caller.gateway {
        gateways.push(callee.gateway.to_owned());
    }
    Path { gateways, rule: if caller.region == callee.region { Rule::M2 } else { Rule::M5 } }
}

/// As the call record prints it: `M2 client>gw1>client`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} client>{}>client", self.rule, self.gateways.join(">"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_region_keeps_media_inside_it_by_rule_m2() {
        let place = Place { gateway: "gw1", region: "eu" };
        assert_eq!(choose(place, place).to_string(), "M2 client>gw1>client");
    }

    #[test]
    fn two_regions_meet_gateway_to_gateway_by_rule_m5() {
        let path = choose(Place { gateway: "gw1", region: "eu" }, Place { gateway: "gw2", region: "us" });
        assert_eq!(path.to_string(), "M5 client>gw1>gw2>client");
    }
}
