//! What every backend must do, run over each that talks to a kernel.
//!
//! ```text
//!   test thread: a plain UDP socket  <--- loopback --->  worker thread: Io, or Io on the test's own thread
//! ```

use super::*;
use crate::batch::Disposition;
use crosspoint_contract::limits::PACKET_BYTES_MAX;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

/// Makes one test for each backend out of a function that takes the choice.
macro_rules! on_each_backend {
    ($($test:ident),+ $(,)?) => {
        mod uring_backend { $(#[test] fn $test() { super::$test(super::BackendChoice::Uring) })+ }
        mod mmsg_backend { $(#[test] fn $test() { super::$test(super::BackendChoice::Mmsg) })+ }
    };
}

on_each_backend!(
    ten_thousand_datagrams_come_back_once_each_in_order_and_intact,
    ipv6_datagrams_come_back_intact,
    oversize_datagram_is_marked_truncated_and_the_largest_is_not,
    every_buffer_comes_home_after_a_storm,
    only_packets_marked_send_leave,
    locally_made_packets_leave_beside_received_ones,
    batches_submitted_without_a_harvest_between_all_leave,
    refused_sends_are_counted_and_disturb_no_other,
    sending_to_a_closed_port_disturbs_nothing,
    no_wake_of_another_thread_is_lost,
    deadline_ends_a_sleep,
    port_is_free_as_soon_as_the_io_is_dropped,
    dropping_closes_every_descriptor,
);

fn open_on(addr: &str, backend: BackendChoice) -> Opened {
    let addr = addr.parse().expect("an address");
    open(&IoConfig { addr, backend, legs_max: 1, huge_pages: false, ports: WorkerPorts::default() })
        .unwrap_or_else(|fault| panic!("{fault}"))
}

/// A socket of the test, which fails instead of waiting for ever.
pub(super) fn peer(addr: &str) -> UdpSocket {
    let socket = UdpSocket::bind(addr).expect("binds");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    socket
}

/// Turns until something arrived.
pub(super) fn harvest_some(opened: &mut Opened) {
    let deadline = Nanos::now().saturating_add_ns(10_000_000_000);
    while opened.batch.is_empty() {
        opened.io.harvest(&mut opened.batch, Some(deadline)).expect("harvests");
        assert!(opened.batch.now() < deadline, "nothing arrived");
        opened.io.resolve_ports(&mut opened.batch);
    }
}

/// Submits, and turns once more so that every backend has given it to the kernel and heard the result.
pub(super) fn submit_and_settle(opened: &mut Opened) {
    opened.io.submit(&mut opened.batch);
    opened.io.harvest(&mut opened.batch, None).expect("harvests");
}

pub(super) fn mark_all(batch: &mut PacketBatch, disposition: Disposition) {
    batch.packets_mut().iter_mut().for_each(|packet| packet.disposition = disposition);
}

/// Runs `test` against a worker that sends everything back where it came from.
fn with_reflector(addr: &'static str, backend: BackendChoice, test: impl FnOnce(SocketAddr)) -> IoCounters {
    let ended = Arc::new(AtomicBool::new(false));
    let (ready, is_ready) = mpsc::channel();
    let worker = thread::spawn({
        let ended = ended.clone();
        move || {
            let Opened { mut io, mut batch, .. } = open_on(addr, backend);
            ready.send((io.local_addr(), io.waker())).expect("the test waits");
            while !ended.load(Ordering::Acquire) {
                io.harvest(&mut batch, Some(Nanos::MAX)).expect("harvests");
                mark_all(&mut batch, Disposition::Send);
                io.submit(&mut batch);
            }
            io.counters()
        }
    });
    let (addr, waker) = is_ready.recv().expect("the worker opens");
    test(addr);
    ended.store(true, Ordering::Release);
    waker.wake();
    worker.join().expect("the worker ends")
}

/// Datagram `n`: its number, then bytes and a length that follow from it.
pub(super) fn datagram(n: u32) -> Vec<u8> {
    let len = 4 + n as usize * 7 % (PACKET_BYTES_MAX - 3);
    n.to_le_bytes().into_iter().chain((0..).map(|i: u32| (n ^ i) as u8)).take(len).collect()
}

fn exchange(addr: &str, reflector: SocketAddr, count: u32) {
    const IN_FLIGHT: u32 = 50; // well within an ordinary socket's queue
    let socket = peer(addr);
    socket.connect(reflector).expect("connects");
    let mut received = [0; 2000];
    for first in (0..count).step_by(IN_FLIGHT as usize) {
        let burst = first..(first + IN_FLIGHT).min(count);
        for n in burst.clone() {
            socket.send(&datagram(n)).expect("sends");
        }
        for n in burst {
            let len = socket.recv(&mut received).unwrap_or_else(|error| panic!("datagram {n}: {error}"));
            assert!(received[..len] == datagram(n), "datagram {n} came back changed");
        }
    }
    socket.set_nonblocking(true).expect("non-blocking");
    assert!(socket.recv(&mut received).is_err(), "something came back twice");
}

fn ten_thousand_datagrams_come_back_once_each_in_order_and_intact(backend: BackendChoice) {
    let counters = with_reflector(V4, backend, |reflector| exchange(V4, reflector, 10_000));
    assert_eq!(counters.packets_received, 10_000);
    assert_eq!(counters.packets_sent, 10_000);
    assert_eq!(counters.bytes_received, (0..10_000).map(|n| datagram(n).len() as u64).sum::<u64>());
    assert_eq!(counters.bytes_sent, counters.bytes_received);
}

fn ipv6_datagrams_come_back_intact(backend: BackendChoice) {
    with_reflector(V6, backend, |reflector| exchange(V6, reflector, 500));
}

fn oversize_datagram_is_marked_truncated_and_the_largest_is_not(backend: BackendChoice) {
    let mut opened = open_on(V4, backend);
    let socket = peer(V4);
    for (bytes, truncated) in [(PACKET_BYTES_MAX, false), (PACKET_BYTES_MAX + 1, true), (60_000, true), (0, false)] {
        socket.send_to(&vec![9; bytes], opened.io.local_addr()).expect("sends");
        harvest_some(&mut opened);
        assert_eq!(opened.batch.packet(0).is_truncated(), truncated, "{bytes} bytes");
        assert_eq!(opened.batch.bytes(0), vec![9; bytes.min(PACKET_BYTES_MAX)]);
        assert_eq!(SocketAddr::from(opened.batch.packet(0).remote), socket.local_addr().expect("bound"));
        mark_all(&mut opened.batch, Disposition::Dropped);
        opened.io.submit(&mut opened.batch);
    }
}

fn every_buffer_comes_home_after_a_storm(backend: BackendChoice) {
    weather_a_storm(&mut open_on(V4, backend));
}

#[test]
fn receive_that_ran_out_of_buffers_is_armed_again_and_loses_nothing() {
    let mut opened = open_with_sixteen_buffers(&WorkerPorts::default());
    weather_a_storm(&mut opened);
    assert!(opened.io.counters().receive_rearmed > 100, "the storm must outrun 16 buffers");
}

/// Over io_uring.
pub(super) fn open_with_sixteen_buffers(ports: &WorkerPorts) -> Opened {
    let addr = V4.parse().expect("an address");
    let config = IoConfig { addr, backend: BackendChoice::Uring, legs_max: 1, huge_pages: false, ports: ports.clone() };
    let socket = socket::bind(addr).expect("binds");
    open_uring(&socket, 16, &config).expect("maps").unwrap_or_else(|refusal| panic!("{}", refusal.explain()))
}

/// Again and again many datagrams wait before the first is harvested; none may be lost, no buffer either.
fn weather_a_storm(opened: &mut Opened) {
    const STORM: u64 = 200; // well within an ordinary socket's queue
    let socket = peer(V4);
    for storm in 1..=20 {
        for n in 0..STORM {
            socket.send_to(&n.to_le_bytes(), opened.io.local_addr()).expect("sends");
        }
        let mut next: u64 = 0;
        while next < STORM {
            harvest_some(opened);
            for i in 0..opened.batch.len() {
                assert_eq!(opened.batch.bytes(i), next.to_le_bytes(), "lost or out of order");
                next += 1;
            }
            mark_all(&mut opened.batch, Disposition::Taken);
            opened.io.submit(&mut opened.batch);
        }
        assert_eq!(opened.io.counters().packets_received, storm * STORM);
        opened.io.harvest(&mut opened.batch, None).expect("harvests");
        assert_eq!(opened.io.buffers_idle() + opened.batch.free_buffers(), opened.batch.pool_mut().len());
    }
}

fn only_packets_marked_send_leave(backend: BackendChoice) {
    let mut opened = open_on(V4, backend);
    let socket = peer(V4);
    let decisions = [Disposition::Dropped, Disposition::Send, Disposition::Taken, Disposition::Send];
    for (n, decision) in decisions.into_iter().enumerate() {
        socket.send_to(&[n as u8], opened.io.local_addr()).expect("sends");
        harvest_some(&mut opened);
        opened.batch.packet_mut(0).disposition = decision;
        submit_and_settle(&mut opened);
    }
    for expected in [1, 3] {
        let mut received = [0; 8];
        assert_eq!(socket.recv(&mut received).expect("comes back"), 1);
        assert_eq!(received[0], expected);
    }
    assert_eq!(opened.io.counters().packets_sent, 2);
}

fn locally_made_packets_leave_beside_received_ones(backend: BackendChoice) {
    let mut opened = open_on(V4, backend);
    let (near, far) = (peer(V4), peer(V4));
    near.send_to(b"received", opened.io.local_addr()).expect("sends");
    harvest_some(&mut opened);
    opened.batch.packet_mut(0).disposition = Disposition::Send;
    let made = opened.batch.push_new(far.local_addr().expect("bound").into()).expect("room");
    opened.batch.buffer_mut(made)[..4].copy_from_slice(b"made");
    opened.batch.set_len(made, 4);
    opened.batch.packet_mut(made).disposition = Disposition::Send;
    submit_and_settle(&mut opened);
    let mut received = [0; 16];
    let len = near.recv(&mut received).expect("comes back");
    assert_eq!(&received[..len], b"received");
    let len = far.recv(&mut received).expect("arrives");
    assert_eq!(&received[..len], b"made");
}

/// Makes one packet of one byte to each address.
fn make_bytes_to(opened: &mut Opened, addrs: &[SocketAddr]) {
    for addr in addrs {
        let made = opened.batch.push_new((*addr).into()).expect("room");
        opened.batch.set_len(made, 1);
        opened.batch.packet_mut(made).disposition = Disposition::Send;
    }
}

fn send_bytes_to(opened: &mut Opened, addrs: &[SocketAddr]) {
    make_bytes_to(opened, addrs);
    submit_and_settle(opened);
}

/// As when a worker that ends says goodbye to every peer; the last batch leaves when the io is dropped.
fn batches_submitted_without_a_harvest_between_all_leave(backend: BackendChoice) {
    const BATCHES: usize = 7;
    let mut opened = open_on(V4, backend);
    let peers: Vec<_> = (0..crate::batch::BATCH_CAPACITY).map(|_| peer(V4)).collect();
    let addrs: Vec<_> = peers.iter().map(|peer| peer.local_addr().expect("bound")).collect();
    for _ in 0..BATCHES {
        make_bytes_to(&mut opened, &addrs);
        opened.io.submit(&mut opened.batch);
    }
    drop(opened);
    for peer in peers {
        (0..BATCHES).for_each(|_| assert_eq!(peer.recv(&mut [0; 8]).expect("arrives"), 1));
    }
}

fn refused_sends_are_counted_and_disturb_no_other(backend: BackendChoice) {
    let mut opened = open_on(V4, backend);
    let socket = peer(V4);
    let (good, port_zero) = (socket.local_addr().expect("bound"), SocketAddr::from(([127, 0, 0, 1], 0)));
    send_bytes_to(&mut opened, &[good, port_zero, good, port_zero, good]);
    (0..3).for_each(|_| assert_eq!(socket.recv(&mut [0; 8]).expect("arrives"), 1));
    assert_eq!(opened.io.counters().send_failed, 2);
    send_bytes_to(&mut opened, &[good; 3]);
    assert_eq!((opened.io.counters().packets_sent, opened.io.counters().bytes_sent), (6, 6));
    assert_eq!(opened.io.buffers_idle() + opened.batch.free_buffers(), opened.batch.pool_mut().len());
}

fn sending_to_a_closed_port_disturbs_nothing(backend: BackendChoice) {
    let mut opened = open_on(V4, backend);
    // The port of a socket that is connected elsewhere refuses us as a closed one does, and nobody else can get it.
    let deaf = peer(V4);
    deaf.connect("127.0.0.1:9").expect("connects");
    for _ in 0..20 {
        send_bytes_to(&mut opened, &[deaf.local_addr().expect("bound"); 5]);
    }
    let socket = peer(V4);
    socket.send_to(b"still there?", opened.io.local_addr()).expect("sends");
    harvest_some(&mut opened);
    assert_eq!(opened.batch.bytes(0), b"still there?");
    assert_eq!((opened.io.counters().send_failed, opened.io.counters().packets_sent), (0, 100));
    mark_all(&mut opened.batch, Disposition::Dropped);
    opened.io.submit(&mut opened.batch);
}

fn no_wake_of_another_thread_is_lost(backend: BackendChoice) {
    let (to_worker, from_test) = mpsc::channel::<u32>();
    let (to_test, from_worker) = mpsc::channel();
    let worker = thread::spawn(move || {
        let Opened { mut io, mut batch, .. } = open_on(V4, backend);
        to_test.send((0, Some(io.waker()))).expect("the test waits");
        loop {
            io.harvest(&mut batch, Some(Nanos::MAX)).expect("harvests");
            io.submit(&mut batch);
            match from_test.try_recv() {
                Ok(n) => to_test.send((n, None)).expect("the test waits"),
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
        }
    });
    let waker = from_worker.recv().expect("the worker opens").1.expect("a waker first");
    for n in 0..5000 {
        to_worker.send(n).expect("the worker lives");
        waker.wake();
        let (echoed, _) = from_worker.recv_timeout(Duration::from_secs(10)).expect("a wake was lost");
        assert_eq!(echoed, n);
    }
    drop(to_worker);
    waker.wake();
    worker.join().expect("the worker ends");
}

fn deadline_ends_a_sleep(backend: BackendChoice) {
    let mut opened = open_on(V4, backend);
    let deadline = Nanos::now().saturating_add_ns(20_000_000);
    let mut turns = 0;
    while Nanos::now() < deadline {
        opened.io.harvest(&mut opened.batch, Some(deadline)).expect("harvests");
        turns += 1;
    }
    assert!(opened.batch.is_empty() && turns <= 5, "it did not sleep: {turns} turns");
}

fn port_is_free_as_soon_as_the_io_is_dropped(backend: BackendChoice) {
    let mut opened = open_on(V4, backend);
    let addr = opened.io.local_addr().to_string();
    for _ in 0..20 {
        opened.io.harvest(&mut opened.batch, None).expect("harvests");
        drop(opened);
        opened = open_on(&addr, backend);
    }
}

fn dropping_closes_every_descriptor(backend: BackendChoice) {
    let descriptors = || std::fs::read_dir("/proc/thread-self/fd").expect("proc is mounted").count();
    let body = move || {
        // SAFETY: with UNSHARE only this thread's own copy of the table loses descriptors, and it uses none of them.
        let result = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE as libc::c_int) };
        assert_eq!(result, 0);
        let before = descriptors();
        let mut opened = open_on(V4, backend);
        opened.io.harvest(&mut opened.batch, None).expect("harvests");
        assert!(descriptors() > before);
        drop(opened);
        assert_eq!(descriptors(), before);
    };
    thread::spawn(body).join().expect("the thread ends well");
}

#[test]
fn port_in_use_is_a_fault_under_any_choice() {
    let holder = peer(V4);
    for backend in [BackendChoice::Auto, BackendChoice::Uring, BackendChoice::Mmsg] {
        let config = IoConfig {
            addr: holder.local_addr().expect("bound"),
            backend,
            legs_max: 1,
            huge_pages: false,
            ports: WorkerPorts::default(),
        };
        assert!(matches!(open(&config), Err(Fault::PortInUse { .. })), "{backend}");
    }
}

#[test]
fn batch_of_another_io_is_our_bug() {
    let (mut one, mut other) = (open_on(V4, BackendChoice::Uring), open_on(V4, BackendChoice::Uring));
    let mixed = std::panic::AssertUnwindSafe(|| one.io.harvest(&mut other.batch, None));
    assert!(std::panic::catch_unwind(mixed).is_err());
}

#[test]
fn where_io_uring_is_forbidden_auto_takes_mmsg_and_says_why() {
    let body = || {
        forbid_to_this_thread(libc::SYS_io_uring_setup);
        let opened = open_on(V4, BackendChoice::Auto);
        assert_eq!(opened.kind, BackendKind::Mmsg);
        assert!(opened.reason.starts_with("io_uring is forbidden here"), "{}", opened.reason);
        let config = IoConfig {
            addr: opened.io.local_addr(),
            backend: BackendChoice::Uring,
            legs_max: 1,
            huge_pages: false,
            ports: WorkerPorts::default(),
        };
        drop(opened);
        let message = open(&config).err().expect("refused").to_string();
        assert!(message.contains("forbidden") && message.contains("choose backend"), "{message}");
    };
    thread::spawn(body).join().expect("the thread ends well");
}

/// What container runtimes do to a process: a system call fails with EPERM.
pub(super) fn forbid_to_this_thread(call: libc::c_long) {
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        instruction((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0), // the number of the system call
        instruction((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, call as u32),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the call takes no pointers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: `filter` and the program it points at outlive the call, which copies them. It binds this thread only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }, 0);
}
