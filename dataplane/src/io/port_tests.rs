//! What ports of RTP legs must do, over each backend that talks to a kernel, and each way that ports are made.
//!
//! ```text
//!   test thread:  Ports --claim--> Io::open_port          peer: a plain UDP socket
//!                                      ^----------- loopback ------^
//! ```

use super::tests::{datagram, harvest_some, mark_all, peer, submit_and_settle};
use super::*;
use crate::batch::Disposition;
use crate::config::PortsChoice;
use crosspoint_contract::limits::PACKET_BYTES_MAX;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

/// Makes one test for each backend and way out of a function that takes a [`Stand`] over IPv4 and IPv6.
macro_rules! on_each_way {
    ($($test:ident),+ $(,)?) => {
        mod uring_steered { $(#[test] fn $test() { super::run(stringify!($test), "uring", "steered", super::$test); })+ }
        mod uring_sockets { $(#[test] fn $test() { super::run(stringify!($test), "uring", "sockets", super::$test); })+ }
        mod mmsg_steered { $(#[test] fn $test() { super::run(stringify!($test), "mmsg", "steered", super::$test); })+ }
        mod mmsg_sockets { $(#[test] fn $test() { super::run(stringify!($test), "mmsg", "sockets", super::$test); })+ }
    };
}

on_each_way!(
    datagrams_arrive_with_the_id_of_their_port_and_answers_come_from_it,
    datagrams_of_any_length_come_back_intact_and_in_order,
    packet_may_leave_by_another_port_than_it_came_to,
    shared_port_goes_on_beside_the_others,
    oversize_datagram_is_marked_truncated,
    closed_port_is_silent_and_its_id_comes_back_without_its_packets,
    packets_carry_the_mark_of_their_port,
    packet_that_cannot_leave_is_counted_and_disturbs_no_other,
    every_buffer_comes_home_after_a_storm_on_many_ports,
    sleep_ends_when_a_packet_comes_to_a_port,
    port_is_claimed_once_and_on_known_addresses_only,
    worker_that_begins_anew_receives_on_new_ports,
);

/// A worker's io, and what its ports come from.
struct Stand {
    ports: Ports,
    worker: WorkerPorts,
    opened: Opened,
    backend: BackendChoice,
}

const LOCAL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const PORTS_MAX: usize = 300;

fn config(choice: PortsChoice, workers: usize) -> PortsConfig {
    PortsConfig { addrs: LOCAL.to_vec(), choice, workers, ports_max: PORTS_MAX }
}

/// Runs the test, or says by name that this host does not let it.
fn run(name: &str, backend: &str, ports: &str, test: fn(&mut Stand)) {
    let choice = ports.parse().expect("a choice");
    if let Some((ports, workers)) = open_ports(&format!("{backend}_{ports}::{name}"), &config(choice, 1)) {
        let backend = backend.parse().expect("a backend");
        let [worker] = workers.try_into().expect("one worker");
        let opened = open_with(backend, &worker);
        test(&mut Stand { ports, worker, opened, backend });
    }
}

fn open_ports(name: &str, config: &PortsConfig) -> Option<(Ports, Vec<WorkerPorts>)> {
    match Ports::open(config) {
        Err(Fault::SteeringUnavailable { reason }) => {
            // Not by `eprintln`, which the test harness would swallow.
            let _ = writeln!(std::io::stderr(), "skipped: {name}: {reason}");
            None
        }
        result => Some(result.unwrap_or_else(|fault| panic!("{fault}"))),
    }
}

fn open_with(backend: BackendChoice, ports: &WorkerPorts) -> Opened {
    let addr = SocketAddr::new(LOCAL[0], 0);
    open(&IoConfig { addr, backend, legs_max: 1, huge_pages: false, ports: ports.clone() })
        .unwrap_or_else(|fault| panic!("{fault}"))
}

/// A port that no other test of this process gets, and nobody else has bound.
fn claim(ports: &Ports, worker: usize, ip: IpAddr, tos: u8) -> ClaimedPort {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 43_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 1000;
        match ports.claim(worker, SocketAddr::new(ip, port), tos) {
            Err(PortRefused::Taken) => {}
            result => return result.expect("free ports"),
        }
    }
}

impl Stand {
    fn claim_and_open(&mut self, ip: IpAddr) -> (ClaimedPort, PortId) {
        let claimed = claim(&self.ports, 0, ip, 0);
        let id = self.opened.io.open_port(&claimed.spec()).expect("room for a port");
        (claimed, id)
    }

    /// Harvests what was sent; loopback delivers at once, but a socket that has just been opened must be armed first.
    fn harvest(&mut self, packets: usize) {
        let deadline = Nanos::now().saturating_add_ns(10_000_000_000);
        while self.opened.batch.len() < packets {
            assert!(self.opened.batch.is_empty(), "{} of {packets} arrived", self.opened.batch.len());
            self.opened.io.harvest(&mut self.opened.batch, Some(deadline)).expect("harvests");
            assert!(self.opened.batch.now() < deadline, "nothing arrived");
        }
    }

    /// Turns without a packet, so that what was opened is armed and what was closed has ended.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.opened.io.harvest(&mut self.opened.batch, None).expect("harvests");
            mark_all(&mut self.opened.batch, Disposition::Dropped);
            self.opened.io.submit(&mut self.opened.batch);
        }
    }

    fn answer(&mut self) {
        mark_all(&mut self.opened.batch, Disposition::Send);
        submit_and_settle(&mut self.opened);
    }
}

fn peer_of(port: &ClaimedPort) -> UdpSocket {
    let socket = peer(if port.addr().is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" });
    // Connected, so that nothing from another address or port comes through.
    socket.connect(port.addr()).expect("connects");
    socket
}

fn datagrams_arrive_with_the_id_of_their_port_and_answers_come_from_it(stand: &mut Stand) {
    let open: Vec<_> = (0..8).map(|n| stand.claim_and_open(LOCAL[n % 2])).collect();
    for (n, (claimed, id)) in open.iter().enumerate() {
        let peer = peer_of(claimed);
        peer.send(&[n as u8]).expect("sends");
        stand.harvest(1);
        let packet = stand.opened.batch.packet(0);
        assert_eq!(packet.port, *id);
        assert_eq!(SocketAddr::from(packet.remote), peer.local_addr().expect("bound"));
        assert_eq!(stand.opened.batch.bytes(0), [n as u8]);
        stand.answer();
        let mut received = [0; 8];
        assert_eq!(peer.recv(&mut received).expect("comes back"), 1);
        assert_eq!(received[0], n as u8);
    }
}

fn datagrams_of_any_length_come_back_intact_and_in_order(stand: &mut Stand) {
    const ROUNDS: u32 = 40;
    const IN_FLIGHT: u32 = 20;
    for ip in LOCAL {
        let (claimed, _) = stand.claim_and_open(ip);
        let (peer, mut received) = (peer_of(&claimed), [0; 2000]);
        stand.settle();
        for first in (0..ROUNDS * IN_FLIGHT).step_by(IN_FLIGHT as usize) {
            let burst = first..first + IN_FLIGHT;
            for n in burst.clone() {
                peer.send(&datagram(n)).expect("sends");
            }
            let mut returned = 0;
            while returned < IN_FLIGHT {
                harvest_some(&mut stand.opened);
                returned += stand.opened.batch.len() as u32;
                mark_all(&mut stand.opened.batch, Disposition::Send);
                stand.opened.io.submit(&mut stand.opened.batch);
            }
            stand.settle();
            for n in burst {
                let bytes = peer.recv(&mut received).unwrap_or_else(|error| panic!("datagram {n}: {error}"));
                assert!(received[..bytes] == datagram(n), "datagram {n} came back changed");
            }
        }
    }
    let counters = stand.opened.io.counters();
    assert_eq!((counters.send_failed, counters.port_unknown), (0, 0));
    assert_eq!(counters.bytes_sent, counters.bytes_received, "payloads are counted, not headers");
}

fn packet_may_leave_by_another_port_than_it_came_to(stand: &mut Stand) {
    for ip in LOCAL {
        let ((first, _), (second, second_id)) = (stand.claim_and_open(ip), stand.claim_and_open(ip));
        let (from, to) = (peer_of(&first), peer_of(&second));
        from.send(b"across").expect("sends");
        stand.harvest(1);
        let packet = stand.opened.batch.packet_mut(0);
        (packet.port, packet.remote) = (second_id, to.local_addr().expect("bound").into());
        stand.answer();
        let mut received = [0; 16];
        assert_eq!(to.recv(&mut received).expect("arrives from the second port"), 6);
    }
}

fn shared_port_goes_on_beside_the_others(stand: &mut Stand) {
    let (claimed, id) = stand.claim_and_open(LOCAL[0]);
    let (to_port, to_shared) = (peer_of(&claimed), peer("127.0.0.1:0"));
    to_shared.connect(stand.opened.io.local_addr()).expect("connects");
    for _ in 0..20 {
        to_port.send(b"port").expect("sends");
        to_shared.send(b"shared").expect("sends");
        let mut ids = Vec::new();
        while ids.len() < 2 {
            harvest_some(&mut stand.opened);
            ids.extend(stand.opened.batch.packets().iter().map(|packet| packet.port));
            mark_all(&mut stand.opened.batch, Disposition::Send);
            stand.opened.io.submit(&mut stand.opened.batch);
        }
        stand.settle();
        ids.sort_unstable();
        assert_eq!(ids, [PortId::SHARED, id]);
        assert_eq!(to_port.recv(&mut [0; 16]).expect("comes back"), 4);
        assert_eq!(to_shared.recv(&mut [0; 16]).expect("comes back"), 6);
    }
}

fn oversize_datagram_is_marked_truncated(stand: &mut Stand) {
    for ip in LOCAL {
        let (claimed, _) = stand.claim_and_open(ip);
        let peer = peer_of(&claimed);
        for (bytes, truncated) in [(PACKET_BYTES_MAX, false), (PACKET_BYTES_MAX + 1, true), (60_000, true), (0, false)]
        {
            peer.send(&vec![9; bytes]).expect("sends");
            stand.harvest(1);
            assert_eq!(stand.opened.batch.packet(0).is_truncated(), truncated, "{bytes} bytes");
            assert_eq!(stand.opened.batch.bytes(0), vec![9; bytes.min(PACKET_BYTES_MAX)]);
            mark_all(&mut stand.opened.batch, Disposition::Dropped);
            stand.opened.io.submit(&mut stand.opened.batch);
        }
    }
}

fn closed_port_is_silent_and_its_id_comes_back_without_its_packets(stand: &mut Stand) {
    let (claimed, id) = stand.claim_and_open(LOCAL[0]);
    let old = peer_of(&claimed);
    stand.settle();
    // Waiting in the kernel when the port is closed: it must not come out under an id that may be somebody else's by then.
    old.send(b"too late").expect("sends");
    stand.opened.io.close_port(id);
    drop(claimed);
    stand.settle();
    let (claimed, again) = stand.claim_and_open(LOCAL[0]);
    assert_eq!(again, id, "ids are dense");
    // Refused, or lost.
    let _ = old.send(b"later still");
    let new = peer_of(&claimed);
    new.send(b"new").expect("sends");
    stand.harvest(1);
    assert_eq!(stand.opened.batch.bytes(0), b"new");
    assert_eq!(stand.opened.batch.packet(0).port, id);
    mark_all(&mut stand.opened.batch, Disposition::Dropped);
    stand.opened.io.submit(&mut stand.opened.batch);
}

fn packets_carry_the_mark_of_their_port(stand: &mut Stand) {
    const EXPEDITED: u8 = 46 << 2;
    for ip in LOCAL {
        let claimed = claim(&stand.ports, 0, ip, EXPEDITED);
        let id = stand.opened.io.open_port(&claimed.spec()).expect("room for a port");
        let peer = peer_of(&claimed);
        let to = peer.local_addr().expect("bound");
        socket::tests::tell_mark(&peer, to);
        let made = stand.opened.batch.push_new_from(id, to.into()).expect("room");
        stand.opened.batch.set_len(made, 1);
        stand.answer();
        assert_eq!(socket::tests::received_mark(&peer), EXPEDITED, "{ip}");
    }
}

fn packet_that_cannot_leave_is_counted_and_disturbs_no_other(stand: &mut Stand) {
    let (claimed, id) = stand.claim_and_open(LOCAL[0]);
    let (closed_claim, closed) = stand.claim_and_open(LOCAL[0]);
    stand.opened.io.close_port(closed);
    drop(closed_claim);
    let peer = peer_of(&claimed);
    let good = peer.local_addr().expect("bound");
    let (port_zero, other_family) = (SocketAddr::new(LOCAL[0], 0), SocketAddr::new(LOCAL[1], 9));
    for (port, to) in [(id, good), (id, port_zero), (closed, good), (id, other_family), (id, good)] {
        let made = stand.opened.batch.push_new_from(port, to.into()).expect("room");
        stand.opened.batch.set_len(made, 1);
    }
    stand.answer();
    (0..2).for_each(|_| assert_eq!(peer.recv(&mut [0; 8]).expect("arrives"), 1));
    assert_eq!(stand.opened.io.counters().send_failed, 3);
    stand.settle();
    assert_eq!(stand.opened.io.buffers_idle() + stand.opened.batch.free_buffers(), stand.opened.batch.pool_mut().len());
}

fn every_buffer_comes_home_after_a_storm_on_many_ports(stand: &mut Stand) {
    const EACH: usize = 10;
    let open: Vec<_> = (0..100).map(|n| stand.claim_and_open(LOCAL[n % 2])).collect();
    let peers: Vec<_> = open.iter().map(|(claimed, _)| peer_of(claimed)).collect();
    for _ in 0..3 {
        for n in 0..EACH {
            for peer in &peers {
                peer.send(&[n as u8]).expect("sends");
            }
        }
        let mut next = vec![0; PORTS_MAX + 1];
        let mut left = EACH * peers.len();
        while left > 0 {
            harvest_some(&mut stand.opened);
            for i in 0..stand.opened.batch.len() {
                let port = stand.opened.batch.packet(i).port.0 as usize;
                assert_eq!(stand.opened.batch.bytes(i), [next[port]], "lost or out of order");
                next[port] += 1;
            }
            left -= stand.opened.batch.len();
            mark_all(&mut stand.opened.batch, Disposition::Taken);
            stand.opened.io.submit(&mut stand.opened.batch);
        }
    }
    stand.settle();
    assert_eq!(stand.opened.io.buffers_idle() + stand.opened.batch.free_buffers(), stand.opened.batch.pool_mut().len());
}

fn sleep_ends_when_a_packet_comes_to_a_port(stand: &mut Stand) {
    for ip in LOCAL {
        let (claimed, id) = stand.claim_and_open(ip);
        let sender = thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(30)); // long enough for the worker to be asleep
            peer_of(&claimed).send(b"wake").expect("sends");
            claimed
        });
        stand.harvest(1);
        assert_eq!(stand.opened.batch.packet(0).port, id);
        mark_all(&mut stand.opened.batch, Disposition::Dropped);
        stand.opened.io.submit(&mut stand.opened.batch);
        drop(sender.join().expect("sent"));
    }
    assert!(stand.opened.io.counters().enters < 40, "it did not sleep: {:?}", stand.opened.io.counters());
}

fn port_is_claimed_once_and_on_known_addresses_only(stand: &mut Stand) {
    let refused = |addr| stand.ports.claim(0, addr, 0).expect_err("refused");
    for ip in LOCAL {
        let claimed = claim(&stand.ports, 0, ip, 0);
        assert_eq!(refused(claimed.addr()), PortRefused::Taken);
        let addr = claimed.addr();
        drop(claimed);
        drop(stand.ports.claim(0, addr, 0).expect("free again"));
        assert_eq!(refused(SocketAddr::new(ip, 0)), PortRefused::NoSuchAddress);
    }
    assert_eq!(refused("127.0.0.2:43000".parse().expect("an address")), PortRefused::NoSuchAddress);
    assert_eq!(refused(stand.opened.io.local_addr()), PortRefused::Taken, "our own shared socket has it");
}

fn worker_that_begins_anew_receives_on_new_ports(stand: &mut Stand) {
    let (lost, _) = stand.claim_and_open(LOCAL[0]);
    let late = peer_of(&lost);
    stand.opened = open_with(stand.backend, &stand.worker);
    let _ = late.send(b"to a leg that was lost");
    drop(lost);
    let (claimed, id) = stand.claim_and_open(LOCAL[0]);
    let peer = peer_of(&claimed);
    peer.send(b"anew").expect("sends");
    stand.harvest(1);
    assert_eq!((stand.opened.batch.packet(0).port, stand.opened.batch.bytes(0)), (id, &b"anew"[..]));
    stand.answer();
    assert_eq!(peer.recv(&mut [0; 8]).expect("comes back"), 4);
}

#[test]
fn each_worker_gets_the_packets_of_its_own_ports() {
    let name = "each_worker_gets_the_packets_of_its_own_ports";
    let Some((ports, workers)) = open_ports(name, &config(PortsChoice::Steered, 3)) else { return };
    let mut all: Vec<_> = workers.iter().map(|worker| open_with(BackendChoice::Auto, worker)).collect();
    for ip in LOCAL {
        let claims: Vec<_> = (0..3).map(|worker| claim(&ports, worker, ip, 0)).collect();
        for (opened, claimed) in all.iter_mut().zip(&claims) {
            let id = opened.io.open_port(&claimed.spec()).expect("room");
            peer_of(claimed).send(b"mine").expect("sends");
            harvest_some(opened);
            assert_eq!((opened.batch.len(), opened.batch.packet(0).port), (1, id));
            mark_all(&mut opened.batch, Disposition::Dropped);
            opened.io.submit(&mut opened.batch);
        }
    }
    assert!(all.iter().all(|opened| opened.io.counters().packets_received == 2));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}

#[test]
fn ten_thousand_steered_ports_open_without_a_descriptor_and_receive() {
    const PORTS: u16 = 10_000;
    let ip = IpAddr::from([127, 43, 0, 1]);
    let config = PortsConfig { addrs: vec![ip], choice: PortsChoice::Steered, workers: 1, ports_max: PORTS.into() };
    let name = "ten_thousand_steered_ports_open_without_a_descriptor_and_receive";
    let Some((ports, workers)) = open_ports(name, &config) else { return };
    let mut opened = open_with(BackendChoice::Auto, &workers[0]);
    let mut open = Vec::with_capacity(PORTS.into());
    for port in 20_000..20_000 + PORTS {
        // One that another process has bound to any address is not ours to take.
        if let Ok(claimed) = ports.claim(0, SocketAddr::new(ip, port), 0) {
            let id = opened.io.open_port(&claimed.spec()).expect("room");
            open.push((claimed, id));
        }
    }
    // Other tests of this process open descriptors meanwhile, though not as many.
    assert!(open.len() > 9_900 && descriptors() < 5_000, "{} ports, {} descriptors", open.len(), descriptors());
    let peer = peer("127.0.0.1:0");
    for (claimed, id) in open.iter().step_by(97) {
        peer.send_to(b"x", claimed.addr()).expect("sends");
        harvest_some(&mut opened);
        assert_eq!(opened.batch.packet(0).port, *id);
        mark_all(&mut opened.batch, Disposition::Send);
        submit_and_settle(&mut opened);
        assert_eq!(peer.recv_from(&mut [0; 8]).expect("comes back").1, claimed.addr());
    }
    for (claimed, id) in open {
        opened.io.close_port(id);
        drop(claimed);
    }
    assert_eq!(opened.io.counters().port_unknown, 0);
}

#[test]
fn steering_ends_with_the_ports() {
    let Some((ports, workers)) = open_ports("steering_ends_with_the_ports", &config(PortsChoice::Steered, 1)) else {
        return;
    };
    let mut opened = open_with(BackendChoice::Auto, &workers[0]);
    let claimed = claim(&ports, 0, LOCAL[0], 0);
    opened.io.open_port(&claimed.spec()).expect("room");
    let peer = peer_of(&claimed);
    peer.send(b"steered").expect("sends");
    harvest_some(&mut opened);
    mark_all(&mut opened.batch, Disposition::Dropped);
    opened.io.submit(&mut opened.batch);
    drop((claimed, ports));
    peer.send(b"nobody there").expect("sends");
    assert_eq!(peer.recv(&mut [0; 8]).expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn namespace_of_its_own_is_steered_by_itself() {
    let body = || {
        // SAFETY: the call takes no pointers and moves this thread only.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let _ = writeln!(std::io::stderr(), "skipped: namespace_of_its_own_is_steered_by_itself: unshare refused");
            return;
        }
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("iproute2 is there").success());
        run("namespace", "uring", "steered", datagrams_arrive_with_the_id_of_their_port_and_answers_come_from_it);
        run("namespace", "mmsg", "steered", datagrams_arrive_with_the_id_of_their_port_and_answers_come_from_it);
    };
    thread::spawn(body).join().expect("the thread ends well");
}

#[test]
fn where_bpf_is_forbidden_auto_takes_sockets_and_says_why() {
    let body = || {
        super::tests::forbid_to_this_thread(libc::SYS_bpf);
        let (ports, _) = Ports::open(&config(PortsChoice::Auto, 1)).expect("falls back");
        let hello = ports.hello();
        assert!(!hello.steered && hello.reason.contains("CAP_BPF") && hello.reason.contains("ports"), "{hello:?}");
        let message = Ports::open(&config(PortsChoice::Steered, 1)).err().expect("refused").to_string();
        assert!(message.contains("CAP_BPF") && message.contains("choose ports"), "{message}");
    };
    thread::spawn(body).join().expect("the thread ends well");
}

#[test]
fn without_an_address_nothing_is_set_up() {
    let config = PortsConfig { addrs: Vec::new(), choice: PortsChoice::Steered, workers: 2, ports_max: 9 };
    let (ports, workers) = Ports::open(&config).expect("opens");
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|worker| worker.ports_max == 0 && worker.steered.is_none()));
    let addr = "127.0.0.1:43000".parse().expect("an address");
    assert_eq!(ports.claim(0, addr, 0).expect_err("refused"), PortRefused::NoSuchAddress);
}

#[test]
fn foreign_address_is_a_fault_under_any_choice() {
    for choice in [PortsChoice::Auto, PortsChoice::Steered, PortsChoice::Sockets] {
        let config = PortsConfig { addrs: vec![[192, 0, 2, 1].into()], choice, workers: 1, ports_max: 9 };
        assert!(matches!(Ports::open(&config), Err(Fault::AddressNotHere { .. })), "{choice}");
    }
}
