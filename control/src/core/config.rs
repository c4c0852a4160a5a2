//! What the core is told once, at start.

use super::limits::Limits;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreConfig {
    /// This node: sealed into bridge tokens, so that another gateway can find the node that holds a call.
    pub node: String,
    /// Shown to clients in `connected`, written into routes and records.
    pub region: String,
    pub gateway: String,
    /// An invite rings this long before `no_answer`. The vendor's default for `<Dial>`.
    pub ring_timeout_s: u32,
    /// A call whose socket is lost is kept for what the client asked for, at most this.
    pub reconnect_seconds_max: u32,
    /// After a restart of control, adopted calls wait this long for their clients to come back. Media flows meanwhile.
    pub restart_grace_s: u32,
    /// Legs found in the dataplane that no live call names are closed after this.
    pub orphan_grace_s: u32,
    /// Whether calls whose key is revoked are ended, or only kept from being extended or resumed.
    pub end_calls_of_revoked_keys: bool,
    /// Whether video m-lines are forwarded at all.
    pub video: bool,
    pub limits: Limits,
}

impl Default for CoreConfig {
    fn default() -> Self {
        CoreConfig {
            node: "node1".into(),
            region: "local".into(),
            gateway: "local".into(),
            ring_timeout_s: 30,
            reconnect_seconds_max: 30,
            restart_grace_s: 60,
            orphan_grace_s: 3600,
            end_calls_of_revoked_keys: true,
            video: true,
            limits: Limits::default(),
        }
    }
}
