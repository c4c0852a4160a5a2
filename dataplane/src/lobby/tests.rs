//! The lobby with peers in memory and a worker that is a pair of rings; time is what the test says it is.

use super::*;
use crate::leg::LegHandle;
use crate::queues::{WorkerEnds, worker_rings};
use crosspoint_contract::Fingerprint;
use crosspoint_contract::limits::LOBBY_TO_WORKER_MAX;
use rtrb::RingBuffer;

struct Stand {
    lobby: Lobby,
    worker: WorkerEnds,
    page: Arc<LobbyPage>,
    peers: Identity,
    now: Instant,
}

impl Stand {
    fn new() -> Self {
        let (worker, _, ends) = worker_rings();
        let page = Arc::new(LobbyPage::default());
        let sleeper = Sleeper::new().expect("an eventfd");
        let identity = || Identity::generate().expect("a certificate");
        let (_, orders) = RingBuffer::new(1);
        let lobby = Lobby::new(identity(), orders, vec![(ends, Bell::default())], page.clone(), sleeper);
        Stand { lobby, worker, page, peers: identity(), now: Instant::now() }
    }

    fn expect(&mut self, leg: u64, role: DtlsRole) {
        let fingerprint = Fingerprint { sha256: self.peers.sha256() };
        self.lobby.expect(Expectation { worker: WorkerId(0), leg: handle(leg), role, fingerprint }, self.now);
    }

    fn arrive(&mut self, leg: u64, datagram: &[u8]) {
        let datagram = Datagram::new(datagram).expect("short");
        self.lobby.knock(Knock::Datagram { leg: handle(leg), datagram }, self.now);
    }

    /// Carries datagrams between a peer that begins and the lobby until the worker has keys.
    fn connect(&mut self, leg: u64) {
        let mut peer = Handshake::new(&self.peers, Role::Client, self.now);
        let mut scratch = [0; SCRATCH_BYTES];
        for _ in 0..10 {
            while let Output::Packet(len) = poll(&mut peer, &mut scratch) {
                self.arrive(leg, &scratch[..len]);
            }
            while let Ok(admission) = self.worker.from_lobby.pop() {
                match admission {
                    Admission::Datagram { datagram, .. } => peer.handle(self.now, datagram.bytes()).expect("sane"),
                    Admission::Keys { .. } => return,
                    Admission::Failed { why, .. } => panic!("{why}"),
                }
            }
        }
        panic!("no keys");
    }
}

fn handle(leg: u64) -> LegHandle {
    LegHandle { slot: 0, leg: LegId(leg) }
}

/// What the peer wants, its own keys passed over.
fn poll(peer: &mut Handshake, scratch: &mut [u8]) -> Output {
    match peer.poll(scratch) {
        Output::Established(_) => peer.poll(scratch),
        output => output,
    }
}

#[test]
fn connected_and_closed_legs_leave_no_timeouts_behind() {
    let mut stand = Stand::new();
    for leg in 0..1000 {
        stand.expect(leg, DtlsRole::Server);
        stand.connect(leg);
        assert!(stand.lobby.timeouts.len() <= stand.lobby.guests.len());
        if leg % 2 == 0 {
            stand.lobby.forget(LegId(leg));
        }
    }
    stand.lobby.fire_timeouts(stand.now + Duration::from_secs(60));
    assert_eq!((stand.lobby.guests.len(), stand.lobby.timeouts.len()), (500, 0), "who is in is not called");
}

#[test]
fn peer_without_a_description_is_forgotten_in_the_end() {
    let mut stand = Stand::new();
    stand.arrive(1, &[22; 60]);
    stand.lobby.fire_timeouts(stand.now + EARLY_AGE_MAX - Duration::from_secs(1));
    assert_eq!(stand.lobby.guests.len(), 1);
    stand.lobby.fire_timeouts(stand.now + EARLY_AGE_MAX);
    assert_eq!((stand.lobby.guests.len(), stand.lobby.timeouts.len()), (0, 0));
}

/// A ClientHello that we must refuse: DTLS 1.2, a suite of ours, no extended master secret.
fn impossible_client_hello() -> Vec<u8> {
    let mut hello = vec![254, 253];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0]);
    let length = [0, 0, hello.len() as u8];
    let mut message = [&[1][..], &length, &[0, 0, 0, 0, 0], &length].concat();
    message.extend(hello);
    [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, message.len() as u8][..], &message].concat()
}

#[test]
fn forged_client_hello_only_costs_the_handshake_it_began() {
    let mut stand = Stand::new();
    stand.expect(1, DtlsRole::Server);
    stand.arrive(1, &impossible_client_hello());
    assert_eq!((stand.page.failed.get(), stand.page.half_open.get()), (1, 0));
    assert!(!matches!(stand.worker.from_lobby.pop(), Ok(Admission::Failed { .. })), "the leg lives on");
    stand.connect(1);
    assert_eq!(stand.page.completed.get(), 1);
}

#[test]
fn keys_for_a_worker_that_does_not_take_them_wait_and_nobody_else_does() {
    let mut stand = Stand::new();
    let failed = |leg| Admission::Failed { leg: handle(leg), why: LegFailure::HandshakeFailed };
    for leg in 0..LOBBY_TO_WORKER_MAX as u64 + 3 {
        stand.lobby.admit(WorkerId(0), failed(leg));
    }
    stand
        .lobby
        .admit(WorkerId(0), Admission::Datagram { leg: handle(9), datagram: Datagram::new(b"x").expect("short") });
    assert!(stand.lobby.workers[0].give_waiting(), "three still wait");
    let mut next = 0;
    let mut take = |stand: &mut Stand| {
        while let Ok(admission) = stand.worker.from_lobby.pop() {
            assert!(matches!(admission, Admission::Failed { leg, .. } if leg.leg == LegId(next)), "in order");
            next += 1;
        }
        next
    };
    take(&mut stand);
    assert!(!stand.lobby.workers[0].give_waiting());
    assert_eq!(take(&mut stand), LOBBY_TO_WORKER_MAX as u64 + 3);
}
