//! The shell around the core: all IO of the control plane, on tokio. It turns what happens outside into inputs,
//! carries effects out, and decides nothing about calls.

pub mod cli;

mod access;
mod banner;
mod connections;
mod core_loop;
mod data_dir;
mod dataplane_ears;
mod dataplane_keeper;
mod dataplane_link;
mod dev_token;
mod fault;
mod fresh_keys;
mod health;
mod http;
#[cfg(test)]
mod http_tests;
mod keys;
#[cfg(test)]
mod link_tests;
mod listeners;
mod log;
mod metrics;
mod ng;
mod pages;
pub mod rtpengine;
mod server;
mod session;
pub mod settings;
mod store;
mod tasks;
mod tls;
mod token;

pub use dataplane_keeper::ChildPlan;
pub use fault::Fault;
