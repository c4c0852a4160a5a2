//! A call: its parties, who hears whom, and what the dataplane is to do about it.
//!
//! Input: decisions of [`crate::negotiate`] and of the commands. Output: orders for the dataplane, through a [`Kit`]. Owns the parties and the numbers of
//! the call's legs. It knows no SDP.
//!
//! ```text
//!   caller ──sources──▶ callee 1 (answered last: it hears the caller)
//!      └─────sources──▶ callee 2 (forked: the caller hears it too)
//! ```
//!
//! A leg's number holds the number of its call, so that an event finds its call without a table.

use crate::effect::Turn;
use crate::error::NgError;
use crate::keys::Draw;
use crate::limits::PARTIES_MAX;
use crate::orders::{Orders, Purpose};
use crate::party::{Deletion, Local, LocalPair, Media, Party, PartyId, Source};
use crate::ports::Ports;
use crate::sdp::MEDIA_MAX;
use crate::settings::{InterfaceAddress, Settings};
use crosspoint_contract::limits::SINKS_PER_LEG_MAX;
use crosspoint_contract::{
    CallKey, Command, FlowFilter, IceCredentials, LegId, Relaying, RtpRequest, Security, TransportRequest,
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Legs that a call may open in its life; each re-offer that needs another port takes one.
const LEG_BITS: u32 = 12;
/// Legs of this core have this bit, legs of the rest of control do not.
const OURS: u64 = crate::LEG;

#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    pub key: CallKey,
    pub id: String,
    /// Whoever signaled first.
    pub sender: SocketAddr,
    pub created_us: u64,
    pub last_signal_us: u64,
    pub parties: Vec<Party>,
    pub answered: bool,
    /// What is said of everybody's media.
    pub filter: FlowFilter,
    /// `drop-traffic`.
    pub drops_traffic: bool,
    /// `TOS`, if a request named one: of all that is sent to anybody.
    pub tos: Option<u8>,
    legs_opened: u64,
}

/// Legs of earlier descriptions that a line keeps: forks that answer in turn, and a re-offer under way.
const EARLIER_LEGS_MAX: usize = 4;

/// What a call needs of the core to act.
pub struct Kit<'a> {
    pub settings: &'a Settings,
    pub ports: &'a mut Ports,
    pub draw: &'a mut Draw,
    pub orders: &'a mut Orders,
}

/// What a leg is to be like.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub interface: Option<usize>,
    pub is_ipv6: bool,
    /// Where the other party is, if it has said so: ports are given for that place.
    pub other: Option<SocketAddr>,
    /// Ports stay wherever the other party goes (`port-latching`).
    pub stays: bool,
    pub has_rtcp: bool,
    pub ice: Option<IceCredentials>,
}

/// The call of one of our legs.
pub fn call_of(leg: LegId) -> Option<CallKey> {
    (leg.0 & OURS != 0).then_some(CallKey((leg.0 & !OURS) >> LEG_BITS))
}

/// All that a call may ever open.
pub fn legs_of(call: CallKey) -> std::ops::Range<LegId> {
    LegId(OURS | call.0 << LEG_BITS)..LegId(OURS | (call.0 + 1) << LEG_BITS)
}

impl Call {
    pub fn new(key: CallKey, id: &str, sender: SocketAddr, now_us: u64) -> Call {
        Call {
            key,
            id: id.into(),
            sender,
            created_us: now_us,
            last_signal_us: now_us,
            parties: Vec::with_capacity(2),
            answered: false,
            filter: FlowFilter::default(),
            drops_traffic: false,
            tos: None,
            legs_opened: 0,
        }
    }

    /// Refused beyond [`PARTIES_MAX`]; those that are known go on.
    pub fn add_party(&mut self, tag: &str, via_branch: Option<&str>, now_us: u64) -> Result<PartyId, NgError> {
        if self.parties.len() >= PARTIES_MAX {
            return Err(NgError::InvalidDialogue);
        }
        self.parties.push(Party::new(tag, via_branch, now_us));
        Ok(self.parties.len() - 1)
    }

    pub fn party_by_tag(&self, tag: &str) -> Option<PartyId> {
        self.parties.iter().position(|party| !tag.is_empty() && party.tag == tag)
    }

    /// Makes two parties each other's: whoever heard either by an earlier offer or answer hears it no longer.
    pub fn associate(&mut self, a: PartyId, b: PartyId) {
        for party in &mut self.parties {
            party.sources.retain(|source| !source.by_dialogue || (source.party != a && source.party != b));
        }
        self.parties[a].sources.insert(0, Source { party: b, by_dialogue: true, lines: 0..MEDIA_MAX });
        self.parties[b].sources.insert(0, Source { party: a, by_dialogue: true, lines: 0..MEDIA_MAX });
    }

    /// Who hears it.
    pub fn subscribers(&self, party: PartyId) -> impl Iterator<Item = (PartyId, &Source)> {
        self.parties.iter().enumerate().filter_map(move |(id, other)| {
            let source = other.sources.iter().find(|source| source.party == party)?;
            Some((id, source))
        })
    }

    /// Whom an offer without a to-tag goes to: the party it is in dialogue with.
    pub fn partner(&self, party: PartyId) -> Option<PartyId> {
        let by_dialogue = self.parties[party].sources.iter().find(|source| source.by_dialogue);
        by_dialogue.map(|source| source.party)
    }

    /// One of them hears the other by offer and answer.
    pub fn are_in_dialogue(&self, a: PartyId, b: PartyId) -> bool {
        let hears = |listener: PartyId, other: PartyId| {
            self.parties[listener].sources.iter().any(|source| source.by_dialogue && source.party == other)
        };
        hears(a, b) || hears(b, a)
    }

    /// Nobody is left when these parties are gone too: who never spoke for himself, as a recorder, stays as long as
    /// somebody is there to be heard.
    pub fn is_over_without(&self, parties: &[PartyId]) -> bool {
        let is_gone = |id: PartyId| parties.contains(&id) || self.parties[id].is_gone();
        let hears_nobody = |party: &Party| party.sources.iter().all(|source| is_gone(source.party));
        let mut all = self.parties.iter().enumerate();
        all.all(|(id, party)| is_gone(id) || party.description.is_none() && hears_nobody(party))
    }

    pub fn legs(&self) -> impl Iterator<Item = &Local> {
        self.parties.iter().flat_map(Party::legs)
    }

    pub fn local_mut(&mut self, leg: LegId) -> Option<&mut Local> {
        let medias = self.parties.iter_mut().flat_map(|party| &mut party.media);
        medias.flat_map(Media::legs_mut).find(|local| local.leg == leg)
    }

    /// Ports and a leg for an m-line as `wanted`; those it has stay, if they are like that. `None`: ran out of ports.
    #[must_use]
    pub fn open(
        &mut self,
        party: PartyId,
        index: usize,
        wanted: &Wanted,
        kit: &mut Kit,
        turn: &mut Turn,
    ) -> Option<()> {
        let interface = match wanted.interface {
            Some(index) => kit.settings.interfaces.get(index),
            None => kit.settings.interface(None),
        }?;
        let address = interface.address(wanted.is_ipv6)?;
        let other_address = interface.other_family(address).filter(|_| wanted.ice.is_some());
        let media = &mut self.parties[party].media[index];
        let at = LegPlace { address: address.local, has_other_family: other_address.is_some() };
        if keep(media, wanted, at) {
            return Some(());
        }
        media.keying.forget_seal(kit.draw);
        if bring_back(media, wanted, at) {
            return Some(());
        }
        let tos = self.tos.unwrap_or(kit.settings.tos);
        let leg = self.next_leg()?;
        let rtp = kit.ports.take(address.local, turn.now.monotonic_ms)?;
        let other_family = other_address.and_then(|other| take_pair(other, wanted.has_rtcp, kit.ports, turn));
        self.put_aside(party, index, address.local, kit, turn);
        let local = Local {
            leg,
            address: address.local,
            advertised: address.advertised,
            rtp,
            rtcp: wanted.has_rtcp.then_some(rtp + 1),
            other_family,
            other: wanted.other,
            ice: wanted.ice.clone(),
            tos,
            sinks: Some(Vec::new()),
            filter: Some(FlowFilter::default()),
            described: false,
            silent: false,
            connected_to: None,
            opened_us: turn.now.unix_us,
            report: Default::default(),
            streams: Vec::new(),
            read_us: turn.now.unix_us,
        };
        self.order_open(&local, kit, turn);
        self.parties[party].media[index].local = Some(local);
        Some(())
    }

    /// The leg that served a line goes on for those that have not heard yet; one that cannot, closes.
    fn put_aside(&mut self, party: PartyId, index: usize, address: IpAddr, kit: &mut Kit, turn: &mut Turn) {
        let media = &mut self.parties[party].media[index];
        let Some(local) = media.local.take() else { return };
        if local.address != address || media.is_bound_to_leg() {
            return close_leg(&local, kit, turn);
        }
        media.earlier.push(local);
        if media.earlier.len() > EARLIER_LEGS_MAX {
            close_leg(&media.earlier.remove(0), kit, turn);
        }
    }

    fn next_leg(&mut self) -> Option<LegId> {
        self.legs_opened += 1;
        (self.legs_opened < 1 << LEG_BITS).then_some(LegId(OURS | self.key.0 << LEG_BITS | self.legs_opened))
    }

    fn order_open(&self, local: &Local, kit: &mut Kit, turn: &mut Turn) {
        let request = RtpRequest {
            rtp: local.rtp_address(),
            rtcp: local.rtcp_address(),
            other_family: local.other_family.map(|pair| pair.ports()),
            ice: local.ice.clone(),
            relaying: Relaying::Translator,
            silent_ms: kit.settings.timeout_s.saturating_mul(1000),
            tos: local.tos,
        };
        let command = Command::OpenLeg { leg: local.leg, call: self.key, transport: TransportRequest::Rtp(request) };
        kit.orders.give(command, Purpose::Open { call: self.key, leg: local.leg }, turn);
    }

    /// Other ports for a leg whose ports turned out to be taken by another program. They rest as released ones do.
    #[must_use]
    pub fn reopen_elsewhere(&mut self, leg: LegId, kit: &mut Kit, turn: &mut Turn) -> Option<()> {
        let (key, rest_ms) = (self.key, kit.settings.port_rest_ms);
        let local = self.local_mut(leg)?;
        let rtp = kit.ports.take(local.address, turn.now.monotonic_ms)?;
        kit.ports.release(local.address, local.rtp, turn.now.monotonic_ms, rest_ms);
        local.rtp = rtp;
        local.rtcp = local.rtcp.map(|_| rtp + 1);
        if let Some(pair) = &mut local.other_family {
            let rtp = kit.ports.take(pair.address, turn.now.monotonic_ms)?;
            kit.ports.release(pair.address, pair.rtp, turn.now.monotonic_ms, rest_ms);
            (pair.rtp, pair.rtcp) = (rtp, pair.rtcp.map(|_| rtp + 1));
        }
        debug_assert_eq!(call_of(leg), Some(key));
        // What was said of the leg meanwhile found none: all is said again, which is harmless for the others.
        self.repeat(kit, turn);
        Some(())
    }

    /// The dataplane has refused to open it.
    pub fn drop_leg(&mut self, leg: LegId, kit: &mut Kit, turn: &mut Turn) {
        for media in self.parties.iter_mut().flat_map(|party| &mut party.media) {
            if let Some(local) = media.local.take_if(|local| local.leg == leg) {
                close_leg(&local, kit, turn);
            }
        }
        self.forward(kit, turn);
    }

    /// Ends the leg of an m-line and lets its ports rest.
    pub fn close(&mut self, party: PartyId, index: usize, kit: &mut Kit, turn: &mut Turn) {
        let media = &mut self.parties[party].media[index];
        for local in media.local.take().into_iter().chain(std::mem::take(&mut media.earlier)) {
            close_leg(&local, kit, turn);
        }
    }

    pub fn close_party(&mut self, party: PartyId, kit: &mut Kit, turn: &mut Turn) {
        for index in 0..self.parties[party].media.len() {
            self.close(party, index, kit, turn);
        }
        self.parties[party].deleted = Some(Deletion::Done);
        self.forward(kit, turn);
    }

    /// Tells the dataplane who hears whom and what is blocked, as far as it has changed.
    pub fn forward(&mut self, kit: &mut Kit, turn: &mut Turn) {
        for party in 0..self.parties.len() {
            for index in 0..self.parties[party].media.len() {
                self.forward_media(party, index, kit, turn);
            }
        }
    }

    fn forward_media(&mut self, party: PartyId, index: usize, kit: &mut Kit, turn: &mut Turn) {
        if self.parties[party].media[index].local.is_none() {
            return;
        }
        let blocked = &self.parties[party].blocked;
        let listeners = self.subscribers(party).filter(|(other, _)| !blocked.contains(other));
        let sinks: Vec<LegId> = listeners
            .filter_map(|(other, source)| self.leg_of(other, source.line(index)?))
            .take(SINKS_PER_LEG_MAX)
            .collect();
        let filter = either(self.parties[party].filter, self.filter, self.drops_traffic);
        let purpose = Purpose::Change { call: self.key };
        for local in self.parties[party].media[index].legs_mut() {
            if local.sinks.as_ref() != Some(&sinks) {
                let before = local.sinks.replace(sinks.clone());
                let command = Command::Forward { source: local.leg, sinks: sinks.clone() };
                // What had nobody to go to went nowhere; whoever is no sink any more must not hear a packet after the reply.
                match before.is_some_and(|before| before.is_empty()) {
                    true => kit.orders.promise(command, purpose, turn),
                    false => kit.orders.give(command, purpose, turn),
                }
            }
            if local.filter != Some(filter) {
                local.filter = Some(filter);
                kit.orders.give(Command::Filter { leg: local.leg, filter }, purpose, turn);
            }
        }
    }

    fn leg_of(&self, party: PartyId, index: usize) -> Option<LegId> {
        Some(self.parties[party].media.get(index)?.local.as_ref()?.leg)
    }

    /// A leg of ours is gone, though nobody closed it. What it sealed with would repeat its key stream on another: until the
    /// call is signaled anew, the party cannot open what it is sent.
    pub fn lose(&mut self, leg: LegId, kit: &mut Kit) {
        let mut medias = self.parties.iter_mut().flat_map(|party| &mut party.media);
        let Some(media) = medias.find(|media| media.local.as_ref().is_some_and(|local| local.leg == leg)) else {
            return;
        };
        media.keying.forget_seal(kit.draw);
        if let Some(local) = &mut media.local {
            local.silent = false;
        }
    }

    /// Says everything anew: to another dataplane, or to one that was too busy before.
    pub fn repeat(&mut self, kit: &mut Kit, turn: &mut Turn) {
        for media in self.parties.iter_mut().flat_map(|party| &mut party.media) {
            for local in std::mem::take(&mut media.earlier) {
                close_leg(&local, kit, turn);
            }
        }
        for local in self.legs() {
            self.order_open(local, kit, turn);
        }
        for (party, index) in self.media_indices() {
            let Some(local) = &mut self.parties[party].media[index].local else { continue };
            (local.sinks, local.filter) = (None, None);
            if std::mem::take(&mut local.described) {
                self.describe(party, index, kit, turn);
            }
        }
        self.forward(kit, turn);
    }

    pub fn media_indices(&self) -> Vec<(PartyId, usize)> {
        let parties = self.parties.iter().enumerate();
        parties.flat_map(|(id, party)| (0..party.media.len()).map(move |index| (id, index))).collect()
    }

    /// Tells the dataplane what is known of the party behind a leg, if that is enough to relay.
    pub fn describe(&mut self, party: PartyId, index: usize, kit: &mut Kit, turn: &mut Turn) {
        let is_one_way = self.is_one_way(party, index);
        let tos = self.tos.unwrap_or(kit.settings.tos);
        let of = &mut self.parties[party];
        let was_offered = of.was_offered;
        let media = &mut of.media[index];
        let Some(remote) = crate::remote::of(media, was_offered, is_one_way, tos, kit.settings) else { return };
        let purpose = Purpose::Change { call: self.key };
        let Some(local) = &mut media.local else { return };
        let was_described = std::mem::replace(&mut local.described, true);
        if kit.orders.is_attached() {
            let seals = match &remote.security {
                Security::Sdes { send, .. } => Some(send.clone()),
                _ => None,
            };
            media.keying.seal_with(seals, kit.draw);
        }
        let command = Command::SetRtpRemote { leg: local.leg, remote };
        // Before the first description nobody is listened to; another may shut somebody out.
        match was_described {
            false => kit.orders.promise(command, purpose, turn),
            true => kit.orders.give(command, purpose, turn),
        }
    }

    /// The party was asked to listen (`subscribe`), or either side's request says that media flows one way.
    fn is_one_way(&self, party: PartyId, index: usize) -> bool {
        let of_line = self.parties.iter().filter_map(|party| party.media.get(index));
        self.parties[party].is_mere_listener() || of_line.into_iter().any(|media| media.treatment.unidirectional)
    }

    /// No leg is left that hears anything. Of those whose party has not answered yet, the dataplane says nothing; a call
    /// that nobody has answered has its own time.
    pub fn is_silent(&self) -> bool {
        self.answered && self.legs().filter(|local| local.described).all(|local| local.silent)
    }

    /// How long it may be silent: as long as the most patient of its lines, as in rtpengine.
    pub fn patience_s(&self, settings: &Settings) -> u32 {
        let open = self.parties.iter().flat_map(|party| &party.media).filter(|media| media.local.is_some());
        let patience = |media: &Media| match &media.heard {
            None => settings.offer_timeout_s.max(settings.timeout_s),
            Some(heard) if heard.rtp.ip().is_unspecified() || !media.direction.sends() => settings.silent_timeout_s,
            Some(_) => settings.timeout_s,
        };
        open.map(patience).max().unwrap_or(settings.silent_timeout_s)
    }
}

/// What either says, holds.
fn either(of_party: FlowFilter, of_call: FlowFilter, drops_traffic: bool) -> FlowFilter {
    FlowFilter {
        media_blocked: of_party.media_blocked || of_call.media_blocked || drops_traffic,
        digits_blocked: of_party.digits_blocked || of_call.digits_blocked,
        silenced: of_party.silenced || of_call.silenced,
    }
}

/// The leg that a line has can go on.
fn keep(media: &mut Media, wanted: &Wanted, at: LegPlace) -> bool {
    let may_move = !wanted.stays && !media.is_bound_to_leg();
    let Some(local) = media.local.as_mut().filter(|local| fits(local, wanted, at)) else { return false };
    match (local.other, wanted.other) {
        (Some(before), Some(now)) if before != now => !may_move,
        (None, now) => {
            local.other = now;
            true
        }
        _ => true,
    }
}

/// An earlier leg was given for the place where the other party is now.
fn bring_back(media: &mut Media, wanted: &Wanted, at: LegPlace) -> bool {
    let meant = |local: &Local| local.other == wanted.other && fits(local, wanted, at);
    let Some(position) = media.earlier.iter().position(meant) else { return false };
    let back = media.earlier.remove(position);
    media.earlier.extend(media.local.replace(back));
    true
}

/// Where a leg is wanted.
#[derive(Clone, Copy)]
struct LegPlace {
    address: IpAddr,
    /// With ports in both families.
    has_other_family: bool,
}

/// Whether a leg can go on as it is. One that is in use does, though it has ports in one family only.
fn fits(local: &Local, wanted: &Wanted, at: LegPlace) -> bool {
    let has_families = local.described || local.other_family.is_some() >= at.has_other_family;
    local.address == at.address && local.rtcp.is_some() >= wanted.has_rtcp && has_families
}

/// Ends a leg; its ports rest.
pub fn close_leg(local: &Local, kit: &mut Kit, turn: &mut Turn) {
    close_leg_for(Purpose::Close { leg: local.leg }, local, kit, turn);
}

/// The same, where its last figures are for somebody. With a board they are read before: nobody waits for the end itself.
pub fn close_leg_for(purpose: Purpose, local: &Local, kit: &mut Kit, turn: &mut Turn) {
    let leg = local.leg;
    match kit.orders.may_promise() {
        true => {
            kit.orders.give(Command::ReadLeg { leg }, purpose, turn);
            kit.orders.promise(Command::CloseLeg { leg }, Purpose::Closing { leg }, turn);
        }
        false => kit.orders.give(Command::CloseLeg { leg }, purpose, turn),
    }
    for (address, rtp) in local.pairs() {
        kit.ports.release(address, rtp, turn.now.monotonic_ms, kit.settings.port_rest_ms);
    }
}

/// Ports on a second address; without any, the first has to do.
fn take_pair(at: InterfaceAddress, has_rtcp: bool, ports: &mut Ports, turn: &Turn) -> Option<LocalPair> {
    let rtp = ports.take(at.local, turn.now.monotonic_ms)?;
    Some(LocalPair { address: at.local, advertised: at.advertised, rtp, rtcp: has_rtcp.then_some(rtp + 1) })
}

/// A media line as the call knows it before any description was read.
pub fn blank_media(kind: &crate::sdp::MediaKind, protocol: &crate::sdp::Protocol, settings: &Settings) -> Media {
    Media::new(kind.clone(), protocol.clone(), settings.learning)
}
