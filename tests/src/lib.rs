//! What the scenarios share: the crosspoint binary under test, and clients of it that need no browser.
//!
//! Input: the binary built by `cargo build --release` (or `CROSSPOINT_BIN`). Output: panics that say what was expected and what
//! came. A scenario starts a [`Server`], lets [`Phone`]s call one another through it and asserts what both sides saw.
//! Deliberately not here: any code of the product. The clients speak the protocols from outside, as foreign programs would.
//!
//! ```text
//!  Phone ── Session (WebSocket) ──┐                 ┌── Session ── Phone
//!     └──── Media (str0m, UDP) ───┤   crosspoint    ├── Media ──────┘
//!                                 │ control + plane │
//!  scenario ── Server: start, flags, log, /metrics, signals
//! ```

pub mod load;
pub mod media;
pub mod phone;
pub mod process;
pub mod server;
pub mod session;
pub mod tamper;
pub mod token;

pub use media::Media;
pub use phone::Phone;
pub use server::Server;
pub use session::Session;

use std::time::Duration;

/// Longest wait for anything that has to happen. Far above what a busy machine needs: only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(20);
