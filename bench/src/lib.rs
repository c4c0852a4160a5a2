//! A harness for media relays: offers load, reads what it costs, and says what it does not know.
//!
//! ```text
//!   commands ──> target   a relay that runs, one started here, or a bare loop (bare)
//!      │           ^
//!      │           │ ng
//!      ├──────> load     calls, packets, schedule, the generator's loop
//!      │           │
//!      │           v
//!      ├──────> measure  one trial; search, curve, idle; when a trial does not count
//!      │           ^
//!      │           │ /proc
//!      │         host    processes, cores, facts of the machine
//!      v
//!   report             one document; text, JSON, CSV, HTML of it; thresholds, baselines
//! ```
//!
//! How it measures and where that ends is in `README.md`. The criterion benches in `benches/` time single stages over
//! [`inputs`].

pub mod bare;
pub mod commands;
pub mod crypto;
pub mod host;
pub mod inputs;
pub mod interrupt;
pub mod load;
pub mod measure;
pub mod report;
pub mod target;
