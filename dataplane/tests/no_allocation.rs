//! After start a worker neither allocates nor frees: held by an allocator that counts, over real sockets, while packets
//! are forwarded and relayed, reports and digits sent, legs opened, described anew, restarted and closed.

mod support;

use crosspoint_contract::{
    BridgeId, CallKey, Codec, Command, Direction, Done, DtlsRole, Event, FlowFilter, Format, LearnFrom, Learning,
    LegId, Medium, Refused, Relaying, RtpRemote, RtpRequest, SdesKey, Security, SrtpSuite, TransportRequest,
};
use crosspoint_dataplane::{BackendChoice, DataplaneConfig};
use crosspoint_wire::dtls::Role;
use crosspoint_wire::rtp::RtpHeader;
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use support::control::{Control, Dataplane};
use support::peer::Peer;
use support::{DIGITS, OPUS, description};

/// Counts what threads named `worker-…` allocate and free.
struct Counting;

static WORKER_CALLS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, the length of the buffer.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    if name.starts_with(b"worker-") {
        WORKER_CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: `block` came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `block` came from `System` with this layout; the caller vouches for `size`.
        unsafe { System.realloc(block, layout, size) }
    }
}

const PACKETS: u16 = 10_000;
const BURST: u16 = 16;

fn forwarding_leaves_the_heap_alone(backend: BackendChoice) {
    let dataplane = Dataplane::start(DataplaneConfig {
        backend,
        workers: 1,
        legs_max: 16,
        report_interval: std::time::Duration::from_millis(100),
        rtp_addrs: vec![Ipv4Addr::LOCALHOST.into()],
        ..DataplaneConfig::default()
    });
    let mut control = dataplane.attach();
    let mut peers: Vec<Peer> = [1, 2]
        .into_iter()
        .map(|leg| {
            let local = control.open(leg);
            let mut peer = Peer::new(&local);
            let remote = description(peer.fingerprint(), DtlsRole::Server, &[OPUS, DIGITS]);
            control.ok(Command::SetRemote { leg: LegId(leg), remote });
            peer.check();
            peer.shake_hands(Role::Client);
            control.event(|event| matches!(event, Event::LegConnected { .. }));
            peer
        })
        .collect();
    control.ok(Command::Bridge { bridge: BridgeId(1), legs: [LegId(1), LegId(2)] });
    let mut b = peers.pop().expect("two");
    let mut a = peers.pop().expect("two");
    a.send_rtp(&RtpHeader::new(111, false, 0, 0, 0xA), &[0; 80]);
    b.receive_rtp().expect("B hears A");

    let before = WORKER_CALLS.load(Ordering::Relaxed);
    assert!(before > 0, "the counter sees what a worker allocates when it starts");
    for burst in 0..PACKETS / BURST {
        for n in burst * BURST..(burst + 1) * BURST {
            a.send_rtp(&RtpHeader::new(111, false, n + 1, u32::from(n) * 960, 0xA), &[0; 80]);
        }
        for _ in 0..BURST {
            b.receive_rtp().expect("B hears A");
        }
        a.check();
    }
    all_else(&mut control, &mut a, &mut b);
    relaying(&mut control);
    let calls = WORKER_CALLS.load(Ordering::Relaxed) - before;
    assert_eq!(calls, 0, "the worker used the heap");
    control.ok(Command::ShutDown);
    dataplane.ended();
}

/// What a worker does beside forwarding, each awaited.
fn all_else(control: &mut Control, a: &mut Peer, b: &mut Peer) {
    b.send_rtp(&RtpHeader::new(111, false, 0, 0, 0xB), &[0; 80]);
    a.receive_rtp().expect("A hears B");
    control.event(|event| matches!(event, Event::LegReported { .. }));
    let mut reported = (0..50).filter_map(|_| b.receive_rtcp());
    reported.next().expect("a sender report for B");
    control.ok(Command::SendDigits { leg: LegId(2), digits: "5".into() });
    while b.receive_rtp().expect("the digit").0.payload_type != DIGITS.payload_type {}
    a.send_rtp(&RtpHeader::new(110, true, 20_000, 0, 0xA), &[7, 10, 0, 160]);
    control.event(|event| matches!(event, Event::DigitHeard { .. }));
    let remote = description(a.fingerprint(), DtlsRole::Server, &[OPUS, DIGITS]);
    control.ok(Command::SetRemote { leg: LegId(1), remote });
    for restart in 1..=3 {
        assert!(matches!(control.ask(Command::RestartIce { leg: LegId(1), restart }), Ok(Done::Opened(_))));
    }
    control.ok(Command::Unbridge { bridge: BridgeId(1) });
    assert!(matches!(control.ask(Command::CloseLeg { leg: LegId(2) }), Ok(Done::Report(_))));
    // What follows the close in the same turn.
    assert!(control.ask(Command::ReadLeg { leg: LegId(1) }).is_ok());
}

/// A translated call, plain on one side and keyed on the other, with a subscriber; all that control may ask of it.
fn relaying(control: &mut Control) {
    let sockets: Vec<UdpSocket> = (0..3).map(|_| party()).collect();
    let keyed = Security::Sdes { receive: sdes_key(1), send: sdes_key(2) };
    let mut parties = [Security::Plain, keyed, Security::Plain].into_iter().zip(&sockets).zip(21..);
    let ports: Vec<SocketAddr> =
        parties.by_ref().map(|((security, socket), leg)| open_rtp(control, leg, socket, security)).collect();
    let forward = |source, sinks: &[u64]| Command::Forward {
        source: LegId(source),
        sinks: sinks.iter().map(|&sink| LegId(sink)).collect(),
    };
    control.ok(forward(21, &[22, 23]));
    control.ok(forward(22, &[21]));
    let mut packet = [0; 172];
    let mut room = [0; 1500];
    for n in 0..1000 {
        RtpHeader::new(0, false, n, u32::from(n) * 160, 0x21).write(&mut packet).expect("room");
        sockets[0].send_to(&packet, ports[0]).expect("sent");
        for listener in &sockets[1..] {
            listener.recv(&mut room).expect("heard");
        }
    }
    control.ok(Command::Filter { leg: LegId(21), filter: FlowFilter { silenced: true, ..FlowFilter::default() } });
    assert!(
        matches!(control.ask(Command::ReadStreams { leg: LegId(21) }), Ok(Done::Streams(streams)) if streams.len() == 1)
    );
    for seed in [1, 5] {
        let security = Security::Sdes { receive: sdes_key(seed), send: sdes_key(seed + 1) };
        control.ok(Command::SetRtpRemote { leg: LegId(22), remote: rtp_remote(&sockets[1], security) });
    }
    control.ok(forward(21, &[]));
    for leg in 21..=23 {
        assert!(matches!(control.ask(Command::CloseLeg { leg: LegId(leg) }), Ok(Done::Report(_))));
    }
    assert!(control.ask(Command::ReadLeg { leg: LegId(1) }).is_ok());
}

fn party() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(support::control::PATIENCE)).expect("a timeout");
    socket
}

fn sdes_key(seed: u8) -> SdesKey {
    SdesKey { suite: SrtpSuite::AeadAes128Gcm, key_and_salt: vec![seed; 28], mki: None }
}

/// Opens a translating leg for the peer at `socket` and describes it; gives the port.
fn open_rtp(control: &mut Control, leg: u64, socket: &UdpSocket, security: Security) -> SocketAddr {
    let request = |rtp| RtpRequest {
        rtp,
        rtcp: None,
        other_family: None,
        ice: None,
        relaying: Relaying::Translator,
        silent_ms: 1000,
        tos: 0,
    };
    // The first that nobody has, of a range for this test alone.
    let opened = (42_000..42_100).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).find(|&rtp| {
        let transport = TransportRequest::Rtp(request(rtp));
        let opened = control.ask(Command::OpenLeg { leg: LegId(leg), call: CallKey(2), transport });
        assert!(matches!(opened, Ok(Done::Opened(_)) | Err(Refused::PortTaken(_))), "{opened:?}");
        opened.is_ok()
    });
    control.ok(Command::SetRtpRemote { leg: LegId(leg), remote: rtp_remote(socket, security) });
    opened.expect("a free port")
}

fn rtp_remote(socket: &UdpSocket, security: Security) -> RtpRemote {
    RtpRemote {
        rtp: socket.local_addr().ok(),
        rtcp: None,
        rtcp_mux: true,
        security,
        ice: None,
        our_ice: None,
        checks: None,
        learning: Learning {
            from: LearnFrom::FirstPacket,
            window_ms: 3000,
            strict_source: false,
            media_handover: false,
        },
        unheard_packets_max: 0,
        formats: vec![Format { payload_type: 0, codec: Codec::Pcmu, clock_rate_hz: 8000, channels: 1 }],
        medium: Medium::Audio,
        direction: Direction::SendReceive,
        tos: 0,
    }
}

/// One test, so that no other dataplane's worker starts meanwhile.
#[test]
fn worker_that_runs_neither_allocates_nor_frees() {
    forwarding_leaves_the_heap_alone(BackendChoice::Uring);
    forwarding_leaves_the_heap_alone(BackendChoice::Mmsg);
}
