//! The ng relay's shell: its sockets, its clock, its way to the dataplane.
//!
//! ```text
//!   UDP ───────────────────────────────┐
//!   TCP, HTTP, WebSocket, CLI ─ tasks ─┼─▶ relay loop: crosspoint_ng::Core ─▶ replies, the same way back
//!   dataplane link ────────────────────┘        '─▶ orders ─▶ dataplane link
//! ```
//!
//! Input: bytes of clients, news of the dataplane. Output: bytes, and orders. One task owns the core and the UDP socket, so
//! that a question over UDP is answered in the turn that reads it. Decides nothing about calls.

mod board;
mod claim;
mod connections;
mod http;
mod listeners;
mod load;
mod notes;
mod places;
mod relay;
mod setup;

pub use claim::claim;
pub use listeners::{NgListeners, NgReachable};
pub use load::measure;
pub use relay::{ARRIVALS_MAX, NgArrival, NgView, Relay, now};
pub use setup::core_settings;
