//! After start a worker allocates nothing on the packet path: held by an allocator that counts, over real sockets.

mod support;

use crosspoint_contract::LegId;
use crosspoint_contract::{BridgeId, Command, DtlsRole};
use crosspoint_dataplane::{BackendChoice, DataplaneConfig};
use crosspoint_wire::dtls::Role;
use crosspoint_wire::rtp::RtpHeader;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use support::control::Dataplane;
use support::peer::Peer;
use support::{DIGITS, OPUS, description};

/// Counts what threads named `worker-…` allocate.
struct Counting;

static WORKER_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, the length of the buffer.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    if name.starts_with(b"worker-") {
        WORKER_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

fn forwarding_allocates_nothing(backend: BackendChoice) {
    // Reports are sent and events told several times meanwhile: those are on the packet path too.
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
            control.event(|event| matches!(event, crosspoint_contract::Event::LegConnected { .. }));
            peer
        })
        .collect();
    control.ok(Command::Bridge { bridge: BridgeId(1), legs: [LegId(1), LegId(2)] });
    let mut b = peers.pop().expect("two");
    let mut a = peers.pop().expect("two");
    a.send_rtp(&RtpHeader::new(111, false, 0, 0, 0xA), &[0; 80]);
    b.receive_rtp().expect("B hears A");

    let before = WORKER_ALLOCATIONS.load(Ordering::Relaxed);
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
    let allocations = WORKER_ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(allocations, 0, "the worker allocated while it forwarded {PACKETS} packets");
    control.ok(Command::ShutDown);
    dataplane.ended();
}

/// One test, so that no other dataplane's worker starts meanwhile.
#[test]
fn ten_thousand_packets_are_forwarded_without_an_allocation() {
    forwarding_allocates_nothing(BackendChoice::Uring);
    forwarding_allocates_nothing(BackendChoice::Mmsg);
}
