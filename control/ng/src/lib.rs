//! The ng control protocol: a media relay as SIP proxies (Kamailio, OpenSIPS) and application servers drive it.
//!
//! A core without IO, clock, threads or randomness, as the rest of control: it is entered by `handle(now, Input)` and
//! returns effects, which the shell carries out.
//!
//! ```text
//!  datagram, stream, HTTP body
//!     '-> message (cookie, bencode or JSON) -> cookies (repetitions) -> request (command, options)
//!           -> core: calls, parties, ports -> sdp: read, decide, write -> reply, and orders for the dataplane
//! ```
//!
//! Compatibility level: rtpengine 10.5.3. Ports, ICE credentials and SDES keys are chosen here, so a reply is written at
//! once; it leaves when the dataplane has taken the orders behind it, because a proxy takes it for done.

#![forbid(unsafe_code)]

pub mod bencode;
pub mod call;
mod cli;
mod commands;
pub mod cookies;
pub mod core;
pub mod dictionary;
pub mod effect;
pub mod error;
mod figures;
mod fragments;
pub mod framing;
#[cfg(test)]
mod fuzz;
mod identity;
pub mod json;
pub mod keys;
pub mod limits;
mod links;
pub mod message;
mod negotiate;
mod note;
pub mod options;
mod orders;
pub mod party;
mod plan;
mod ports;
mod prometheus;
mod remote;
pub mod reply;
pub mod request;
pub mod sdes;
pub mod sdp;
pub mod settings;
pub mod statistics;
mod timers;

/// Set in the numbers of the relay's legs, and in no other's.
pub const LEG: u64 = 1 << 63;

/// Set in the numbers of the relay's orders. The bit above is the shell's.
pub const ORDER: u64 = 1 << 62;
