//! One worker on a simulated network with a virtual clock; the test is control, lobby and all peers.

use super::{DIGITS, OPUS};
use crosspoint_contract::limits::FORMATS_PER_LEG_MAX;
use crosspoint_contract::{
    Codec, Direction, Directions, DropReason, Event, Format, IceCredentials, LegId, LocalDescription, PerMedium,
    WorkerId,
};
use crosspoint_dataplane::batch::Nanos as IoNanos;
use crosspoint_dataplane::counters::Counters;
use crosspoint_dataplane::io::sim::{Datagram, SimNet};
use crosspoint_dataplane::leg::{Description, Keys, Leg, LegHandle, LegSeed, MidExtension, SessionSeed};
use crosspoint_dataplane::outlets::{Outlets, Wakers};
use crosspoint_dataplane::queues::{Admission, Answered, LinkEnds, LobbyEnds, WorkerNote, WorkerOrder, worker_rings};
use crosspoint_dataplane::suites::contract_suite;
use crosspoint_dataplane::timers::TimerSettings;
use crosspoint_dataplane::worker::{Worker, WorkerParts};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_lite::Credentials;
use crosspoint_wire::rtp::RtpHeader;
use crosspoint_wire::srtp::{MasterKey, SrtpReceiver, SrtpSender, Suite};
use crosspoint_wire::stun::{Class, Message};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

pub const LEGS_MAX: usize = 24;

/// One step of the virtual clock.
const STEP: Nanos = Nanos::from_millis(10);

pub struct Stand {
    pub net: SimNet,
    pub now: Nanos,
    pub worker: Worker<'static>,
    pub link: LinkEnds,
    pub lobby: LobbyEnds,
    pub counters: Arc<Counters>,
    pub events: VecDeque<Event>,
    pub answers: VecDeque<Answered>,
    /// What the worker sent, and nobody has looked at yet.
    pub sent: VecDeque<Datagram>,
}

impl Stand {
    pub fn new() -> Self {
        let net = SimNet::default();
        let now = Nanos::from_secs(1000);
        net.set_now(IoNanos(now.0));
        let local_addr: SocketAddr = "192.0.2.1:20000".parse().expect("an address");
        let opened = net.open(local_addr).expect("opens");
        let (ends, link, lobby) = worker_rings();
        let counters = Arc::new(Counters::default());
        let wakers = Wakers { link: opened.io.waker(), lobby: opened.io.waker() };
        let worker = Worker::new(WorkerParts {
            io: opened.io,
            batch: opened.batch,
            legs_max: LEGS_MAX,
            timers: TimerSettings {
                silence: Nanos::from_secs(10),
                report_interval: Nanos::from_secs(5),
                ntp_origin: Nanos::from_secs(3_000_000_000),
                local_addr,
            },
            outlets: Outlets::new(Box::leak(Box::new(ends)), wakers),
            counters: counters.clone(),
            seed: 1,
        });
        let (events, answers, sent) = Default::default();
        let mut stand = Stand { net, now, worker, link, lobby, counters, events, answers, sent };
        stand.push(WorkerOrder::Begin);
        stand
    }

    /// One turn of the worker, without time passing.
    pub fn turn(&mut self) {
        self.worker.turn().expect("a simulated network does not fail");
        while let Ok(note) = self.link.from_worker.pop() {
            match note {
                WorkerNote::Answered(answered) => self.answers.push_back(answered),
                WorkerNote::Happened(event) => self.events.push_back(event),
                WorkerNote::Begun | WorkerNote::Spent(_) => {}
                WorkerNote::Lost | WorkerNote::Stopped => panic!("the worker ended"),
            }
        }
        while let Some(datagram) = self.net.sent() {
            self.sent.push_back(datagram);
        }
    }

    /// Lets time pass, a turn every few milliseconds.
    pub fn pass(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            self.now = (self.now + STEP).min(end);
            self.net.set_now(IoNanos(self.now.0));
            self.turn();
        }
    }

    pub fn push(&mut self, order: WorkerOrder) {
        assert!(self.link.to_worker.push(order).is_ok(), "the ring has room");
    }

    pub fn order(&mut self, order: WorkerOrder) -> Answered {
        self.push(order);
        self.turn();
        self.answers.pop_front().expect("an answer")
    }

    pub fn done(&mut self, order: WorkerOrder) {
        assert!(self.order(order).result.is_ok());
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.dropped(reason)
    }

    /// The first event of a kind, and forgets those before it.
    pub fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        while let Some(event) = self.events.pop_front() {
            if wanted(&event) {
                return Some(event);
            }
        }
        None
    }

    /// Opens a leg and describes a peer that takes these formats.
    pub fn open(&mut self, slot: u32, formats: &[Format]) -> SimPeer {
        self.open_as(slot, LegId(u64::from(slot) + 1), formats)
    }

    pub fn open_as(&mut self, slot: u32, leg: LegId, formats: &[Format]) -> SimPeer {
        let peer = SimPeer::new(slot, leg);
        let credentials = Credentials { ufrag: peer.local.ice.ufrag.clone(), pwd: peer.local.ice.pwd.clone() };
        self.done(WorkerOrder::Open(Leg::new(LegSeed {
            handle: peer.leg,
            ice: credentials,
            session: SessionSeed {
                audio_ssrc: peer.local.ssrc,
                video_ssrc: peer.local.video_ssrc,
                first_sequence_number: 100,
                first_timestamp: 5000,
                cname: "bridge".into(),
            },
        })));
        self.describe(&peer, formats, Direction::SendReceive, None);
        peer
    }

    /// Describes what we may do with the peer's audio; its video flows both ways.
    pub fn describe(&mut self, peer: &SimPeer, formats: &[Format], audio: Direction, mid: Option<(u8, &str)>) {
        self.describe_media(peer, formats, Directions { audio, ..Directions::default() }, [mid, None]);
    }

    pub fn describe_media(
        &mut self,
        peer: &SimPeer,
        formats: &[Format],
        directions: Directions,
        mids: [Option<(u8, &str)>; 2],
    ) {
        let unused = Format { payload_type: 0, codec: Codec::Pcmu, clock_rate_hz: 0, channels: 0 };
        let mut all = [unused; FORMATS_PER_LEG_MAX];
        all[..formats.len()].copy_from_slice(formats);
        let description = Box::new(Description {
            formats: all,
            formats_len: formats.len(),
            directions,
            mids: PerMedium::from_fn(|medium| mids[medium as usize].and_then(|(id, mid)| MidExtension::new(id, mid))),
        });
        self.done(WorkerOrder::Describe { leg: peer.leg, description });
    }

    /// One check of the peer from `addr` that nominates; whether it succeeded.
    pub fn check(&mut self, peer: &SimPeer, addr: SocketAddr) -> bool {
        self.check_with(peer, addr, true)
    }

    pub fn check_with(&mut self, peer: &SimPeer, addr: SocketAddr, nominate: bool) -> bool {
        self.net.inject(addr, &super::peer::check_with(&peer.local, 1, nominate));
        self.turn();
        let is_success = |sent: &Datagram| {
            SocketAddr::from(sent.remote) == addr
                && Message::parse(&sent.bytes).is_ok_and(|reply| reply.class() == Class::Success)
        };
        let reply = self.sent.iter().rposition(is_success);
        reply.and_then(|at| self.sent.remove(at)).is_some()
    }

    /// Gives both sides keys, as the lobby would after a handshake.
    pub fn key(&mut self, peer: &mut SimPeer, suite: Suite) {
        let keys = self.keys_for(peer, suite);
        assert!(self.lobby.to_worker.push(keys).is_ok());
        self.turn();
    }

    /// Gives the peer its keys; those for its leg are in the admission.
    pub fn keys_for(&self, peer: &mut SimPeer, suite: Suite) -> Admission {
        let (to_peer, from_peer) = (master_key(suite, 1), master_key(suite, 2));
        peer.keys = Some((SrtpSender::new(&from_peer), SrtpReceiver::new(&to_peer)));
        let keys = Box::new(Keys {
            suite: contract_suite(suite),
            receiver: SrtpReceiver::new(&from_peer),
            sender: SrtpSender::new(&to_peer),
        });
        Admission::Keys { leg: peer.leg, moved: None, keys }
    }

    /// Opens a leg whose peer takes Opus and digits, and connects it.
    pub fn connect(&mut self, slot: u32) -> SimPeer {
        self.connect_with(slot, &[OPUS, DIGITS], Suite::AeadAes128Gcm)
    }

    pub fn connect_with(&mut self, slot: u32, formats: &[Format], suite: Suite) -> SimPeer {
        let mut peer = self.open(slot, formats);
        assert!(self.check(&peer, peer.addr));
        self.key(&mut peer, suite);
        let connected = self.event(|event| matches!(event, Event::LegConnected { .. }));
        let suite = contract_suite(suite);
        assert_eq!(connected, Some(Event::LegConnected { leg: peer.leg.leg, remote_addr: peer.addr, suite }));
        peer
    }

    pub fn join(&mut self, a: &SimPeer, b: &SimPeer) {
        self.done(WorkerOrder::Join([a.leg, b.leg]));
    }

    /// Two connected peers whose legs are bridged.
    pub fn call(&mut self) -> (SimPeer, SimPeer) {
        let (a, b) = (self.connect(0), self.connect(1));
        self.join(&a, &b);
        (a, b)
    }

    /// Lets a datagram of the peer arrive.
    pub fn arrive(&mut self, peer: &SimPeer, datagram: &[u8]) {
        self.net.inject(peer.addr, datagram);
        self.turn();
    }

    /// One Opus packet of the peer arrives.
    pub fn speak(&mut self, peer: &mut SimPeer) {
        let packet = peer.next_packet(111, b"twenty milliseconds");
        self.arrive(peer, &packet);
    }

    /// Everything that was sent to the peer: RTP in the clear; STUN and RTCP are passed over.
    pub fn heard_by(&mut self, peer: &mut SimPeer) -> Vec<(RtpHeader, Vec<u8>)> {
        let (ours, others) =
            self.sent.drain(..).partition::<Vec<_>, _>(|datagram| SocketAddr::from(datagram.remote) == peer.addr);
        self.sent.extend(others);
        ours.into_iter().filter_map(|datagram| peer.open_rtp(datagram.bytes)).collect()
    }

    /// The RTCP compound packets that were sent to the peer, in the clear.
    pub fn reports_to(&mut self, peer: &mut SimPeer) -> Vec<Vec<u8>> {
        let (ours, others) =
            self.sent.drain(..).partition::<Vec<_>, _>(|datagram| SocketAddr::from(datagram.remote) == peer.addr);
        self.sent.extend(others);
        ours.into_iter().filter_map(|datagram| peer.open_rtcp(datagram.bytes)).collect()
    }
}

/// A peer of one leg.
pub struct SimPeer {
    pub leg: LegHandle,
    pub addr: SocketAddr,
    pub local: LocalDescription,
    pub keys: Option<(SrtpSender, SrtpReceiver)>,
    pub ssrc: u32,
    pub sequence_number: u16,
    pub timestamp: u32,
}

impl SimPeer {
    fn new(slot: u32, leg: LegId) -> Self {
        let local = LocalDescription {
            ice: IceCredentials { ufrag: format!("leg{slot:05}"), pwd: format!("password-of-the-leg-{slot:06}") },
            fingerprint: crosspoint_contract::Fingerprint { sha256: [0; 32] },
            candidates: Vec::new(),
            ssrc: 0xC000 + slot,
            video_ssrc: 0xD000 + slot,
            cname: "bridge".into(),
            worker: WorkerId(0),
            place: 0,
        };
        SimPeer {
            leg: LegHandle { slot, leg },
            addr: SocketAddr::from(([198, 51, 100, slot as u8 + 1], 4000)),
            local,
            keys: None,
            ssrc: 0xA000 + slot,
            sequence_number: 1000,
            timestamp: 0,
        }
    }

    /// The next packet of the peer's stream, protected.
    pub fn next_packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let header = RtpHeader::new(payload_type, false, self.sequence_number, self.timestamp, self.ssrc);
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(960);
        let mut clear = [0; 1600];
        let start = header.write(&mut clear).expect("room");
        clear[start..start + payload.len()].copy_from_slice(payload);
        self.protect(&clear[..start + payload.len()])
    }

    pub fn protect(&mut self, clear: &[u8]) -> Vec<u8> {
        let mut packet = clear.to_vec();
        packet.resize(clear.len() + 32, 0);
        let len = self.sender().protect_rtp(&mut packet, clear.len()).expect("protects");
        packet.truncate(len);
        packet
    }

    pub fn protect_rtcp(&mut self, clear: &[u8]) -> Vec<u8> {
        let mut packet = clear.to_vec();
        packet.resize(clear.len() + 32, 0);
        let len = self.sender().protect_rtcp(&mut packet, clear.len()).expect("protects");
        packet.truncate(len);
        packet
    }

    fn sender(&mut self) -> &mut SrtpSender {
        &mut self.keys.as_mut().expect("keyed").0
    }

    fn open_rtp(&mut self, mut packet: Vec<u8>) -> Option<(RtpHeader, Vec<u8>)> {
        use crosspoint_wire::classify::{Kind, classify};
        let (_, receiver) = self.keys.as_mut().filter(|_| classify(&packet) == Kind::Rtp)?;
        let len = receiver.unprotect_rtp(&mut packet).expect("authentic");
        let header = RtpHeader::parse(&packet[..len]).expect("RTP");
        packet.truncate(len);
        Some((header, packet))
    }

    fn open_rtcp(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        use crosspoint_wire::classify::{Kind, classify};
        let (_, receiver) = self.keys.as_mut().filter(|_| classify(&packet) == Kind::Rtcp)?;
        let len = receiver.unprotect_rtcp(&mut packet).expect("authentic");
        packet.truncate(len);
        Some(packet)
    }
}

fn master_key(suite: Suite, n: u8) -> MasterKey {
    MasterKey::new(suite, &vec![n; suite.key_bytes()], &vec![n + 100; suite.salt_bytes()]).expect("right lengths")
}
