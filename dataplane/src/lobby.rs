//! The lobby thread: DTLS handshakes of all legs, so that a storm of reconnects never delays media.
//!
//! Input: DTLS datagrams from validated addresses (by the workers), expectations (by the link thread), the time. Output:
//! datagrams for peers, and keys, once a handshake is complete and its certificate is the described one. Owns the
//! handshakes. Does not touch SRTP packets; deliberately installs no key whose certificate does not match.
//! RFC 5763 §5, RFC 5764, RFC 8122 §6.2.
//!
//! ```text
//!   Knock::Datagram  --.                                    .--> Admission::Datagram
//!   Knock::Reachable --+-> guest: waiting -> shaking -> in -+--> Admission::Keys
//!   LobbyOrder::Expect-'                                    '--> Admission::Failed
//! ```

use crate::bell::Bell;
use crate::counters::Cell;
use crate::io::Sleeper;
use crate::leg::{Keys, LegHandle};
use crate::queues::{Admission, Datagram, Knock, LobbyEnds, LobbyOrder};
use crate::waiting;
use crosspoint_contract::limits::{HANDSHAKE_BUFFER_BYTES_MAX, HANDSHAKES_HALF_OPEN_MAX};
use crosspoint_contract::{DtlsRole, Fingerprint, LegFailure, LegId, LobbyCounters, SrtpSuite, WorkerId};
use crosspoint_wire::dtls::{DtlsKeys, Handshake, Identity, Output, Role};
use crosspoint_wire::srtp::{SrtpReceiver, SrtpSender, Suite};
use rtrb::{Consumer, PushError};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Datagrams kept of a peer whose description is not there yet: a ClientHello in two or three parts, sent twice.
const EARLY_DATAGRAMS_MAX: usize = 8;

/// A peer without a description is forgotten after this long: its leg was closed meanwhile, or rings too long.
const EARLY_AGE_MAX: Duration = Duration::from_secs(120);

/// A handshake that found the lobby full tries again after this long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Between two attempts to give keys to a worker whose ring is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A handshake that wants to be called at once is called this much later, so that it cannot hold the thread.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

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

/// What a leg's description says of its handshake.
#[derive(Clone, Debug, PartialEq)]
struct Expectation {
    worker: WorkerId,
    leg: LegHandle,
    role: DtlsRole,
    fingerprint: Fingerprint,
}

/// One leg in the lobby.
struct Guest {
    since: Instant,
    /// Datagrams that came before the description.
    early: Vec<Datagram>,
    expected: Option<Expectation>,
    /// A pair is validated: what we send arrives.
    reachable: bool,
    stage: Stage,
}

enum Stage {
    Waiting,
    Shaking(Box<Handshake>),
    /// Keys were given. The handshake stays: it answers repeated flights and hears the peer's `close_notify`.
    In(Box<Handshake>),
    Failed,
}

pub struct Lobby {
    identity: Identity,
    from_link: Consumer<LobbyOrder>,
    workers: Vec<(LobbyEnds, Bell)>,
    guests: HashMap<LegId, Guest>,
    /// Times at which a handshake wants to be called. Entries of guests that have moved on are harmless.
    timeouts: BinaryHeap<Reverse<(Instant, LegId)>>,
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
            workers,
            guests: HashMap::new(),
            timeouts: BinaryHeap::new(),
            half_open: 0,
            page,
            sleeper,
            scratch: Box::new([0; SCRATCH_BYTES]),
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        loop {
            if !self.take_orders(Instant::now()) {
                return;
            }
            let knocked = self.take_knocks(Instant::now());
            self.fire_timeouts(Instant::now());
            if !knocked {
                self.sleep();
            }
        }
    }

    fn sleep(&mut self) {
        let next = self.timeouts.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        waiting::wait(&self.sleeper, &mut [], next);
    }

    /// False when it was told to stop.
    fn take_orders(&mut self, now: Instant) -> bool {
        while let Ok(order) = self.from_link.pop() {
            match order {
                LobbyOrder::Expect { worker, leg, role, fingerprint } => {
                    self.expect(Expectation { worker, leg, role, fingerprint }, now);
                }
                LobbyOrder::Forget { leg } => self.forget(leg),
                LobbyOrder::Stop => return false,
            }
        }
        true
    }

    /// Takes at most one ring's worth; true when there was anything.
    fn take_knocks(&mut self, now: Instant) -> bool {
        let mut any = false;
        for worker in 0..self.workers.len() {
            for _ in 0..self.workers[worker].0.from_worker.slots() {
                let Ok(knock) = self.workers[worker].0.from_worker.pop() else { break };
                any = true;
                self.knock(knock, now);
            }
        }
        any
    }

    fn knock(&mut self, knock: Knock, now: Instant) {
        let (Knock::Datagram { leg, .. } | Knock::Reachable { leg }) = &knock;
        let leg = leg.leg;
        if !self.guests.contains_key(&leg) {
            self.timeouts.push(Reverse((now + EARLY_AGE_MAX, leg)));
        }
        let guest = self.guests.entry(leg).or_insert_with(|| Guest::new(now));
        match knock {
            Knock::Reachable { .. } => guest.reachable = true,
            Knock::Datagram { datagram, .. } => {
                guest.reachable = true;
                if matches!(guest.stage, Stage::Waiting) {
                    guest.keep(datagram);
                } else {
                    self.advance(leg, now, |handshake| handshake.handle(now, datagram.bytes()).is_ok());
                    return;
                }
            }
        }
        self.try_start(leg, now);
    }

    fn expect(&mut self, expected: Expectation, now: Instant) {
        let leg = expected.leg.leg;
        let guest = self.guests.entry(leg).or_insert_with(|| Guest::new(now));
        // RFC 8842 §5.4: a re-offer with the same fingerprint keeps the association.
        guest.expected = Some(expected);
        self.try_start(leg, now);
    }

    fn forget(&mut self, leg: LegId) {
        if let Some(guest) = self.guests.remove(&leg)
            && matches!(guest.stage, Stage::Shaking(_))
        {
            self.count_half_open(-1);
        }
    }

    /// Begins the handshake when the description is there and there is somebody to shake hands with.
    fn try_start(&mut self, leg: LegId, now: Instant) {
        let Some(guest) = self.guests.get_mut(&leg) else { return };
        let Some(expected) = &guest.expected else { return };
        let wanted = match expected.role {
            DtlsRole::Client => guest.reachable,
            DtlsRole::Server => !guest.early.is_empty(),
        };
        if !wanted || !matches!(guest.stage, Stage::Waiting) {
            return;
        }
        if self.half_open >= HANDSHAKES_HALF_OPEN_MAX {
            self.timeouts.push(Reverse((now + RETRY_PAUSE, leg)));
            return self.page.refused.add(1);
        }
        let role = match expected.role {
            DtlsRole::Client => Role::Client,
            DtlsRole::Server => Role::Server,
        };
        guest.stage = Stage::Shaking(Box::new(Handshake::new(&self.identity, role, now)));
        let early = std::mem::take(&mut guest.early);
        self.page.started.add(1);
        self.count_half_open(1);
        self.advance(leg, now, |handshake| {
            early.iter().all(|datagram| handshake.handle(now, datagram.bytes()).is_ok())
        });
    }

    /// Gives a handshake something, then carries out what it wants.
    fn advance(&mut self, leg: LegId, now: Instant, give: impl FnOnce(&mut Handshake) -> bool) {
        let Some(guest) = self.guests.get_mut(&leg) else { return };
        let (Stage::Shaking(handshake) | Stage::In(handshake)) = &mut guest.stage else { return };
        if !give(handshake) {
            return self.fail(leg, LegFailure::HandshakeFailed);
        }
        loop {
            let Some(guest) = self.guests.get_mut(&leg) else { return };
            let (Stage::Shaking(handshake) | Stage::In(handshake)) = &mut guest.stage else { return };
            match handshake.poll(&mut self.scratch[..]) {
                Output::Packet(len) => self.send(leg, len),
                Output::Established(keys) => self.establish(leg, &keys),
                Output::Timeout(at) => return self.timeouts.push(Reverse((at.max(now + TIMEOUT_MIN), leg))),
                Output::PeerClosed => return self.fail(leg, LegFailure::PeerClosed),
                Output::Idle => return,
            }
        }
    }

    /// `scratch[..len]` goes to the peer.
    fn send(&mut self, leg: LegId, len: usize) {
        let Some(expected) = self.guests.get(&leg).and_then(|guest| guest.expected.as_ref()) else { return };
        let (worker, leg) = (expected.worker, expected.leg);
        match Datagram::new(&self.scratch[..len]) {
            Some(datagram) => self.admit(worker, Admission::Datagram { leg, datagram }),
            None => warn!(leg = leg.leg.0, len, "a handshake datagram is longer than any we may send"),
        }
    }

    /// The handshake is complete: the certificate decides.
    fn establish(&mut self, leg: LegId, keys: &DtlsKeys) {
        let Some(guest) = self.guests.get_mut(&leg) else { return };
        let Some(expected) = guest.expected.clone() else { return };
        // RFC 8122 §6.2: the endpoint MUST verify that the certificate matches the fingerprint.
        if keys.peer_certificate_sha256 != expected.fingerprint.sha256 {
            return self.fail(leg, LegFailure::FingerprintMismatch);
        }
        if let Stage::Shaking(handshake) = std::mem::replace(&mut guest.stage, Stage::Failed) {
            guest.stage = Stage::In(handshake);
        }
        self.count_half_open(-1);
        self.page.completed.add(1);
        let suite = contract_suite(keys.send.suite());
        info!(leg = leg.0, ?suite, version = ?keys.version, "handshake complete");
        let keys = Keys { suite, receiver: SrtpReceiver::new(&keys.receive), sender: SrtpSender::new(&keys.send) };
        self.admit(expected.worker, Admission::Keys { leg: expected.leg, keys: Box::new(keys) });
    }

    fn fail(&mut self, leg: LegId, why: LegFailure) {
        let Some(guest) = self.guests.get_mut(&leg) else { return };
        if let Stage::Shaking(_) = std::mem::replace(&mut guest.stage, Stage::Failed) {
            self.page.failed.add(1);
            self.count_half_open(-1);
        }
        info!(leg = leg.0, %why, "handshake ended");
        if let Some(expected) = self.guests.get(&leg).and_then(|guest| guest.expected.clone()) {
            self.admit(expected.worker, Admission::Failed { leg: expected.leg, why });
        }
    }

    /// Passes something to a worker. A datagram that finds no room is lost, and sent again as any other; keys come
    /// once and wait for room.
    fn admit(&mut self, worker: WorkerId, admission: Admission) {
        let Some((ends, bell)) = self.workers.get_mut(usize::from(worker.0)) else { return };
        let mut refused = ends.to_worker.push(admission);
        while let Err(PushError::Full(admission)) = refused {
            bell.wake();
            if matches!(admission, Admission::Datagram { .. }) || ends.to_worker.is_abandoned() {
                return;
            }
            std::thread::sleep(FULL_PAUSE);
            refused = ends.to_worker.push(admission);
        }
        bell.wake();
    }

    fn fire_timeouts(&mut self, now: Instant) {
        while let Some(Reverse((at, leg))) = self.timeouts.peek().copied()
            && at <= now
        {
            self.timeouts.pop();
            match self.guests.get(&leg) {
                Some(guest) if guest.expected.is_none() && now - guest.since >= EARLY_AGE_MAX => self.forget(leg),
                Some(guest) if matches!(guest.stage, Stage::Waiting) => self.try_start(leg, now),
                _ => self.advance(leg, now, |handshake| handshake.handle_timeout(now).is_ok()),
            }
        }
    }

    fn count_half_open(&mut self, change: isize) {
        self.half_open = self.half_open.saturating_add_signed(change);
        self.page.half_open.set(self.half_open as u64);
    }
}

impl Guest {
    fn new(now: Instant) -> Self {
        Guest { since: now, early: Vec::new(), expected: None, reachable: false, stage: Stage::Waiting }
    }

    /// Keeps a bounded few; the peer repeats what is not kept.
    fn keep(&mut self, datagram: Datagram) {
        let bytes: usize = self.early.iter().map(|datagram| datagram.bytes().len()).sum();
        let fits = bytes + datagram.bytes().len() <= HANDSHAKE_BUFFER_BYTES_MAX;
        if fits && self.early.len() < EARLY_DATAGRAMS_MAX {
            self.early.push(datagram);
        }
    }
}

pub fn contract_suite(suite: Suite) -> SrtpSuite {
    match suite {
        Suite::AesCm128HmacSha1_80 => SrtpSuite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32 => SrtpSuite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80 => SrtpSuite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm => SrtpSuite::AeadAes128Gcm,
        Suite::AeadAes256Gcm => SrtpSuite::AeadAes256Gcm,
    }
}
