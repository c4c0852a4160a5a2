//! After start a worker neither allocates nor frees: held by an allocator that counts, over real sockets, while packets
//! are forwarded, reports and digits sent, legs described anew, restarted and closed.

mod support;

use crosspoint_contract::{BridgeId, Command, Done, DtlsRole, Event, LegId};
use crosspoint_dataplane::{BackendChoice, DataplaneConfig};
use crosspoint_wire::dtls::Role;
use crosspoint_wire::rtp::RtpHeader;
use std::alloc::{GlobalAlloc, Layout, System};
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

/// One test, so that no other dataplane's worker starts meanwhile.
#[test]
fn worker_that_runs_neither_allocates_nor_frees() {
    forwarding_leaves_the_heap_alone(BackendChoice::Uring);
    forwarding_leaves_the_heap_alone(BackendChoice::Mmsg);
}
