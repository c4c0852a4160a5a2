//! What ports do to the process and its surroundings; what they do for packets is tested with the backends.

use super::*;
use crate::batch::Disposition;
use crate::config::BackendChoice;
use crate::io::BackendKind;
use crate::io::port_tests::{
    LOCAL, Stand, claim, config, in_own_namespace, open_ports, open_with, peer_of, run, set_loopback,
};
use crate::io::tests::{forbid_to_this_thread, harvest_some, mark_all, peer, submit_and_settle};
use std::thread;

#[test]
fn each_worker_gets_the_packets_of_its_own_ports() {
    in_own_namespace(steer_to_three_workers);
}

fn steer_to_three_workers() {
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
    in_own_namespace(open_ten_thousand);
}

fn open_ten_thousand() {
    const PORTS: u16 = 10_000;
    let ip = IpAddr::from([127, 43, 0, 1]);
    let config = PortsConfig { addrs: vec![ip], choice: PortsChoice::Steered, workers: 1, ports_max: PORTS.into() };
    let name = "ten_thousand_steered_ports_open_without_a_descriptor_and_receive";
    let Some((ports, workers)) = open_ports(name, &config) else { return };
    let mut opened = open_with(BackendChoice::Auto, &workers[0]);
    let mut open = Vec::with_capacity(PORTS.into());
    for port in 20_000..20_000 + PORTS {
        let claimed = ports.claim(0, SocketAddr::new(ip, port), 0).expect("free");
        let id = opened.io.open_port(&claimed.spec()).expect("room");
        open.push((claimed, id));
    }
    // Other tests of this process open descriptors meanwhile, though not as many.
    assert!(descriptors() < 5_000, "{} descriptors", descriptors());
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
    in_own_namespace(steer_and_end);
}

fn steer_and_end() {
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
fn what_does_not_fit_the_interface_is_refused() {
    for backend in ["uring", "mmsg"] {
        run("what_does_not_fit_the_interface_is_refused", backend, "steered", send_more_than_fits);
    }
}

/// A socket would send fragments.
fn send_more_than_fits(stand: &mut Stand) {
    set_loopback(libc::SIOCSIFMTU, |request| request.ifru_mtu = 1400);
    for (ip, headers) in [(LOCAL[0], 28), (LOCAL[1], 48)] {
        let failed = stand.opened.io.counters().send_failed;
        let (claimed, id) = stand.claim_and_open(ip);
        let peer = peer_of(&claimed);
        for bytes in [1401 - headers, 1400 - headers] {
            let to = peer.local_addr().expect("bound");
            let made = stand.opened.batch.push_new_from(id, to.into()).expect("room");
            stand.opened.batch.set_len(made, bytes);
            stand.answer();
        }
        assert_eq!(peer.recv(&mut [0; 1500]).expect("arrives"), 1400 - headers);
        assert_eq!(stand.opened.io.counters().send_failed, failed + 1);
    }
}

#[test]
fn where_bpf_is_forbidden_auto_takes_sockets_and_says_why() {
    let body = || {
        forbid_to_this_thread(libc::SYS_bpf);
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

#[test]
fn socket_beyond_the_limit_is_refused_until_another_closes() {
    in_own_namespace(claim_more_than_two);
}

fn claim_more_than_two() {
    let ports = Ports::new(Book::sockets(2), &LOCAL, false, "a test".into());
    let [first, _second] = LOCAL.map(|ip| claim(&ports, 0, ip, 0));
    let addr = first.addr();
    let next = SocketAddr::new(addr.ip(), addr.port() ^ 1);
    assert_eq!(ports.claim(0, next, 0).expect_err("refused"), PortRefused::Exhausted);
    drop(first);
    drop(ports.claim(0, addr, 0).expect("one is free again"));
}

#[test]
fn ring_is_made_for_as_many_sockets_as_the_process_may_open() {
    let addrs = vec![LOCAL[0]];
    let config = PortsConfig { addrs, choice: PortsChoice::Sockets, workers: 1, ports_max: 1_000_000 };
    let (_ports, workers) = Ports::open(&config).expect("opens");
    // A ring holds no more direct descriptors than the process may open (io_uring_register(2)).
    let opened = open_with(BackendChoice::Auto, &workers[0]);
    assert!(opened.kind == BackendKind::Uring || !opened.reason.contains("registering"), "{}", opened.reason);
}

#[test]
fn port_that_was_bound_before_is_left_alone_until_it_is_free() {
    in_own_namespace(claim_what_is_bound);
}

fn claim_what_is_bound() {
    let name = "port_that_was_bound_before_is_left_alone_until_it_is_free";
    let Some((ports, _workers)) = open_ports(name, &config(PortsChoice::Steered, 1)) else { return };
    let holders = [peer("0.0.0.0:0"), peer("127.0.0.1:0")];
    for holder in holders {
        let addr = SocketAddr::new(LOCAL[0], holder.local_addr().expect("bound").port());
        assert_eq!(ports.claim(0, addr, 0).expect_err("refused"), PortRefused::Taken);
        drop(holder);
        drop(ports.claim(0, addr, 0).expect("free again"));
    }
}

#[test]
fn dropping_ports_and_io_closes_every_descriptor() {
    let open_descriptors = || std::fs::read_dir("/proc/thread-self/fd").expect("proc is mounted").count();
    let body = move || {
        // SAFETY: with UNSHARE only this thread's own copy of the table loses descriptors, and it uses none of them.
        let result = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE as libc::c_int) };
        assert_eq!(result, 0);
        let before = open_descriptors();
        for backend in ["uring", "mmsg"] {
            for way in ["steered", "sockets"] {
                run("dropping_ports_and_io_closes_every_descriptor", backend, way, |stand| {
                    let open = [0, 1, 0].map(|n| stand.claim_and_open(LOCAL[n]));
                    stand.settle();
                    stand.opened.io.close_port(open[0].1);
                });
                assert_eq!(open_descriptors(), before, "{backend} {way}");
            }
        }
    };
    thread::spawn(body).join().expect("the thread ends well");
}
