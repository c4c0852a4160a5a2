//! A control plane at the contract socket.

use crosspoint_contract::frame::encode;
use crosspoint_contract::{
    CallKey, Command, CommandId, ControlHello, DataplaneHello, Done, Event, FrameReader, Generation, LegId,
    LocalDescription, Order, Refused, Snapshot, ToControl, ToDataplane, TransportRequest, VERSION, board,
};
use crosspoint_dataplane::{BackendChoice, DataplaneConfig, Fault};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A dataplane in threads of this process, and the directory of its socket.
pub struct Dataplane {
    pub directory: tempfile::TempDir,
    pub thread: JoinHandle<Result<(), Fault>>,
}

impl Dataplane {
    pub fn start(config: DataplaneConfig) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = DataplaneConfig { socket: directory.path().join("dataplane.sock"), port_base: 0, ..config };
        let thread = std::thread::spawn(move || crosspoint_dataplane::run(config));
        Dataplane { directory, thread }
    }

    pub fn on(backend: BackendChoice) -> Self {
        Self::start(DataplaneConfig { backend, workers: 1, legs_max: 16, ..DataplaneConfig::default() })
    }

    pub fn attach(&self) -> Control {
        Control::attach(&self.directory.path().join("dataplane.sock"))
    }

    /// Waits for the end of the process that was told to end.
    pub fn ended(self) {
        self.thread.join().expect("no panic").expect("a clean end");
    }
}

pub struct Control {
    stream: UnixStream,
    reader: FrameReader,
    next_id: u64,
    pub hello: DataplaneHello,
    pub snapshot: Snapshot,
    /// Comes with the hello.
    pub board: File,
    promised: u64,
    /// Events that came while something else was awaited.
    events: VecDeque<Event>,
}

impl Control {
    pub fn attach(path: &Path) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "the dataplane does not listen: {error}"),
            }
            std::thread::yield_now();
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write(&mut stream, &ToDataplane::Hello(ControlHello { version: VERSION, generation: Generation(1) }));
        let mut reader = FrameReader::default();
        let board = first_bytes(&stream, &mut reader).expect("a descriptor comes with the hello");
        let ToControl::Hello(hello) = read(&mut stream, &mut reader) else { panic!("first comes the hello") };
        let mut snapshot = Snapshot::default();
        loop {
            match read(&mut stream, &mut reader) {
                ToControl::Snapshot(part) => snapshot.append(part),
                ToControl::SnapshotEnd => break,
                other => panic!("then comes the snapshot, not {other:?}"),
            }
        }
        let events = VecDeque::new();
        Control { stream, reader, next_id: 1, hello, snapshot, board: board.into(), promised: 0, events }
    }

    pub fn ask(&mut self, command: Command) -> Result<Done, Refused> {
        let id = self.send(command);
        loop {
            match read(&mut self.stream, &mut self.reader) {
                ToControl::Answer(answer) => {
                    assert_eq!(answer.id, id, "answers come in order");
                    return answer.result;
                }
                ToControl::Event(event) => self.events.push_back(event),
                other => panic!("unasked: {other:?}"),
            }
        }
    }

    pub fn send(&mut self, command: Command) -> CommandId {
        let id = CommandId(self.next_id);
        self.next_id += 1;
        write(&mut self.stream, &ToDataplane::Order(Order { id, command }));
        id
    }

    /// Announces so many promises, as before somebody is told that they are done.
    pub fn announce(&mut self, promises: u64) {
        self.promised += promises;
        let line = self.hello.line.expect("there is a board");
        self.board.write_all_at(&self.promised.to_ne_bytes(), board::line_at(line)).expect("written");
    }

    pub fn promise(&mut self, command: Command) {
        write(&mut self.stream, &ToDataplane::Promised(command));
    }

    pub fn open(&mut self, leg: u64) -> LocalDescription {
        let transport = TransportRequest::WebRtc;
        match self.ask(Command::OpenLeg { leg: LegId(leg), call: CallKey(1), transport }) {
            Ok(Done::Opened(local)) => local,
            other => panic!("leg {leg} did not open: {other:?}"),
        }
    }

    pub fn ok(&mut self, command: Command) {
        assert_eq!(self.ask(command), Ok(Done::Ok));
    }

    /// The next event that `wanted` accepts; others are passed over.
    pub fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.events.pop_front() {
                if wanted(&event) {
                    return event;
                }
            }
            assert!(Instant::now() < deadline, "the awaited event did not come");
            match read(&mut self.stream, &mut self.reader) {
                ToControl::Event(event) => self.events.push_back(event),
                ToControl::Answer(_) => {}
                other => panic!("unasked: {other:?}"),
            }
        }
    }
}

fn write(stream: &mut UnixStream, frame: &ToDataplane) {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    stream.write_all(&bytes).expect("the dataplane reads");
}

fn first_bytes(stream: &UnixStream, reader: &mut FrameReader) -> Option<OwnedFd> {
    let (mut chunk, mut room) = ([0; 4096], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut beside = RecvAncillaryBuffer::new(&mut room);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut chunk)], &mut beside, RecvFlags::empty());
    reader.push(&chunk[..received.expect("the dataplane speaks within the test's patience").bytes]);
    beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn read(stream: &mut UnixStream, reader: &mut FrameReader) -> ToControl {
    let mut chunk = [0; 4096];
    loop {
        if let Some(frame) = reader.next().expect("well-formed frames") {
            return frame;
        }
        let bytes = stream.read(&mut chunk).expect("the dataplane speaks within the test's patience");
        assert!(bytes > 0, "the dataplane closed the link");
        reader.push(&chunk[..bytes]);
    }
}
