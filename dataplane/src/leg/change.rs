//! What the description of an RTP leg's peer changes, in the form that a command applies.
//!
//! Input: made by the link thread from [`crosspoint_contract::RtpRemote`]; it expands keys and allocates. Output: applied by
//! the worker, which leaves what it replaced in the same memory. Owns nothing else.

use super::relay::RelayFormat;
use super::{Description, Ice, Keys, Leg, Part, Protection};
use crate::io::Remote;
use crosspoint_contract::{Directions, Learning, LegFailure, LegState, Medium};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_checks::{Candidate, Checks, reflexive_priority};
use crosspoint_wire::ice_lite::Credentials;

pub struct RtpChange {
    pub rtp: Remote,
    /// Unless RTCP is multiplexed.
    pub rtcp: Option<Remote>,
    pub learning: Learning,
    pub unheard_packets_max: u32,
    pub protection: Protection,
    pub is_opaque: bool,
    pub uses_dtls: bool,
    pub uses_ice: bool,
    /// Credentials of ours that are others than those before.
    pub ice: Option<NewIce>,
    pub checks: ChecksChange,
    pub keys: KeyChange,
    pub directions: Directions,
    pub medium: Medium,
    pub tos: u8,
    /// Of a translator.
    pub formats: Box<[RelayFormat]>,
    /// Of an end.
    pub description: Option<Box<Description>>,
}

/// The same credentials twice: for a leg that had none, and for one that restarts (RFC 8445 §9).
pub struct NewIce {
    pub agents: Option<Box<Ice>>,
    pub restart: [Option<Credentials>; 2],
}

/// Whether we check the peer, and where. What is replaced stays in its place.
pub enum ChecksChange {
    /// We are lite.
    End(Option<Box<Checks>>),
    /// The peer has new credentials, or we have.
    Begin(Option<Box<Checks>>),
    /// It has further addresses.
    Add(Box<[Candidate]>),
}

/// RFC 4568 §6.1: equal keys go on with their rollover counters and replay windows, others begin anew.
pub enum KeyChange {
    Keep,
    Forget,
    Install { keys: Box<Keys>, keep_receiver: bool, keep_sender: bool },
}

impl RtpChange {
    /// All but the description of an end, which is applied as that of any other end.
    pub fn apply(&mut self, leg: &mut Leg, now: Nanos) {
        self.change_keys(leg);
        self.change_addresses(leg, now);
        // RFC 7675 binds those who speak ICE.
        leg.failure.take_if(|why| *why == LegFailure::ConsentExpired && !self.uses_ice);
        leg.protection = self.protection;
        leg.directions = self.directions;
        if let Part::Translator(relay) = &mut leg.part {
            relay.medium = self.medium;
            std::mem::swap(&mut relay.formats, &mut self.formats);
            relay.forget_formats();
        }
        if leg.state == LegState::Opening && leg.may_protect() {
            leg.state = LegState::Connected;
        }
        if leg.last_heard == Nanos::ZERO {
            leg.last_heard = now;
        }
        // The lobby is told anew that what it sends arrives; of a plain leg, and of what was signaled, control knows.
        leg.told.reachable = false;
        if leg.protection == Protection::Plain {
            leg.told.state = leg.state;
        }
        if leg.told.state == LegState::Connected {
            leg.told.remote = leg.remote;
        }
    }

    fn change_keys(&mut self, leg: &mut Leg) {
        match std::mem::replace(&mut self.keys, KeyChange::Keep) {
            KeyChange::Keep => {}
            KeyChange::Forget => {
                leg.suite = None;
                self.keys = spent(leg.keys.take());
            }
            KeyChange::Install { mut keys, keep_receiver, keep_sender } => {
                if let Some(before) = &mut leg.keys {
                    if keep_receiver {
                        std::mem::swap(&mut keys.receiver, &mut before.receiver);
                    }
                    if keep_sender {
                        std::mem::swap(&mut keys.sender, &mut before.sender);
                    }
                }
                leg.suite = Some(keys.suite);
                self.keys = spent(leg.keys.replace(keys));
            }
        }
    }

    fn change_addresses(&mut self, leg: &mut Leg, now: Nanos) {
        if let Some(new) = &mut self.ice {
            new.take_effect(&mut leg.ice);
        }
        if let Some(ice) = &mut leg.ice {
            self.checks.take_effect(ice, now);
        }
        let Some(ports) = &mut leg.ports else { return };
        ports.is_described = true;
        ports.learning = self.learning;
        (ports.uses_ice, ports.uses_dtls) = (self.uses_ice, self.uses_dtls);
        ports.is_muxed = self.rtcp.is_none();
        ports.latch.describe(self.rtp, &self.learning, now);
        ports.latch.grant(self.unheard_packets_max);
        ports.rtcp_latch = self.rtcp.map(|signaled| {
            let mut latch = ports.rtcp_latch.unwrap_or_default();
            latch.describe(signaled, &self.learning, now);
            latch.grant(self.unheard_packets_max);
            latch
        });
        if self.uses_ice {
            // RFC 8445 §12.1: nothing is sent before a pair is validated.
            let pair =
                |ice: &crosspoint_wire::ice_lite::IceLite| ice.in_use().map_or(Remote::UNSPECIFIED, Remote::from);
            ports.latch.set_in_use(leg.ice.as_ref().map_or(Remote::UNSPECIFIED, |ice| pair(&ice.rtp)));
            let rtcp = leg.ice.as_ref().and_then(|ice| ice.rtcp.as_ref()).filter(|_| !ports.is_muxed);
            ports.rtcp_latch = rtcp.map(|rtcp| {
                let mut latch = ports.rtcp_latch.unwrap_or_default();
                latch.set_in_use(pair(rtcp));
                latch
            });
        }
        leg.remote = ports.latch.in_use();
        leg.update_reach();
    }
}

impl ChecksChange {
    fn take_effect(&mut self, ice: &mut Ice, now: Nanos) {
        match self {
            ChecksChange::End(ended) => {
                *ended = ice.checks.take();
                for agent in [Some(&mut ice.rtp), ice.rtcp.as_mut()].into_iter().flatten() {
                    agent.set_checks(false);
                }
            }
            ChecksChange::Begin(begun) => {
                let Some(new) = begun else { return };
                for (component, agent) in [Some(&mut ice.rtp), ice.rtcp.as_mut()].into_iter().enumerate() {
                    // What the peer had us use while we were lite is where we ask it first.
                    let Some((addr, nominated)) = agent.and_then(|agent| agent.set_checks(true)) else { continue };
                    new.hear_check(component, addr, reflexive_priority(component), nominated, now);
                }
                if let Some(before) = &ice.checks {
                    // RFC 8445 §9: roles outlive a restart.
                    new.role = before.role;
                }
                std::mem::swap(&mut ice.checks, begun);
            }
            ChecksChange::Add(candidates) => {
                let Some(checks) = &mut ice.checks else { return };
                candidates.iter().for_each(|candidate| checks.add(*candidate));
            }
        }
    }
}

impl NewIce {
    /// What it replaces stays in its place.
    fn take_effect(&mut self, ice: &mut Option<Box<Ice>>) {
        let Some(ice) = ice else {
            *ice = self.agents.take();
            return;
        };
        for (agent, credentials) in [Some(&mut ice.rtp), ice.rtcp.as_mut()].into_iter().zip(&mut self.restart) {
            if let (Some(agent), Some(drawn)) = (agent, credentials.take()) {
                *credentials = agent.restart(drawn);
            }
        }
    }
}

/// Kept in the change until its memory may be freed.
fn spent(keys: Option<Box<Keys>>) -> KeyChange {
    keys.map_or(KeyChange::Keep, |keys| KeyChange::Install { keys, keep_receiver: false, keep_sender: false })
}
