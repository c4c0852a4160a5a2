//! The UDP ports of a leg that has its own, and what it knows of its peer's addresses.
//!
//! Input: claimed ports, the peer's description, sources of packets. Output: where packets of each component leave from and
//! go to. Owns one [`Latch`] a component. Does not open or close ports: the worker's commands do, with its io.

use super::latch::{Latch, Reach};
use crate::io::{PortId, PortSpec, Remote};
use crosspoint_contract::{LearnFrom, Learning};
use crosspoint_wire::Nanos;
use std::net::SocketAddr;

/// RFC 8445 §4: what a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Component {
    /// RTP, and RTCP where it is muxed; DTLS.
    Rtp,
    /// RTCP alone.
    Rtcp,
}

impl Component {
    /// As `wire::ice_checks` numbers them.
    pub fn numbered(number: usize) -> Component {
        if number == 0 { Component::Rtp } else { Component::Rtcp }
    }
}

/// One port of ours.
pub struct Port {
    /// [`PortId::SHARED`] until the worker has opened it.
    pub port: PortId,
    pub local: SocketAddr,
    pub spec: PortSpec,
}

impl Port {
    pub fn new(local: SocketAddr, spec: PortSpec) -> Self {
        Port { port: PortId::SHARED, local, spec }
    }
}

/// The ports of the address family that is not the leg's first: only a pair that ICE has validated uses them.
pub struct OtherFamily {
    pub rtp: Port,
    pub rtcp: Option<Port>,
}

pub struct Ports {
    pub rtp: Port,
    pub rtcp: Option<Port>,
    pub other_family: Option<Box<OtherFamily>>,
    /// Of RTP; `Leg::remote` is its address in use.
    pub latch: Latch,
    /// Where RTCP goes, when it does not go where RTP goes.
    pub rtcp_latch: Option<Latch>,
    /// RFC 5761: RTCP leaves from the port of RTP, whether or not it has one of its own.
    pub is_muxed: bool,
    pub learning: Learning,
    /// The peer's description is there: before, nobody is listened to.
    pub is_described: bool,
    /// Only validated pairs count.
    pub uses_ice: bool,
    pub uses_dtls: bool,
    /// A peer that is not heard for so long is silent; zero: it never is.
    pub silence: Nanos,
}

impl Ports {
    pub fn new(rtp: Port, rtcp: Option<Port>, other_family: Option<Box<OtherFamily>>, silence: Nanos) -> Box<Self> {
        Box::new(Ports {
            rtp,
            rtcp,
            other_family,
            latch: Latch::default(),
            rtcp_latch: None,
            is_muxed: false,
            learning: Learning { from: LearnFrom::Nothing, window_ms: 0, strict_source: true, media_handover: false },
            is_described: false,
            uses_ice: false,
            uses_dtls: false,
            silence,
        })
    }

    /// Where RTCP leaves from, and goes when RTP goes to `rtp`. RFC 5764 §4.1: keys of a DTLS association are for the port
    /// pair it ran on, so without multiplexing our RTCP has none and stays here.
    #[inline]
    pub fn rtcp_path(&self, rtp: Remote) -> (PortId, Remote) {
        let remote = match &self.rtcp_latch {
            Some(_) if self.uses_dtls => Remote::UNSPECIFIED,
            Some(latch) => latch.in_use(),
            None => rtp,
        };
        let own = self.port(Component::Rtcp, remote).filter(|_| !self.is_muxed);
        (own.unwrap_or_else(|| self.rtp_port(remote)), remote)
    }

    /// Whether RTCP may go there. What it is sent to beside media that is heard is no stranger's host.
    pub fn rtcp_reach(&self) -> Reach {
        match &self.rtcp_latch {
            Some(latch) if latch.reach() == Reach::Held || !self.is_beside_rtp(latch.in_use()) => latch.reach(),
            Some(latch) => match self.latch.reach() {
                Reach::Open => Reach::Open,
                _ => latch.reach(),
            },
            None => self.latch.reach(),
        }
    }

    fn is_beside_rtp(&self, rtcp: Remote) -> bool {
        rtcp.ip() == self.latch.in_use().ip()
    }

    /// RTCP came from here: the host that media goes to is a peer of ours, if it is the same one. Of a peer that sends from
    /// elsewhere (`asymmetric`) every source speaks.
    pub fn hear_beside(&mut self, rtcp: Remote) {
        if self.is_beside_rtp(rtcp) || self.learning.from == LearnFrom::Nothing {
            self.latch.vouch();
        }
    }

    /// An RTCP packet goes there.
    pub fn count_rtcp_sent(&mut self) {
        self.rtcp_latch.as_mut().unwrap_or(&mut self.latch).count_sent();
    }

    /// The port that RTP to an address leaves from.
    #[inline]
    pub fn rtp_port(&self, remote: Remote) -> PortId {
        self.other(remote).map_or(self.rtp.port, |other| other.rtp.port)
    }

    /// The port of a component towards an address, if it has one of its own.
    pub fn port(&self, component: Component, remote: Remote) -> Option<PortId> {
        let rtcp = match (component, self.other(remote)) {
            (Component::Rtp, _) => return Some(self.rtp_port(remote)),
            (Component::Rtcp, Some(other)) => &other.rtcp,
            (Component::Rtcp, None) => &self.rtcp,
        };
        rtcp.as_ref().map(|port| port.port)
    }

    /// Our address towards another one.
    pub fn local(&self, remote: Remote) -> SocketAddr {
        self.other(remote).map_or(self.rtp.local, |other| other.rtp.local)
    }

    /// Whether an address is not of the other family.
    #[inline]
    pub fn is_first_family(&self, remote: Remote) -> bool {
        self.other(remote).is_none()
    }

    #[inline]
    fn other(&self, remote: Remote) -> Option<&OtherFamily> {
        self.other_family.as_deref().filter(|other| other.rtp.local.is_ipv4() == remote.is_ipv4())
    }

    /// All ports that there are.
    pub fn each(&mut self) -> impl Iterator<Item = (Component, &mut Port)> {
        let (mut others, mut others_rtcp) = (None, None);
        if let Some(other) = self.other_family.as_deref_mut() {
            (others, others_rtcp) = (Some(&mut other.rtp), other.rtcp.as_mut());
        }
        let rtp = std::iter::once(&mut self.rtp).chain(others).map(|port| (Component::Rtp, port));
        let rtcp = self.rtcp.iter_mut().chain(others_rtcp).map(|port| (Component::Rtcp, port));
        rtp.chain(rtcp)
    }
}
