//! The link thread: the contract's Unix socket on one side, the workers' rings on the other.
//!
//! Input: frames of the attached control plane, notes of the workers, signals. Output: frames to control. Owns the socket,
//! the attachment, and the time that legs may live without one. Decides nothing about legs: that is [`Registry`].
//!
//! One control plane at a time. While one is attached a second is refused; when its connection ends, the next may
//! attach, gets the snapshot, and nothing has changed for media meanwhile.

use crate::board::Board;
use crate::fault::Fault;
use crate::io::Sleeper;
use crate::peer;
use crate::queues::WorkerNote;
use crate::registry::Registry;
use crate::waiting::{Watched, wait};
use crosspoint_contract::frame::encode;
use crosspoint_contract::{
    Command, DataplaneHello, Done, Event, Fingerprint, FrameError, FrameReader, Generation, Order, ToControl,
    ToDataplane, VERSION,
};
use rtrb::Consumer;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// A control plane that lets this much pile up has stopped reading and is cut off.
const UNREAD_BYTES_MAX: usize = 64 << 20;

/// Notes taken from one worker before the others have their turn.
const NOTES_PER_ROUND_MAX: usize = 1024;

/// A connection that has not said hello by then is closed: it keeps others out.
const HELLO_MAX: Duration = Duration::from_secs(2);

/// Between two attempts to give a worker an order that must arrive.
const OWED_PAUSE: Duration = Duration::from_millis(10);

/// How long workers may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Binds the contract socket, readable and writable by its owner only.
pub fn listen(path: &Path) -> Result<UnixListener, Fault> {
    let fault = |source| Fault::Socket { path: path.to_owned(), source };
    if UnixStream::connect(path).is_ok() {
        return Err(Fault::SocketInUse { path: path.to_owned() });
    }
    // What a dataplane that was killed left behind; anything but a socket is not ours to remove.
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        std::fs::remove_file(path).map_err(fault)?;
    }
    let listener = UnixListener::bind(path).map_err(fault)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    Ok(listener)
}

/// What the link thread needs beside the registry.
pub struct LinkParts {
    pub registry: Registry,
    pub board: Arc<Board>,
    pub notes: Vec<Consumer<WorkerNote>>,
    pub listener: UnixListener,
    pub path: PathBuf,
    pub sleeper: Sleeper,
    /// Readable when a signal asks us to end.
    pub signals: RawFd,
    pub grace: Duration,
    pub generation: Generation,
    pub fingerprint: Fingerprint,
    pub certificate_der: Vec<u8>,
}

pub struct Link {
    parts: LinkParts,
    control: Option<Control>,
    /// Since when nobody is attached.
    alone_since: Option<Instant>,
    /// Whether the log knows of a second control plane since the first one attached: it may try for hours.
    second_told: bool,
    stopping: bool,
    workers_left: usize,
}

/// An attached control plane.
struct Control {
    stream: UnixStream,
    reader: FrameReader,
    since: Instant,
    greeted: bool,
    unsent: Vec<u8>,
    /// A descriptor of it goes with the first byte that is sent.
    board: Option<Arc<Board>>,
}

impl Link {
    pub fn new(parts: LinkParts) -> Self {
        let workers_left = parts.notes.len();
        let alone_since = Some(Instant::now());
        Link { parts, control: None, alone_since, second_told: false, stopping: false, workers_left }
    }

    /// Runs until control or a signal asks to end, and the workers have said goodbye.
    pub fn run(mut self) {
        while !self.stopping {
            self.turn();
        }
        info!("ending: saying goodbye to all peers");
        self.parts.registry.stop();
        let deadline = Instant::now() + GOODBYE_MAX;
        while self.workers_left > 0 && Instant::now() < deadline {
            let pause = if self.parts.registry.give_owed() { GOODBYE_MAX } else { OWED_PAUSE };
            self.parts.registry.ring();
            wait(&self.parts.sleeper, &mut [], Some(pause.min(deadline.saturating_duration_since(Instant::now()))));
            self.take_notes();
        }
        self.flush();
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.parts.path);
    }

    fn turn(&mut self) {
        let timeout = self.timeout();
        // Once for all orders of the last turn, and when control has been told of them.
        self.parts.registry.ring();
        let mut watched = [Watched::reading(self.parts.signals), Watched::reading(self.parts.listener.as_raw_fd())];
        match &self.control {
            None => wait(&self.parts.sleeper, &mut watched, timeout),
            Some(control) => {
                let mut all = [watched[0], watched[1], control.watched()];
                wait(&self.parts.sleeper, &mut all, timeout);
                watched = [all[0], all[1]];
                if all[2].ready {
                    self.serve();
                }
            }
        }
        self.stopping |= watched[0].ready;
        self.take_notes();
        if watched[1].ready {
            self.accept();
        }
        self.end_grace();
        self.end_mute();
        if self.parts.registry.has_drained() {
            self.say(&ToControl::Event(Event::Drained));
        }
        self.flush();
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.parts.listener.accept() {
            if let Some(control) = &self.control {
                refuse(stream, peer::process_id(&control.stream));
                if !std::mem::replace(&mut self.second_told, true) {
                    warn!("a second control plane wants to attach and is refused; only one may be attached");
                }
                continue;
            }
            if let Err(error) = stream.set_nonblocking(true) {
                warn!(%error, "cannot use a connection to the contract socket");
                continue;
            }
            let (reader, since, board) = (FrameReader::default(), Instant::now(), Some(self.parts.board.clone()));
            self.control = Some(Control { stream, reader, since, greeted: false, unsent: Vec::new(), board });
        }
    }

    /// Reads what control has to say. What it said before it went is carried out.
    fn serve(&mut self) {
        let Some(control) = &mut self.control else { return };
        let end = control.receive().err();
        self.take_frames();
        if let Some(why) = end {
            self.detach(&why);
        }
    }

    fn take_frames(&mut self) {
        loop {
            let Some(control) = &mut self.control else { return };
            match control.reader.next::<ToDataplane>() {
                Ok(Some(ToDataplane::Hello(hello))) if hello.version == VERSION => self.greet(),
                Ok(Some(ToDataplane::Hello(hello))) => {
                    return self.detach(&format!("it speaks contract version {}, we {VERSION}", hello.version));
                }
                Ok(Some(ToDataplane::Order(order))) if control.greeted => self.order(order),
                Ok(Some(ToDataplane::Promised(command))) if control.greeted => self.keep_promise(command),
                Ok(Some(ToDataplane::Order(_) | ToDataplane::Promised(_))) => {
                    return self.detach("it gave an order before its hello");
                }
                Ok(None) => return,
                Err(error) => return self.detach(&frame_error(&error)),
            }
        }
    }

    /// Both sides have said hello: control learns what is alive.
    fn greet(&mut self) {
        let attachment = self.parts.registry.attach();
        let line = Some(self.parts.board.begin(attachment.0));
        let hello = DataplaneHello {
            version: VERSION,
            generation: self.parts.generation,
            process_id: std::process::id(),
            workers: self.parts.registry.hellos(),
            fingerprint: self.parts.fingerprint.clone(),
            certificate_der: self.parts.certificate_der.clone(),
            ports: self.parts.registry.ports().clone(),
            line,
        };
        let snapshot = self.parts.registry.snapshot();
        info!(legs = snapshot.iter().map(|part| part.legs.len()).sum::<usize>(), "control attached");
        if let Some(control) = &mut self.control {
            control.greeted = true;
        }
        self.alone_since = None;
        self.say(&ToControl::Hello(hello));
        for part in snapshot {
            self.say(&ToControl::Snapshot(part));
        }
        self.say(&ToControl::SnapshotEnd);
    }

    fn order(&mut self, order: Order) {
        self.stopping |= order.command == Command::ShutDown;
        if let Some(mut answer) = self.parts.registry.command(order) {
            if let Ok(Done::Counters { workers, .. }) = &mut answer.result {
                let queued = self.parts.notes.iter().map(|notes| notes.slots() as u32);
                workers.iter_mut().zip(queued).for_each(|(worker, queued)| worker.events_queued = queued);
            }
            self.say(&ToControl::Answer(answer));
        }
    }

    /// Nothing is answered unless it cannot be done.
    fn keep_promise(&mut self, command: Command) {
        let broken = self.parts.registry.keep_promise(command);
        self.parts.board.carried_out();
        if let Some(event) = broken {
            self.say(&ToControl::Event(event));
        }
    }

    fn take_notes(&mut self) {
        for worker in 0..self.parts.notes.len() {
            for _ in 0..NOTES_PER_ROUND_MAX {
                let Ok(note) = self.parts.notes[worker].pop() else { break };
                self.take_note(worker, note);
            }
            if !self.parts.notes[worker].is_empty() {
                self.parts.sleeper.waker().wake();
            }
        }
    }

    fn take_note(&mut self, worker: usize, note: WorkerNote) {
        match note {
            WorkerNote::Answered(answered) => {
                if let Some(answer) = self.parts.registry.answered(worker, answered) {
                    self.say(&ToControl::Answer(answer));
                }
            }
            WorkerNote::Happened(event) => {
                self.parts.registry.note(&event);
                self.say(&ToControl::Event(event));
            }
            WorkerNote::Begun => self.parts.registry.begun(worker),
            // This is where it is freed.
            WorkerNote::Spent(_) => {}
            WorkerNote::Lost => {
                let (answers, event) = self.parts.registry.lost(worker);
                warn!(worker, "a worker was lost and begins anew");
                answers.into_iter().for_each(|answer| self.say(&ToControl::Answer(answer)));
                self.say(&ToControl::Event(event));
            }
            WorkerNote::Stopped => self.workers_left -= 1,
        }
    }

    /// Queues a frame for control, if one is attached and greeted.
    fn say(&mut self, frame: &ToControl) {
        let Some(control) = self.control.as_mut().filter(|control| control.greeted) else { return };
        encode(frame, &mut control.unsent);
        if control.unsent.len() > UNREAD_BYTES_MAX {
            self.detach("it does not read what it is told");
        }
    }

    fn flush(&mut self) {
        if let Some(Err(why)) = self.control.as_mut().map(Control::send) {
            self.serve();
            self.detach(&why);
        }
    }

    fn detach(&mut self, why: &str) {
        let Some(control) = self.control.take() else { return };
        self.parts.board.end();
        self.second_told = false;
        if control.greeted {
            info!(why, "control detached; media goes on");
            self.alone_since = Some(Instant::now());
        } else {
            warn!(why, "a connection to the contract socket ended without a hello");
        }
    }

    /// When to look up although nobody calls.
    fn timeout(&mut self) -> Option<Duration> {
        let grace = self.alone_since.filter(|_| !self.parts.registry.is_empty()).map(|since| (since, self.parts.grace));
        let hello = self.control.as_ref().filter(|control| !control.greeted).map(|control| (control.since, HELLO_MAX));
        let left =
            |(since, max): (Instant, Duration)| max.saturating_sub(since.elapsed()).max(Duration::from_millis(10));
        let owed = (!self.parts.registry.give_owed()).then_some(OWED_PAUSE);
        [grace.map(left), hello.map(left), owed].into_iter().flatten().min()
    }

    fn end_mute(&mut self) {
        if self.control.as_ref().is_some_and(|control| !control.greeted && control.since.elapsed() >= HELLO_MAX) {
            self.detach("it did not say hello");
        }
    }

    fn end_grace(&mut self) {
        if self.alone_since.is_some_and(|since| since.elapsed() >= self.parts.grace) && !self.parts.registry.is_empty()
        {
            warn!("no control plane came back in time; closing all legs");
            self.parts.registry.close_all();
        }
    }
}

/// Says why before it closes. What it has said meanwhile is read first: closing over unread bytes would reset the
/// connection, and our word with it.
fn refuse(mut stream: UnixStream, process_id: Option<u32>) {
    let mut frame = Vec::new();
    encode(&ToControl::Taken { process_id }, &mut frame);
    // A few bytes always fit into a fresh socket; whoever went away needs no answer.
    let _ = stream.set_nonblocking(true).and_then(|()| stream.write_all(&frame));
    let _ = stream.read(&mut [0; 4096]);
}

impl Control {
    fn watched(&self) -> Watched {
        Watched { fd: self.stream.as_raw_fd(), writing: !self.unsent.is_empty(), ready: false }
    }

    fn receive(&mut self) -> Result<(), String> {
        let mut chunk = [0; 64 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("it closed the connection".into()),
                Ok(bytes) => self.reader.push(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn send(&mut self) -> Result<(), String> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.send_some(sent) {
                Ok(bytes) => {
                    sent += bytes;
                    self.board = None;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }
}

/// What was queued from `first` on, and once, beside it, the descriptor of the board (unix(7), `SCM_RIGHTS`).
impl Control {
    fn send_some(&self, first: usize) -> std::io::Result<usize> {
        let bytes = &self.unsent[first..];
        let Some(board) = &self.board else { return (&self.stream).write(bytes) };
        let (descriptors, mut room) =
            ([board.descriptor()], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut beside = SendAncillaryBuffer::new(&mut room);
        let fits = beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        debug_assert!(fits, "there is room for one descriptor");
        Ok(sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?)
    }
}

fn frame_error(error: &FrameError) -> String {
    format!("it sent something that is no frame: {error}")
}
