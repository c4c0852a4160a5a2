//! The link against a dataplane played by the test over a real Unix socket.

use super::core_loop::Arrival;
use super::dataplane_ears::Ears;
use super::dataplane_keeper::{ChildPlan, END_MAX, Keeper, LinkState};
use super::dataplane_link::{
    Attachment, EndAsked, EndTold, GOODBYE_MAX, LinkError, LinkRequest, Patience, PumpEnd, TaggedOrder,
};
use super::settings::resolve;
use crate::core::input::Input;
use crosspoint_contract::limits::COMMANDS_OUTSTANDING_MAX;
use crosspoint_contract::{
    Answer, Command, CommandId, DataplaneHello, Done, Event, Fingerprint, FrameReader, Generation, LegId,
    LobbyCounters, Order, PortsHello, Snapshot, ToControl, ToDataplane, VERSION, frame,
};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const IMPATIENT: Patience =
    Patience { hello_max: Duration::from_millis(500), look_interval: Duration::from_millis(50) };

fn hello(version: u32) -> ToControl {
    let fingerprint = Fingerprint { sha256: [7; 32] };
    ToControl::Hello(DataplaneHello {
        version,
        generation: Generation(9),
        // Nobody's: one that is told to end is waited for, and may be killed.
        process_id: 0,
        workers: vec![],
        fingerprint,
        certificate_der: vec![],
        ports: PortsHello::default(),
        line: None,
    })
}

/// The dataplane's side of a link.
struct Dataplane {
    stream: UnixStream,
    frames: FrameReader,
}

impl Dataplane {
    async fn accept(listener: &UnixListener, version: u32) -> Dataplane {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut dataplane = Dataplane { stream, frames: FrameReader::default() };
        assert!(matches!(dataplane.next().await, ToDataplane::Hello(hello) if hello.version == VERSION));
        dataplane.say(&hello(version)).await;
        dataplane.say(&ToControl::Snapshot(Snapshot::default())).await;
        dataplane.say(&ToControl::SnapshotEnd).await;
        dataplane
    }

    async fn say(&mut self, message: &ToControl) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes);
        self.stream.write_all(&bytes).await.expect("written");
    }

    async fn next(&mut self) -> ToDataplane {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.frames.next().expect("well-formed") {
                return frame;
            }
            let bytes = self.stream.read(&mut buffer).await.expect("read");
            assert!(bytes > 0, "control closed the link");
            self.frames.push(&buffer[..bytes]);
        }
    }
}

struct Link {
    _dir: TempDir,
    dataplane: Dataplane,
    requests: mpsc::Sender<LinkRequest>,
    end: mpsc::Sender<EndTold>,
    arriving: mpsc::Receiver<Arrival>,
    pump: JoinHandle<PumpEnd>,
}

async fn link(number: u64) -> Link {
    let (dir, listener) = listener();
    let path = dir.path().join("s");
    let opening = tokio::spawn(async move { Attachment::open(&path, Generation(1), IMPATIENT).await });
    let dataplane = Dataplane::accept(&listener, VERSION).await;
    let attachment = opening.await.expect("no panic").expect("attached");
    let (requests, mut received) = mpsc::channel(16);
    let (end, asked) = mpsc::channel(1);
    let (arrivals, mut arriving) = mpsc::channel(16);
    let pump = tokio::spawn(async move {
        let ears = Ears { core: arrivals, relay: None };
        attachment.pump(number, &mut received, &mut EndAsked(asked), &ears).await
    });
    assert!(matches!(
        arriving.recv().await,
        Some(Arrival::Input(Input::DataplaneAttached { hello, .. })) if hello.generation == Generation(9)
    ));
    Link { _dir: dir, dataplane, requests, end, arriving, pump }
}

fn listener() -> (TempDir, UnixListener) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let listener = UnixListener::bind(dir.path().join("s")).expect("a socket");
    (dir, listener)
}

fn order(attachment: u64, id: u64) -> LinkRequest {
    let order = Order { id: CommandId(id), command: Command::ReadLeg { leg: LegId(id) } };
    LinkRequest::Order(Box::new(TaggedOrder { attachment, order }))
}

#[tokio::test]
async fn orders_of_an_earlier_attachment_are_void() {
    let mut link = link(2).await;
    link.requests.send(order(1, 10)).await.expect("open");
    link.requests.send(order(2, 11)).await.expect("open");
    let ToDataplane::Order(first) = link.dataplane.next().await else { panic!("awaited an order") };
    assert_eq!(first.id, CommandId(11));
}

#[tokio::test]
async fn answers_and_events_reach_the_core_and_own_answers_do_not() {
    let mut link = link(1).await;
    let (reply, reading) = oneshot::channel();
    link.requests.send(LinkRequest::ReadCounters(reply)).await.expect("open");
    let ToDataplane::Order(asked) = link.dataplane.next().await else { panic!("awaited an order") };
    let counters =
        Done::Counters { workers: vec![], lobby: LobbyCounters { handshakes_failed: 3, ..Default::default() } };
    link.dataplane.say(&ToControl::Answer(Answer { id: asked.id, result: Ok(counters) })).await;
    assert_eq!(reading.await.expect("answered").1.handshakes_failed, 3);

    link.requests.send(order(1, 5)).await.expect("open");
    let ToDataplane::Order(asked) = link.dataplane.next().await else { panic!("awaited an order") };
    let answer = Answer { id: asked.id, result: Ok(Done::Ok) };
    link.dataplane.say(&ToControl::Answer(answer.clone())).await;
    link.dataplane.say(&ToControl::Event(Event::Drained)).await;
    assert!(matches!(link.arriving.recv().await, Some(Arrival::Input(Input::DataplaneAnswered(a))) if a == answer));
    assert!(matches!(link.arriving.recv().await, Some(Arrival::Input(Input::DataplaneSaid(Event::Drained)))));
}

#[tokio::test]
async fn orderly_end_is_told_apart_from_a_lost_link() {
    let lost = link(1).await;
    drop(lost.dataplane);
    assert!(matches!(lost.pump.await.expect("no panic"), PumpEnd::Lost(LinkError::Closed | LinkError::Io(_))));

    let mut ended = link(1).await;
    let (told, _gone) = oneshot::channel();
    ended.end.send(told).await.expect("open");
    assert!(matches!(ended.dataplane.next().await, ToDataplane::Order(Order { command: Command::ShutDown, .. })));
    drop(ended.dataplane);
    assert!(matches!(ended.pump.await.expect("no panic"), PumpEnd::ShutDown(_)));
}

#[tokio::test]
async fn dataplane_that_hangs_holds_up_an_orderly_end_no_longer_than_the_bound_whatever_it_owes() {
    let mut link = link(1).await;
    for id in 0..=COMMANDS_OUTSTANDING_MAX as u64 + 16 {
        // The last ones wait in the queue, because none before them was answered.
        if link.requests.try_send(order(1, id)).is_err() {
            link.dataplane.next().await;
        }
    }
    let begun = Instant::now();
    let (told, _gone) = oneshot::channel();
    link.end.send(told).await.expect("open");
    let asked_to_end = async {
        while !matches!(link.dataplane.next().await, ToDataplane::Order(Order { command: Command::ShutDown, .. })) {}
    };
    timeout(GOODBYE_MAX, asked_to_end).await.expect("it is asked to end");
    assert!(matches!(link.pump.await.expect("no panic"), PumpEnd::ShutDown(_)));
    assert!(begun.elapsed() < GOODBYE_MAX + Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn promises_keep_their_place_among_orders_and_those_of_an_earlier_attachment_are_void() {
    let mut link = link(2).await;
    let close = |leg| Command::CloseLeg { leg: LegId(leg) };
    for request in
        [order(2, 10), LinkRequest::Promise(1, close(1).into()), LinkRequest::Promise(2, close(2).into()), order(2, 11)]
    {
        link.requests.send(request).await.expect("open");
    }
    assert!(matches!(link.dataplane.next().await, ToDataplane::Order(Order { id: CommandId(10), .. })));
    assert_eq!(link.dataplane.next().await, ToDataplane::Promised(close(2)));
    assert!(matches!(link.dataplane.next().await, ToDataplane::Order(Order { id: CommandId(11), .. })));
}

#[tokio::test]
async fn answer_that_nobody_asked_for_ends_the_link() {
    let mut link = link(1).await;
    link.dataplane.say(&ToControl::Answer(Answer { id: CommandId(77), result: Ok(Done::Ok) })).await;
    assert!(matches!(link.pump.await.expect("no panic"), PumpEnd::Lost(LinkError::OutOfOrder)));
}

#[tokio::test]
async fn dataplane_of_another_contract_version_is_refused_by_name_of_its_process() {
    let (dir, listener) = listener();
    let path = dir.path().join("s");
    let opening = tokio::spawn(async move { Attachment::open(&path, Generation(1), IMPATIENT).await });
    let _dataplane = Dataplane::accept(&listener, VERSION + 1).await;
    let error = opening.await.expect("no panic").expect_err("another version").to_string();
    assert!(error.contains("process id is 0"), "{error}");
}

#[tokio::test]
async fn dataplane_of_another_control_plane_is_known_by_the_process_that_has_it() {
    let (dir, listener) = listener();
    let path = dir.path().join("s");
    let opening = tokio::spawn(async move { Attachment::open(&path, Generation(1), IMPATIENT).await });
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut dataplane = Dataplane { stream, frames: FrameReader::default() };
    dataplane.say(&ToControl::Taken { process_id: Some(77) }).await;
    drop(dataplane);
    let error = opening.await.expect("no panic").expect_err("taken").to_string();
    assert!(error.contains("another control plane is attached to it (process 77)"), "{error}");
}

/// A keeper, and where to ask it to end.
fn keeper(dir: &TempDir, script: &str) -> (Keeper, mpsc::Sender<EndTold>) {
    let (end, asked) = mpsc::channel(1);
    let keeper = Keeper {
        socket: dir.path().join("s"),
        plan: Some(ChildPlan { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] }),
        settings: resolve(None, |_| None, |_| None).expect("accepted").settings(),
        generation: Generation(1),
        patience: IMPATIENT,
        requests: mpsc::channel(16).1,
        end: EndAsked(asked),
        ears: Ears { core: mpsc::channel(16).0, relay: None },
        state: watch::channel(LinkState::default()).0,
        not_started: None,
    };
    (keeper, end)
}

async fn ended(end: &mpsc::Sender<EndTold>) {
    let (told, gone) = oneshot::channel();
    end.send(told).await.expect("open");
    gone.await.expect("told that no dataplane is left");
}

/// A named pipe through which a child says its process id.
fn pipe(dir: &TempDir) -> std::path::PathBuf {
    let path = dir.path().join("started");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    path
}

#[tokio::test]
async fn first_child_that_ends_by_itself_ends_the_keeper_with_the_childs_cause() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (tell, told) = oneshot::channel();
    let (keeper, _end) = keeper(&dir, "echo the port is taken; exit 1");
    Keeper { not_started: Some(tell), ..keeper }.run().await;
    let fault = told.await.expect("told").into_fault("media.port_base = 1".into()).to_string();
    assert!(fault.contains("did not start: the port is taken\n") && fault.contains("media.port_base = 1"), "{fault}");
}

#[tokio::test]
async fn dataplane_that_somebody_starts_late_is_attached_at_once() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (keeper, _end) = keeper(&dir, "");
    let keeper = Keeper { plan: None, ..keeper };
    let mut state = keeper.state.subscribe();
    tokio::spawn(keeper.run());
    state.wait_for(|state| state.trouble.is_some()).await.expect("it looks");
    let begun = Instant::now();
    let listener = UnixListener::bind(dir.path().join("s")).expect("a socket");
    let _dataplane = Dataplane::accept(&listener, VERSION).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn dataplane_that_stops_answering_is_noticed_and_one_that_says_anything_is_not() {
    let mut link = link(1).await;
    for _ in 0..8 {
        let ToDataplane::Order(look) = link.dataplane.next().await else { panic!("awaited a look") };
        assert_eq!(look.command, Command::ReadCounters);
        link.dataplane.say(&ToControl::Event(Event::Drained)).await;
        assert!(matches!(link.arriving.recv().await, Some(Arrival::Input(Input::DataplaneSaid(Event::Drained)))));
    }
    assert!(matches!(link.pump.await.expect("no panic"), PumpEnd::Lost(LinkError::Silent)));
}

/// The child only tells that it was started; the test answers at the socket in its place, or does not.
#[tokio::test]
async fn child_that_takes_connections_and_says_nothing_is_killed_and_started_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (socket, started) = (dir.path().join("s"), pipe(&dir));
    let (keeper, end) = keeper(&dir, &format!("echo $$ > {}; exec sleep 600", started.display()));
    tokio::spawn(keeper.run());
    let child = async || tokio::fs::read_to_string(&started).await.expect("a process id");
    let first = child().await;
    let listener = UnixListener::bind(&socket).expect("a socket");
    let _mute = (listener.accept().await.expect("a connection"), listener.accept().await.expect("another"));
    drop(listener);
    std::fs::remove_file(&socket).expect("removed");
    assert_ne!(child().await, first);
    ended(&end).await;
}

/// The child hears no signal but SIGKILL; the test takes its connection and says nothing.
#[tokio::test]
async fn end_interrupts_an_attempt_to_attach_and_leaves_no_child() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (listener, started) = (UnixListener::bind(dir.path().join("t")).expect("a socket"), pipe(&dir));
    let (keeper, end) = keeper(&dir, &format!("trap '' TERM; echo $$ > {}; exec sleep 600", started.display()));
    let patience = Patience { hello_max: Duration::from_secs(60), ..IMPATIENT };
    tokio::spawn(Keeper { patience, ..keeper }.run());
    let child = tokio::fs::read_to_string(&started).await.expect("a process id");
    std::fs::rename(dir.path().join("t"), dir.path().join("s")).expect("renamed");
    let _mute = listener.accept().await.expect("a connection");
    let begun = Instant::now();
    ended(&end).await;
    assert!(begun.elapsed() < END_MAX + Duration::from_millis(300), "{:?}", begun.elapsed());
    assert!(!std::path::Path::new("/proc").join(child.trim()).exists(), "the child is left, or its status");
}

/// The test plays one of other settings; the ports of that one are taken for a moment after its end.
#[tokio::test]
async fn child_that_finds_the_ports_of_the_replaced_one_taken_is_started_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (socket, started, tried) = (dir.path().join("s"), pipe(&dir), dir.path().join("tried"));
    let listener = UnixListener::bind(&socket).expect("a socket");
    let script = format!(
        "if [ -e {tried} ]; then echo $$ > {started}; exec sleep 600; fi; touch {tried}; echo taken; exit 1",
        tried = tried.display(),
        started = started.display()
    );
    let (keeper, end) = keeper(&dir, &script);
    let (tell, told) = oneshot::channel();
    tokio::spawn(Keeper { not_started: Some(tell), ..keeper }.run());
    let mut other = Dataplane::accept(&listener, VERSION).await;
    assert!(matches!(other.next().await, ToDataplane::Order(Order { command: Command::ShutDown, .. })));
    std::fs::remove_file(&socket).expect("removed");
    drop((listener, other));
    tokio::select! {
        why = told => panic!("taken for a first start: {why:?}"),
        child = tokio::fs::read_to_string(&started) => drop(child.expect("a process id")),
    }
    ended(&end).await;
}
