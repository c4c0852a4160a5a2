//! The lobby thread: DTLS handshakes of all legs, so that a storm of reconnects never delays media.
//!
//! Input: DTLS datagrams from validated addresses (by the workers), expectations (by the link thread), the time. Output:
//! datagrams for peers, and keys, once a handshake is complete and its certificate is the described one. Owns the
//! handshakes. Does not touch SRTP packets; deliberately installs no key whose certificate does not match.
//! Sends no `close_notify` for a leg that is closed: its worker has forgotten the peer's address by then, and has said BYE;
//! signaling tells the rest. RFC 5763 §5, RFC 5764, RFC 8122 §6.2.
//!
//! ```text
//!   Knock::Datagram  --.                                    .--> Admission::Datagram
//!   Knock::Reachable --+-> guest: waiting -> shaking -> in -+--> Admission::Keys
//!   LobbyOrder::Expect-'              ^         |           '--> Admission::Failed
//!                                     '---------' as server: whatever came, it was no handshake
//! ```
//!
//! A leg without ICE may be behind NAT, elsewhere than its SDP says. Until it has keys, a few strangers may shake hands at its
//! port, each a guest of his own; the first with the described certificate is the peer. None of them keeps the one at the
//! signaled address waiting, and all are forgotten soon.

mod door;
mod guest;
mod strangers;
#[cfg(test)]
mod tests;

use crate::bell::Bell;
use crate::counters::Cell;
use crate::io::{Remote, Sleeper};
use crate::leg::Keys;
use crate::queues::{Admission, Datagram, Knock, LobbyEnds, LobbyOrder};
use crate::suites::{contract_suite, wire_hash};
use crate::waiting;
use crosspoint_contract::limits::HANDSHAKES_HALF_OPEN_MAX;
use crosspoint_contract::{DtlsRole, LegFailure, LegId, LobbyCounters, WorkerId};
use crosspoint_wire::dtls::{DtlsKeys, Handshake, Identity, Output, Role};
use crosspoint_wire::srtp::{SrtpReceiver, SrtpSender};
use door::Door;
use guest::{Expectation, Guest, Stage};
use rtrb::Consumer;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use strangers::Strangers;
use tracing::{info, warn};

/// A peer without a description is forgotten after this long: its leg was closed meanwhile, or rings too long.
const EARLY_AGE_MAX: Duration = Duration::from_secs(120);

/// A handshake that found the lobby full tries again after this long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Strangers that may shake hands at the port of one leg; a further one takes the place of the oldest. A few: a peer behind NAT
/// needs one.
const STRANGERS_PER_LEG_MAX: usize = 4;

/// Strangers in all: signaled peers must find room beside them.
const STRANGERS_MAX: usize = HANDSHAKES_HALF_OPEN_MAX / 4;

/// A stranger who has no keys by then is forgotten: a handshake takes a few round trips, and a repetition or two.
const STRANGER_AGE_MAX: Duration = Duration::from_secs(8);

/// Between two attempts to give keys to a worker whose ring is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A handshake that wants to be called at once is called this much later, so that it cannot hold the thread.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// A handshake that is complete wants to be called in ten years. It is not.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Room for one datagram of a handshake.
const SCRATCH_BYTES: usize = 2048;

/// What the lobby counts; one writer, as [`Cell`] demands.
#[derive(Debug, Default)]
pub struct LobbyPage {
    started: Cell,
    completed: Cell,
    failed: Cell,
    half_open: Cell,
    refused: Cell,
}

impl LobbyPage {
    pub fn read(&self) -> LobbyCounters {
        LobbyCounters {
            handshakes_started: self.started.get(),
            handshakes_completed: self.completed.get(),
            handshakes_failed: self.failed.get(),
            handshakes_half_open: self.half_open.get() as u32,
            handshakes_refused: self.refused.get(),
        }
    }
}

/// A leg's peer, or a stranger at its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct GuestId {
    leg: LegId,
    stranger: Option<Remote>,
}

impl GuestId {
    fn peer(leg: LegId) -> Self {
        GuestId { leg, stranger: None }
    }
}

pub struct Lobby {
    identity: Identity,
    from_link: Consumer<LobbyOrder>,
    workers: Vec<Door>,
    guests: HashMap<GuestId, Guest>,
    strangers: Strangers,
    /// When guests want to be called: `Guest::due`, at most one entry a guest.
    timeouts: BTreeSet<(Instant, GuestId)>,
    half_open: usize,
    page: Arc<LobbyPage>,
    sleeper: Sleeper,
    scratch: Box<[u8; SCRATCH_BYTES]>,
}

impl Lobby {
    pub fn new(
        identity: Identity,
        from_link: Consumer<LobbyOrder>,
        workers: Vec<(LobbyEnds, Bell)>,
        page: Arc<LobbyPage>,
        sleeper: Sleeper,
    ) -> Self {
        Lobby {
            identity,
            from_link,
            workers: workers.into_iter().map(|(ends, bell)| Door::new(ends, bell)).collect(),
            guests: HashMap::new(),
            strangers: Strangers::default(),
            timeouts: BTreeSet::new(),
            half_open: 0,
            page,
            sleeper,
            scratch: Box::new([0; SCRATCH_BYTES]),
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        while let Some(knocked) = self.turn() {
            let full = self.workers.iter_mut().fold(false, |full, door| door.give_waiting() | full);
            if !knocked {
                self.sleep(full.then_some(FULL_PAUSE));
            }
        }
    }

    /// Whatever is due now: whether anybody knocked, or nothing when it was told to stop.
    pub(crate) fn turn(&mut self) -> Option<bool> {
        let goes_on = self.take_orders(Instant::now());
        let knocked = self.take_knocks(Instant::now());
        self.fire_timeouts(Instant::now());
        goes_on.then_some(knocked)
    }

    #[cfg(test)]
    pub(crate) fn half_open(&self) -> usize {
        self.half_open
    }

    fn sleep(&mut self, at_most: Option<Duration>) {
        let next = self.timeouts.first().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        waiting::wait(&self.sleeper, &mut [], [next, at_most].into_iter().flatten().min());
    }

    /// False when it was told to stop.
    fn take_orders(&mut self, now: Instant) -> bool {
        while let Ok(order) = self.from_link.pop() {
            match order {
                LobbyOrder::Expect { worker, leg, role, fingerprint, patient } => {
                    self.expect(Expectation { worker, leg, role, fingerprint, patient }, now);
                }
                LobbyOrder::Forget { leg } => {
                    self.forget_strangers(leg);
                    self.forget(GuestId::peer(leg));
                }
                LobbyOrder::Stop => return false,
            }
        }
        true
    }

    /// Takes at most one ring's worth; true when there was anything.
    fn take_knocks(&mut self, now: Instant) -> bool {
        let mut any = false;
        for worker in 0..self.workers.len() {
            for _ in 0..self.workers[worker].ends.from_worker.slots() {
                let Ok(knock) = self.workers[worker].ends.from_worker.pop() else { break };
                any = true;
                self.knock(knock, now);
            }
        }
        any
    }

    fn knock(&mut self, knock: Knock, now: Instant) {
        let (id, datagram) = match knock {
            Knock::Reachable { leg } => (GuestId::peer(leg.leg), None),
            Knock::Datagram { leg, stranger, datagram } => (GuestId { leg: leg.leg, stranger }, Some(datagram)),
        };
        if id.stranger.is_some() && !self.admit_stranger(id, now) {
            return;
        }
        if let Entry::Vacant(seat) = self.guests.entry(id) {
            seat.insert(Guest::new());
            self.call_at(id, Some(now + EARLY_AGE_MAX));
        }
        let Some(guest) = self.guests.get_mut(&id) else { return };
        guest.reachable = true;
        match datagram {
            Some(datagram) if !matches!(guest.stage, Stage::Waiting) => {
                return self.advance(id, now, |handshake| handshake.handle(now, datagram.bytes()).is_ok());
            }
            Some(datagram) => guest.keep(datagram),
            None => {}
        }
        self.try_start(id, now);
    }

    fn expect(&mut self, expected: Expectation, now: Instant) {
        let id = GuestId::peer(expected.leg.leg);
        let guest = self.guests.entry(id).or_insert_with(Guest::new);
        let is_new = guest.expected.is_none();
        // RFC 8842 §5.4: a re-offer with the same fingerprint and role keeps the association, another asks for a new one.
        let begins_anew = expected.patient && guest.expected.as_ref().is_some_and(|before| *before != expected);
        guest.expected = Some(expected);
        if begins_anew {
            self.forget_strangers(id.leg);
            self.wait(id);
        }
        if is_new {
            self.call_at(id, None);
        }
        self.try_start(id, now);
    }

    fn forget(&mut self, id: GuestId) {
        self.strangers.remove(id);
        self.call_at(id, None);
        if self.guests.remove(&id).is_some_and(|guest| guest.is_shaking()) {
            self.count_half_open(-1);
        }
    }

    /// Begins the handshake when the description is there and there is somebody to shake hands with.
    fn try_start(&mut self, id: GuestId, now: Instant) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let Some(role) = guest.may_start() else { return };
        if self.half_open >= HANDSHAKES_HALF_OPEN_MAX {
            self.call_at(id, Some(now + RETRY_PAUSE));
            return self.page.refused.add(1);
        }
        let role = match role {
            DtlsRole::Client => Role::Client,
            DtlsRole::Server => Role::Server,
        };
        guest.stage = Stage::Shaking(Box::new(Handshake::new(&self.identity, role, now)));
        let early = std::mem::take(&mut guest.early);
        self.page.started.add(1);
        self.count_half_open(1);
        self.advance(id, now, |handshake| early.iter().all(|datagram| handshake.handle(now, datagram.bytes()).is_ok()));
    }

    /// Gives a handshake something, then carries out what it wants.
    fn advance(&mut self, mut id: GuestId, now: Instant, give: impl FnOnce(&mut Handshake) -> bool) {
        let Some(handshake) = self.guests.get_mut(&id).and_then(Guest::handshake) else { return };
        if !give(handshake) {
            return self.break_off(id);
        }
        loop {
            let Some(handshake) = self.guests.get_mut(&id).and_then(Guest::handshake) else { return };
            match handshake.poll(&mut self.scratch[..]) {
                Output::Packet(len) => self.send(id, len),
                Output::Established(keys) => match self.establish(id, &keys) {
                    Some(peer) => id = peer,
                    None => return,
                },
                Output::Timeout(at) => {
                    let soon = Some(at.max(now + TIMEOUT_MIN)).filter(|&at| at <= now + TIMEOUT_MAX);
                    return self.call_at(id, soon);
                }
                Output::PeerClosed => return self.fail(id, LegFailure::PeerClosed),
                Output::Idle => return self.call_at(id, None),
            }
        }
    }

    /// A handshake cannot go on. As server we wait for the next ClientHello until the worker's patience ends: nothing was
    /// authentic so far, so what broke it may have come from anybody who can forge the peer's address.
    fn break_off(&mut self, id: GuestId) {
        if id.stranger.is_some() {
            return self.forget(id);
        }
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let is_server = guest.expected.as_ref().is_some_and(|expected| expected.role == DtlsRole::Server);
        if !is_server || !guest.is_shaking() {
            return self.fail(id, LegFailure::HandshakeFailed);
        }
        info!(leg = id.leg.0, "handshake broken off; waiting for another ClientHello");
        self.wait(id);
    }

    /// Back to the beginning. A client tries again soon.
    fn wait(&mut self, id: GuestId) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let is_client = guest.expected.as_ref().is_some_and(|expected| expected.role == DtlsRole::Client);
        if let Stage::Shaking(_) = std::mem::replace(&mut guest.stage, Stage::Waiting) {
            self.page.failed.add(1);
            self.count_half_open(-1);
        }
        self.call_at(id, is_client.then(|| Instant::now() + RETRY_PAUSE));
    }

    /// `scratch[..len]` goes to the peer.
    fn send(&mut self, id: GuestId, len: usize) {
        let Some(expected) = self.guests.get(&id).and_then(|guest| guest.expected.as_ref()) else { return };
        let (worker, leg) = (expected.worker, expected.leg);
        match Datagram::new(&self.scratch[..len]) {
            Some(datagram) => self.admit(worker, Admission::Datagram { leg, stranger: id.stranger, datagram }),
            None => warn!(leg = leg.leg.0, len, "a handshake datagram is longer than any we may send"),
        }
    }

    /// The handshake is complete: the certificate decides. Gives the peer's name, who may have been a stranger.
    fn establish(&mut self, id: GuestId, keys: &DtlsKeys) -> Option<GuestId> {
        let expected = self.guests.get(&id)?.expected.clone()?;
        // RFC 8122 §6.2: the endpoint MUST verify that the certificate matches the fingerprint.
        if keys.peer_digest(wire_hash(expected.fingerprint.hash)) != expected.fingerprint.digest {
            self.fail(id, LegFailure::FingerprintMismatch);
            return None;
        }
        let moved = id.stranger;
        let id = self.take_for_peer(id)?;
        let guest = self.guests.get_mut(&id)?;
        if let Stage::Shaking(handshake) = std::mem::replace(&mut guest.stage, Stage::Failed) {
            guest.stage = Stage::In(handshake);
        }
        self.count_half_open(-1);
        self.page.completed.add(1);
        let suite = contract_suite(keys.send.suite());
        info!(leg = id.leg.0, ?suite, version = ?keys.version, "handshake complete");
        let keys = Keys { suite, receiver: SrtpReceiver::new(&keys.receive), sender: SrtpSender::new(&keys.send) };
        self.admit(expected.worker, Admission::Keys { leg: expected.leg, moved, keys: Box::new(keys) });
        Some(id)
    }

    fn fail(&mut self, id: GuestId, why: LegFailure) {
        if id.stranger.is_some() {
            self.page.failed.add(1);
            return self.forget(id);
        }
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if guest.expected.as_ref().is_some_and(|expected| expected.patient) {
            info!(leg = id.leg.0, %why, "handshake ended; the leg waits for another");
            return self.wait(id);
        }
        if let Stage::Shaking(_) = std::mem::replace(&mut guest.stage, Stage::Failed) {
            self.page.failed.add(1);
            self.count_half_open(-1);
        }
        info!(leg = id.leg.0, %why, "handshake ended");
        self.call_at(id, None);
        if let Some(expected) = self.guests.get(&id).and_then(|guest| guest.expected.clone()) {
            self.admit(expected.worker, Admission::Failed { leg: expected.leg, why });
        }
    }

    fn admit(&mut self, worker: WorkerId, admission: Admission) {
        if let Some(door) = self.workers.get_mut(usize::from(worker.0)) {
            door.admit(admission);
        }
    }

    /// Notes when a guest wants to be called, instead of what was noted before.
    fn call_at(&mut self, id: GuestId, due: Option<Instant>) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        // Whatever else he waits for, a stranger's time is short.
        let due = [due, self.strangers.until(id)].into_iter().flatten().min();
        if let Some(before) = std::mem::replace(&mut guest.due, due) {
            self.timeouts.remove(&(before, id));
        }
        if let Some(due) = due {
            self.timeouts.insert((due, id));
        }
    }

    fn fire_timeouts(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timeouts.first()
            && at <= now
        {
            self.call_at(id, None);
            match self.guests.get(&id) {
                Some(_) if self.strangers.until(id).is_some_and(|until| until <= now) => self.forget(id),
                Some(guest) if guest.expected.is_none() => self.forget(id),
                Some(guest) if matches!(guest.stage, Stage::Waiting) => self.try_start(id, now),
                _ => self.advance(id, now, |handshake| handshake.handle_timeout(now).is_ok()),
            }
        }
    }

    fn count_half_open(&mut self, change: isize) {
        self.half_open = self.half_open.saturating_add_signed(change);
        self.page.half_open.set(self.half_open as u64);
    }
}
