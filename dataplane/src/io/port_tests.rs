//! What ports of RTP legs must do, over each backend that talks to a kernel, and each way that ports are made.
//!
//! ```text
//!   test thread:  Ports --claim--> Io::open_port          peer: a plain UDP socket
//!                                      ^----------- loopback ------^
//! ```

use super::tests::{datagram, harvest_some, mark_all, open_with_sixteen_buffers, peer, submit_and_settle};
use super::*;
use crate::batch::{Disposition, Packet};
use crate::config::PortsChoice;
use crosspoint_contract::limits::PACKET_BYTES_MAX;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

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
    packet_of_a_port_that_opens_after_the_harvest_is_its_own,
    packet_of_a_port_that_closes_after_the_harvest_is_nobodys,
    worker_that_begins_anew_receives_on_new_ports,
    ports_open_and_close_again_and_again,
    sending_to_a_closed_port_disturbs_nothing,
);

/// A worker's io, and what its ports come from.
pub(super) struct Stand {
    pub ports: Ports,
    pub worker: WorkerPorts,
    pub opened: Opened,
    pub backend: BackendChoice,
}

pub(super) const LOCAL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const PORTS_MAX: usize = 300;

pub(super) fn config(choice: PortsChoice, workers: usize) -> PortsConfig {
    PortsConfig { addrs: LOCAL.to_vec(), choice, workers, ports_max: PORTS_MAX }
}

/// Runs the test in a network namespace of its own, or says by name that this host does not let it.
pub(super) fn run(name: &str, backend: &str, ports: &str, test: fn(&mut Stand)) {
    let backend_choice = backend.parse().expect("a backend");
    let choice = ports.parse().expect("a choice");
    let name = format!("{backend}_{ports}::{name}");
    in_own_namespace(move || {
        if let Some((ports, workers)) = open_ports(&name, &config(choice, 1)) {
            let [worker] = workers.try_into().expect("one worker");
            let opened = open_with(backend_choice, &worker);
            test(&mut Stand { ports, worker, opened, backend: backend_choice });
        }
    });
}

/// Steering does not see what other processes steer, so two runs of these tests at once would take each other's packets.
/// Where there can be no namespace there is no steering either, and sockets are told apart by the kernel.
pub(super) fn in_own_namespace(test: impl FnOnce() + Send + 'static) {
    let body = || {
        // SAFETY: the call takes no pointers and moves this thread only, and threads and processes that it starts.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
            set_loopback(libc::SIOCSIFFLAGS, |request| request.ifru_flags = libc::IFF_UP as i16);
        }
        test();
    };
    if let Err(panic) = thread::spawn(body).join() {
        resume_unwind(panic);
    }
}

/// Changes the loopback interface of this thread's namespace. No `ip`: a child would hold the ports of other tests for a
/// moment.
pub(super) fn set_loopback(what: libc::Ioctl, value: impl FnOnce(&mut libc::__c_anonymous_ifr_ifru)) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("binds");
    // SAFETY: ifreq is plain data for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    value(&mut request.ifr_ifru);
    // SAFETY: requests of this kind read an `ifreq`, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw const request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

pub(super) fn open_ports(name: &str, config: &PortsConfig) -> Option<(Ports, Vec<WorkerPorts>)> {
    match Ports::open(config) {
        Err(Fault::SteeringUnavailable { reason }) => {
            // Not by `eprintln`, which the test harness would swallow.
            let _ = writeln!(std::io::stderr(), "skipped: {name}: {reason}");
            None
        }
        result => Some(result.unwrap_or_else(|fault| panic!("{fault}"))),
    }
}

pub(super) fn open_with(backend: BackendChoice, ports: &WorkerPorts) -> Opened {
    let addr = SocketAddr::new(LOCAL[0], 0);
    open(&IoConfig { addr, backend, legs_max: 1, huge_pages: false, ports: ports.clone() })
        .unwrap_or_else(|fault| panic!("{fault}"))
}

/// A port that nobody has, below those that the kernel gives to peers: one with this very port would talk to itself.
pub(super) fn claim(ports: &Ports, worker: usize, ip: IpAddr, tos: u8) -> ClaimedPort {
    let mut claims = (24_000..25_000).map(|port| ports.claim(worker, SocketAddr::new(ip, port), tos));
    claims.find(|claim| !matches!(claim, Err(PortRefused::Taken))).expect("free ports").expect("claimed")
}

impl Stand {
    pub fn claim_and_open(&mut self, ip: IpAddr) -> (ClaimedPort, PortId) {
        let claimed = claim(&self.ports, 0, ip, 0);
        let id = self.opened.io.open_port(&claimed.spec()).expect("room for a port");
        (claimed, id)
    }

    /// Harvests what was sent; loopback delivers at once, but a socket that has just been opened must be armed first.
    pub fn harvest(&mut self, packets: usize) {
        let deadline = Nanos::now().saturating_add_ns(10_000_000_000);
        while self.opened.batch.len() < packets {
            assert!(self.opened.batch.is_empty(), "{} of {packets} arrived", self.opened.batch.len());
            self.opened.io.harvest(&mut self.opened.batch, Some(deadline)).expect("harvests");
            assert!(self.opened.batch.now() < deadline, "nothing arrived");
            self.opened.io.resolve_ports(&mut self.opened.batch);
            if self.opened.batch.packets().iter().all(|packet| !packet.is_pending()) {
                self.opened.io.submit(&mut self.opened.batch);
            }
        }
    }

    /// Turns without a packet, so that what was opened is armed and what was closed has ended.
    pub fn settle(&mut self) {
        for _ in 0..3 {
            self.opened.io.harvest(&mut self.opened.batch, None).expect("harvests");
            mark_all(&mut self.opened.batch, Disposition::Dropped);
            self.opened.io.submit(&mut self.opened.batch);
        }
    }

    pub fn answer(&mut self) {
        mark_all(&mut self.opened.batch, Disposition::Send);
        submit_and_settle(&mut self.opened);
    }
}

pub(super) fn peer_of(port: &ClaimedPort) -> UdpSocket {
    let socket = peer(if port.addr().is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" });
    // Connected, so that nothing from another address or port comes through.
    socket.connect(port.addr()).expect("connects");
    socket
}

pub(super) fn datagrams_arrive_with_the_id_of_their_port_and_answers_come_from_it(stand: &mut Stand) {
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
    let (old, next) = (peer_of(&claimed), claim(&stand.ports, 0, LOCAL[0], 0));
    stand.settle();
    // Waiting in the kernel when the port is closed: it must not come out under an id that may be somebody else's by then.
    old.send(b"too late").expect("sends");
    stand.opened.io.close_port(id);
    drop(claimed);
    stand.settle();
    assert_eq!(stand.opened.io.open_port(&next.spec()), Ok(id), "ids are dense");
    // Refused, or lost.
    let _ = old.send(b"later still");
    let new = peer_of(&next);
    new.send(b"new").expect("sends");
    stand.harvest(1);
    assert_eq!(stand.opened.batch.bytes(0), b"new");
    assert_eq!(stand.opened.batch.packet(0).port, id);
    mark_all(&mut stand.opened.batch, Disposition::Dropped);
    stand.opened.io.submit(&mut stand.opened.batch);
}

fn packets_carry_the_mark_of_their_port(stand: &mut Stand) {
    const EXPEDITED: u8 = 46 << 2;
    const ASSURED: u8 = 34 << 2;
    for ip in LOCAL {
        let mut claimed = claim(&stand.ports, 0, ip, EXPEDITED);
        let id = stand.opened.io.open_port(&claimed.spec()).expect("room for a port");
        let peer = peer_of(&claimed);
        let to = peer.local_addr().expect("bound");
        socket::tests::tell_mark(&peer, to);
        for tos in [EXPEDITED, ASSURED] {
            claimed.mark(tos);
            stand.opened.io.mark_port(id, tos);
            let made = stand.opened.batch.push_new_from(id, to.into()).expect("room");
            stand.opened.batch.set_len(made, 1);
            stand.answer();
            assert_eq!(socket::tests::received_mark(&peer), tos, "{ip}");
        }
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

#[test]
fn receives_that_ran_out_of_buffers_are_armed_again_and_lose_nothing() {
    for way in ["steered", "sockets"] {
        run("receives_that_ran_out_of_buffers_are_armed_again_and_lose_nothing", "uring", way, |stand| {
            stand.opened = open_with_sixteen_buffers(&stand.worker);
            every_buffer_comes_home_after_a_storm_on_many_ports(stand);
            assert!(stand.opened.io.counters().receive_rearmed > 100, "the storm must outrun 16 buffers");
        });
    }
}

fn sleep_ends_when_a_packet_comes_to_a_port(stand: &mut Stand) {
    for ip in LOCAL {
        let (claimed, id) = stand.claim_and_open(ip);
        let sender = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30)); // long enough for the worker to be asleep
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

fn packet_of_a_port_that_opens_after_the_harvest_is_its_own(stand: &mut Stand) {
    for ip in LOCAL {
        let claimed = claim(&stand.ports, 0, ip, 0);
        peer_of(&claimed).send(b"early").expect("sends");
        stand.opened.io.harvest(&mut stand.opened.batch, None).expect("harvests");
        let id = stand.opened.io.open_port(&claimed.spec()).expect("room");
        if stand.opened.batch.is_empty() {
            // In the port's own socket, which nobody has looked at yet.
            stand.harvest(1);
        } else {
            stand.opened.io.resolve_ports(&mut stand.opened.batch);
        }
        assert_eq!((stand.opened.batch.packet(0).port, stand.opened.batch.bytes(0)), (id, &b"early"[..]));
        assert!(stand.opened.batch.packet(0).is_pending());
        mark_all(&mut stand.opened.batch, Disposition::Dropped);
        stand.opened.io.submit(&mut stand.opened.batch);
    }
}

fn packet_of_a_port_that_closes_after_the_harvest_is_nobodys(stand: &mut Stand) {
    let (claimed, id) = stand.claim_and_open(LOCAL[0]);
    let next = claim(&stand.ports, 0, LOCAL[0], 0);
    stand.settle();
    peer_of(&claimed).send(b"late").expect("sends");
    let deadline = Nanos::now().saturating_add_ns(10_000_000_000);
    while stand.opened.batch.is_empty() {
        stand.opened.io.harvest(&mut stand.opened.batch, Some(deadline)).expect("harvests");
    }
    stand.opened.io.close_port(id);
    stand.opened.io.open_port(&next.spec()).expect("room");
    stand.opened.io.resolve_ports(&mut stand.opened.batch);
    assert_eq!(stand.opened.batch.packet(0).disposition, Disposition::Dropped);
    assert_eq!(stand.opened.io.counters().port_unknown, 1);
    stand.opened.io.submit(&mut stand.opened.batch);
}

fn worker_that_begins_anew_receives_on_new_ports(stand: &mut Stand) {
    let (lost, _) = stand.claim_and_open(LOCAL[0]);
    let late = peer_of(&lost);
    stand.opened = open_with(stand.backend, &stand.worker);
    let _ = late.send(b"to a leg that was lost");
    // Before the lost one is released: a port rests before somebody else gets it.
    let (claimed, id) = stand.claim_and_open(LOCAL[0]);
    drop(lost);
    let peer = peer_of(&claimed);
    peer.send(b"anew").expect("sends");
    stand.harvest(1);
    // Perhaps with the late one, which nobody gets.
    let pending = stand.opened.batch.packets().iter().position(Packet::is_pending).expect("one of us");
    assert_eq!((stand.opened.batch.packet(pending).port, stand.opened.batch.bytes(pending)), (id, &b"anew"[..]));
    stand.opened.batch.packet_mut(pending).disposition = Disposition::Send;
    submit_and_settle(&mut stand.opened);
    assert_eq!(peer.recv(&mut [0; 8]).expect("comes back"), 4);
}

fn ports_open_and_close_again_and_again(stand: &mut Stand) {
    for round in 0..500 {
        let open = [0, 1].map(|n| stand.claim_and_open(LOCAL[n]));
        for (claimed, id) in &open {
            assert!(id.0 <= 4, "id {} in round {round}: ids leak", id.0);
            peer_of(claimed).send(&[1]).expect("sends");
            stand.harvest(1);
            assert_eq!(stand.opened.batch.packet(0).port, *id);
            mark_all(&mut stand.opened.batch, Disposition::Dropped);
            stand.opened.io.submit(&mut stand.opened.batch);
        }
        for (claimed, id) in open {
            stand.opened.io.close_port(id);
            drop(claimed);
        }
    }
    assert_eq!(stand.opened.io.counters().port_unknown, 0);
}

fn sending_to_a_closed_port_disturbs_nothing(stand: &mut Stand) {
    for ip in LOCAL {
        let (claimed, id) = stand.claim_and_open(ip);
        // The port of a socket that is connected elsewhere refuses us as a closed one does, and nobody else can get it.
        let deaf = peer(&SocketAddr::new(ip, 0).to_string());
        deaf.connect(SocketAddr::new(ip, 9)).expect("connects");
        for _ in 0..20 {
            let to = deaf.local_addr().expect("bound");
            let made = stand.opened.batch.push_new_from(id, to.into()).expect("room");
            stand.opened.batch.set_len(made, 1);
            stand.answer();
        }
        peer_of(&claimed).send(b"still there?").expect("sends");
        stand.harvest(1);
        assert_eq!(stand.opened.batch.bytes(0), b"still there?");
        mark_all(&mut stand.opened.batch, Disposition::Dropped);
        stand.opened.io.submit(&mut stand.opened.batch);
    }
    let counters = stand.opened.io.counters();
    assert_eq!((counters.send_failed, counters.packets_sent), (0, 40));
}
