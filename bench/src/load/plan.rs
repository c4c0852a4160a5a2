//! What is asked of a relay: how many calls, what their packets look like, how they are secured.
//!
//! Input: the command line. Output: values that the other modules read. Owns nothing.

use clap::ValueEnum;
use crosspoint_wire::srtp::Suite;
use std::fmt;
use std::str::FromStr;

/// Fixed part of an RTP header (RFC 3550 §5.1).
pub const RTP_HEADER_BYTES: usize = 12;

/// Largest payload: with header, tag and the headers below it still one Ethernet frame.
pub const PAYLOAD_BYTES_MAX: usize = 1400;

/// What is put at the start of a payload: flow and packet number.
pub const MARK_BYTES: usize = 12;

/// The calls of a run and their packets. A *flow* is one direction of a call.
#[derive(Clone, Debug)]
pub struct Plan {
    pub calls: usize,
    /// Only the caller's side speaks.
    pub one_way: bool,
    pub payload_bytes: usize,
    pub security: Security,
    pub impair: Impair,
    pub seed: u64,
}

impl Plan {
    /// Flow 2n is spoken by the caller of call n, flow 2n + 1 by its callee.
    pub fn flows(&self) -> usize {
        self.calls * if self.one_way { 1 } else { 2 }
    }

    /// The side of a call that speaks this flow: 0 caller, 1 callee.
    pub fn endpoint_of(&self, flow: usize) -> usize {
        if self.one_way { flow * 2 } else { flow }
    }

    pub fn packet_bytes(&self) -> usize {
        RTP_HEADER_BYTES + self.payload_bytes
    }
}

/// Suite of either leg; without one it is plain RTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Security {
    pub legs: [Option<Suite>; 2],
}

impl Security {
    pub fn of_endpoint(&self, endpoint: usize) -> Option<Suite> {
        self.legs[endpoint % 2]
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = |leg: Option<Suite>| leg.map_or("plain", sdes_name);
        write!(f, "{} <-> {}", name(self.legs[0]), name(self.legs[1]))
    }
}

/// Which legs are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SrtpLegs {
    None,
    /// The caller's leg only: the relay opens and seals.
    A,
    /// Both legs.
    Both,
}

/// A suite by its name in SDP (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuiteName(pub Suite);

pub const SUITES: [(Suite, &str); 5] = [
    (Suite::AesCm128HmacSha1_80, "AES_CM_128_HMAC_SHA1_80"),
    (Suite::AesCm128HmacSha1_32, "AES_CM_128_HMAC_SHA1_32"),
    (Suite::AesCm256HmacSha1_80, "AES_256_CM_HMAC_SHA1_80"),
    (Suite::AeadAes128Gcm, "AEAD_AES_128_GCM"),
    (Suite::AeadAes256Gcm, "AEAD_AES_256_GCM"),
];

pub fn sdes_name(suite: Suite) -> &'static str {
    SUITES.iter().find(|(one, _)| *one == suite).map(|(_, name)| *name).expect("every suite has a name")
}

impl FromStr for SuiteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_uppercase().replace('-', "_");
        let found = SUITES.iter().find(|(_, name)| *name == wanted);
        let names = || SUITES.map(|(_, name)| name).join(", ");
        found.map(|(suite, _)| SuiteName(*suite)).ok_or_else(|| format!("known are {}", names()))
    }
}

/// What the generator does to its own packets before they leave, each a probability per packet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impair {
    pub loss: f64,
    pub reorder: f64,
    pub duplicate: f64,
}

impl Impair {
    pub fn is_none(&self) -> bool {
        *self == Impair::default()
    }
}

impl FromStr for Impair {
    type Err = String;

    /// `loss=0.01,reorder=0.001,duplicate=0`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut impair = Impair::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| format!("expected NAME=PROBABILITY, got `{part}`"))?;
            let value: f64 = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name}={value}: a probability lies between 0 and 1"));
            }
            match name {
                "loss" => impair.loss = value,
                "reorder" => impair.reorder = value,
                "duplicate" => impair.duplicate = value,
                _ => return Err(format!("`{name}`: known are loss, reorder and duplicate")),
            }
        }
        if impair.loss + impair.reorder + impair.duplicate > 1.0 {
            return Err("together they exceed 1".into());
        }
        Ok(impair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impairments_are_read_and_absurd_ones_are_refused() {
        let read = Impair::from_str("loss=0.01,reorder=0.5").expect("well-formed");
        assert_eq!((read.loss, read.reorder, read.duplicate), (0.01, 0.5, 0.0));
        for bad in ["loss", "loss=2", "jam=0.1", "loss=x", "loss=0.6,reorder=0.6"] {
            assert!(Impair::from_str(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn suites_are_known_by_their_names_in_sdp_in_any_case() {
        assert_eq!(SuiteName::from_str("aes_cm_128_hmac_sha1_80"), Ok(SuiteName(Suite::AesCm128HmacSha1_80)));
        assert_eq!(SuiteName::from_str("AEAD-AES-128-GCM"), Ok(SuiteName(Suite::AeadAes128Gcm)));
        assert!(SuiteName::from_str("ROT13").is_err_and(|error| error.contains("AEAD_AES_256_GCM")));
    }
}
