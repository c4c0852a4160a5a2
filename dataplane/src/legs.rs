//! The legs of one worker, and the three ways to find one.
//!
//! Input: legs that commands bring. Output: a leg by slot, by the port a packet came to, by the validated address it came
//! from, or by the username fragment a STUN check names. Owns the legs and the maps; all are sized at start and never
//! grow. Slots are given out by the link thread, the only one that opens and closes legs.

mod own_addrs;

pub use own_addrs::OwnAddrs;

use crate::flat_map::{FlatMap, UfragKey};
use crate::io::{PortId, Remote};
use crate::leg::{ADDRESSES_PER_LEG_MAX, Component, Leg, LegHandle, NO_SLOT, Slot};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_lite::{Check, Credentials, VALIDATED_MAX};
use std::net::SocketAddr;

/// Addresses in the map, per leg on average: the selected pair, and what ICE restarts and probing leave behind.
const ADDRESSES_PER_LEG: usize = 4;

/// Username fragments in the map per leg: the one in force and that of the pair in use.
const UFRAGS_PER_LEG: usize = 2;

/// One for RTP, one for RTCP. Io numbers open ports from 1 to as many as it is told there may be.
pub const PORTS_PER_LEG: usize = 2;

/// RFC 8489 §5.
const STUN_MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Whose port it is, and what it carries.
#[derive(Clone, Copy)]
struct PortEntry {
    slot: Slot,
    component: Component,
}

const NO_PORT: PortEntry = PortEntry { slot: NO_SLOT, component: Component::Rtp };

pub struct LegTable {
    slots: Box<[Option<Box<Leg>>]>,
    /// By [`PortId`].
    by_port: Box<[PortEntry]>,
    own_addrs: OwnAddrs,
    /// Legs that pass on what is not RTP: while there are none, no packet is asked about it.
    opaque: u32,
    by_address: FlatMap<Remote>,
    by_ufrag: FlatMap<UfragKey>,
    /// Slots in use, densely, in no order.
    open: Vec<Slot>,
}

impl LegTable {
    pub fn new(legs_max: usize, seed: u64) -> Self {
        LegTable {
            slots: (0..legs_max).map(|_| None).collect(),
            by_port: vec![NO_PORT; legs_max * PORTS_PER_LEG + 1].into_boxed_slice(),
            own_addrs: OwnAddrs::new(),
            opaque: 0,
            by_address: FlatMap::new(legs_max * ADDRESSES_PER_LEG, seed),
            by_ufrag: FlatMap::new(legs_max * UFRAGS_PER_LEG, seed.rotate_left(32)),
            open: Vec::with_capacity(legs_max),
        }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The slot at a position of the dense list.
    pub fn open_slot(&self, position: usize) -> Option<Slot> {
        self.open.get(position).copied()
    }

    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&Leg> {
        self.slots.get(slot as usize)?.as_deref()
    }

    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Leg> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// The leg, unless another one has its slot by now.
    pub fn of(&mut self, handle: LegHandle) -> Option<&mut Leg> {
        self.get_mut(handle.slot).filter(|leg| leg.id == handle.leg)
    }

    /// The same, to look at.
    #[inline]
    pub fn named(&self, handle: LegHandle) -> Option<&Leg> {
        self.get(handle.slot).filter(|leg| leg.id == handle.leg)
    }

    /// A leg beside the addresses that are ours.
    #[inline]
    pub fn with_own_addrs(&mut self, slot: Slot) -> Option<(&mut Leg, &OwnAddrs)> {
        let leg = self.slots.get_mut(slot as usize)?.as_deref_mut()?;
        Some((leg, &self.own_addrs))
    }

    /// The leg that has this port.
    #[inline]
    pub fn slot_by_port(&self, port: PortId) -> Option<Slot> {
        let entry = self.by_port.get(port.0 as usize)?;
        (entry.slot != NO_SLOT).then_some(entry.slot)
    }

    /// What the port carries; RTP on the shared one.
    #[inline]
    pub fn component_of(&self, port: PortId) -> Component {
        self.by_port.get(port.0 as usize).map_or(Component::Rtp, |entry| entry.component)
    }

    /// Whether a datagram to this port is nothing that we know, and is passed on as it is. RFC 8489 §5: a check has the
    /// magic cookie; it is one only where ICE is spoken.
    #[inline]
    pub fn passes_as_it_is(&self, port: PortId, datagram: &[u8]) -> bool {
        if self.opaque == 0 || port == PortId::SHARED {
            return false;
        }
        let leg = self.slot_by_port(port).and_then(|slot| self.get(slot));
        let speaks_ice = |leg: &Leg| leg.ports.as_ref().is_some_and(|ports| ports.uses_ice);
        let is_check = || datagram.get(4..8) == Some(&STUN_MAGIC_COOKIE[..]) && datagram[0] <= 3;
        leg.is_some_and(|leg| leg.is_opaque() && !(speaks_ice(leg) && is_check()))
    }

    #[cfg(test)]
    pub(crate) fn opaque_legs(&self) -> u32 {
        self.opaque
    }

    /// A description says that the leg is opaque from now on, or not.
    pub fn set_opaque(&mut self, handle: LegHandle, is_opaque: bool) {
        let Some(relay) = self.of(handle).and_then(|leg| leg.part.relay_mut()) else { return };
        let was_opaque = std::mem::replace(&mut relay.is_opaque, is_opaque);
        self.opaque = self.opaque + u32::from(is_opaque) - u32::from(was_opaque);
    }

    /// Packets to this port are the leg's. False when there are no places for such ids.
    pub fn insert_port(&mut self, port: PortId, addr: SocketAddr, slot: Slot, component: Component) -> bool {
        let Some(entry) = self.by_port.get_mut(port.0 as usize) else { return false };
        *entry = PortEntry { slot, component };
        self.own_addrs.insert(addr);
        true
    }

    pub fn remove_port(&mut self, port: PortId, addr: SocketAddr) {
        if let Some(entry) = self.by_port.get_mut(port.0 as usize).filter(|_| port != PortId::SHARED) {
            *entry = NO_PORT;
            self.own_addrs.remove(addr);
        }
    }

    /// The leg that a datagram from this address belongs to.
    #[inline]
    pub fn slot_by_address(&self, remote: Remote) -> Option<Slot> {
        self.by_address.get(remote)
    }

    /// The leg that a STUN check for this username fragment is for.
    pub fn slot_by_ufrag(&self, ufrag: &str) -> Option<Slot> {
        self.by_ufrag.get(UfragKey::new(ufrag)?)
    }

    /// Puts a leg into its empty slot. Gives it back when the slot is taken or does not exist.
    pub fn insert(&mut self, mut leg: Box<Leg>) -> Result<(), Box<Leg>> {
        let slot = leg.slot;
        match self.slots.get_mut(slot as usize) {
            Some(place @ None) => {
                leg.position = self.open.len() as u32;
                self.open.push(slot);
                for key in ufrags(&leg) {
                    self.by_ufrag.insert(key, slot);
                }
                *place = Some(leg);
                Ok(())
            }
            _ => Err(leg),
        }
    }

    /// Takes a leg out, with everything that led to it.
    pub fn remove(&mut self, handle: LegHandle) -> Option<Box<Leg>> {
        self.of(handle)?;
        self.set_opaque(handle, false);
        let leg = self.slots[handle.slot as usize].take()?;
        for addr in leg.ice.iter().flat_map(|ice| ice.addresses.iter().flatten()) {
            self.by_address.remove((*addr).into(), handle.slot);
        }
        for key in ufrags(&leg) {
            self.by_ufrag.remove(key, handle.slot);
        }
        self.open.swap_remove(leg.position as usize);
        if let Some(&moved) = self.open.get(leg.position as usize)
            && let Some(moved) = self.get_mut(moved)
        {
            moved.position = leg.position;
        }
        Some(leg)
    }

    /// Gives the leg its next ICE credentials. Returns those that are good no more; checks with all others lead to it.
    pub fn restart_ice(&mut self, slot: Slot, ice: Credentials) -> Option<Credentials> {
        let leg = self.slots.get_mut(slot as usize).and_then(Option::as_deref_mut)?;
        let drawn = UfragKey::new(&ice.ufrag);
        let Some(agent) = &mut leg.ice else { return Some(ice) };
        let forgotten = agent.rtp.restart(ice);
        let forgotten_key = forgotten.as_ref().and_then(|ice| UfragKey::new(&ice.ufrag));
        if let Some(key) = forgotten_key {
            self.by_ufrag.remove(key, slot);
        }
        let kept = agent.ufrags.into_iter().flatten().find(|key| Some(*key) != forgotten_key);
        agent.ufrags = [drawn, kept];
        if let Some(key) = drawn {
            self.by_ufrag.insert(key, slot);
        }
        forgotten
    }

    /// A check of the leg's peer succeeded: packets from its address lead to the leg from now on, those from addresses
    /// that ICE no longer holds do not. False, and nothing has changed, when the address may not be the leg's: two legs
    /// cannot share one, and who answers a call must not be able to take another's by forging its address.
    pub fn note_check(&mut self, slot: Slot, check: Check, now: Nanos) -> bool {
        let addr = check.addr();
        if self.is_taken(addr, slot, now) || !self.by_address.insert(addr.into(), slot) {
            return false;
        }
        let leg = self.slots.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let Some(ice) = leg.and_then(|leg| leg.ice.as_mut()) else { return false };
        ice.rtp.note(now, check);
        for known in &mut ice.addresses {
            if let Some(stale) = known.filter(|known| !ice.rtp.is_validated(*known)) {
                self.by_address.remove(stale.into(), slot);
                *known = None;
            }
        }
        if !ice.addresses.contains(&Some(addr))
            && let Some(free) = ice.addresses.iter_mut().find(|known| known.is_none())
        {
            *free = Some(addr);
        }
        true
    }

    /// Whether another leg lives on this address.
    fn is_taken(&self, addr: SocketAddr, slot: Slot, now: Nanos) -> bool {
        let owner = self.by_address.get(addr.into()).filter(|&owner| owner != slot);
        owner
            .and_then(|owner| self.get(owner))
            .filter(|leg| leg.failure.is_none())
            .and_then(|leg| leg.ice.as_ref())
            .is_some_and(|ice| ice.rtp.in_use() == Some(addr) && ice.rtp.has_consent(now))
    }
}

/// What leads to the leg on the shared port; a leg with its own is found by that.
fn ufrags(leg: &Leg) -> impl Iterator<Item = UfragKey> + use<> {
    let ice = leg.ice.as_ref().filter(|_| leg.ports.is_none());
    ice.map_or([None; 2], |ice| ice.ufrags).into_iter().flatten()
}

/// Each address that ICE holds has its place here.
const _: () = assert!(ADDRESSES_PER_LEG_MAX >= VALIDATED_MAX);
