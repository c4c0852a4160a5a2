//! The first packet: a peer that sends right after control was told "done", or right after control announced that it will
//! be, is heard, whatever the dataplane was doing.
//!
//! ```text
//!   control (this test) -- contract socket -- dataplane in threads of this process
//!   alice -- plain UDP on loopback -- leg 1 ==forward== leg 2 -- bob                  200 times
//! ```

mod support;

use crosspoint_contract::{
    CallKey, Command, Direction, Done, Format, LearnFrom, Learning, LegId, Medium, Relaying, RtpRemote, RtpRequest,
    Security, TransportRequest,
};
use crosspoint_dataplane::{BackendChoice, DataplaneConfig, PortsChoice};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use support::control::{Control, Dataplane, PATIENCE};

const TRIES: u64 = 200;

/// Below the ports that the kernel gives to peers. One that is taken is passed over.
const FIRST_PORT: u16 = 24_100;

/// A network of our own, if the host lets us have one: what other processes steer to is not seen by steering.
fn run(backend: BackendChoice, ports: PortsChoice) {
    let thread = std::thread::spawn(move || {
        // SAFETY: the call takes no pointers and moves this thread only, and threads that it starts.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
            raise_loopback();
        } else if ports == PortsChoice::Steered {
            // Not by `eprintln`, which the test harness would swallow.
            let _ = writeln!(std::io::stderr(), "skipped: {backend} {ports}: this host does not let us steer");
            return;
        }
        first_packets_arrive(backend, ports);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn raise_loopback() {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("binds");
    // SAFETY: ifreq is plain data for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: the request reads an `ifreq`, which outlives the call.
    let result =
        unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn first_packets_arrive(backend: BackendChoice, ports: PortsChoice) {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let config =
        DataplaneConfig { backend, ports, rtp_addrs: vec![ip], workers: 1, legs_max: 16, ..Default::default() };
    let dataplane = Dataplane::start(config);
    let mut control = dataplane.attach();
    let [alice, bob] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("binds"));
    bob.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for n in 0..TRIES {
        let [to_alice, to_bob] = [2 * n + 1, 2 * n + 2];
        let at = open(&mut control, to_alice);
        open(&mut control, to_bob);
        let commands = [
            Command::SetRtpRemote { leg: LegId(to_alice), remote: remote(&alice) },
            Command::SetRtpRemote { leg: LegId(to_bob), remote: remote(&bob) },
            Command::Forward { source: LegId(to_alice), sinks: vec![LegId(to_bob)] },
        ];
        let packet = [&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9], &n.to_be_bytes()[..]].concat();
        if n % 2 == 0 {
            commands.into_iter().for_each(|command| control.ok(command));
            alice.send_to(&packet, at).expect("sends");
        } else {
            control.announce(commands.len() as u64);
            alice.send_to(&packet, at).expect("sends");
            commands.into_iter().for_each(|command| control.promise(command));
        }
        let mut heard = [0; 64];
        let bytes = bob.recv(&mut heard).unwrap_or_else(|error| panic!("packet {n} got lost: {error}"));
        assert_eq!(heard[..bytes], packet);
        for leg in [to_alice, to_bob] {
            assert!(matches!(control.ask(Command::CloseLeg { leg: LegId(leg) }), Ok(Done::Report(_))));
        }
    }
    control.ok(Command::ShutDown);
    dataplane.ended();
}

/// Opens a leg on the next free port, and says where.
fn open(control: &mut Control, leg: u64) -> SocketAddr {
    let free = (FIRST_PORT..).find_map(|port| {
        let rtp = SocketAddr::from(([127, 0, 0, 1], port));
        let request = RtpRequest {
            rtp,
            rtcp: None,
            other_family: None,
            ice: None,
            relaying: Relaying::Translator,
            silent_ms: 0,
            tos: 0,
        };
        let transport = TransportRequest::Rtp(request);
        control.ask(Command::OpenLeg { leg: LegId(leg), call: CallKey(leg / 2), transport }).ok().map(|_| rtp)
    });
    free.expect("a free port")
}

fn remote(peer: &UdpSocket) -> RtpRemote {
    RtpRemote {
        rtp: Some(peer.local_addr().expect("bound")),
        rtcp: None,
        rtcp_mux: true,
        security: Security::Plain,
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
        formats: vec![Format {
            payload_type: 0,
            codec: crosspoint_contract::Codec::Pcmu,
            clock_rate_hz: 8000,
            channels: 1,
        }],
        medium: Medium::Audio,
        direction: Direction::SendReceive,
        tos: 0,
    }
}

#[test]
fn first_packet_after_done_is_relayed_over_uring_and_steered_ports() {
    run(BackendChoice::Uring, PortsChoice::Steered);
}

#[test]
fn first_packet_after_done_is_relayed_over_uring_and_sockets() {
    run(BackendChoice::Uring, PortsChoice::Sockets);
}

#[test]
fn first_packet_after_done_is_relayed_over_mmsg_and_steered_ports() {
    run(BackendChoice::Mmsg, PortsChoice::Steered);
}

#[test]
fn first_packet_after_done_is_relayed_over_mmsg_and_sockets() {
    run(BackendChoice::Mmsg, PortsChoice::Sockets);
}
