//! The control plane's decisions, without socket, clock, thread, random source or `async`.

pub mod config;
pub mod effect;
pub mod input;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod record;
pub mod route;

use config::CoreConfig;
use effect::Effect;
use input::{Input, Now};
use metrics::{Counters, Gauges};
use record::LiveCall;
use route::Route;

/// Everything that control knows and decides. Calling order: [`Input::KeysChanged`] and [`Input::Restored`] first, then
/// anything; after each `handle`, carry out the effects in order and arm a timer for [`Core::next_deadline`].
pub struct Core {
    config: CoreConfig,
    counters: Counters,
}

impl Core {
    /// `seed` feeds every SID; `node_key` seals bridge tokens and must outlive the process, or calls cannot be resumed.
    pub fn new(config: CoreConfig, _seed: [u8; 32], _node_key: [u8; 32]) -> Core {
        Core { config, counters: Counters::default() }
    }

    /// Takes one fact and appends what is to be done about it.
    pub fn handle(&mut self, _now: Now, _input: Input, _effects: &mut Vec<Effect>) {}

    /// Monotonic milliseconds at which [`Input::DeadlineReached`] is due.
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }

    pub fn gauges(&self) -> Gauges {
        Gauges::default()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn config(&self) -> &CoreConfig {
        &self.config
    }

    /// Calls in progress, as they would be saved.
    pub fn calls(&self) -> Vec<LiveCall> {
        Vec::new()
    }

    /// The routes of a client, expired ones left out.
    pub fn routes_of(&self, _now: Now, _account_sid: &str, _client: &str) -> Vec<Route> {
        Vec::new()
    }
}
