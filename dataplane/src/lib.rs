//! The media plane: pinned workers that forward SRTP in batches, beside a lobby for handshakes and a link to control.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod batch;
pub mod buffers;
pub mod config;
pub mod fault;
pub mod io;

pub use config::{BackendChoice, CorePlan, DataplaneConfig};
pub use fault::Fault;

/// Runs the dataplane until it is told to end, by control or by SIGTERM.
pub fn run(config: DataplaneConfig) -> Result<(), Fault> {
    config.check()
}
