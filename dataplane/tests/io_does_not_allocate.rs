//! After `io::open`, harvesting and submitting must not touch the heap: not when packets come and go, not when a send
//! fails, a sleep ends or a wake rings, not when a port opens or closes.
//!
//! The allocator of this test counts the allocations of each thread while that thread asks it to.

use crosspoint_contract::limits::BATCH_PACKETS_MAX;

use crosspoint_dataplane::batch::{Disposition, Nanos};
use crosspoint_dataplane::io::{self, ClaimedPort, IoConfig, Opened, Ports, PortsConfig};
use crosspoint_dataplane::{BackendChoice, PortsChoice};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};

thread_local! {
    /// `None` while nobody wants to know.
    static ALLOCATIONS: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

impl Counting {
    fn count() {
        // A thread that is ending has no cell any more, and nothing to count.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get().map(|n| n + 1)));
    }
}

// SAFETY: every call is handed to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` or `realloc` here, thus from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Counting::count();
        // SAFETY: as in `dealloc`; the promise about `bytes` is passed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocated on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    ALLOCATIONS.set(Some(0));
    work();
    ALLOCATIONS.replace(None).expect("set above")
}

#[test]
fn counter_sees_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1u64)))), 1);
}

#[test]
fn uring_does_not_allocate_after_start() {
    io_does_not_allocate(BackendChoice::Uring, PortsChoice::Auto);
    io_does_not_allocate(BackendChoice::Uring, PortsChoice::Sockets);
}

#[test]
fn mmsg_does_not_allocate_after_start() {
    io_does_not_allocate(BackendChoice::Mmsg, PortsChoice::Auto);
    io_does_not_allocate(BackendChoice::Mmsg, PortsChoice::Sockets);
}

/// A loopback address of this process's own: steering does not see what another process steers.
fn local() -> IpAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    IpAddr::from([127, high | 0x80, middle, low | 1])
}

fn io_does_not_allocate(backend: BackendChoice, choice: PortsChoice) {
    let (ports, workers) =
        Ports::open(&PortsConfig { addrs: vec![local()], choice, workers: 1, ports_max: 8 }).expect("opens");
    let addr = SocketAddr::new(local(), 0);
    let config = IoConfig { addr, backend, legs_max: 1, huge_pages: false, ports: workers[0].clone() };
    let mut opened = io::open(&config).expect("opens");
    let waker = opened.io.waker();
    let (peer, port) = (UdpSocket::bind(addr).expect("binds"), claim(&ports));
    let made = allocations(|| {
        for _ in 0..200 {
            let id = opened.io.open_port(&port.spec()).expect("room");
            for n in 0..BATCH_PACKETS_MAX as u64 {
                peer.send_to(&n.to_le_bytes(), opened.io.local_addr()).expect("sends");
                peer.send_to(&n.to_le_bytes(), port.addr()).expect("sends");
            }
            (0..3).for_each(|_| turn(&mut opened));
            waker.wake();
            turn(&mut opened);
            opened.io.close_port(id);
            turn(&mut opened);
        }
    });
    let counters = opened.io.counters();
    assert!(counters.packets_received > 10_000 && counters.send_failed > 100, "the test tests nothing: {counters:?}");
    assert_eq!(made, 0);
}

fn claim(ports: &Ports) -> ClaimedPort {
    (24_000..25_000).find_map(|port| ports.claim(0, SocketAddr::new(local(), port), 0).ok()).expect("a free port")
}

/// Receives, sends back, and sends one packet that fails.
fn turn(Opened { io, batch, .. }: &mut Opened) {
    let until = Nanos::now().saturating_add_ns(100_000);
    io.harvest(batch, Some(until)).expect("harvests");
    io.resolve_ports(batch);
    let nowhere = SocketAddr::new(local(), 0);
    batch.push_new(nowhere.into()).expect("room");
    batch.packets_mut().iter_mut().for_each(|packet| packet.disposition = Disposition::Send);
    io.submit(batch);
}
