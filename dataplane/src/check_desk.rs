//! Sends the checks of legs whose ICE agent is a full one (RFC 8445 §6.1.4.2, RFC 7675).
//!
//! Input: legs whose checks are due, and the time. Output: STUN requests in the batch, from the leg's ports. Owns the list
//! of legs that check right now; a leg that only asks for consent every few seconds is brought back by the timers. Does not
//! know whom to check and when: that is [`Checks`]. Answers are [`crate::stun_door`]'s.
//!
//! ```text
//!   described, checked, answered --> wake --> the list --> send_due --> nothing due soon: off the list
//!                         timers, four times a second --^
//! ```

use crate::batch::{Disposition, PacketBatch};
use crate::counters::Counters;
use crate::leg::{Component, Leg, Slot};
use crate::legs::{LegTable, OwnAddrs};
use crosspoint_contract::{DropReason, LegState};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_checks::{Checks, REQUEST_BYTES_MAX};

/// Packets that one turn adds to the batch. Each costs two digests, about a microsecond.
const CHECKS_PER_TURN_MAX: usize = 16;

/// The list is gone through no more often: a tenth of the pace of one leg.
const TICK: Nanos = Nanos::from_millis(5);

/// Who has nothing to send before that is left to the timers, which come by more often.
const SOON: Nanos = Nanos::from_millis(500);

pub struct CheckDesk {
    checking: Vec<Slot>,
    next: Nanos,
}

impl CheckDesk {
    pub fn new(legs_max: usize) -> Self {
        CheckDesk { checking: Vec::with_capacity(legs_max), next: Nanos(u64::MAX) }
    }

    /// Something may have become due.
    pub fn wake(&mut self, leg: &mut Leg, now: Nanos) {
        let slot = leg.slot;
        let Some(ice) = leg.ice.as_mut() else { return };
        let Some(due) = ice.checks.as_ref().map(|checks| checks.next_due()).filter(|due| *due <= now + SOON) else {
            return;
        };
        if !std::mem::replace(&mut ice.is_checking, true) {
            self.checking.push(slot);
        }
        self.next = self.next.min(due);
    }

    /// A leg is going.
    pub fn forget(&mut self, leg: &Leg) {
        if leg.ice.as_ref().is_some_and(|ice| ice.is_checking) {
            self.checking.retain(|&slot| slot != leg.slot);
        }
    }

    pub fn next_deadline(&self) -> Option<Nanos> {
        (!self.checking.is_empty()).then_some(self.next)
    }

    /// Adds what is due to the batch.
    pub fn send_due(&mut self, batch: &mut PacketBatch, legs: &mut LegTable, now: Nanos, counters: &Counters) {
        if self.checking.is_empty() || now < self.next {
            return;
        }
        let (mut left, mut next) = (CHECKS_PER_TURN_MAX, Nanos(u64::MAX));
        self.checking.retain(|&slot| {
            let Some((leg, own)) = legs.with_own_addrs(slot) else { return false };
            while left > 0 && send_one(batch, leg, own, now, counters) {
                left -= 1;
            }
            let due = checks(leg).map(|checks| checks.next_due());
            let stays = due.is_some_and(|due| due <= now + SOON);
            if let Some(ice) = leg.ice.as_mut() {
                ice.is_checking = stays;
            }
            next = next.min(due.unwrap_or(next));
            stays
        });
        self.next = next.max(now + TICK);
    }
}

fn checks(leg: &Leg) -> Option<&Checks> {
    leg.ice.as_ref()?.checks.as_deref()
}

/// False when nothing is due.
fn send_one(batch: &mut PacketBatch, leg: &mut Leg, own: &OwnAddrs, now: Nanos, counters: &Counters) -> bool {
    let (Some(ice), Some(ports)) = (leg.ice.as_mut(), leg.ports.as_ref()) else { return false };
    let Some(checks) = ice.checks.as_mut().filter(|_| leg.state != LegState::Failed) else { return false };
    let mut request = [0; REQUEST_BYTES_MAX];
    let Some(check) = checks.poll(now, ice.rtp.ufrag(), &mut request) else { return false };
    let (component, remote) = (Component::numbered(check.component), check.addr.into());
    // What we send ourselves is nobody's answer.
    if own.contain(remote) {
        counters.drop_packet(DropReason::OwnAddress);
        return true;
    }
    let Some(port) = ports.port(component, remote) else { return true };
    let Some(i) = batch.push_new_from(port, remote) else {
        counters.drop_packet(DropReason::SendExhausted);
        return true;
    };
    batch.buffer_mut(i)[..check.len].copy_from_slice(&request[..check.len]);
    batch.set_len(i, check.len);
    batch.packet_mut(i).disposition = Disposition::Send;
    counters.stun_checks_sent.add(1);
    true
}
