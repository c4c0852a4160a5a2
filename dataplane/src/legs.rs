//! The legs of one worker, and the two ways to find one.
//!
//! Input: legs that commands bring. Output: a leg by slot, by the validated address a packet came from, or by the
//! username fragment a STUN check names. Owns the legs and both maps; all are sized at start and never grow. Slots are
//! given out by the link thread, the only one that opens and closes legs.

use crate::flat_map::{FlatMap, UfragKey};
use crate::io::Remote;
use crate::leg::{Leg, LegHandle, Slot};
use crosspoint_wire::ice_lite::Credentials;
use std::net::SocketAddr;

/// Addresses in the map, per leg on average: the selected pair, and what ICE restarts and probing leave behind.
const ADDRESSES_PER_LEG: usize = 4;

/// Username fragments in the map per leg: the one in force and the one an ICE restart replaces.
const UFRAGS_PER_LEG: usize = 2;

pub struct LegTable {
    slots: Box<[Option<Box<Leg>>]>,
    by_address: FlatMap<Remote>,
    by_ufrag: FlatMap<UfragKey>,
    /// Slots in use, densely, in no order.
    open: Vec<Slot>,
}

impl LegTable {
    pub fn new(legs_max: usize, seed: u64) -> Self {
        LegTable {
            slots: (0..legs_max).map(|_| None).collect(),
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
                for key in leg.ufrags.into_iter().flatten() {
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
        let leg = self.slots[handle.slot as usize].take()?;
        for addr in leg.addresses.iter().flatten() {
            self.by_address.remove((*addr).into(), handle.slot);
        }
        for key in leg.ufrags.iter().flatten() {
            self.by_ufrag.remove(*key, handle.slot);
        }
        self.open.swap_remove(leg.position as usize);
        if let Some(&moved) = self.open.get(leg.position as usize)
            && let Some(moved) = self.get_mut(moved)
        {
            moved.position = leg.position;
        }
        Some(leg)
    }

    /// Draws the leg's next ICE credentials in: checks with the old ones still lead to it.
    pub fn restart_ice(&mut self, slot: Slot, ice: Credentials) {
        let Some(leg) = self.slots.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return };
        if let Some(forgotten) = leg.ufrags[1].take() {
            self.by_ufrag.remove(forgotten, slot);
        }
        leg.ufrags = [UfragKey::new(&ice.ufrag), leg.ufrags[0]];
        if let Some(key) = leg.ufrags[0] {
            self.by_ufrag.insert(key, slot);
        }
        leg.ice.restart(ice);
    }

    /// An address was validated: it leads to this leg from now on, and those that ICE no longer holds do not.
    pub fn add_address(&mut self, addr: SocketAddr, slot: Slot) -> bool {
        let Some(leg) = self.slots.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return false };
        for known in &mut leg.addresses {
            if let Some(stale) = known.filter(|known| *known != addr && !leg.ice.is_validated(*known)) {
                self.by_address.remove(stale.into(), slot);
                *known = None;
            }
        }
        if leg.addresses.contains(&Some(addr)) {
            return self.by_address.insert(addr.into(), slot);
        }
        let Some(free) = leg.addresses.iter_mut().find(|known| known.is_none()) else { return false };
        let added = self.by_address.insert(addr.into(), slot);
        *free = added.then_some(addr);
        added
    }
}
