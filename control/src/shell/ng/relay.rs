//! The one task that owns the relay's core: takes questions, lets the core decide, carries the effects out in order.
//!
//! Input: datagrams of its own UDP socket, and [`NgArrival`]s of connections, the dataplane link and the load meter, over
//! one bounded queue. Output: replies, orders, log lines. It never waits for any of them: a connection that does not
//! read is closed, a full link answers `Busy`, a datagram that the socket does not take is lost as on any network.

use super::board::Board;
use super::notes::Notes;
use crate::shell::dataplane_link::{LinkRequest, TaggedOrder};
use crosspoint_contract::{Answer, Command, DataplaneHello, Event, Order, Refused, Snapshot, WorkerId};
use crosspoint_ng::core::NgCore;
use crosspoint_ng::effect::{Channel, Effect, Input, Load, Now, Peer};
use crosspoint_ng::statistics::Statistics;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Facts that may wait for the relay.
pub const ARRIVALS_MAX: usize = 8192;

/// Datagrams read in one turn, before other arrivals have theirs.
const DATAGRAMS_PER_TURN_MAX: usize = 64;

/// Largest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_535;

const UDP: Channel = Channel::Datagrams(0);

/// What the link has no room for.
const BUSY: Refused = Refused::Busy(WorkerId(0));

/// What may reach the relay's loop.
#[derive(Debug)]
pub enum NgArrival {
    /// A connection is open, or an HTTP request asks; what is for it goes to `outgoing`.
    Opened {
        channel: Channel,
        outgoing: mpsc::Sender<Outgoing>,
    },
    Closed {
        channel: Channel,
    },
    /// With a cookie.
    Message {
        from: Peer,
        bytes: Vec<u8>,
    },
    /// Without.
    Plain {
        from: Peer,
        bytes: Vec<u8>,
    },
    CliLine {
        from: Peer,
        line: String,
    },
    /// Figures for Prometheus.
    Scrape {
        from: Peer,
    },
    DataplaneAttached {
        hello: DataplaneHello,
        snapshot: Snapshot,
        board: Option<OwnedFd>,
    },
    DataplaneLost,
    DataplaneAnswered(Answer),
    DataplaneSaid(Event),
    LoadMeasured(Load),
    /// Close everything; answered when the orders for it are given.
    ShutDown(oneshot::Sender<()>),
    /// Somebody wants to see figures.
    Look(oneshot::Sender<NgView>),
}

/// What a connection's task is to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Outgoing {
    Reply(Arc<[u8]>),
    /// The last of this connection.
    Last(String),
}

/// The relay's figures at one moment.
#[derive(Clone, Debug, Default)]
pub struct NgView {
    pub calls: usize,
    pub statistics: Statistics,
    pub replies_dropped: u64,
    pub orders_refused_busy: u64,
}

pub struct Relay {
    core: NgCore,
    /// Until the loop runs: a socket belongs to the runtime that waits for it.
    bound: Option<std::net::UdpSocket>,
    udp: Option<UdpSocket>,
    arrivals: mpsc::Receiver<NgArrival>,
    connections: HashMap<Channel, mpsc::Sender<Outgoing>>,
    link: mpsc::Sender<LinkRequest>,
    /// Counts attachments, as the link does: an order is for the attachment in which the core gave it.
    attachment: u64,
    board: Option<Board>,
    /// Answers that the loop gives itself, and what it tells of promises that found no room.
    own_answers: VecDeque<Input<'static>>,
    effects: Vec<Effect>,
    datagram: Vec<u8>,
    started: Instant,
    view: NgView,
    notes: Notes,
}

impl Relay {
    pub fn new(
        core: NgCore,
        udp: Option<std::net::UdpSocket>,
        arrivals: mpsc::Receiver<NgArrival>,
        link: mpsc::Sender<LinkRequest>,
    ) -> Relay {
        Relay {
            core,
            bound: udp,
            udp: None,
            arrivals,
            connections: HashMap::new(),
            link,
            attachment: 0,
            board: None,
            own_answers: VecDeque::new(),
            effects: Vec::new(),
            datagram: vec![0; DATAGRAM_BYTES_MAX],
            started: Instant::now(),
            view: NgView::default(),
            notes: Notes::default(),
        }
    }

    /// Runs until every sender of arrivals is gone.
    pub async fn run(mut self) {
        if let Some(Err(error)) =
            self.bound.take().map(|bound| UdpSocket::from_std(bound).map(|udp| self.udp = Some(udp)))
        {
            tracing::error!(kind = "ng_listener_failed", %error, "see `ulimit -n`");
            return;
        }
        loop {
            let deadline = self.core.next_deadline();
            tokio::select! {
                biased;
                () = until(self.started, deadline) => self.turn(Input::DeadlineReached),
                arrival = self.arrivals.recv() => match arrival {
                    Some(arrival) => self.take(arrival),
                    None => return,
                },
                // Until there is a dataplane, questions wait in the socket: whoever answers `ping` must be able to relay.
                () = readable(self.udp.as_ref()), if self.attachment > 0 => {
                    if self.read_datagrams() == DATAGRAMS_PER_TURN_MAX {
                        // There are more. The link, on the same thread, has what these led to.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// As many as there are, and how many that was.
    fn read_datagrams(&mut self) -> usize {
        for read in 0..DATAGRAMS_PER_TURN_MAX {
            let Some(udp) = &self.udp else { return read };
            let Ok((bytes, address)) = udp.try_recv_from(&mut self.datagram) else { return read };
            let datagram = std::mem::take(&mut self.datagram);
            self.turn(Input::Message { from: Peer { channel: UDP, address }, bytes: &datagram[..bytes] });
            self.datagram = datagram;
        }
        DATAGRAMS_PER_TURN_MAX
    }

    fn take(&mut self, arrival: NgArrival) {
        match arrival {
            NgArrival::Opened { channel, outgoing } => drop(self.connections.insert(channel, outgoing)),
            NgArrival::Closed { channel } => drop(self.connections.remove(&channel)),
            NgArrival::Message { from, bytes } => self.turn(Input::Message { from, bytes: &bytes }),
            NgArrival::Plain { from, bytes } => self.turn(Input::Plain { from, bytes: &bytes }),
            NgArrival::CliLine { from, line } => self.turn(Input::CliLine { from, line: &line }),
            NgArrival::Scrape { from } => self.turn(Input::Scrape { from }),
            NgArrival::DataplaneAttached { hello, snapshot, board } => {
                self.attachment += 1;
                self.board = board.zip(hello.line).map(|(board, line)| Board::new(board, line, &snapshot));
                self.turn(Input::DataplaneAttached { hello, snapshot });
            }
            NgArrival::DataplaneLost => {
                self.board = None;
                self.turn(Input::DataplaneLost);
            }
            NgArrival::DataplaneAnswered(answer) => {
                if let Some(board) = &mut self.board {
                    board.answered(&answer);
                }
                self.turn(Input::DataplaneAnswered(answer));
            }
            NgArrival::DataplaneSaid(event) => self.turn(Input::DataplaneSaid(event)),
            NgArrival::LoadMeasured(load) => self.turn(Input::LoadMeasured(load)),
            NgArrival::ShutDown(told) => {
                self.turn(Input::ShutDown);
                let _ = told.send(());
            }
            NgArrival::Look(reply) => {
                self.view.calls = self.core.calls();
                self.view.statistics = self.core.statistics().clone();
                let _ = reply.send(self.view.clone());
            }
        }
    }

    fn turn(&mut self, input: Input) {
        self.handle(input);
        while let Some(answer) = self.own_answers.pop_front() {
            self.handle(answer);
        }
        // Promises that no reply has followed.
        self.announce();
    }

    fn handle(&mut self, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(self.now(), input, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { to, bytes } => {
                self.announce();
                match to.channel {
                    UDP => self.send_datagram(to, &bytes),
                    channel => self.send(channel, Outgoing::Reply(bytes)),
                }
            }
            Effect::CliReply { to, text } => {
                self.send(to.channel, Outgoing::Last(text));
                self.connections.remove(&to.channel);
            }
            Effect::Order(order) => self.order(order),
            Effect::Promise(command) => self.promise(command),
            Effect::Note(note) => self.notes.say(&note),
        }
    }

    fn order(&mut self, order: Order) {
        if let Some(answer) = self.board.as_mut().and_then(|board| board.answer(&order)) {
            return self.own_answers.push_back(Input::DataplaneAnswered(answer));
        }
        let id = order.id;
        let request = LinkRequest::Order(Box::new(TaggedOrder { attachment: self.attachment, order }));
        if self.link.try_send(request).is_err() {
            self.view.orders_refused_busy += 1;
            let answer = Answer { id, result: Err(BUSY) };
            self.own_answers.push_back(Input::DataplaneAnswered(answer));
        }
    }

    fn promise(&mut self, command: Command) {
        let (leg, closes) = (command.leg(), matches!(command, Command::CloseLeg { .. }));
        if self.link.try_send(LinkRequest::Promise(self.attachment, Box::new(command))).is_err() {
            self.view.orders_refused_busy += 1;
            let broken = leg.map(|leg| Input::DataplaneSaid(Event::PromiseBroken { leg, why: BUSY }));
            return self.own_answers.extend(broken);
        }
        if let Some(board) = &mut self.board {
            board.promised(leg.filter(|_| closes));
        }
    }

    fn announce(&mut self) {
        if let Some(Err(error)) = self.board.as_mut().map(Board::announce) {
            tracing::warn!(kind = "board_unwritable", %error, "packets may overtake what was promised of their calls");
        }
    }

    fn send_datagram(&mut self, to: Peer, bytes: &[u8]) {
        let sent = self.udp.as_ref().map(|udp| udp.try_send_to(bytes, to.address));
        if let Some(Err(error)) = sent {
            self.view.replies_dropped += 1;
            tracing::debug!(kind = "ng_reply_dropped", to = %to.address, %error);
        }
    }

    /// A connection that does not drain its queue loses it; its task then closes the socket.
    fn send(&mut self, channel: Channel, outgoing: Outgoing) {
        let Some(queue) = self.connections.get(&channel) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = queue.try_send(outgoing) {
            self.view.replies_dropped += 1;
            self.connections.remove(&channel);
        }
    }

    fn now(&self) -> Now {
        now(self.started.elapsed())
    }
}

/// Both clocks; `elapsed` is since the loop started.
pub fn now(elapsed: Duration) -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        monotonic_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        unix_us: u64::try_from(unix.as_micros()).unwrap_or(u64::MAX),
    }
}

async fn until(started: Instant, deadline_ms: Option<u64>) {
    match deadline_ms {
        Some(ms) => tokio::time::sleep_until(started + Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

async fn readable(udp: Option<&UdpSocket>) {
    match udp {
        // An error shows at the next receive.
        Some(udp) => drop(udp.readable().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosspoint_contract::{Fingerprint, Generation, PortsHello, VERSION};
    use crosspoint_ng::settings::Settings;

    fn hello() -> DataplaneHello {
        DataplaneHello {
            version: VERSION,
            generation: Generation(1),
            process_id: 1,
            workers: Vec::new(),
            fingerprint: Fingerprint { sha256: [1; 32] },
            certificate_der: vec![0x30, 0x00],
            ports: PortsHello::default(),
            line: None,
        }
    }

    /// The keeper of the link lives on this thread, too.
    #[tokio::test]
    async fn flood_of_questions_leaves_turns_to_whoever_shares_the_thread() {
        // All of them fit into the socket's queue.
        const QUESTIONS: usize = 4 * DATAGRAMS_PER_TURN_MAX;
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        socket.set_nonblocking(true).expect("a flag");
        let asker = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        asker.connect(socket.local_addr().expect("bound")).expect("connects");
        asker.set_nonblocking(true).expect("a flag");
        for cookie in 0..QUESTIONS {
            asker.send(format!("{cookie} d7:command4:pinge").as_bytes()).expect("sends");
        }
        let (arrivals, arriving) = mpsc::channel(8);
        let attached = NgArrival::DataplaneAttached { hello: hello(), snapshot: Snapshot::default(), board: None };
        arrivals.send(attached).await.expect("room");
        let core = NgCore::new(Settings::on([127, 0, 0, 1].into()), [1; 32], now(Duration::ZERO));
        let relay = Relay::new(core, Some(socket), arriving, mpsc::channel(8).0);
        let running = tokio::spawn(relay.run());
        let (mut answered, mut most_in_a_turn) = (0, 0);
        while answered < QUESTIONS {
            tokio::task::yield_now().await;
            let since_last_turn = std::iter::from_fn(|| asker.recv(&mut [0; 64]).ok()).count();
            (answered, most_in_a_turn) = (answered + since_last_turn, since_last_turn.max(most_in_a_turn));
        }
        running.abort();
        assert!(most_in_a_turn <= DATAGRAMS_PER_TURN_MAX, "{most_in_a_turn} of {QUESTIONS}");
    }
}
