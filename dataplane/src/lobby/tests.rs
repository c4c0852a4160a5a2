//! The lobby with peers in memory and a worker that is a pair of rings; time is what the test says it is.

use super::*;
use crate::leg::LegHandle;
use crate::queues::{WorkerEnds, worker_rings};
use crosspoint_contract::limits::LOBBY_TO_WORKER_MAX;
use crosspoint_contract::{CertificateDigest, HashFunction};
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
        let fingerprint = CertificateDigest { hash: HashFunction::Sha256, digest: self.peers.sha256().to_vec() };
        let patient = false;
        self.lobby.expect(Expectation { worker: WorkerId(0), leg: handle(leg), role, fingerprint, patient }, self.now);
    }

    fn arrive(&mut self, leg: u64, datagram: &[u8]) {
        let datagram = Datagram::new(datagram).expect("short");
        self.lobby.knock(Knock::Datagram { leg: handle(leg), stranger: None, datagram }, self.now);
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
            stand.lobby.forget(GuestId::peer(LegId(leg)));
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

/// One byte of a long ClientHello, which nobody will ever complete.
fn fragment_of_a_client_hello(n: u8) -> Vec<u8> {
    let (record, body) = ([22, 254, 253, 0, 0, 0, 0, 0, 0, 0, n, 0, 13], 7);
    let (length, sequence_number, offset, fragment_length) = ([0, 16, 0], [0, 0], [0, 0, n], [0, 0, 1]);
    [&record[..], &[1], &length, &sequence_number, &offset, &fragment_length, &[body]].concat()
}

#[test]
fn forged_client_hello_only_costs_the_handshake_it_began() {
    let mut stand = Stand::new();
    stand.expect(1, DtlsRole::Server);
    for n in 0..=u8::MAX {
        stand.arrive(1, &fragment_of_a_client_hello(n));
    }
    assert!(stand.page.failed.get() > 0, "the engine gave up");
    assert!(!matches!(stand.worker.from_lobby.pop(), Ok(Admission::Failed { .. })), "the leg lives on");
    stand.connect(1);
    assert_eq!(stand.page.completed.get(), 1);
}

#[test]
fn peer_gets_little_before_it_has_shown_that_it_receives() {
    let mut stand = Stand::new();
    stand.expect(1, DtlsRole::Server);
    let mut peer = Handshake::new(&stand.peers, Role::Client, stand.now);
    let mut scratch = [0; SCRATCH_BYTES];
    let (mut received, mut sent) = (0, 0);
    while let Output::Packet(len) = poll(&mut peer, &mut scratch) {
        received += len;
        stand.arrive(1, &scratch[..len]);
    }
    for _ in 0..60 {
        stand.now += Duration::from_millis(500);
        stand.lobby.fire_timeouts(stand.now);
    }
    while let Ok(admission) = stand.worker.from_lobby.pop() {
        if let Admission::Datagram { datagram, .. } = admission {
            sent += datagram.bytes().len();
        }
    }
    assert!(sent > 0 && sent <= 3 * received, "{sent} bytes for {received}");
}

#[test]
fn keys_for_a_worker_that_does_not_take_them_wait_and_nobody_else_does() {
    let mut stand = Stand::new();
    let failed = |leg| Admission::Failed { leg: handle(leg), why: LegFailure::HandshakeFailed };
    for leg in 0..LOBBY_TO_WORKER_MAX as u64 + 3 {
        stand.lobby.admit(WorkerId(0), failed(leg));
    }
    stand.lobby.admit(
        WorkerId(0),
        Admission::Datagram { leg: handle(9), stranger: None, datagram: Datagram::new(b"x").expect("short") },
    );
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
