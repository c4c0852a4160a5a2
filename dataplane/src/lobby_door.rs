//! The worker's side of the lobby: DTLS goes there, handshake answers and keys come back.
//!
//! Input: DTLS packets of a batch whose source was admitted; the lobby's admissions. Output: knocks for the
//! lobby, datagrams for the peer, keys in the leg. Owns nothing. Does not look into DTLS.

use crate::batch::{Disposition, PacketBatch};
use crate::counters::Counters;
use crate::io::Remote;
use crate::leg::{Keys, Leg, LegHandle};
use crate::legs::LegTable;
use crate::outlets::Outlets;
use crate::queues::{Admission, Datagram, Spent};
use crate::stages::DTLS;
use crosspoint_contract::{DropReason, LegFailure, LegState};
use crosspoint_wire::Nanos;

/// Admissions taken in one turn: half a batch, so that timers find room too.
const ADMISSIONS_PER_TURN_MAX: usize = 64;

/// Hands the batch's DTLS to the lobby.
pub fn pass_dtls(batch: &mut PacketBatch, legs: &mut LegTable, outlets: &mut Outlets, counters: &Counters) {
    for i in 0..batch.len() {
        if !batch.packet(i).awaits(DTLS) {
            continue;
        }
        let Some(leg) = legs.get_mut(batch.packet(i).leg) else { continue };
        let source = batch.packet(i).remote;
        let seeks_peer = leg.ports.as_ref().is_some_and(|ports| !ports.uses_ice);
        let stranger = (seeks_peer && source != leg.remote).then_some(source);
        if leg.knocks_left > 0 && outlets.knock(leg.handle(), stranger, batch.bytes(i)) {
            leg.knocks_left -= 1;
            batch.packet_mut(i).disposition = Disposition::Taken;
        } else {
            leg.figures.packets_dropped += 1;
            batch.drop_packet(i, DropReason::DtlsOverflow, counters);
        }
    }
}

/// Takes what the lobby has for this worker; packets for peers join the batch, ready to be sent.
pub fn admit(batch: &mut PacketBatch, legs: &mut LegTable, outlets: &mut Outlets, now: Nanos, counters: &Counters) {
    for _ in 0..ADMISSIONS_PER_TURN_MAX {
        let Ok(admission) = outlets.ends.from_lobby.pop() else { return };
        match admission {
            Admission::Datagram { leg, stranger, datagram } => {
                send_datagram(batch, legs, leg, stranger, &datagram, counters);
            }
            Admission::Keys { leg, moved, keys } => {
                if let Err(keys) = install(legs, leg, moved, keys, now, outlets) {
                    outlets.give_back(Spent::Keys(keys));
                }
            }
            Admission::Failed { leg, why } => {
                if let Some(leg) = legs.of(leg) {
                    fail(leg, why, outlets, now);
                }
            }
        }
    }
}

fn send_datagram(
    batch: &mut PacketBatch,
    legs: &mut LegTable,
    leg: LegHandle,
    stranger: Option<Remote>,
    datagram: &Datagram,
    counters: &Counters,
) {
    let open = |leg: &&mut Leg| (stranger.is_some() || leg.remote_addr().is_some()) && leg.failure.is_none();
    let Some(leg) = legs.of(leg).filter(open) else {
        return counters.drop_packet(DropReason::DtlsUnexpected);
    };
    // What strangers are sent is bounded by how few there are, and for how long.
    if stranger.is_none() {
        if let Err(reason) = leg.may_reach(true) {
            return counters.drop_packet(reason);
        }
        leg.count_reach(true);
    }
    let (port, remote) = leg.rtp_path();
    let Some(i) = batch.push_new_from(port, stranger.unwrap_or(remote)) else {
        return counters.drop_packet(DropReason::SendExhausted);
    };
    let bytes = datagram.bytes();
    batch.buffer_mut(i)[..bytes.len()].copy_from_slice(bytes);
    batch.set_len(i, bytes.len());
    batch.packet_mut(i).disposition = Disposition::Send;
}

/// The leg has keys: it is connected. Gives back keys that it has no use for, or no use any more.
pub fn install(
    legs: &mut LegTable,
    leg: LegHandle,
    moved: Option<Remote>,
    mut keys: Box<Keys>,
    now: Nanos,
    outlets: &mut Outlets,
) -> Result<(), Box<Keys>> {
    // A leg with own ports may shake hands again, when its peer's description changes.
    let awaits_keys = |leg: &&mut Leg| match &leg.ports {
        None => leg.state == LegState::Opening && leg.remote_addr().is_some(),
        Some(ports) => ports.uses_dtls && leg.state != LegState::Failed,
    };
    let Some(leg) = legs.of(leg).filter(awaits_keys) else { return Err(keys) };
    if leg.part.relay().is_some() {
        keys.sender.translate();
    }
    leg.suite = Some(keys.suite);
    if let (Some(remote), Some(ports)) = (moved, &mut leg.ports) {
        ports.latch.set_in_use(remote);
        leg.remote = remote;
    }
    // Somebody is there, who has said so in a handshake.
    leg.ports.iter_mut().for_each(|ports| ports.latch.vouch());
    leg.update_reach();
    let replaced = leg.keys.replace(keys);
    leg.state = LegState::Connected;
    leg.last_heard = now;
    leg.deadlines.connect = None;
    outlets.tell(leg, now);
    replaced.map_or(Ok(()), Err)
}

/// The leg will not carry media again, and its peer gets nothing more; said once.
pub fn fail(leg: &mut Leg, why: LegFailure, outlets: &mut Outlets, now: Nanos) {
    if leg.failure.is_none() {
        leg.failure = Some(why);
        leg.state = LegState::Failed;
        if let Some(session) = leg.part.session_mut() {
            session.digits_sent = None;
        }
        outlets.tell(leg, now);
    }
}
