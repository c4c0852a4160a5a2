//! A whole dataplane over real sockets, on each io backend.
//!
//! ```text
//!   peer A --STUN, DTLS, SRTP-->  leg 1 ===bridge=== leg 2  <--STUN, DTLS, SRTP-- peer B
//!                                     \             /
//!                                   contract socket: this test as control
//! ```

mod support;

use crosspoint_contract::{BridgeId, Command, Done, DtlsRole, Event, LegFailure, LegId, LegState};
use crosspoint_dataplane::BackendChoice;
use crosspoint_wire::dtls::Role;
use crosspoint_wire::rtp::RtpHeader;
use support::control::{Control, Dataplane};
use support::peer::Peer;
use support::{DIGITS, OPUS, description};

/// Opens a leg, describes a new peer to it, and connects the peer. `role` is the peer's in DTLS.
fn connect(control: &mut Control, leg: u64, role: Role) -> Peer {
    let local = control.open(leg);
    let mut peer = Peer::new(&local);
    let ours = if role == Role::Client { DtlsRole::Server } else { DtlsRole::Client };
    let remote = description(peer.fingerprint(), ours, &[OPUS, DIGITS]);
    control.ok(Command::SetRemote { leg: LegId(leg), remote });
    peer.check();
    peer.shake_hands(role);
    let addr = peer.socket.local_addr().expect("bound");
    let connected = control.event(|event| matches!(event, Event::LegConnected { .. }));
    assert!(
        matches!(connected, Event::LegConnected { leg: id, remote_addr, .. } if id == LegId(leg) && remote_addr == addr)
    );
    peer
}

fn two_peers_hear_each_other(backend: BackendChoice) {
    let dataplane = Dataplane::on(backend);
    let mut control = dataplane.attach();
    if backend != BackendChoice::Auto {
        assert_eq!(control.hello.workers[0].backend, backend.to_string());
    }
    let mut a = connect(&mut control, 1, Role::Client);
    let mut b = connect(&mut control, 2, Role::Server);
    control.ok(Command::Bridge { bridge: BridgeId(1), legs: [LegId(1), LegId(2)] });

    let mut last = None;
    for n in 0..50u16 {
        a.send_rtp(&RtpHeader::new(111, false, 1000 + n, u32::from(n) * 960, 0xA), &[n as u8; 80]);
        let (header, payload) = b.receive_rtp().expect("B hears A");
        assert_eq!(payload, [n as u8; 80]);
        assert_ne!(header.ssrc, 0xA, "B knows the leg's SSRC only");
        if let Some(last) = last {
            assert_eq!(header.sequence_number, u16::wrapping_add(last, 1));
        }
        last = Some(header.sequence_number);
        b.send_rtp(&RtpHeader::new(111, false, 7 + n, u32::from(n) * 960, 0xB), &[!n as u8; 60]);
        assert_eq!(a.receive_rtp().expect("A hears B").1, [!n as u8; 60]);
    }

    let Ok(Done::Report(report)) = control.ask(Command::CloseLeg { leg: LegId(1) }) else { panic!("a report") };
    assert_eq!((report.packets_received, report.packets_sent, report.packets_lost), (50, 50, 0));
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn two_peers_hear_each_other_over_io_uring() {
    two_peers_hear_each_other(BackendChoice::Uring);
}

#[test]
fn two_peers_hear_each_other_over_recvmmsg() {
    two_peers_hear_each_other(BackendChoice::Mmsg);
}

#[test]
fn call_survives_its_control_plane_and_the_next_one_finds_it() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    let mut a = connect(&mut control, 1, Role::Client);
    let mut b = connect(&mut control, 2, Role::Client);
    control.ok(Command::Bridge { bridge: BridgeId(9), legs: [LegId(1), LegId(2)] });
    let generation = control.hello.generation;
    drop(control);

    a.send_rtp(&RtpHeader::new(111, false, 1, 0, 0xA), b"still here");
    assert_eq!(b.receive_rtp().expect("B hears A").1, b"still here");

    let mut control = dataplane.attach();
    assert_eq!(control.hello.generation, generation, "the same process");
    assert_eq!(control.snapshot.legs.len(), 2);
    assert!(control.snapshot.legs.iter().all(|leg| leg.state == LegState::Connected && leg.remote.is_some()));
    assert_eq!(control.snapshot.bridges[0].legs, [LegId(1), LegId(2)]);
    for leg in [1, 2] {
        assert!(matches!(control.ask(Command::CloseLeg { leg: LegId(leg) }), Ok(Done::Report(_))));
    }
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn peer_with_another_certificate_than_described_gets_no_keys() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    let local = control.open(1);
    let mut peer = Peer::new(&local);
    control.ok(Command::SetRemote { leg: LegId(1), remote: description([7; 32], DtlsRole::Server, &[OPUS]) });
    peer.check();
    peer.shake_hands(Role::Client);
    let failed = control.event(|event| !matches!(event, Event::LegReported { .. }));
    assert!(matches!(failed, Event::LegFailed { leg: LegId(1), why: LegFailure::FingerprintMismatch }));
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn peer_that_closes_its_association_ends_its_leg_only() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    let mut a = connect(&mut control, 1, Role::Client);
    let mut b = connect(&mut control, 2, Role::Client);
    control.ok(Command::Bridge { bridge: BridgeId(1), legs: [LegId(1), LegId(2)] });
    a.close();
    let failed = control.event(|event| matches!(event, Event::LegFailed { .. }));
    assert_eq!(failed, Event::LegFailed { leg: LegId(1), why: LegFailure::PeerClosed });
    assert!(matches!(control.ask(Command::CloseLeg { leg: LegId(1) }), Ok(Done::Report(_))));
    let mut c = connect(&mut control, 3, Role::Client);
    control.ok(Command::Bridge { bridge: BridgeId(1), legs: [LegId(3), LegId(2)] });
    c.send_rtp(&RtpHeader::new(111, false, 1, 0, 0xC), b"hello");
    assert_eq!(b.receive_rtp().expect("B hears C").1, b"hello");
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn handshake_that_begins_before_the_description_waits_for_it() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    let local = control.open(1);
    let mut peer = Peer::new(&local);
    let remote = description(peer.fingerprint(), DtlsRole::Server, &[OPUS]);
    peer.check();
    let shaking = std::thread::spawn(move || {
        peer.shake_hands(Role::Client);
        peer
    });
    // The check and the first part of the ClientHello have come.
    loop {
        let Ok(Done::Counters { workers, .. }) = control.ask(Command::ReadCounters) else { panic!("counters") };
        if workers[0].packets_received >= 2 {
            break;
        }
    }
    control.ok(Command::SetRemote { leg: LegId(1), remote });
    control.event(|event| matches!(event, Event::LegConnected { .. }));
    shaking.join().expect("connected");
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn peer_hears_that_its_leg_is_closed() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    let mut a = connect(&mut control, 1, Role::Client);
    control.ok(Command::ShutDown);
    let compound = a.receive_rtcp().expect("a goodbye");
    let mut packets = crosspoint_wire::rtcp::parse(&compound).expect("RTCP");
    assert!(packets.any(|packet| matches!(packet, crosspoint_wire::rtcp::Packet::Bye { .. })));
    dataplane.ended();
}
