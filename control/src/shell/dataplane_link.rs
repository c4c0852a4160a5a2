//! The wire to the dataplane: one attachment of a Unix socket, speaking the contract's frames.
//!
//! Input: [`LinkRequest`]s of the core's loop, the ng relay and the HTTP side. Output: what [`Ears`] hear. At most
//! `COMMANDS_OUTSTANDING_MAX` orders are unanswered at once; further ones wait in the bounded request queue. A peer that
//! answers nothing any more is noticed. Who starts the process at the other end is `dataplane_keeper`'s business.

use super::dataplane_ears::{Deaf, Ears};
use crosspoint_contract::limits::COMMANDS_OUTSTANDING_MAX;
use crosspoint_contract::{
    Answer, Command, CommandId, ControlHello, DataplaneHello, Done, FrameError, FrameReader, Generation, LobbyCounters,
    Order, Snapshot, ToControl, ToDataplane, VERSION, WorkerCounters, frame,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

/// Orders that may wait for an attachment that has its fill of unanswered ones.
pub const REQUESTS_MAX: usize = 32_768;

/// How long a dataplane may keep us waiting. Far longer than it should ever need: to take one that lives for dead would
/// cost its calls.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From connecting to the whole snapshot, which may be megabytes.
    pub hello_max: Duration,
    /// How often it is asked something that it can answer at once.
    pub look_interval: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { hello_max: Duration::from_secs(5), look_interval: Duration::from_secs(2) }
    }
}

/// Looks in a row that may go unanswered. Counted in looks, not by the clock, so that a pause of our own process, during
/// which answers pile up in the socket, is not blamed on the peer.
const LOOKS_UNANSWERED_MAX: u32 = 5;

/// From the request to shut down until the dataplane, which then says goodbye to its peers, has closed the link.
pub const GOODBYE_MAX: Duration = Duration::from_millis(1500);

/// Numbers of the shell's own commands have this bit; the core's do not.
const SHELL_COMMAND: u64 = 1 << 63;

/// Totals of the workers and of the lobby.
pub type CounterReading = (Vec<WorkerCounters>, LobbyCounters);

#[derive(Debug)]
pub enum LinkRequest {
    Order(Box<TaggedOrder>),
    /// Announced by whoever gives it; the number is that of the attachment.
    Promise(u64, Box<Command>),
    ReadCounters(oneshot::Sender<CounterReading>),
}

/// Whoever asked for the dataplane's end, and is to be told of it.
pub type EndTold = oneshot::Sender<()>;

/// The one request that overtakes all orders: the dataplane is to end, if it is ours to end.
#[derive(Debug)]
pub struct EndAsked(pub mpsc::Receiver<EndTold>);

impl EndAsked {
    /// Cancel safe. Never returns when nobody can ask any more.
    pub async fn next(&mut self) -> EndTold {
        match self.0.recv().await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }
}

/// An order and the attachment it was given for. After a loss the core plans anew from the next snapshot, so an order
/// of an earlier attachment is void.
#[derive(Debug)]
pub struct TaggedOrder {
    pub attachment: u64,
    pub order: Order,
}

#[derive(Debug, Error)]
pub enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("it closed the link")]
    Closed,
    /// With the process at the other end of the socket, as the kernel names it.
    #[error("it takes the connection and says nothing")]
    Mute { process_id: Option<u32> },
    #[error("it stopped answering")]
    Silent,
    #[error(
        "it speaks contract version {theirs}, we speak {VERSION}; start the dataplane of this binary (its process id is {process_id})"
    )]
    OtherVersion { theirs: u32, process_id: u32 },
    #[error("another control plane is attached to it{}; only one may be", process_id.map_or(String::new(), |id| format!(" (process {id})")))]
    Taken { process_id: Option<u32> },
    #[error("it sent frames out of order")]
    OutOfOrder,
}

/// An attached dataplane, before orders are pumped.
#[derive(Debug)]
pub struct Attachment {
    pub hello: DataplaneHello,
    pub snapshot: Snapshot,
    /// Of the memory that is shared with it, where it has some.
    pub board: Option<OwnedFd>,
    reader: Reader,
    writer: OwnedWriteHalf,
    look_interval: Duration,
}

#[derive(Debug)]
struct Reader {
    half: OwnedReadHalf,
    frames: FrameReader,
    buffer: Vec<u8>,
    /// What came beside the first bytes, once they have come.
    board: Option<Option<OwnedFd>>,
}

impl Reader {
    /// The next frame. Cancel safe: bytes are kept in `frames` as soon as they are read.
    async fn next(&mut self) -> Result<ToControl, LinkError> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(frame);
            }
            let bytes = match self.board {
                None => self.first_bytes().await?,
                Some(_) => self.half.read(&mut self.buffer).await?,
            };
            match bytes {
                0 => return Err(LinkError::Closed),
                bytes => self.frames.push(&self.buffer[..bytes]),
            }
        }
    }

    /// The descriptor of the board comes with the first byte (unix(7), `SCM_RIGHTS`).
    async fn first_bytes(&mut self) -> io::Result<usize> {
        let stream: &UnixStream = self.half.as_ref();
        loop {
            stream.readable().await?;
            match stream.try_io(Interest::READABLE, || receive(stream, &mut self.buffer)) {
                Ok((bytes, board)) => {
                    self.board = Some(board);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut room);
    let received = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, descriptors.next()))
}

impl Attachment {
    pub async fn open(socket: &Path, generation: Generation, patience: Patience) -> Result<Attachment, LinkError> {
        let stream = UnixStream::connect(socket).await?;
        let process_id = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| pid.try_into().ok());
        let (half, mut writer) = stream.into_split();
        let mut reader = Reader { half, frames: FrameReader::default(), buffer: vec![0; 64 << 10], board: None };
        let hello = ToDataplane::Hello(ControlHello { version: VERSION, generation });
        let greeting = async {
            // One that refuses us does not read our hello, but says why.
            let written = write(&mut writer, &hello).await;
            let hello = match reader.next().await {
                Ok(ToControl::Hello(hello)) => hello,
                Ok(ToControl::Taken { process_id }) => return Err(LinkError::Taken { process_id }),
                Ok(_) => return Err(LinkError::OutOfOrder),
                Err(error) => return Err(written.err().unwrap_or(error)),
            };
            if hello.version != VERSION {
                return Err(LinkError::OtherVersion { theirs: hello.version, process_id: hello.process_id });
            }
            let mut snapshot = Snapshot::default();
            loop {
                match reader.next().await? {
                    ToControl::Snapshot(part) => snapshot.append(part),
                    ToControl::SnapshotEnd => return Ok((hello, snapshot)),
                    _ => return Err(LinkError::OutOfOrder),
                }
            }
        };
        let greeted = timeout(patience.hello_max, greeting).await;
        let (mut hello, snapshot) = greeted.map_err(|_| LinkError::Mute { process_id })??;
        let board = reader.board.take().flatten();
        reader.board = Some(None);
        // One without the other is of no use.
        hello.line = hello.line.filter(|_| board.is_some());
        Ok(Attachment { hello, snapshot, board, reader, writer, look_interval: patience.look_interval })
    }

    /// Ends a dataplane that we cannot use, and returns when it has closed the link.
    pub async fn shut_down(mut self) -> Result<(), LinkError> {
        let order = Order { id: CommandId(SHELL_COMMAND), command: Command::ShutDown };
        write(&mut self.writer, &ToDataplane::Order(order)).await?;
        loop {
            match self.reader.next().await {
                Ok(_) => {}
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the core, then carries orders and answers until the link ends. `number` counts attachments. An end that is
    /// asked for reaches the dataplane behind at most what is outstanding, and is not awaited for ever.
    pub async fn pump(
        mut self,
        number: u64,
        requests: &mut mpsc::Receiver<LinkRequest>,
        end: &mut EndAsked,
        ears: &Ears,
    ) -> PumpEnd {
        if ears.attached(self.hello, std::mem::take(&mut self.snapshot), self.board.take()).await.is_err() {
            return PumpEnd::Lost(LinkError::Closed);
        }
        let mut outstanding = 0_usize;
        let mut own = OwnCommands::default();
        let mut shut_down: Option<(EndTold, Instant)> = None;
        // Written as the socket takes it, so that reading never waits for writing. Bounded by what may be outstanding.
        let mut out = Vec::new();
        let mut looks = interval_at(Instant::now() + self.look_interval, self.look_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        loop {
            let until = shut_down.as_ref().map(|(_, until)| *until);
            let step = tokio::select! {
                told = end.next(), if shut_down.is_none() => {
                    shut_down = Some((told, Instant::now() + GOODBYE_MAX));
                    put(&mut out, Order { id: CommandId(SHELL_COMMAND), command: Command::ShutDown })
                }
                () = reached(until) => Err(LinkError::Silent),
                _ = looks.tick() => {
                    unanswered += 1;
                    if unanswered > LOOKS_UNANSWERED_MAX { Err(LinkError::Silent) } else { put(&mut out, own.look()) }
                }
                written = self.writer.write(&out), if !out.is_empty() => match written {
                    Ok(bytes) => { out.drain(..bytes); Ok(()) }
                    Err(error) => Err(LinkError::Io(error)),
                },
                frame = self.reader.next() => match heard(frame, &mut unanswered) {
                    Ok(ToControl::Answer(answer)) if answer.id.0 & SHELL_COMMAND != 0 => { own.answered(answer); Ok(()) }
                    Ok(ToControl::Answer(answer)) => {
                        match outstanding.checked_sub(1) {
                            Some(fewer) => { outstanding = fewer; heard_by(ears.answered(answer).await) }
                            None => Err(LinkError::OutOfOrder),
                        }
                    }
                    Ok(ToControl::Event(event)) => heard_by(ears.said(event).await),
                    Ok(ToControl::Hello(_) | ToControl::Snapshot(_) | ToControl::SnapshotEnd | ToControl::Taken { .. }) => {
                        Err(LinkError::OutOfOrder)
                    }
                    Err(error) => Err(error),
                },
                request = requests.recv(), if outstanding < COMMANDS_OUTSTANDING_MAX => match request {
                    Some(LinkRequest::Order(order)) if order.attachment != number => Ok(()),
                    Some(LinkRequest::Order(order)) => {
                        outstanding += 1;
                        put(&mut out, order.order)
                    }
                    Some(LinkRequest::Promise(of, command)) => {
                        if of == number {
                            frame::encode(&ToDataplane::Promised(*command), &mut out);
                        }
                        Ok(())
                    }
                    Some(LinkRequest::ReadCounters(reply)) => {
                        let id = own.expect(reply);
                        put(&mut out, Order { id, command: Command::ReadCounters })
                    }
                    None => Err(LinkError::Closed),
                },
            };
            if let Err(error) = step {
                return shut_down.map_or(PumpEnd::Lost(error), |(told, _)| PumpEnd::ShutDown(told));
            }
        }
    }
}

/// How an attachment ended.
#[derive(Debug)]
pub enum PumpEnd {
    Lost(LinkError),
    /// As asked, or because it did not do as asked; the sender is to be told when the process is gone.
    ShutDown(EndTold),
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn heard_by(told: Result<(), Deaf>) -> Result<(), LinkError> {
    told.map_err(|Deaf| LinkError::Closed)
}

/// Whatever it says, it lives.
fn heard(frame: Result<ToControl, LinkError>, unanswered: &mut u32) -> Result<ToControl, LinkError> {
    *unanswered = 0;
    frame
}

fn put(out: &mut Vec<u8>, order: Order) -> Result<(), LinkError> {
    frame::encode(&ToDataplane::Order(order), out);
    Ok(())
}

async fn write(writer: &mut OwnedWriteHalf, message: &ToDataplane) -> Result<(), LinkError> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes);
    writer.write_all(&bytes).await.map_err(LinkError::Io)
}

/// Commands of the shell itself that wait for their answers.
#[derive(Default)]
struct OwnCommands {
    sent: u64,
    waiting: HashMap<CommandId, oneshot::Sender<CounterReading>>,
}

impl OwnCommands {
    fn next_id(&mut self) -> CommandId {
        self.sent += 1;
        CommandId(SHELL_COMMAND | self.sent)
    }

    fn expect(&mut self, reply: oneshot::Sender<CounterReading>) -> CommandId {
        let id = self.next_id();
        self.waiting.insert(id, reply);
        id
    }

    /// Asks for the sake of an answer.
    fn look(&mut self) -> Order {
        Order { id: self.next_id(), command: Command::ReadCounters }
    }

    fn answered(&mut self, answer: Answer) {
        if let (Some(reply), Ok(Done::Counters { workers, lobby })) = (self.waiting.remove(&answer.id), answer.result) {
            let _ = reply.send((workers, lobby));
        }
    }
}
