//! What the link thread knows of every leg and bridge: the strings, the worker, and what control was told.
//!
//! Input: control's commands, workers' answers and events. Output: orders for workers and the lobby, answers for control,
//! snapshots. Owns the slots of all workers, which it alone gives out, and the queue of answers awaited from each.
//! Does no IO of its own; does not touch packets or keys.
//!
//! ```text
//!   Command --> leg record --> WorkerOrder --> worker --> Answered --> awaited queue --> Answer
//!                    |             '----------- done, unless the worker has a say ---------^
//!                    '--> LobbyOrder (fingerprint and role, or forget)
//! ```
//!
//! What a worker cannot refuse is done as soon as it is in its ring (see [`sending`]). It answers the rest in order, so the
//! n-th answer belongs to the n-th entry of its queue, and commands for one leg are answered in order.

use crate::affinity::thread_busy_ns;
use crate::io::{Ports, Waker};
use crate::leg::{Leg, LegHandle};
use crate::lobby::LobbyPage;
use crate::queues::{DigitText, LobbyOrder, WorkerOrder};
use crate::random;
use crosspoint_contract::limits::{
    CONTROL_TO_WORKER_MAX, LEGS_PER_SNAPSHOT_MAX, NOTE_BYTES_MAX, NOTES_PER_SNAPSHOT_BYTES,
};
use crosspoint_contract::{
    Answer, BridgeId, BridgeSnapshot, CallKey, CallNote, Command, CommandId, Done, Event, Fingerprint, LegId,
    LegReport, LegState, Order, PortsHello, Refused, RemoteDescription, Snapshot, TransportRequest, WorkerCounters,
    WorkerHello, WorkerId,
};
use record::{LegRecord, credentials, description, local_description, seed, sha256_digest, takes_telephone_events};
use rtrb::Producer;
use seat::Reply;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

pub use seat::Seat;

/// Counts the control planes that have attached: an answer goes to the one that asked, or to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment(pub u64);

pub struct Registry {
    seats: Vec<Seat>,
    legs: BTreeMap<LegId, LegRecord>,
    bridges: BTreeMap<BridgeId, [LegId; 2]>,
    /// Each call that has legs.
    calls: HashMap<CallKey, CallRecord>,
    lobby: Producer<LobbyOrder>,
    lobby_waker: Waker,
    lobby_page: Arc<LobbyPage>,
    fingerprint: Fingerprint,
    ports: Ports,
    draining: bool,
    /// The attached control plane knows that the last leg has gone.
    drained_said: bool,
    started: Instant,
    attachment: Attachment,
}

struct CallRecord {
    /// Of all its legs.
    worker: usize,
    legs: usize,
    /// Control's own words about it.
    note: Option<Box<[u8]>>,
}

type Result<T> = std::result::Result<T, Refused>;

/// Whom to answer; nobody when the order is our own.
type Asked = Option<(Attachment, CommandId)>;

/// What control is told now; nothing when the worker has to answer first.
type Outcome = Result<Option<Done>>;

impl Registry {
    pub fn new(
        seats: Vec<Seat>,
        lobby: Producer<LobbyOrder>,
        lobby_waker: Waker,
        lobby_page: Arc<LobbyPage>,
        fingerprint: Fingerprint,
        ports: Ports,
    ) -> Self {
        let mut registry = Registry {
            seats,
            legs: BTreeMap::new(),
            bridges: BTreeMap::new(),
            calls: HashMap::new(),
            lobby,
            lobby_waker,
            lobby_page,
            fingerprint,
            ports,
            draining: false,
            drained_said: false,
            started: Instant::now(),
            attachment: Attachment(0),
        };
        for worker in 0..registry.seats.len() {
            registry.seats[worker].owe(WorkerOrder::Begin);
        }
        registry
    }

    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    pub fn hellos(&self) -> Vec<WorkerHello> {
        self.seats.iter().map(|seat| seat.hello.clone()).collect()
    }

    pub fn ports(&self) -> &PortsHello {
        self.ports.hello()
    }

    /// A control plane has attached: earlier commands are answered to nobody.
    pub fn attach(&mut self) -> Attachment {
        self.attachment.0 += 1;
        self.drained_said = false;
        self.attachment
    }

    /// Everything alive, in parts that each fit a frame.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let mut parts = Vec::new();
        let mut legs = self.legs.values().filter(|leg| !leg.closing).map(LegRecord::snapshot).peekable();
        while legs.peek().is_some() {
            let legs = legs.by_ref().take(LEGS_PER_SNAPSHOT_MAX).collect();
            parts.push(Snapshot { legs, ..Snapshot::default() });
        }
        let bridge = |(&bridge, legs): (_, &[LegId; 2])| BridgeSnapshot { bridge, legs: legs.to_vec() };
        let mut bridges = self.bridges.iter().map(bridge).peekable();
        while bridges.peek().is_some() {
            let bridges = bridges.by_ref().take(LEGS_PER_SNAPSHOT_MAX).collect();
            parts.push(Snapshot { bridges, ..Snapshot::default() });
        }
        parts.extend(self.notes());
        parts
    }

    /// What control said of the calls, in parts of bounded size.
    fn notes(&self) -> Vec<Snapshot> {
        let (mut parts, mut bytes) = (Vec::<Snapshot>::new(), NOTES_PER_SNAPSHOT_BYTES);
        for (&call, record) in &self.calls {
            let Some(note) = &record.note else { continue };
            if bytes >= NOTES_PER_SNAPSHOT_BYTES {
                parts.push(Snapshot::default());
                bytes = 0;
            }
            bytes += note.len();
            if let Some(part) = parts.last_mut() {
                part.notes.push(CallNote { call, note: note.to_vec() });
            }
        }
        parts
    }

    fn note_call(&mut self, call: CallKey, note: Vec<u8>) -> Result<Done> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(Refused::NoteTooLong);
        }
        if let Some(record) = self.calls.get_mut(&call) {
            record.note = Some(note.into());
        }
        Ok(Done::Ok)
    }

    /// Carries out a command, or refuses it. Nothing when a worker has to answer first.
    pub fn command(&mut self, order: Order) -> Option<Answer> {
        let Order { id, command } = order;
        let asked = Some((self.attachment, id));
        let refused = match self.carry_out(asked, command) {
            Ok(done) => return done.map(|done| answer(id, Ok(done))),
            Err(refused) => refused,
        };
        // Of a leg that is being closed: the answer must not overtake that of `CloseLeg`.
        let closing = match &refused {
            Refused::UnknownLeg(leg) => self.legs.get(leg).map(|record| (*leg, record.worker)),
            _ => None,
        };
        let outcome = match closing {
            Some((leg, worker)) => self.say_in_turn(worker, leg, asked, Reply::Refused(refused)),
            None => Err(refused),
        };
        outcome.transpose().map(|result| answer(id, result))
    }

    /// Carries out a command that nobody waits for; what there is to say if it cannot be.
    pub fn keep_promise(&mut self, command: Command) -> Option<Event> {
        let leg = command.leg();
        let why = self.carry_out(None, command).err()?;
        leg.map(|leg| Event::PromiseBroken { leg, why })
    }

    fn carry_out(&mut self, asked: Asked, command: Command) -> Outcome {
        match command {
            Command::OpenLeg { leg, call, transport: TransportRequest::WebRtc } => self.open(asked, leg, call),
            Command::SetRemote { leg, remote } => self.set_remote(asked, leg, remote),
            Command::RestartIce { leg, restart } => self.restart_ice(asked, leg, restart),
            Command::Bridge { bridge, legs } => self.bridge(asked, bridge, legs),
            Command::OpenLeg { leg, call, transport: TransportRequest::Rtp(request) } => {
                self.open_rtp(asked, leg, call, request)
            }
            Command::SetRtpRemote { leg, remote } => self.set_rtp_remote(asked, leg, remote),
            Command::Forward { source, sinks } => self.forward(asked, source, &sinks),
            Command::Filter { leg, filter } => self.filter(asked, leg, filter),
            Command::ReadStreams { leg } => self.read_streams(asked, leg),
            Command::Unbridge { bridge } => self.unbridge(asked, bridge),
            Command::SendDigits { leg, digits } => self.send_digits(asked, leg, &digits),
            Command::ReadLeg { leg } => {
                let (worker, handle) = self.known(leg)?;
                self.ask(worker, &[leg], WorkerOrder::Read(handle), asked, Reply::Report)
            }
            Command::CloseLeg { leg } => match self.close(asked, leg) {
                Err(Refused::UnknownLeg(_)) => Ok(Some(Done::Report(LegReport::default()))),
                result => result,
            },
            Command::Note { call, note } => self.note_call(call, note).map(Some),
            Command::ReadCounters => Ok(Some(self.read_counters())),
            Command::Drain => {
                (self.draining, self.drained_said) = (true, false);
                Ok(Some(Done::Ok))
            }
            Command::ShutDown => Ok(Some(Done::Ok)),
        }
    }

    fn open(&mut self, asked: Asked, leg: LegId, call: CallKey) -> Outcome {
        if let Some(record) = self.legs.get(&leg) {
            let (worker, local) = (record.worker, Box::new(record.local.clone()));
            return self.say_in_turn(worker, leg, asked, Reply::Described(local));
        }
        if self.draining {
            return Err(Refused::Draining);
        }
        let worker = self.place(call)?;
        let handle = self.next_handle(worker, leg)?;
        let local = local_description(&self.seats[worker].hello, &self.fingerprint);
        let opened = Leg::new(seed(handle, &local));
        self.admit(asked, worker, opened, LegRecord::new(handle, worker, call, local))
    }

    fn next_handle(&self, worker: usize, leg: LegId) -> Result<LegHandle> {
        let slot = *self.seats[worker].free.last().ok_or(Refused::LegsExhausted)?;
        Ok(LegHandle { slot, leg })
    }

    /// Gives a new leg to its worker and remembers it.
    fn admit(&mut self, asked: Asked, worker: usize, opened: Box<Leg>, mut record: LegRecord) -> Outcome {
        let (handle, board) = (record.handle, self.seats[worker].counters.board.clone());
        record.local.place = board.place_of(handle.slot);
        let (leg, local) = (handle.leg, Box::new(record.local.clone()));
        // Before the worker has it: its first packet touches the place.
        if record.is_translator() {
            board.name(handle);
        }
        let (order, reply) = (WorkerOrder::Open(opened), Reply::Opened(leg, local));
        // The kernel may not let the worker have one more socket.
        let done = if record.rtp.is_some() && !self.ports().steered {
            let done = self.ask(worker, &[], order, asked, reply)?;
            record.awaited = self.seats[worker].last_sent();
            done
        } else {
            self.tell(worker, &[], order, asked, reply)?
        };
        self.seats[worker].free.pop();
        self.calls.entry(record.call).or_insert(CallRecord { worker, legs: 0, note: None }).legs += 1;
        self.legs.insert(leg, record);
        Ok(done)
    }

    /// The worker of the call's other legs, or the one with the fewest legs among those that are there.
    fn place(&self, call: CallKey) -> Result<usize> {
        if let Some(record) = self.calls.get(&call) {
            return Ok(record.worker);
        }
        let up = (0..self.seats.len()).filter(|&worker| !self.seats[worker].is_down);
        up.max_by_key(|&worker| (self.seats[worker].free.len(), usize::MAX - worker))
            .ok_or(Refused::WorkerLost(WorkerId(0)))
    }

    fn set_remote(&mut self, asked: Asked, leg: LegId, remote: RemoteDescription) -> Outcome {
        let (worker, handle) = self.known_shared(leg)?;
        let Some(description) = description(&remote) else {
            return self.say_in_turn(worker, leg, asked, Reply::Refused(Refused::TooManyFormats));
        };
        let order = WorkerOrder::Describe { leg: handle, description: Box::new(description) };
        let done = self.tell(worker, &[leg], order, asked, Reply::Ok)?;
        self.tell_lobby(LobbyOrder::Expect {
            worker: WorkerId(worker as u16),
            leg: handle,
            role: remote.our_dtls_role,
            fingerprint: sha256_digest(&remote.fingerprint),
            patient: false,
        });
        if let Some(record) = self.legs.get_mut(&leg) {
            record.remote = Some(remote);
        }
        Ok(done)
    }

    fn restart_ice(&mut self, asked: Asked, leg: LegId, restart: u32) -> Outcome {
        let (worker, handle) = self.known_shared(leg)?;
        let record = self.legs.get_mut(&leg).ok_or(Refused::UnknownLeg(leg))?;
        let mut local = record.local.clone();
        if record.restart == restart {
            return self.say_in_turn(worker, leg, asked, Reply::Described(Box::new(local)));
        }
        local.ice = random::ice_credentials();
        let order = WorkerOrder::RestartIce { leg: handle, ice: credentials(&local.ice) };
        let done = self.tell(worker, &[leg], order, asked, Reply::Described(Box::new(local.clone())))?;
        if let Some(record) = self.legs.get_mut(&leg) {
            (record.local, record.restart) = (local, restart);
        }
        Ok(done)
    }

    fn bridge(&mut self, asked: Asked, bridge: BridgeId, legs: [LegId; 2]) -> Outcome {
        let (worker, first) = self.known(legs[0])?;
        let (other_worker, second) = self.known(legs[1])?;
        if worker != other_worker {
            return Err(Refused::OtherWorker(legs[1]));
        }
        if legs[0] == legs[1] {
            return Err(Refused::SameLeg(legs[1]));
        }
        if let Some(&leg) = legs.iter().find(|leg| self.is_translator(**leg)) {
            return Err(Refused::UnsuitedLeg(leg));
        }
        if self.seats[worker].room() < 2 {
            return Err(Refused::Busy(WorkerId(worker as u16)));
        }
        // The worker takes the two out of their own bridges; whom this bridge joined before it cannot know.
        if self.bridges.get(&bridge).is_some_and(|joined| *joined != legs) {
            self.unbridge(None, bridge)?;
        }
        let done = self.tell(worker, &legs, WorkerOrder::Join([first, second]), asked, Reply::Ok)?;
        legs.iter().for_each(|&leg| self.leave_bridge(leg));
        self.leave_bridge_of(bridge);
        self.bridges.insert(bridge, legs);
        for leg in legs {
            if let Some(record) = self.legs.get_mut(&leg) {
                record.bridge = Some(bridge);
            }
        }
        Ok(done)
    }

    fn unbridge(&mut self, asked: Asked, bridge: BridgeId) -> Outcome {
        let Some(&legs) = self.bridges.get(&bridge) else { return Ok(Some(Done::Ok)) };
        let (worker, first) = self.known(legs[0])?;
        let (_, second) = self.known(legs[1])?;
        let done = self.tell(worker, &legs, WorkerOrder::Part([first, second]), asked, Reply::Ok)?;
        self.leave_bridge_of(bridge);
        Ok(done)
    }

    fn send_digits(&mut self, asked: Asked, leg: LegId, digits: &str) -> Outcome {
        let (worker, handle) = self.known(leg)?;
        let Some(digits) = DigitText::new(digits) else {
            return self.say_in_turn(worker, leg, asked, Reply::Refused(Refused::BadDigits));
        };
        let record = self.legs.get(&leg).ok_or(Refused::UnknownLeg(leg))?;
        if !takes_telephone_events(record.formats()) {
            return self.say_in_turn(worker, leg, asked, Reply::Refused(Refused::NoTelephoneEvent(leg)));
        }
        if asked.is_some() && record.digits == asked {
            return self.say_in_turn(worker, leg, asked, Reply::Ok);
        }
        let done = self.ask(worker, &[leg], WorkerOrder::SendDigits { leg: handle, digits }, asked, Reply::Ok)?;
        if let Some(record) = self.legs.get_mut(&leg) {
            record.digits = asked;
        }
        Ok(done)
    }

    fn close(&mut self, asked: Asked, leg: LegId) -> Outcome {
        if let Some(record) = self.legs.get(&leg).filter(|record| record.closing) {
            return self.ask(record.worker, &[], WorkerOrder::Echo, asked, Reply::ClosedToo(leg));
        }
        let (worker, handle) = self.known(leg)?;
        let done = self.ask(worker, &[leg], WorkerOrder::Close(handle), asked, Reply::Closed(leg))?;
        if self.legs.get(&leg).is_some_and(LegRecord::is_expected_in_lobby) {
            self.tell_lobby(LobbyOrder::Forget { leg });
        }
        self.leave_bridge(leg);
        if let Some(record) = self.legs.get_mut(&leg) {
            record.closing = true;
        }
        Ok(done)
    }

    /// Closes every leg: nobody has looked after them for too long.
    pub fn close_all(&mut self) {
        let open = self.legs.iter().filter(|(_, record)| !record.closing);
        let legs: Vec<LegId> = open.map(|(&leg, _)| leg).collect();
        for leg in legs {
            // A full queue leaves the leg for the next call of this.
            let _ = self.close(None, leg);
        }
    }

    /// True once for each control plane, when the last leg has gone after `Drain`.
    pub fn has_drained(&mut self) -> bool {
        let drained = self.draining && self.legs.is_empty();
        drained && !std::mem::replace(&mut self.drained_said, true)
    }

    /// Gives workers what must arrive, as far as there is room; true when nothing is owed any more.
    pub fn give_owed(&mut self) -> bool {
        let mut nothing_owed = true;
        for seat in &mut self.seats {
            nothing_owed &= seat.give_owed();
        }
        nothing_owed
    }

    /// Wakes each worker for which something was queued.
    pub fn ring(&mut self) {
        self.seats.iter_mut().for_each(Seat::ring);
    }

    /// Tells all workers to say goodbye and end, and the lobby to end.
    pub fn stop(&mut self) {
        for worker in 0..self.seats.len() {
            self.seats[worker].owe(WorkerOrder::Stop);
        }
        self.tell_lobby(LobbyOrder::Stop);
    }

    fn known(&self, leg: LegId) -> Result<(usize, LegHandle)> {
        let record = self.legs.get(&leg).filter(|record| !record.closing).ok_or(Refused::UnknownLeg(leg))?;
        Ok((record.worker, record.handle))
    }

    /// The same, if the leg is on the shared port.
    fn known_shared(&self, leg: LegId) -> Result<(usize, LegHandle)> {
        let is_rtp = self.legs.get(&leg).is_some_and(|record| record.rtp.is_some());
        self.known(leg).and_then(|known| if is_rtp { Err(Refused::UnsuitedLeg(leg)) } else { Ok(known) })
    }

    fn leave_bridge(&mut self, leg: LegId) {
        if let Some(bridge) = self.legs.get(&leg).and_then(|record| record.bridge) {
            self.leave_bridge_of(bridge);
        }
    }

    fn leave_bridge_of(&mut self, bridge: BridgeId) {
        for leg in self.bridges.remove(&bridge).into_iter().flatten() {
            if let Some(record) = self.legs.get_mut(&leg) {
                record.bridge = None;
            }
        }
    }

    /// The leg is out of its worker: its slot may be given out again.
    fn forget(&mut self, leg: LegId) {
        let Some(record) = self.legs.remove(&leg) else { return };
        let seat = &mut self.seats[record.worker];
        seat.counters.board.touch(record.handle);
        seat.free.push(record.handle.slot);
        if let Some(call) = self.calls.get_mut(&record.call) {
            call.legs -= 1;
            if call.legs == 0 {
                self.calls.remove(&record.call);
            }
        }
    }

    /// The lobby waits for nobody, so there is room soon.
    fn tell_lobby(&mut self, mut order: LobbyOrder) {
        while let Err(rtrb::PushError::Full(back)) = self.lobby.push(order) {
            if self.lobby.is_abandoned() {
                return;
            }
            order = back;
            self.lobby_waker.wake();
            std::thread::yield_now();
        }
        self.lobby_waker.wake();
    }

    fn read_counters(&self) -> Done {
        let elapsed_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let workers = self.seats.iter().enumerate().map(|(worker, seat)| WorkerCounters {
            busy_ns: thread_busy_ns(seat.thread_id),
            elapsed_ns,
            legs_connected: self.connected_on(worker),
            commands_queued: CONTROL_TO_WORKER_MAX.saturating_sub(seat.room()) as u32,
            ..seat.counters.read(seat.hello.worker)
        });
        Done::Counters { workers: workers.collect(), lobby: self.lobby_page.read() }
    }

    fn connected_on(&self, worker: usize) -> u32 {
        let connected = |leg: &&LegRecord| leg.worker == worker && leg.state == LegState::Connected;
        self.legs.values().filter(connected).count() as u32
    }
}

fn answer(id: CommandId, result: Result<Done>) -> Answer {
    Answer { id, result }
}

mod answers;
mod record;
mod rtp;
mod seat;
mod sending;
#[cfg(test)]
mod tests;
