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

pub struct Ports {
    pub rtp: Port,
    pub rtcp: Option<Port>,
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
    pub fn new(rtp: Port, rtcp: Option<Port>, silence: Nanos) -> Box<Self> {
        Box::new(Ports {
            rtp,
            rtcp,
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
        let own = self.rtcp.as_ref().filter(|_| !self.is_muxed);
        let port = own.map_or(self.rtp.port, |rtcp| rtcp.port);
        match &self.rtcp_latch {
            Some(_) if self.uses_dtls => (port, Remote::UNSPECIFIED),
            Some(latch) => (port, latch.in_use()),
            None => (port, rtp),
        }
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

    /// Both ports, as far as there are two.
    pub fn each(&mut self) -> impl Iterator<Item = (Component, &mut Port)> {
        let rtcp = self.rtcp.as_mut().map(|port| (Component::Rtcp, port));
        std::iter::once((Component::Rtp, &mut self.rtp)).chain(rtcp)
    }
}
