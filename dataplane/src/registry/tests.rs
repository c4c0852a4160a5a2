//! The registry with workers that are rings which the test reads.

use super::*;
use crate::bell::Bell;
use crate::io::Sleeper;
use crate::queues::{Answered, Spent};
use crosspoint_contract::limits::{COMMANDS_PER_TICK_MAX, FORMATS_PER_LEG_MAX, FRAME_BYTES_MAX};
use crosspoint_contract::{
    Codec, Directions, DtlsRole, Event, Format, IceCredentials, LegFailure, LocalDescription, PerMedium, SrtpSuite,
    ToControl, TransportRequest, frame,
};
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
        let ports = Ports::simulated(&[[192, 0, 2, 1].into()]);
        let mut registry = Registry::new(seats, lobby, waker, Arc::default(), fingerprint, ports);
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
        let mut answer = self.registry.command(order);
        for worker in 0..self.workers.len() {
            while let Some(order) = self.taken(worker) {
                if !matches!(order, WorkerOrder::Begin) {
                    let answered = Answered { result: Ok(None), spent: Spent::Nothing };
                    answer = answer.or(self.registry.answered(worker, answered));
                }
            }
        }
        answer.expect("an answer").result
    }

    /// Gives a command that needs no worker to be answered.
    fn tell(&mut self, command: Command) -> Done {
        let order = self.order(command);
        self.registry.command(order).expect("answered at once").result.expect("carried out")
    }

    fn snapshot(&self) -> Snapshot {
        let mut whole = Snapshot::default();
        self.registry.snapshot().into_iter().for_each(|part| whole.append(part));
        whole
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
        directions: Directions::default(),
        mid_extensions: PerMedium::default(),
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
fn notes_about_calls_are_kept_as_long_as_these_have_legs_and_come_in_frames_that_are_accepted() {
    let mut desk = Desk::new(1, 80, 64);
    let note = |call, note: &[u8]| Command::Note { call: CallKey(call), note: note.to_vec() };
    assert_eq!(desk.tell(note(7, b"of nobody")), Done::Ok);
    (1..=60).for_each(|leg| assert!(desk.open(leg, leg).is_ok()));
    assert_eq!(desk.snapshot().notes, []);
    let longest = vec![9; NOTE_BYTES_MAX];
    (1..=60).for_each(|call| assert_eq!(desk.tell(note(call, &longest)), Done::Ok));
    let too_long = desk.ask(note(7, &[9; NOTE_BYTES_MAX + 1]));
    assert_eq!(too_long, Err(Refused::NoteTooLong));
    assert_eq!(desk.tell(note(7, b"other words")), Done::Ok);
    assert_eq!(desk.snapshot().notes.len(), 60);
    for part in desk.registry.snapshot() {
        let mut bytes = Vec::new();
        frame::encode(&ToControl::Snapshot(part), &mut bytes);
        assert!(bytes.len() < FRAME_BYTES_MAX, "{}", bytes.len());
    }
    (1..=60).filter(|leg| *leg != 7).for_each(|leg| {
        desk.ask(Command::CloseLeg { leg: LegId(leg) }).expect("closes");
    });
    assert_eq!(desk.snapshot().notes, [CallNote { call: CallKey(7), note: b"other words".to_vec() }]);
}

#[test]
fn command_given_twice_has_one_effect_and_the_same_answer() {
    let mut desk = Desk::new(1, 8, 64);
    let local = desk.open(1, 1).expect("room");
    assert_eq!(desk.open(1, 1), Ok(local.clone()));
    assert_eq!(desk.snapshot().legs.len(), 1);

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
    assert_eq!((leg.leg, fingerprint.digest), (LegId(1), vec![2; 32]));
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
    let bridges = desk.snapshot().bridges;
    assert_eq!(bridges, [BridgeSnapshot { bridge: BridgeId(2), legs: vec![LegId(2), LegId(3)] }]);
    assert_eq!(desk.ask(bridge(3, 1, 1)), Err(Refused::SameLeg(LegId(1))));
    assert_eq!(desk.ask(Command::Unbridge { bridge: BridgeId(2) }), Ok(Done::Ok));
    assert_eq!(desk.ask(Command::Unbridge { bridge: BridgeId(2) }), Ok(Done::Ok), "parted is parted");
    assert!(desk.snapshot().bridges.is_empty());
}

#[test]
fn full_queue_to_a_worker_is_said_to_be_busy_and_nothing_has_changed() {
    let mut desk = Desk::new(1, 8, 2);
    for leg in 1..=2 {
        desk.tell(open(leg, 1));
    }
    let order = desk.order(open(3, 1));
    let answer = desk.registry.command(order).expect("refused at once");
    assert_eq!(answer.result, Err(Refused::Busy(WorkerId(0))));
    assert_eq!(desk.snapshot().legs.len(), 2);
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
    assert_eq!(desk.open(3, 1), Err(Refused::Draining));
    desk.registry.attach();
    assert_eq!(desk.open(3, 1), Err(Refused::Draining), "the next control plane changes nothing");
    assert!(desk.registry.has_drained(), "and is told");
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
    assert_eq!(desk.snapshot().legs.len(), 1);
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Read(_))));
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Begin)));
    assert_eq!(desk.open(3, 3).expect("room").worker, WorkerId(1), "the successor has not begun");
    desk.registry.begun(0);
    assert_eq!(desk.open(4, 4).expect("all slots are free again").worker, WorkerId(0));
}

#[test]
fn legs_are_refused_while_no_worker_is_there() {
    let mut desk = Desk::new(1, 8, 64);
    desk.registry.lost(0);
    assert_eq!(desk.open(1, 1), Err(Refused::WorkerLost(WorkerId(0))));
}

#[test]
fn worker_that_takes_no_orders_holds_nobody_up_and_finds_what_must_arrive() {
    let mut desk = Desk::new(2, 8, 2);
    for leg in [1, 3] {
        desk.tell(open(leg, 1));
    }
    desk.registry.lost(0);
    desk.registry.stop();
    assert!(!desk.registry.give_owed());
    assert!(matches!(desk.taken(1), Some(WorkerOrder::Stop)), "the other one is told at once");
    let mut taken = Vec::new();
    while !desk.registry.give_owed() || taken.len() < 4 {
        taken.push(desk.taken(0).expect("an order"));
    }
    assert!(matches!(taken[2..], [WorkerOrder::Begin, WorkerOrder::Stop]));
}

#[test]
fn digits_that_found_no_room_are_sent_when_they_are_asked_again() {
    let mut desk = Desk::new(1, 8, 1);
    desk.open(1, 1).expect("room");
    let events = Format { payload_type: 101, codec: Codec::TelephoneEvent, clock_rate_hz: 8000, channels: 1 };
    desk.ask(Command::SetRemote { leg: LegId(1), remote: remote(vec![events]) }).expect("described");
    let read = desk.order(Command::ReadLeg { leg: LegId(1) });
    assert_eq!(desk.registry.command(read), None);
    let order = desk.order(Command::SendDigits { leg: LegId(1), digits: "1".into() });
    let busy = desk.registry.command(order.clone()).expect("refused at once");
    assert_eq!(busy.result, Err(Refused::Busy(WorkerId(0))));
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Read(_))));
    assert_eq!(desk.registry.command(order), None);
    assert!(matches!(desk.taken(0), Some(WorkerOrder::SendDigits { .. })));
}

#[test]
fn bridge_that_is_used_for_other_legs_leaves_its_former_ones_alone() {
    let mut desk = Desk::new(1, 8, 64);
    for leg in 1..=4 {
        desk.open(leg, 1).expect("room");
    }
    desk.ask(Command::Bridge { bridge: BridgeId(1), legs: [LegId(1), LegId(2)] }).expect("joined");
    desk.tell(Command::Bridge { bridge: BridgeId(1), legs: [LegId(3), LegId(4)] });
    let legs = |[a, b]: [LegHandle; 2]| [a.leg, b.leg];
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Part(parted)) if legs(parted) == [LegId(1), LegId(2)]));
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Join(joined)) if legs(joined) == [LegId(3), LegId(4)]));
    assert!(desk.snapshot().legs.iter().all(|leg| leg.bridge.is_some() == (leg.leg.0 > 2)));
}

#[test]
fn leg_that_is_being_closed_answers_in_order_and_with_the_same_figures() {
    let mut desk = Desk::new(1, 8, 64);
    desk.open(1, 1).expect("room");
    for command in
        [Command::CloseLeg { leg: LegId(1) }, Command::ReadLeg { leg: LegId(1) }, Command::CloseLeg { leg: LegId(1) }]
    {
        let order = desk.order(command);
        assert_eq!(desk.registry.command(order), None, "it waits for the worker");
    }
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Close(_))));
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Echo)));
    assert!(matches!(desk.taken(0), Some(WorkerOrder::Echo)));
    let report = LegReport { packets_sent: 7, ..LegReport::default() };
    let mut answered = |figures| {
        let answered = Answered { result: Ok(figures), spent: Spent::Nothing };
        desk.registry.answered(0, answered).expect("an answer").result
    };
    assert_eq!(answered(Some(report.clone())), Ok(Done::Report(report.clone())));
    assert_eq!(answered(None), Err(Refused::UnknownLeg(LegId(1))));
    assert_eq!(answered(None), Ok(Done::Report(report)));
}

#[test]
fn answer_to_a_control_plane_that_has_gone_reaches_nobody() {
    let mut desk = Desk::new(1, 8, 64);
    desk.open(1, 1).expect("room");
    let order = desk.order(Command::ReadLeg { leg: LegId(1) });
    assert_eq!(desk.registry.command(order), None);
    desk.registry.attach();
    let answered = Answered { result: Ok(None), spent: Spent::Nothing };
    assert_eq!(desk.registry.answered(0, answered), None);
    assert_eq!(desk.snapshot().legs.len(), 1, "the leg is there for the next one to find");
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

#[test]
fn snapshot_of_very_many_legs_comes_in_frames_that_are_accepted() {
    let legs = 45_000;
    let mut desk = Desk::new(1, legs, legs + 1);
    let opus = Format { payload_type: 111, codec: Codec::Opus, clock_rate_hz: 48_000, channels: 2 };
    for leg in 0..legs as u64 {
        let order = desk.order(open(leg, leg));
        // Of so many, most have to wait for the worker.
        let _ = desk.registry.command(order);
        let record = desk.registry.legs.get_mut(&LegId(leg)).expect("just opened");
        record.remote = Some(remote(vec![opus; FORMATS_PER_LEG_MAX]));
    }
    let (mut seen, mut bytes) = (0, Vec::new());
    for part in desk.registry.snapshot() {
        seen += part.legs.len();
        bytes.clear();
        frame::encode(&ToControl::Snapshot(part), &mut bytes);
        assert!(bytes.len() < FRAME_BYTES_MAX / 4, "{} bytes", bytes.len());
    }
    assert_eq!(seen, legs);
}

#[test]
fn snapshot_says_what_the_last_events_said() {
    let mut desk = Desk::new(1, 8, 64);
    let local = desk.open(1, 1).expect("room");
    let leg = LegId(1);
    let addr = |port| std::net::SocketAddr::from(([198, 51, 100, 1], port));
    let suite = SrtpSuite::AeadAes128Gcm;
    desk.registry.note(&Event::LegConnected { leg, remote_addr: addr(1), suite });
    desk.registry.note(&Event::LegMoved { leg, remote_addr: addr(2) });
    desk.registry.note(&Event::LegSilent { leg, silent_ms: 10_000 });
    let found = desk.snapshot().legs.remove(0);
    assert_eq!((found.report.remote_addr, found.report.suite), (Some(addr(2)), Some(suite)));
    assert_eq!(found.report.local_addr, local.candidates.first().copied());
    assert_eq!((found.silent, found.failure), (true, None));
    desk.registry.note(&Event::LegHeard { leg });
    desk.registry.note(&Event::LegFailed { leg, why: LegFailure::PeerClosed });
    let found = desk.snapshot().legs.remove(0);
    assert_eq!((found.state, found.silent, found.failure), (LegState::Failed, false, Some(LegFailure::PeerClosed)));
}

#[test]
fn done_is_said_at_once_unless_the_worker_has_a_say_or_an_earlier_answer_is_awaited() {
    let mut desk = Desk::new(1, 8, 64);
    desk.tell(open(1, 1));
    desk.tell(open(2, 1));
    let describe = |leg| Command::SetRemote { leg: LegId(leg), remote: remote(Vec::new()) };
    desk.tell(describe(1));
    let read = desk.order(Command::ReadLeg { leg: LegId(1) });
    assert_eq!(desk.registry.command(read.clone()), None, "the figures are the worker's");
    let later = desk.order(describe(1));
    assert_eq!(desk.registry.command(later.clone()), None, "answers for one leg come in order");
    desk.tell(describe(2));
    let bridge = desk.order(Command::Bridge { bridge: BridgeId(1), legs: [LegId(2), LegId(1)] });
    assert_eq!(desk.registry.command(bridge.clone()), None, "this one names the first leg too");
    let mut answered = Vec::new();
    while desk.taken(0).is_some() {
        let result = Answered { result: Ok(None), spent: Spent::Nothing };
        answered.extend(desk.registry.answered(0, result).map(|answer| answer.id));
    }
    assert_eq!(answered, [read.id, later.id, bridge.id]);
    assert_eq!(desk.tell(describe(1)), Done::Ok, "nothing is awaited any more");
}

#[test]
fn done_waits_for_the_worker_when_more_orders_are_queued_than_one_turn_carries_out() {
    let mut desk = Desk::new(1, 2 * COMMANDS_PER_TICK_MAX, 2 * COMMANDS_PER_TICK_MAX);
    for leg in 0..COMMANDS_PER_TICK_MAX as u64 {
        desk.tell(open(leg, leg));
    }
    let order = desk.order(open(1_000, 1));
    assert_eq!(desk.registry.command(order), None);
}

#[test]
fn worker_wakes_us_only_for_answers_that_somebody_waits_for() {
    let mut desk = Desk::new(1, 8, 64);
    let counters = desk.registry.seats[0].counters.clone();
    desk.tell(open(1, 1));
    assert_eq!(counters.answers_awaited.get(), 0);
    let read = desk.order(Command::ReadLeg { leg: LegId(1) });
    assert_eq!(desk.registry.command(read), None);
    assert_eq!(counters.answers_awaited.get(), 1);
    for waiting in [1, 0] {
        desk.registry.answered(0, Answered { result: Ok(None), spent: Spent::Nothing });
        assert_eq!(counters.answers_awaited.get(), waiting);
    }
    let read = desk.order(Command::ReadLeg { leg: LegId(1) });
    assert_eq!(desk.registry.command(read), None);
    desk.registry.lost(0);
    assert_eq!(counters.answers_awaited.get(), 0);
}
