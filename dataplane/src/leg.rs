//! One leg as its worker holds it.
//!
//! Input: made by the link thread, filled by commands, STUN checks, the lobby's keys and packets. Owns the SRTP
//! contexts of one peer and what the leg's kind keeps of its streams. A leg arrives at its worker in its own memory and
//! leaves in it, so that the worker allocates nothing. Decides nothing about packets: that is what stages do.
//!
//! ```text
//!  line 0     id, keys, last_heard, remote address, state, directions, protection
//!  line 1     part: Session (an end of RTP sessions) or Relay (a translator)
//!             ports: own UDP ports and what was learnt of the peer's addresses; none on the worker's shared port
//!             ice
//!  then       figures, deadlines, what others were told
//! ```
//!
//! What only some legs need is behind a pointer: a plain relayed leg is a kilobyte or two, and a carrier has thousands.

pub mod change;
pub mod latch;
pub mod ports;
pub mod relay;
pub mod session;

pub use change::{ChecksChange, KeyChange, NewIce, RtpChange};
pub use ports::{Component, OtherFamily, Port, Ports};
pub use relay::Relay;
pub use session::{
    Description, DigitSending, IncomingStream, MidExtension, OutgoingStream, PayloadType, Session, SessionSeed,
    UNMAPPED, medium,
};

use crate::counters::Counters;
use crate::flat_map::UfragKey;
use crate::io::{PortId, Remote};
use crate::leg::latch::Reach;
use crosspoint_contract::{
    Direction, Directions, DropReason, LegFailure, LegId, LegReport, LegState, Medium, SrtpSuite,
};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_checks::Checks;
use crosspoint_wire::ice_lite::{Credentials, IceLite};
use crosspoint_wire::srtp::{SrtpReceiver, SrtpSender};
use std::net::SocketAddr;

/// Place of a leg in its worker's table.
pub type Slot = u32;

/// No slot.
pub const NO_SLOT: Slot = Slot::MAX;

/// A leg's place and name. The name tells a leg from an earlier one in the same place, because it is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegHandle {
    pub slot: Slot,
    pub leg: LegId,
}

/// Addresses that may be known to belong to one leg: those of its validated ICE pairs.
pub const ADDRESSES_PER_LEG_MAX: usize = 8;

/// DTLS datagrams of one leg between two visits of the timers. A handshake needs about eight; more is a flood.
pub const KNOCKS_PER_VISIT_MAX: u8 = 32;

/// Facts that one leg may tell control between two visits of the timers, four a second. A finger is slower; more is a
/// flood, which must not fill the ring that all legs share.
pub const FACTS_PER_VISIT_MAX: u8 = 8;

#[repr(C, align(64))]
pub struct Leg {
    pub id: LegId,
    pub keys: Option<Box<Keys>>,
    /// When its peer last sent authentic media.
    pub last_heard: Nanos,
    /// Where its packets go: the selected pair, or what was signaled or learnt; [`Remote::UNSPECIFIED`] before.
    pub remote: Remote,
    pub slot: Slot,
    pub state: LegState,
    pub directions: Directions,
    pub protection: Protection,
    /// Known with the keys.
    pub suite: Option<SrtpSuite>,
    /// Why it failed, when it did.
    pub failure: Option<LegFailure>,
    pub silent: bool,
    /// Whether media may go to `remote`.
    pub reach: Reach,
    /// DTLS datagrams that may still go to the lobby before the next visit of the timers.
    pub knocks_left: u8,
    /// Facts that may still be told to control at once before the next visit: digits, and moves.
    pub facts_left: u8,

    pub part: Part,
    pub ports: Option<Box<Ports>>,
    pub ice: Option<Box<Ice>>,
    /// Position in the table's dense list.
    pub position: u32,
    /// A packet has come to it or left from it, and control knows that it has figures.
    pub is_touched: bool,
    pub opened: Nanos,
    pub figures: Figures,
    pub deadlines: Deadlines,
    pub told: Told,
}

const _: () = assert!(std::mem::offset_of!(Leg, part) == 64);
const _: () = assert!(size_of::<Leg>() <= 384, "a plain relayed leg must stay small");

/// What packets of a leg are protected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protection {
    /// SRTP; nothing passes without keys.
    Srtp,
    /// Nothing at all: RTP/AVP.
    Plain,
}

/// What a leg is to the RTP sessions it takes part in.
pub enum Part {
    /// An end: own SSRCs, own reports.
    End(Box<Session>),
    /// RFC 3550 §7.2.
    Translator(Box<Relay>),
}

impl Part {
    #[inline]
    pub fn session(&self) -> Option<&Session> {
        match self {
            Part::End(session) => Some(session),
            Part::Translator(_) => None,
        }
    }

    #[inline]
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        match self {
            Part::End(session) => Some(session),
            Part::Translator(_) => None,
        }
    }

    #[inline]
    pub fn relay(&self) -> Option<&Relay> {
        match self {
            Part::End(_) => None,
            Part::Translator(relay) => Some(relay),
        }
    }

    #[inline]
    pub fn relay_mut(&mut self) -> Option<&mut Relay> {
        match self {
            Part::End(_) => None,
            Part::Translator(relay) => Some(relay),
        }
    }
}

/// The two SRTP contexts of a leg: made by the lobby or the link thread, because expanding keys allocates.
pub struct Keys {
    /// What the peer protects with.
    pub suite: SrtpSuite,
    pub receiver: SrtpReceiver,
    pub sender: SrtpSender,
}

/// ICE of one leg, one agent a component.
pub struct Ice {
    pub rtp: IceLite,
    /// For a port of its own for RTCP.
    pub rtcp: Option<IceLite>,
    /// Of a full agent, which checks its peer.
    pub checks: Option<Box<Checks>>,
    /// It is on the list of those that check right now.
    pub is_checking: bool,
    /// What the table's address map holds for this leg; nothing for a leg with own ports.
    pub addresses: [Option<SocketAddr>; ADDRESSES_PER_LEG_MAX],
    /// What the table's username map holds for this leg: the fragment in force, and that of the pair in use.
    pub ufrags: [Option<UfragKey>; 2],
}

impl Ice {
    pub fn new(credentials: Credentials) -> Box<Self> {
        Box::new(Ice {
            addresses: [None; ADDRESSES_PER_LEG_MAX],
            ufrags: [UfragKey::new(&credentials.ufrag), None],
            rtp: IceLite::new(credentials),
            rtcp: None,
            checks: None,
            is_checking: false,
        })
    }

    #[inline]
    pub fn of(&mut self, component: Component) -> &mut IceLite {
        match (component, &mut self.rtcp) {
            (Component::Rtcp, Some(rtcp)) => rtcp,
            _ => &mut self.rtp,
        }
    }
}

/// `None` is "not awaited".
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadlines {
    pub connect: Option<Nanos>,
    pub rtcp: Option<Nanos>,
    pub report: Option<Nanos>,
}

/// What others know of the leg. Where it differs from the leg itself, something has yet to be said; the timers repeat what
/// found a ring full.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Control: state, address and silence.
    pub state: LegState,
    pub remote: Remote,
    pub silent: bool,
    /// Why the peer cannot be reached for now.
    pub unreachable: Option<LegFailure>,
    /// The lobby: what it sends arrives.
    pub reachable: bool,
}

impl Default for Told {
    fn default() -> Self {
        Told {
            state: LegState::Opening,
            remote: Remote::UNSPECIFIED,
            silent: false,
            unreachable: None,
            reachable: false,
        }
    }
}

/// What `LegReport` needs beside the streams' own figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub packets_received: u64,
    pub payload_bytes_received: u64,
    pub packets_sent: u64,
    pub payload_bytes_sent: u64,
    pub packets_dropped: u64,
    pub round_trip_us: u32,
    pub remote_packets_lost: i64,
    pub remote_jitter_us: u32,
    pub rtcp_packets_received: u64,
    pub rtcp_bytes_received: u64,
}

/// What the link thread draws for a new WebRTC leg.
pub struct LegSeed {
    pub handle: LegHandle,
    pub ice: Credentials,
    pub session: SessionSeed,
}

impl Leg {
    /// A leg on the worker's shared port.
    pub fn new(seed: LegSeed) -> Box<Self> {
        let LegSeed { handle, ice, session } = seed;
        Self::with(handle, Part::End(Session::new(session)), None, Some(Ice::new(ice)))
    }

    /// A leg with ports of its own.
    pub fn with_ports(handle: LegHandle, part: Part, ports: Box<Ports>, ice: Option<Box<Ice>>) -> Box<Self> {
        Self::with(handle, part, Some(ports), ice)
    }

    fn with(handle: LegHandle, part: Part, ports: Option<Box<Ports>>, ice: Option<Box<Ice>>) -> Box<Self> {
        Box::new(Leg {
            id: handle.leg,
            keys: None,
            last_heard: Nanos::ZERO,
            remote: Remote::UNSPECIFIED,
            slot: handle.slot,
            state: LegState::Opening,
            directions: Directions::default(),
            protection: Protection::Srtp,
            suite: None,
            failure: None,
            silent: false,
            reach: Reach::Open,
            knocks_left: KNOCKS_PER_VISIT_MAX,
            facts_left: FACTS_PER_VISIT_MAX,
            part,
            ports,
            ice,
            position: 0,
            is_touched: false,
            opened: Nanos::ZERO,
            figures: Figures::default(),
            deadlines: Deadlines::default(),
            told: Told::default(),
        })
    }

    /// Whether anything may be sent: there is an address, what it takes to protect packets, and nothing has failed.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.remote != Remote::UNSPECIFIED && self.may_protect() && self.failure.is_none()
    }

    /// Why nothing may be sent to the peer as far as its address goes, if so.
    #[inline]
    pub fn may_reach(&self, is_media: bool) -> Result<(), DropReason> {
        let reach = match &self.ports {
            Some(ports) if !is_media => ports.rtcp_reach(),
            _ => self.reach,
        };
        match reach {
            Reach::Open | Reach::Counted => Ok(()),
            Reach::Spent => Err(DropReason::PeerNeverSpoke),
            Reach::Held => Err(DropReason::DirectionForbids),
        }
    }

    /// Something goes to the peer.
    #[inline]
    pub fn count_reach(&mut self, is_media: bool) {
        if is_media && self.reach == Reach::Counted {
            self.ports.iter_mut().for_each(|ports| ports.latch.count_sent());
            self.update_reach();
        } else if !is_media {
            self.ports.iter_mut().for_each(|ports| ports.count_rtcp_sent());
        }
    }

    /// After anything that its latch was told.
    #[cold]
    pub fn update_reach(&mut self) {
        self.reach = self.ports.as_ref().map_or(Reach::Open, |ports| ports.latch.reach());
    }

    /// It carries what is not RTP.
    #[inline]
    pub fn is_opaque(&self) -> bool {
        self.part.relay().is_some_and(|relay| relay.is_opaque)
    }

    #[inline]
    pub fn may_protect(&self) -> bool {
        self.keys.is_some() || self.protection == Protection::Plain
    }

    /// Where RTP, DTLS and answers of the kind leave from and go to.
    #[inline]
    pub fn rtp_path(&self) -> (PortId, Remote) {
        (self.ports.as_ref().map_or(PortId::SHARED, |ports| ports.rtp_port(self.remote)), self.remote)
    }

    /// The same for RTCP; the address is [`Remote::UNSPECIFIED`] when there is none.
    #[inline]
    pub fn rtcp_path(&self) -> (PortId, Remote) {
        match &self.ports {
            Some(ports) => ports.rtcp_path(self.remote),
            None => (PortId::SHARED, self.remote),
        }
    }

    /// Where packets go, when that is known.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        (self.remote != Remote::UNSPECIFIED).then(|| self.remote.into())
    }

    /// It has figures from now on.
    #[inline]
    pub fn touch(&mut self, counters: &Counters) {
        if !self.is_touched {
            self.is_touched = true;
            counters.board.touch(self.handle());
        }
    }

    pub fn handle(&self) -> LegHandle {
        LegHandle { slot: self.slot, leg: self.id }
    }

    pub fn direction(&self, medium: Medium) -> Direction {
        *self.directions.of(medium)
    }

    /// Whether its description lets the peer send to us.
    #[inline]
    pub fn may_receive(&self, medium: Medium) -> bool {
        self.direction(medium).receives()
    }

    /// Whether its description lets us send to the peer.
    #[inline]
    pub fn may_send(&self, medium: Medium) -> bool {
        self.direction(medium).sends()
    }

    /// How the leg fares now. `shared_addr` is where legs without own ports receive.
    pub fn report(&self, shared_addr: SocketAddr) -> LegReport {
        let (packets_lost, jitter_us) = match &self.part {
            Part::End(session) => session.loss_and_jitter(),
            Part::Translator(relay) => relay.loss_and_jitter(),
        };
        let local_addr = self.ports.as_ref().map_or(shared_addr, |ports| ports.local(self.remote));
        LegReport {
            packets_received: self.figures.packets_received,
            bytes_received: self.figures.payload_bytes_received,
            packets_sent: self.figures.packets_sent,
            bytes_sent: self.figures.payload_bytes_sent,
            packets_lost,
            jitter_us,
            round_trip_us: self.figures.round_trip_us,
            remote_packets_lost: self.figures.remote_packets_lost,
            remote_jitter_us: self.figures.remote_jitter_us,
            local_addr: self.remote_addr().map(|_| local_addr),
            remote_addr: self.remote_addr(),
            suite: self.suite,
            packets_dropped: self.figures.packets_dropped,
            rtcp_packets_received: self.figures.rtcp_packets_received,
            rtcp_bytes_received: self.figures.rtcp_bytes_received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a carrier has thousands of: two legs a call, without keys and ICE.
    const PLAIN_RELAYED_LEG_BYTES_MAX: usize = 3 << 10;

    #[test]
    fn plain_relayed_leg_stays_small() {
        let (leg, ports, relay) = (size_of::<Leg>(), size_of::<Ports>(), size_of::<Relay>());
        let (session, ice, keys) = (size_of::<Session>(), size_of::<Ice>(), size_of::<Keys>());
        println!("leg {leg}, ports {ports}, relay {relay}; session {session}, ice {ice}, keys {keys} bytes");
        assert!(leg + ports + relay <= PLAIN_RELAYED_LEG_BYTES_MAX, "{leg} + {ports} + {relay}");
    }
}
