//! The generator: calls at a relay, packets on a schedule, and what became of them.
//!
//! ```text
//!   plan ──> parties (ng, SDP) ──> packets, prepared ──> schedule ──> generator ──> relay
//!                                                                        tally  <────'
//! ```

pub mod address;
pub mod calls;
pub mod generator;
pub mod packets;
pub mod plan;
pub mod schedule;
pub mod socket;
pub mod tally;
