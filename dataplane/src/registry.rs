//! What the link thread knows of every leg and bridge: the strings, the worker, and what control was told.
//!
//! Input: control's commands, workers' answers and events. Output: orders for workers and the lobby, answers for control,
//! snapshots. Owns the slots of all workers, which it alone gives out, and the queue of answers awaited from each.
//! Does no IO of its own; does not touch packets or keys.
//!
//! ```text
//!   Command --> leg record --> WorkerOrder --> worker --> Answered --> awaited queue --> Answer
//!                    '--> LobbyOrder (fingerprint and role, or forget)
//! ```
//!
//! A worker answers its orders in order, so the n-th answer belongs to the n-th entry of its queue, and commands for one
//! leg are answered in order. A command that changes nothing sends an `Echo`, to keep its answer in its place.

use crate::affinity::thread_busy_ns;
use crate::bell::Bell;
use crate::counters::Counters;
use crate::io::Waker;
use crate::leg::{Description, Leg, LegHandle, LegSeed, MidExtension, Slot};
use crate::lobby::LobbyPage;
use crate::queues::{Answered, DigitText, LobbyOrder, WorkerOrder};
use crate::random;
use crosspoint_contract::limits::{CONTROL_TO_WORKER_MAX, FORMATS_PER_LEG_MAX};
use crosspoint_contract::{
    Answer, BridgeId, BridgeSnapshot, CallKey, Codec, Command, CommandId, Done, Event, Fingerprint, Format,
    IceCredentials, LegId, LegReport, LegSnapshot, LegState, LocalDescription, Order, Refused, RemoteDescription,
    Snapshot, WorkerCounters, WorkerHello, WorkerId,
};
use crosspoint_wire::ice_lite::Credentials;
use rtrb::Producer;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// One worker as the link thread sees it.
pub struct Seat {
    pub hello: WorkerHello,
    pub bell: Bell,
    pub counters: Arc<Counters>,
    pub thread_id: i32,
    orders: Producer<WorkerOrder>,
    free: Vec<Slot>,
    awaited: VecDeque<Awaited>,
}

impl Seat {
    pub fn new(
        hello: WorkerHello,
        bell: Bell,
        counters: Arc<Counters>,
        thread_id: i32,
        orders: Producer<WorkerOrder>,
        legs_max: usize,
    ) -> Self {
        let free = (0..legs_max as Slot).rev().collect();
        Seat { hello, bell, counters, thread_id, orders, free, awaited: VecDeque::new() }
    }
}

/// An order that its worker has not answered.
struct Awaited {
    /// Whom to answer; nobody when the order was our own.
    command: Option<(Attachment, CommandId)>,
    reply: Reply,
}

/// What to answer when the worker says that it is done.
enum Reply {
    Ok,
    Opened(Box<LocalDescription>),
    Report,
    Closed(LegId),
    Refused(Refused),
}

/// Counts the control planes that have attached: an answer goes to the one that asked, or to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment(pub u64);

struct LegRecord {
    handle: LegHandle,
    worker: usize,
    call: CallKey,
    state: LegState,
    local: LocalDescription,
    remote: Option<RemoteDescription>,
    bridge: Option<BridgeId>,
    report: LegReport,
    /// Number of the last ICE restart.
    restart: u32,
    /// The last digits that were sent: the same command again does not send them again.
    digits: Option<(Attachment, CommandId)>,
    closing: bool,
}

pub struct Registry {
    seats: Vec<Seat>,
    legs: BTreeMap<LegId, LegRecord>,
    bridges: BTreeMap<BridgeId, [LegId; 2]>,
    /// Worker of each call that has legs, and how many.
    calls: HashMap<CallKey, (usize, usize)>,
    lobby: Producer<LobbyOrder>,
    lobby_waker: Waker,
    lobby_page: Arc<LobbyPage>,
    fingerprint: Fingerprint,
    draining: bool,
    started: Instant,
    attachment: Attachment,
}

type Result<T> = std::result::Result<T, Refused>;

impl Registry {
    pub fn new(
        seats: Vec<Seat>,
        lobby: Producer<LobbyOrder>,
        lobby_waker: Waker,
        lobby_page: Arc<LobbyPage>,
        fingerprint: Fingerprint,
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
            draining: false,
            started: Instant::now(),
            attachment: Attachment(0),
        };
        for worker in 0..registry.seats.len() {
            registry.send_unanswered(worker, WorkerOrder::Begin);
        }
        registry
    }

    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    pub fn hellos(&self) -> Vec<WorkerHello> {
        self.seats.iter().map(|seat| seat.hello.clone()).collect()
    }

    /// A control plane has attached: earlier commands are answered to nobody.
    pub fn attach(&mut self) -> Attachment {
        self.attachment.0 += 1;
        self.draining = false;
        self.attachment
    }

    /// Everything alive.
    pub fn snapshot(&self) -> Snapshot {
        let legs = self.legs.values().filter(|leg| !leg.closing).map(LegRecord::snapshot).collect();
        let bridges = self.bridges.iter().map(|(&bridge, legs)| BridgeSnapshot { bridge, legs: legs.to_vec() });
        Snapshot { legs, bridges: bridges.collect() }
    }

    /// Carries out a command, or refuses it. Nothing when a worker has to answer first.
    pub fn command(&mut self, order: Order) -> Option<Answer> {
        let Order { id, command } = order;
        let asked = Some((self.attachment, id));
        let result = match command {
            Command::OpenLeg { leg, call, .. } => self.open(asked, leg, call),
            Command::SetRemote { leg, remote } => self.set_remote(asked, leg, remote),
            Command::RestartIce { leg, restart } => self.restart_ice(asked, leg, restart),
            Command::Bridge { bridge, legs } => self.bridge(asked, bridge, legs),
            Command::Unbridge { bridge } => self.unbridge(asked, bridge),
            Command::SendDigits { leg, digits } => self.send_digits(asked, leg, &digits),
            Command::ReadLeg { leg } => self
                .known(leg)
                .and_then(|(worker, handle)| self.send(worker, WorkerOrder::Read(handle), asked, Reply::Report)),
            Command::CloseLeg { leg } => match self.close(asked, leg) {
                Err(Refused::UnknownLeg(_)) => return Some(answer(id, Ok(Done::Report(LegReport::default())))),
                result => result,
            },
            Command::ReadCounters => return Some(answer(id, Ok(self.read_counters()))),
            Command::Drain => {
                self.draining = true;
                return Some(answer(id, Ok(Done::Ok)));
            }
            Command::ShutDown => return Some(answer(id, Ok(Done::Ok))),
        };
        result.err().map(|refused| answer(id, Err(refused)))
    }

    fn open(&mut self, asked: Option<(Attachment, CommandId)>, leg: LegId, call: CallKey) -> Result<()> {
        if let Some(record) = self.legs.get(&leg) {
            let (worker, local) = (record.worker, Box::new(record.local.clone()));
            return self.send(worker, WorkerOrder::Echo, asked, Reply::Opened(local));
        }
        if self.draining {
            return Err(Refused::Draining);
        }
        let worker = self.place(call)?;
        let seat = &mut self.seats[worker];
        let slot = *seat.free.last().ok_or(Refused::LegsExhausted)?;
        let local = local_description(&seat.hello, &self.fingerprint);
        let handle = LegHandle { slot, leg };
        let opened = Leg::new(seed(handle, &local));
        self.send(worker, WorkerOrder::Open(opened), asked, Reply::Opened(Box::new(local.clone())))?;
        self.seats[worker].free.pop();
        self.calls.entry(call).or_insert((worker, 0)).1 += 1;
        self.legs.insert(leg, LegRecord::new(handle, worker, call, local));
        Ok(())
    }

    /// The worker of the call's other legs, or the one with the fewest legs.
    fn place(&self, call: CallKey) -> Result<usize> {
        if let Some(&(worker, _)) = self.calls.get(&call) {
            return Ok(worker);
        }
        let roomiest = (0..self.seats.len()).max_by_key(|&worker| (self.seats[worker].free.len(), usize::MAX - worker));
        roomiest.ok_or(Refused::LegsExhausted)
    }

    fn set_remote(
        &mut self,
        asked: Option<(Attachment, CommandId)>,
        leg: LegId,
        remote: RemoteDescription,
    ) -> Result<()> {
        let (worker, handle) = self.known(leg)?;
        let Some(description) = description(&remote) else {
            return self.send(worker, WorkerOrder::Echo, asked, Reply::Refused(Refused::TooManyFormats));
        };
        self.send(worker, WorkerOrder::Describe { leg: handle, description: Box::new(description) }, asked, Reply::Ok)?;
        self.tell_lobby(LobbyOrder::Expect {
            worker: WorkerId(worker as u16),
            leg: handle,
            role: remote.our_dtls_role,
            fingerprint: remote.fingerprint.clone(),
        });
        if let Some(record) = self.legs.get_mut(&leg) {
            record.remote = Some(remote);
        }
        Ok(())
    }

    fn restart_ice(&mut self, asked: Option<(Attachment, CommandId)>, leg: LegId, restart: u32) -> Result<()> {
        let (worker, handle) = self.known(leg)?;
        let record = self.legs.get_mut(&leg).ok_or(Refused::UnknownLeg(leg))?;
        let mut local = record.local.clone();
        if record.restart == restart {
            return self.send(worker, WorkerOrder::Echo, asked, Reply::Opened(Box::new(local)));
        }
        local.ice = random::ice_credentials();
        let order = WorkerOrder::RestartIce { leg: handle, ice: credentials(&local.ice) };
        self.send(worker, order, asked, Reply::Opened(Box::new(local.clone())))?;
        if let Some(record) = self.legs.get_mut(&leg) {
            (record.local, record.restart) = (local, restart);
        }
        Ok(())
    }

    fn bridge(&mut self, asked: Option<(Attachment, CommandId)>, bridge: BridgeId, legs: [LegId; 2]) -> Result<()> {
        let (worker, first) = self.known(legs[0])?;
        let (other_worker, second) = self.known(legs[1])?;
        if worker != other_worker {
            return Err(Refused::OtherWorker(legs[1]));
        }
        self.send(worker, WorkerOrder::Join([first, second]), asked, Reply::Ok)?;
        legs.iter().for_each(|&leg| self.leave_bridge(leg));
        self.leave_bridge_of(bridge);
        self.bridges.insert(bridge, legs);
        for leg in legs {
            if let Some(record) = self.legs.get_mut(&leg) {
                record.bridge = Some(bridge);
            }
        }
        Ok(())
    }

    fn unbridge(&mut self, asked: Option<(Attachment, CommandId)>, bridge: BridgeId) -> Result<()> {
        let legs = *self.bridges.get(&bridge).ok_or(Refused::UnknownBridge(bridge))?;
        let (worker, first) = self.known(legs[0])?;
        let (_, second) = self.known(legs[1])?;
        self.send(worker, WorkerOrder::Part([first, second]), asked, Reply::Ok)?;
        self.leave_bridge_of(bridge);
        Ok(())
    }

    fn send_digits(&mut self, asked: Option<(Attachment, CommandId)>, leg: LegId, digits: &str) -> Result<()> {
        let (worker, handle) = self.known(leg)?;
        let Some(digits) = DigitText::new(digits) else {
            return self.send(worker, WorkerOrder::Echo, asked, Reply::Refused(Refused::BadDigits));
        };
        let record = self.legs.get_mut(&leg).ok_or(Refused::UnknownLeg(leg))?;
        let takes_events = record.remote.as_ref().is_some_and(|remote| takes_telephone_events(&remote.formats));
        if !takes_events {
            return self.send(worker, WorkerOrder::Echo, asked, Reply::Refused(Refused::NoTelephoneEvent(leg)));
        }
        if asked.is_some() && record.digits == asked {
            return self.send(worker, WorkerOrder::Echo, asked, Reply::Ok);
        }
        record.digits = asked;
        self.send(worker, WorkerOrder::SendDigits { leg: handle, digits }, asked, Reply::Ok)
    }

    fn close(&mut self, asked: Option<(Attachment, CommandId)>, leg: LegId) -> Result<()> {
        let (worker, handle) = self.known(leg)?;
        self.send(worker, WorkerOrder::Close(handle), asked, Reply::Closed(leg))?;
        self.tell_lobby(LobbyOrder::Forget { leg });
        self.leave_bridge(leg);
        if let Some(record) = self.legs.get_mut(&leg) {
            record.closing = true;
        }
        Ok(())
    }

    /// Closes every leg: nobody has looked after them for too long.
    pub fn close_all(&mut self) {
        let legs: Vec<LegId> = self.legs.keys().copied().collect();
        for leg in legs {
            // A full queue leaves the leg for the next call of this.
            let _ = self.close(None, leg);
        }
    }

    /// A worker answered the oldest order it had not answered.
    pub fn answered(&mut self, worker: usize, answered: Answered) -> Option<Answer> {
        let awaited = self.seats[worker].awaited.pop_front()?;
        if let Reply::Closed(leg) = awaited.reply {
            self.forget(leg);
        }
        let (attachment, id) = awaited.command?;
        if attachment != self.attachment {
            return None;
        }
        let result = answered.result.and_then(|report| match awaited.reply {
            Reply::Ok => Ok(Done::Ok),
            Reply::Opened(local) => Ok(Done::Opened(*local)),
            Reply::Report | Reply::Closed(_) => Ok(Done::Report(report.unwrap_or_default())),
            Reply::Refused(refused) => Err(refused),
        });
        Some(answer(id, result))
    }

    /// Keeps what an event says, for snapshots.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::LegConnected { leg, .. } => self.set_state(*leg, LegState::Connected),
            Event::LegFailed { leg, .. } => self.set_state(*leg, LegState::Failed),
            Event::LegReported { leg, report } => {
                if let Some(record) = self.legs.get_mut(leg) {
                    record.report = report.clone();
                }
            }
            _ => {}
        }
    }

    /// A worker was lost: its legs are gone, its orders are refused, its successor begins empty.
    pub fn lost(&mut self, worker: usize) -> (Vec<Answer>, Event) {
        let id = WorkerId(worker as u16);
        let awaited = std::mem::take(&mut self.seats[worker].awaited);
        let answers = awaited
            .into_iter()
            .filter_map(|awaited| awaited.command)
            .filter(|(attachment, _)| *attachment == self.attachment)
            .map(|(_, command)| answer(command, Err(Refused::WorkerLost(id))))
            .collect();
        let legs: Vec<LegId> =
            self.legs.iter().filter(|(_, record)| record.worker == worker).map(|(&leg, _)| leg).collect();
        for &leg in &legs {
            self.tell_lobby(LobbyOrder::Forget { leg });
            self.leave_bridge(leg);
            self.forget(leg);
        }
        self.send_unanswered(worker, WorkerOrder::Begin);
        (answers, Event::WorkerLost { worker: id, legs })
    }

    /// True once, when the last leg has gone after `Drain`.
    pub fn has_drained(&mut self) -> bool {
        self.draining && self.legs.is_empty() && {
            self.draining = false;
            true
        }
    }

    /// Tells all workers to say goodbye and end, and the lobby to end.
    pub fn stop(&mut self) {
        for worker in 0..self.seats.len() {
            self.send_unanswered(worker, WorkerOrder::Stop);
        }
        self.tell_lobby(LobbyOrder::Stop);
    }

    fn known(&self, leg: LegId) -> Result<(usize, LegHandle)> {
        let record = self.legs.get(&leg).filter(|record| !record.closing).ok_or(Refused::UnknownLeg(leg))?;
        Ok((record.worker, record.handle))
    }

    fn set_state(&mut self, leg: LegId, state: LegState) {
        if let Some(record) = self.legs.get_mut(&leg) {
            record.state = state;
        }
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
        self.seats[record.worker].free.push(record.handle.slot);
        if let Some((_, legs)) = self.calls.get_mut(&record.call) {
            *legs -= 1;
            if *legs == 0 {
                self.calls.remove(&record.call);
            }
        }
    }

    /// Queues an order whose answer becomes `reply`.
    fn send(
        &mut self,
        worker: usize,
        order: WorkerOrder,
        command: Option<(Attachment, CommandId)>,
        reply: Reply,
    ) -> Result<()> {
        let seat = &mut self.seats[worker];
        seat.orders.push(order).map_err(|_| Refused::Busy(WorkerId(worker as u16)))?;
        seat.awaited.push_back(Awaited { command, reply });
        seat.bell.wake();
        Ok(())
    }

    fn send_unanswered(&mut self, worker: usize, mut order: WorkerOrder) {
        let seat = &mut self.seats[worker];
        // It must arrive; a worker that lives makes room within a turn.
        while let Err(rtrb::PushError::Full(back)) = seat.orders.push(order) {
            order = back;
            seat.bell.wake();
            std::thread::yield_now();
        }
        seat.bell.wake();
    }

    fn tell_lobby(&mut self, mut order: LobbyOrder) {
        while let Err(rtrb::PushError::Full(back)) = self.lobby.push(order) {
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
            commands_queued: (CONTROL_TO_WORKER_MAX - seat.orders.slots()) as u32,
            ..seat.counters.read(seat.hello.worker)
        });
        Done::Counters { workers: workers.collect(), lobby: self.lobby_page.read() }
    }

    fn connected_on(&self, worker: usize) -> u32 {
        let connected = |leg: &&LegRecord| leg.worker == worker && leg.state == LegState::Connected;
        self.legs.values().filter(connected).count() as u32
    }
}

impl LegRecord {
    fn new(handle: LegHandle, worker: usize, call: CallKey, local: LocalDescription) -> Self {
        LegRecord {
            handle,
            worker,
            call,
            state: LegState::Opening,
            local,
            remote: None,
            bridge: None,
            report: LegReport::default(),
            restart: 0,
            digits: None,
            closing: false,
        }
    }

    fn snapshot(&self) -> LegSnapshot {
        LegSnapshot {
            leg: self.handle.leg,
            call: self.call,
            state: self.state,
            local: self.local.clone(),
            remote: self.remote.clone(),
            bridge: self.bridge,
            report: self.report.clone(),
        }
    }
}

fn answer(id: CommandId, result: Result<Done>) -> Answer {
    Answer { id, result }
}

fn local_description(worker: &WorkerHello, fingerprint: &Fingerprint) -> LocalDescription {
    let ssrc = random::ssrc();
    LocalDescription {
        ice: random::ice_credentials(),
        fingerprint: fingerprint.clone(),
        candidates: vec![worker.addr],
        ssrc,
        // RFC 3550 §8.1: SSRCs of one session differ.
        video_ssrc: Some(random::ssrc()).filter(|&video| video != ssrc).unwrap_or(!ssrc),
        cname: random::cname(),
        worker: worker.worker,
    }
}

fn seed(handle: LegHandle, local: &LocalDescription) -> LegSeed {
    LegSeed {
        handle,
        ice: credentials(&local.ice),
        audio_ssrc: local.ssrc,
        video_ssrc: local.video_ssrc,
        first_sequence_number: random::first_sequence_number(),
        first_timestamp: random::ssrc(),
        cname: local.cname.clone().into(),
    }
}

fn credentials(ice: &IceCredentials) -> Credentials {
    Credentials { ufrag: ice.ufrag.clone(), pwd: ice.pwd.clone() }
}

fn takes_telephone_events(formats: &[Format]) -> bool {
    formats.iter().any(|format| format.codec == Codec::TelephoneEvent)
}

/// The part of a description that the worker needs; nothing when it has too many formats.
fn description(remote: &RemoteDescription) -> Option<Description> {
    const UNUSED: Format = Format { payload_type: 0, codec: Codec::Pcmu, clock_rate_hz: 0, channels: 0 };
    let mut formats = [UNUSED; FORMATS_PER_LEG_MAX];
    formats.get_mut(..remote.formats.len())?.copy_from_slice(&remote.formats);
    Some(Description {
        formats,
        formats_len: remote.formats.len(),
        direction: remote.direction,
        mid: remote.mid_extension.as_ref().and_then(|(id, mid)| MidExtension::new(*id, mid)),
        ice: Some(credentials(&remote.ice)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Sleeper;
    use crate::queues::Spent;
    use crosspoint_contract::{Direction, DtlsRole, TransportRequest};
    use rtrb::{Consumer, RingBuffer};

    /// A registry whose workers are rings that the test reads.
    struct Desk {
        registry: Registry,
        workers: Vec<Consumer<WorkerOrder>>,
        lobby: Consumer<LobbyOrder>,
        next_id: u64,
    }

    impl Desk {
        fn new(workers: usize, legs_max: usize, depth: usize) -> Self {
            let (lobby, from_link) = RingBuffer::new(64);
            let (seats, workers): (Vec<Seat>, Vec<_>) = (0..workers).map(|n| seat(n, legs_max, depth)).unzip();
            let waker = Sleeper::new().expect("an eventfd").waker();
            let fingerprint = Fingerprint { sha256: [1; 32] };
            let mut registry = Registry::new(seats, lobby, waker, Arc::default(), fingerprint);
            registry.attach();
            let mut desk = Desk { registry, workers, lobby: from_link, next_id: 0 };
            for worker in 0..desk.workers.len() {
                assert!(matches!(desk.taken(worker), Some(WorkerOrder::Begin)));
            }
            desk
        }

        fn taken(&mut self, worker: usize) -> Option<WorkerOrder> {
            self.workers[worker].pop().ok()
        }

        fn order(&mut self, command: Command) -> Order {
            self.next_id += 1;
            Order { id: CommandId(self.next_id), command }
        }

        /// Gives a command and lets every worker do what it is asked.
        fn ask(&mut self, command: Command) -> Result<Done> {
            let order = self.order(command);
            if let Some(answer) = self.registry.command(order) {
                return answer.result;
            }
            for worker in 0..self.workers.len() {
                while let Some(order) = self.taken(worker) {
                    if !matches!(order, WorkerOrder::Begin) {
                        let answered = Answered { result: Ok(None), spent: Spent::Nothing };
                        if let Some(answer) = self.registry.answered(worker, answered) {
                            return answer.result;
                        }
                    }
                }
            }
            panic!("no answer")
        }

        fn open(&mut self, leg: u64, call: u64) -> Result<LocalDescription> {
            match self.ask(open(leg, call))? {
                Done::Opened(local) => Ok(local),
                other => panic!("{other:?}"),
            }
        }
    }

    fn seat(worker: usize, legs_max: usize, depth: usize) -> (Seat, Consumer<WorkerOrder>) {
        let (orders, taken) = RingBuffer::new(depth);
        let hello = WorkerHello {
            worker: WorkerId(worker as u16),
            core: None,
            addr: std::net::SocketAddr::from(([192, 0, 2, 1], 20_000 + worker as u16)),
            backend: "sim".into(),
            backend_reason: "a test".into(),
        };
        (Seat::new(hello, Bell::default(), Arc::default(), 0, orders, legs_max), taken)
    }

    fn open(leg: u64, call: u64) -> Command {
        Command::OpenLeg { leg: LegId(leg), call: CallKey(call), transport: TransportRequest::WebRtc }
    }

    fn remote(formats: Vec<Format>) -> RemoteDescription {
        RemoteDescription {
            ice: IceCredentials { ufrag: "peer".into(), pwd: "peer-password-of-24-bytes".into() },
            fingerprint: Fingerprint { sha256: [2; 32] },
            our_dtls_role: DtlsRole::Server,
            formats,
            direction: Direction::SendReceive,
            mid_extension: None,
        }
    }

    #[test]
    fn calls_are_spread_over_workers_and_the_legs_of_a_call_stay_together() {
        let mut desk = Desk::new(2, 8, 64);
        let first = desk.open(1, 100).expect("room");
        let other = desk.open(2, 200).expect("room");
        let second = desk.open(3, 100).expect("room");
        assert_ne!(first.worker, other.worker);
        assert_eq!(first.worker, second.worker);
        assert_ne!(first.candidates, other.candidates);
    }

    #[test]
    fn command_given_twice_has_one_effect_and_the_same_answer() {
        let mut desk = Desk::new(1, 8, 64);
        let local = desk.open(1, 1).expect("room");
        assert_eq!(desk.open(1, 1), Ok(local.clone()));
        assert_eq!(desk.registry.snapshot().legs.len(), 1);

        let restart = Command::RestartIce { leg: LegId(1), restart: 1 };
        let Ok(Done::Opened(restarted)) = desk.ask(restart.clone()) else { panic!("new credentials") };
        assert_ne!(restarted.ice, local.ice);
        assert_eq!(restarted.ssrc, local.ssrc);
        assert_eq!(desk.ask(restart), Ok(Done::Opened(restarted)));

        let close = Command::CloseLeg { leg: LegId(1) };
        assert!(matches!(desk.ask(close.clone()), Ok(Done::Report(_))));
        assert!(matches!(desk.ask(close), Ok(Done::Report(_))), "unknown legs count as closed");
    }

    #[test]
    fn digits_of_a_repeated_command_are_sent_once() {
        let mut desk = Desk::new(1, 8, 64);
        desk.open(1, 1).expect("room");
        let events = Format { payload_type: 101, codec: Codec::TelephoneEvent, clock_rate_hz: 8000, channels: 1 };
        assert_eq!(desk.ask(Command::SetRemote { leg: LegId(1), remote: remote(vec![events]) }), Ok(Done::Ok));
        let order = desk.order(Command::SendDigits { leg: LegId(1), digits: "1".into() });
        assert_eq!(desk.registry.command(order.clone()), None);
        assert_eq!(desk.registry.command(order), None);
        assert!(matches!(desk.taken(0), Some(WorkerOrder::SendDigits { .. })));
        assert!(matches!(desk.taken(0), Some(WorkerOrder::Echo)));
    }

    #[test]
    fn description_tells_the_lobby_whom_to_expect_and_closing_to_forget() {
        let mut desk = Desk::new(1, 8, 64);
        desk.open(1, 1).expect("room");
        desk.ask(Command::SetRemote { leg: LegId(1), remote: remote(Vec::new()) }).expect("described");
        let Ok(LobbyOrder::Expect { leg, fingerprint, .. }) = desk.lobby.pop() else { panic!("no expectation") };
        assert_eq!((leg.leg, fingerprint.sha256), (LegId(1), [2; 32]));
        desk.ask(Command::CloseLeg { leg: LegId(1) }).expect("closed");
        assert!(matches!(desk.lobby.pop(), Ok(LobbyOrder::Forget { leg: LegId(1) })));
    }

    #[test]
    fn legs_are_refused_when_all_slots_are_taken_and_taken_when_one_is_free_again() {
        let mut desk = Desk::new(1, 2, 64);
        desk.open(1, 1).expect("room");
        desk.open(2, 1).expect("room");
        assert_eq!(desk.open(3, 1), Err(Refused::LegsExhausted));
        desk.ask(Command::CloseLeg { leg: LegId(1) }).expect("closed");
        desk.open(3, 1).expect("room again");
    }

    #[test]
    fn bridge_joins_legs_of_one_worker_only_and_a_leg_is_in_one_bridge() {
        let mut desk = Desk::new(2, 8, 64);
        for (leg, call) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            desk.open(leg, call).expect("room");
        }
        let bridge = |bridge, a, b| Command::Bridge { bridge: BridgeId(bridge), legs: [LegId(a), LegId(b)] };
        assert_eq!(desk.ask(bridge(1, 1, 4)), Err(Refused::OtherWorker(LegId(4))));
        assert_eq!(desk.ask(bridge(1, 1, 2)), Ok(Done::Ok));
        assert_eq!(desk.ask(bridge(2, 2, 3)), Ok(Done::Ok));
        let bridges = desk.registry.snapshot().bridges;
        assert_eq!(bridges, [BridgeSnapshot { bridge: BridgeId(2), legs: vec![LegId(2), LegId(3)] }]);
        assert_eq!(desk.ask(Command::Unbridge { bridge: BridgeId(1) }), Err(Refused::UnknownBridge(BridgeId(1))));
        assert_eq!(desk.ask(Command::Unbridge { bridge: BridgeId(2) }), Ok(Done::Ok));
        assert!(desk.registry.snapshot().bridges.is_empty());
    }

    #[test]
    fn full_queue_to_a_worker_is_said_to_be_busy_and_nothing_has_changed() {
        let mut desk = Desk::new(1, 8, 2);
        for leg in 1..=2 {
            let order = desk.order(open(leg, 1));
            assert_eq!(desk.registry.command(order), None);
        }
        let order = desk.order(open(3, 1));
        let answer = desk.registry.command(order).expect("refused at once");
        assert_eq!(answer.result, Err(Refused::Busy(WorkerId(0))));
        assert_eq!(desk.registry.snapshot().legs.len(), 2);
    }

    #[test]
    fn draining_refuses_new_legs_and_ends_with_the_last_one() {
        let mut desk = Desk::new(1, 8, 64);
        desk.open(1, 1).expect("room");
        desk.ask(Command::Drain).expect("drains");
        assert_eq!(desk.open(2, 1), Err(Refused::Draining));
        assert!(!desk.registry.has_drained());
        desk.ask(Command::CloseLeg { leg: LegId(1) }).expect("closed");
        assert!(desk.registry.has_drained());
        assert!(!desk.registry.has_drained(), "said once");
    }

    #[test]
    fn lost_worker_takes_only_its_own_legs_and_its_successor_begins_empty() {
        let mut desk = Desk::new(2, 8, 64);
        desk.open(1, 1).expect("room");
        desk.open(2, 2).expect("room");
        let order = desk.order(Command::ReadLeg { leg: LegId(1) });
        let id = order.id;
        assert_eq!(desk.registry.command(order), None);
        let (answers, event) = desk.registry.lost(0);
        assert_eq!(answers, [Answer { id, result: Err(Refused::WorkerLost(WorkerId(0))) }]);
        assert_eq!(event, Event::WorkerLost { worker: WorkerId(0), legs: vec![LegId(1)] });
        assert_eq!(desk.registry.snapshot().legs.len(), 1);
        assert!(matches!(desk.taken(0), Some(WorkerOrder::Read(_))));
        assert!(matches!(desk.taken(0), Some(WorkerOrder::Begin)));
        assert_eq!(desk.open(3, 3).expect("all slots are free again").worker, WorkerId(0));
    }

    #[test]
    fn answer_to_a_control_plane_that_has_gone_reaches_nobody() {
        let mut desk = Desk::new(1, 8, 64);
        let order = desk.order(open(1, 1));
        assert_eq!(desk.registry.command(order), None);
        desk.registry.attach();
        let answered = Answered { result: Ok(None), spent: Spent::Nothing };
        assert_eq!(desk.registry.answered(0, answered), None);
        assert_eq!(desk.registry.snapshot().legs.len(), 1, "the leg is there for the next one to find");
    }

    #[test]
    fn too_many_formats_are_refused() {
        let mut desk = Desk::new(1, 8, 64);
        desk.open(1, 1).expect("room");
        let opus = Format { payload_type: 111, codec: Codec::Opus, clock_rate_hz: 48_000, channels: 2 };
        let formats = vec![opus; FORMATS_PER_LEG_MAX + 1];
        let refused = desk.ask(Command::SetRemote { leg: LegId(1), remote: remote(formats) });
        assert_eq!(refused, Err(Refused::TooManyFormats));
    }
}
