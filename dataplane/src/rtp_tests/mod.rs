//! Legs with ports of their own, from command to packet: registry, worker and lobby over a simulated network with a virtual
//! clock. The test is control and all peers.
//!
//! ```text
//!   alice 198.51.100.1:4000 <--> leg 1, 192.0.2.1:40000 == leg 2, 192.0.2.1:40010 <--> bob 203.0.113.2:5000
//!         (RTCP one higher on every port unless muxed)
//! ```

mod bridging;
mod done;
mod early;
mod handshake;
mod ice;
mod learning;
mod opaque;
mod party;
mod relaying;
mod security;

use crate::batch::Nanos as IoNanos;
use crate::bell::Bell;
use crate::board::{Board, BoardView};
use crate::counters::Counters;
use crate::io::sim::{Datagram, SimNet};
use crate::io::{Ports, Sleeper};
use crate::lobby::{Lobby, LobbyPage};
use crate::outlets::{Outlets, Wakers};
use crate::queues::{LinkEnds, WorkerNote, lobby_ring, worker_rings};
use crate::registry::{Registry, Seat};
use crate::timers::TimerSettings;
use crate::worker::{Worker, WorkerParts};
use crosspoint_contract::{
    CallKey, Codec, Command, CommandId, Direction, Done, DropReason, Event, Fingerprint, FlowFilter, Format, LearnFrom,
    Learning, LegId, Medium, Order, Refused, Relaying, RtpRemote, RtpRequest, Security, StreamReport, TransportRequest,
    WorkerHello, WorkerId,
};
use crosspoint_wire::Nanos;
use crosspoint_wire::dtls::Identity;
use party::Party;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

const STEP: Nanos = Nanos::from_millis(20);
const CALL: CallKey = CallKey(7);
const LEGS_MAX: usize = 40;

const PCMU: Format = Format { payload_type: 0, codec: Codec::Pcmu, clock_rate_hz: 8000, channels: 1 };
const DIGITS: Format = Format { payload_type: 101, codec: Codec::TelephoneEvent, clock_rate_hz: 8000, channels: 1 };

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

struct Stand {
    net: SimNet,
    now: Nanos,
    worker: Worker<'static>,
    link: LinkEnds,
    registry: Registry,
    board: Arc<Board>,
    /// Control's, on the board.
    line: u32,
    lobby: Lobby,
    fingerprint: Fingerprint,
    counters: Arc<Counters>,
    events: VecDeque<Event>,
    sent: VecDeque<Datagram>,
    commands: u64,
}

impl Stand {
    fn new() -> Self {
        let net = SimNet::default();
        let now = Nanos::from_secs(1000);
        net.set_now(IoNanos(now.0));
        let shared = addr("192.0.2.1:20000");
        let opened = net.open(shared).expect("opens");
        let (ends, link, lobby_ends) = worker_rings();
        let board = Board::create(LEGS_MAX as u32).expect("memory");
        let line = board.begin(1);
        let counters = Arc::new(Counters::on(BoardView::new(board.clone(), 0)));
        let waker = opened.io.waker();
        let hello = WorkerHello {
            worker: WorkerId(0),
            core: None,
            addr: shared,
            backend: "sim".into(),
            backend_reason: "a test".into(),
        };
        let (orders, LinkEnds { to_worker, from_worker }) = (counters.clone(), link);
        let seat = Seat::new(hello, Bell::default(), orders, 0, to_worker, LEGS_MAX);
        let worker = Worker::new(WorkerParts {
            io: opened.io,
            batch: opened.batch,
            legs_max: LEGS_MAX,
            timers: TimerSettings {
                silence: Nanos::from_secs(10),
                report_interval: Nanos::from_secs(5),
                ntp_origin: Nanos::from_secs(3_000_000_000),
                local_addr: shared,
            },
            outlets: Outlets::new(Box::leak(Box::new(ends)), Wakers { link: waker.clone(), lobby: waker.clone() }),
            counters: counters.clone(),
            seed: 1,
        });
        let identity = Identity::generate().expect("a certificate");
        let fingerprint = Fingerprint { sha256: identity.sha256() };
        let (to_lobby, from_link) = lobby_ring();
        let page = Arc::new(LobbyPage::default());
        let sleeper = Sleeper::new().expect("an eventfd");
        let lobby = Lobby::new(identity, from_link, vec![(lobby_ends, Bell::default())], page.clone(), sleeper);
        let ports = Ports::simulated(&[addr("192.0.2.1:0").ip(), addr("[2001:db8::1]:0").ip()]);
        let mut registry = Registry::new(vec![seat], to_lobby, waker, page, fingerprint.clone(), ports);
        registry.attach();
        let (events, sent) = Default::default();
        // The half that the seat took is not used again.
        let (unused, _) = rtrb::RingBuffer::new(1);
        let link = LinkEnds { to_worker: unused, from_worker };
        Stand { net, now, worker, link, registry, board, line, lobby, fingerprint, counters, events, sent, commands: 0 }
    }

    fn turn(&mut self) -> Vec<Result<Done, Refused>> {
        self.worker.turn().expect("a simulated network does not fail");
        let mut answers = Vec::new();
        while let Ok(note) = self.link.from_worker.pop() {
            match note {
                WorkerNote::Answered(answered) => {
                    answers.extend(self.registry.answered(0, answered).map(|answer| answer.result));
                }
                WorkerNote::Happened(event) => {
                    self.registry.note(&event);
                    self.events.push_back(event);
                }
                _ => {}
            }
        }
        while let Some(datagram) = self.net.sent() {
            self.sent.push_back(datagram);
        }
        answers
    }

    fn pass(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            self.now = (self.now + STEP).min(end);
            self.net.set_now(IoNanos(self.now.0));
            self.turn();
        }
    }

    fn ask(&mut self, command: Command) -> Result<Done, Refused> {
        self.commands += 1;
        match self.registry.command(Order { id: CommandId(self.commands), command }) {
            Some(answer) => answer.result,
            None => self.turn().pop().expect("an answer"),
        }
    }

    fn done(&mut self, command: Command) {
        self.ask(command).expect("carried out");
    }

    fn open(&mut self, leg: u64, request: RtpRequest) -> Result<Done, Refused> {
        self.ask(Command::OpenLeg { leg: LegId(leg), call: CALL, transport: TransportRequest::Rtp(request) })
    }

    fn describe(&mut self, party: &Party) {
        self.done(Command::SetRtpRemote { leg: party.leg, remote: party.remote.clone() });
    }

    fn forward(&mut self, source: &Party, sinks: &[&Party]) {
        self.done(Command::Forward { source: source.leg, sinks: sinks.iter().map(|sink| sink.leg).collect() });
    }

    fn filter(&mut self, party: &Party, filter: FlowFilter) {
        self.done(Command::Filter { leg: party.leg, filter });
    }

    /// Opens a leg for the party and describes it.
    fn admit(&mut self, party: &Party) {
        self.open(party.leg.0, party.request.clone()).expect("opens");
        self.describe(party);
    }

    /// Two parties whose legs forward to each other.
    fn call(&mut self, alice: &Party, bob: &Party) {
        self.admit(alice);
        self.admit(bob);
        self.forward(alice, &[bob]);
        self.forward(bob, &[alice]);
    }

    fn arrive(&mut self, local: SocketAddr, from: SocketAddr, datagram: &[u8]) {
        self.net.inject_to(local, from, datagram);
        self.turn();
    }

    /// The party sends one RTP packet from its address.
    fn speak(&mut self, party: &mut Party) -> Vec<u8> {
        self.speak_from(party, party.addr)
    }

    fn speak_from(&mut self, party: &mut Party, from: SocketAddr) -> Vec<u8> {
        let clear = party.next_packet();
        let packet = party.protect(&clear);
        self.arrive(party.request.rtp, from, &packet);
        clear
    }

    /// What was sent to this address since the last look, with the port of ours that it left from.
    fn sent_to(&mut self, to: SocketAddr) -> Vec<(SocketAddr, Vec<u8>)> {
        let (there, others) =
            self.sent.drain(..).partition::<Vec<_>, _>(|datagram| SocketAddr::from(datagram.remote) == to);
        self.sent = others.into();
        there.into_iter().filter_map(|datagram| Some((datagram.local?, datagram.bytes))).collect()
    }

    /// The RTP that the party gets, in the clear.
    fn heard_by(&mut self, party: &mut Party) -> Vec<Vec<u8>> {
        let sent = self.sent_to(party.addr);
        sent.into_iter().filter_map(|(_, packet)| party.open_rtp(packet)).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.dropped(reason)
    }

    fn streams(&mut self, party: &Party) -> Vec<StreamReport> {
        match self.ask(Command::ReadStreams { leg: party.leg }) {
            Ok(Done::Streams(streams)) => streams,
            other => panic!("{other:?}"),
        }
    }
}

/// A request for a port, and for the next one for RTCP.
fn request(rtp: SocketAddr) -> RtpRequest {
    RtpRequest {
        rtp,
        rtcp: Some(SocketAddr::new(rtp.ip(), rtp.port() + 1)),
        other_family: None,
        ice: None,
        relaying: Relaying::Translator,
        silent_ms: 0,
        tos: 0,
    }
}

/// A peer that is where its SDP says.
fn remote(rtp: SocketAddr) -> RtpRemote {
    RtpRemote {
        rtp: Some(rtp),
        rtcp: Some(SocketAddr::new(rtp.ip(), rtp.port() + 1)),
        rtcp_mux: false,
        security: Security::Plain,
        ice: None,
        our_ice: None,
        checks: None,
        learning: learning(LearnFrom::FirstPacket),
        unheard_packets_max: 0,
        formats: vec![PCMU, DIGITS],
        medium: Medium::Audio,
        direction: Direction::SendReceive,
        tos: 0,
    }
}

fn learning(from: LearnFrom) -> Learning {
    Learning { from, window_ms: 3000, strict_source: false, media_handover: false }
}
