//! What the machine says: of itself, of processes, of cores.

pub mod affinity;
pub mod facts;
pub mod process;
