//! Handshakes between two ends in memory, on a virtual clock, over a network that splits, reorders, repeats and loses.
//!
//! ```text
//!  Handshake(Client) --> network --> Handshake(Server)      and bare dimpl, for the versions by themselves
//!                    <-- network <--
//! ```

use crosspoint_wire::dtls::{DtlsKeys, Handshake, Hash, Identity, Output, Role, SCRATCH_BYTES_MIN, Version};
use crosspoint_wire::srtp::{OVERHEAD_BYTES_MAX, SrtpReceiver, SrtpSender};
use std::time::{Duration, Instant};

/// What the network does to the datagrams that one end sends in one go.
type Network = Box<dyn FnMut(Vec<Vec<u8>>) -> Vec<Vec<u8>>>;

/// One end of a handshake, ours or the engine's own.
trait Peer {
    /// Everything it has to say now.
    fn drain(&mut self) -> Vec<Vec<u8>>;
    fn handle(&mut self, now: Instant, datagram: &[u8]);
    fn handle_timeout(&mut self, now: Instant);
    fn deadline(&self) -> Option<Instant>;
    fn is_done(&self) -> bool;
}

/// One end and what it has said.
struct End {
    handshake: Handshake,
    deadline: Option<Instant>,
    keys: Option<Box<DtlsKeys>>,
    closed: bool,
    idle: bool,
}

impl End {
    fn new(identity: &Identity, role: Role, now: Instant) -> End {
        End { handshake: Handshake::new(identity, role, now), deadline: None, keys: None, closed: false, idle: false }
    }
}

impl Peer for End {
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut scratch = [0; SCRATCH_BYTES_MIN];
        let mut packets = Vec::new();
        loop {
            match self.handshake.poll(&mut scratch) {
                Output::Packet(len) => packets.push(scratch[..len].to_vec()),
                Output::Established(keys) => assert!(self.keys.replace(keys).is_none(), "keys are given once"),
                Output::PeerClosed => self.closed = true,
                Output::Timeout(at) => {
                    self.deadline = Some(at);
                    return packets;
                }
                Output::Idle => {
                    self.idle = true;
                    return packets;
                }
            }
        }
    }

    fn handle(&mut self, now: Instant, datagram: &[u8]) {
        self.handshake.handle(now, datagram).unwrap();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handshake.handle_timeout(now).unwrap();
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_done(&self) -> bool {
        self.keys.is_some()
    }
}

/// The engine as a peer that speaks DTLS 1.2 only.
struct Dtls12Peer {
    dtls: dimpl::Dtls,
    deadline: Option<Instant>,
    connected: bool,
    has_srtp_keys: bool,
}

impl Dtls12Peer {
    fn new(role: Role, now: Instant) -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let mut dtls = dimpl::Dtls::new_12(Default::default(), certificate, now);
        dtls.set_active(role == Role::Client);
        dtls.handle_timeout(now).unwrap();
        Dtls12Peer { dtls, deadline: None, connected: false, has_srtp_keys: false }
    }
}

impl Peer for Dtls12Peer {
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut scratch = [0; 4096];
        let mut packets = Vec::new();
        loop {
            match self.dtls.poll_output(&mut scratch) {
                dimpl::Output::Packet(packet) => packets.push(packet.to_vec()),
                dimpl::Output::Connected => self.connected = true,
                dimpl::Output::KeyingMaterial(..) => self.has_srtp_keys = true,
                dimpl::Output::Timeout(at) => {
                    self.deadline = Some(at);
                    return packets;
                }
                _ => {}
            }
        }
    }

    fn handle(&mut self, now: Instant, datagram: &[u8]) {
        self.dtls.handle_timeout(now).unwrap();
        self.dtls.handle_packet(datagram).unwrap();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.dtls.handle_timeout(now).unwrap();
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_done(&self) -> bool {
        self.connected && self.has_srtp_keys
    }
}

fn pass() -> Network {
    Box::new(|packets| packets)
}

/// Runs both ends until both have keys, or 25 s of virtual time have gone. Returns the time it took.
fn run(client: &mut impl Peer, server: &mut impl Peer, now: Instant, up: &mut Network, down: &mut Network) -> Duration {
    let mut clock = now;
    while clock < now + Duration::from_secs(25) {
        let (to_server, to_client) = (up(client.drain()), down(server.drain()));
        to_server.iter().for_each(|datagram| server.handle(clock, datagram));
        to_client.iter().for_each(|datagram| client.handle(clock, datagram));
        if to_server.is_empty() && to_client.is_empty() {
            if client.is_done() && server.is_done() {
                return clock - now;
            }
            let deadline = [client.deadline(), server.deadline()].into_iter().flatten().min();
            clock = deadline.expect("an open handshake has a deadline").max(clock + Duration::from_millis(1));
            client.handle_timeout(clock);
            server.handle_timeout(clock);
        }
    }
    panic!("no keys within 25 s of virtual time");
}

fn identities() -> (Identity, Identity) {
    (Identity::generate().unwrap(), Identity::generate().unwrap())
}

fn handshake_over(up: &mut Network, down: &mut Network) -> (Box<DtlsKeys>, Box<DtlsKeys>, Duration) {
    let (ours, theirs) = identities();
    let now = Instant::now();
    let (mut client, mut server) = (End::new(&ours, Role::Client, now), End::new(&theirs, Role::Server, now));
    let took = run(&mut client, &mut server, now, up, down);
    let (client, server) = (client.keys.unwrap(), server.keys.unwrap());
    assert_eq!(client.peer_digest(Hash::Sha256), theirs.sha256());
    assert_eq!(server.peer_digest(Hash::Sha256), ours.sha256());
    assert_keys_match(&client, &server);
    (client, server, took)
}

/// Each end's packets are opened by the other.
fn assert_keys_match(one: &DtlsKeys, other: &DtlsKeys) {
    for (send, receive) in [(&one.send, &other.receive), (&other.send, &one.receive)] {
        let clear = [&[0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9][..], &[7; 40]].concat();
        let mut buffer = clear.clone();
        buffer.resize(clear.len() + OVERHEAD_BYTES_MAX, 0);
        let len = SrtpSender::new(send).protect_rtp(&mut buffer, clear.len()).unwrap();
        let len = SrtpReceiver::new(receive).unprotect_rtp(&mut buffer[..len]).unwrap();
        assert_eq!(&buffer[..len], &clear[..]);
    }
}

/// Cuts the first ClientHello of the client, one record in one datagram, into `pieces` fragments, and lets `order`
/// rearrange them (RFC 6347 §4.2.3).
fn split_client_hello(pieces: usize, mut order: impl FnMut(Vec<Vec<u8>>) -> Vec<Vec<u8>> + 'static) -> Network {
    let mut record_number = 1000u64;
    Box::new(move |packets| {
        let mut out = Vec::new();
        for packet in packets {
            if packet[0] == 22 && packet[13] == 1 {
                out.extend(order(fragments(&packet, pieces, &mut record_number)));
            } else {
                out.push(packet);
            }
        }
        out
    })
}

fn fragments(packet: &[u8], pieces: usize, record_number: &mut u64) -> Vec<Vec<u8>> {
    let (record_head, message) = packet.split_at(13);
    let (message_head, body) = message.split_at(12);
    let size = body.len().div_ceil(pieces);
    let mut fragments = Vec::new();
    for (at, part) in (0..).step_by(size).zip(body.chunks(size)) {
        let mut fragment = record_head[..5].to_vec();
        fragment.extend(&record_number.to_be_bytes()[2..]);
        *record_number += 1;
        fragment.extend(((12 + part.len()) as u16).to_be_bytes());
        fragment.extend(&message_head[..6]);
        fragment.extend(&(at as u32).to_be_bytes()[1..]);
        fragment.extend(&(part.len() as u32).to_be_bytes()[1..]);
        fragment.extend(part);
        fragments.push(fragment);
    }
    fragments
}

#[test]
fn two_ends_agree_on_dtls_1_3_without_waiting() {
    let (client, server, took) = handshake_over(&mut pass(), &mut pass());
    assert_eq!((client.version, server.version), (Version::Dtls13, Version::Dtls13));
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn a_client_that_knows_dtls_1_2_only_is_served() {
    let now = Instant::now();
    for mut up in [pass(), split_client_hello(2, |f| f), split_client_hello(3, |f| f.into_iter().rev().collect())] {
        let (mut client, mut server) =
            (Dtls12Peer::new(Role::Client, now), End::new(&identities().0, Role::Server, now));
        run(&mut client, &mut server, now, &mut up, &mut pass());
        assert_eq!(server.keys.unwrap().version, Version::Dtls12);
    }
}

#[test]
fn a_server_that_knows_dtls_1_2_only_is_joined() {
    let now = Instant::now();
    let (mut client, mut server) = (End::new(&identities().0, Role::Client, now), Dtls12Peer::new(Role::Server, now));
    run(&mut client, &mut server, now, &mut pass(), &mut pass());
    assert_eq!(client.keys.unwrap().version, Version::Dtls12);
}

#[test]
fn client_hello_in_two_datagrams_is_reassembled() {
    handshake_over(&mut split_client_hello(2, |fragments| fragments), &mut pass());
}

#[test]
fn client_hello_in_five_datagrams_in_reverse_order_is_reassembled() {
    handshake_over(
        &mut split_client_hello(5, |mut fragments| {
            fragments.reverse();
            fragments
        }),
        &mut pass(),
    );
}

#[test]
fn repeated_client_hello_fragments_do_no_harm() {
    handshake_over(&mut split_client_hello(2, |fragments| [fragments.clone(), fragments].concat()), &mut pass());
}

#[test]
fn a_lost_half_of_a_reordered_client_hello_is_made_good_by_its_retransmission() {
    let mut lost = false;
    let (_, _, took) = handshake_over(
        &mut split_client_hello(2, move |mut fragments| {
            fragments.reverse();
            if !std::mem::replace(&mut lost, true) {
                fragments.pop();
            }
            fragments
        }),
        &mut pass(),
    );
    assert!(took > Duration::ZERO && took < Duration::from_secs(1), "one retransmission, not {took:?}");
}

/// Loses the `n`th of the flights that are not empty.
fn lose(n: usize) -> Network {
    let mut flight = 0;
    Box::new(move |packets| {
        if packets.is_empty() {
            return packets;
        }
        flight += 1;
        if flight - 1 == n { Vec::new() } else { packets }
    })
}

#[test]
fn any_one_lost_flight_is_made_good_in_both_versions_and_directions_whether_the_hello_is_split_or_not() {
    let now = Instant::now();
    for pieces in [1, 3] {
        for lost in 0..3 {
            for (mut up_loss, mut down) in [(lose(lost), pass()), (pass(), lose(lost))] {
                let mut split = split_client_hello(pieces, |mut fragments| {
                    fragments.reverse();
                    fragments
                });
                let mut up: Network = Box::new(move |packets| up_loss(split(packets)));
                let mut client = Dtls12Peer::new(Role::Client, now);
                let mut server = End::new(&identities().0, Role::Server, now);
                let took = run(&mut client, &mut server, now, &mut up, &mut down);
                assert!(took < Duration::from_secs(3), "DTLS 1.2, {pieces} pieces, flight {lost} lost: {took:?}");
            }
            for (mut up_loss, mut down) in [(lose(lost), pass()), (pass(), lose(lost))] {
                let mut split = split_client_hello(pieces, |fragments| fragments);
                let mut up: Network = Box::new(move |packets| up_loss(split(packets)));
                let (_, _, took) = handshake_over(&mut up, &mut down);
                assert!(took < Duration::from_secs(3), "DTLS 1.3, {pieces} pieces, flight {lost} lost: {took:?}");
            }
        }
    }
}

#[test]
fn end_that_has_keys_outlives_a_peer_that_acknowledges_nothing_more() {
    let (ours, theirs) = identities();
    let now = Instant::now();
    let (mut client, mut server) = (End::new(&ours, Role::Client, now), End::new(&theirs, Role::Server, now));
    while !client.is_done() {
        client.drain().iter().for_each(|datagram| server.handle(now, datagram));
        server.drain().iter().for_each(|datagram| client.handle(now, datagram));
        client.drain().iter().for_each(|datagram| server.handle(now, datagram));
    }
    let mut clock = now;
    for calls in 0.. {
        client.drain();
        clock = client.deadline.filter(|_| !client.idle).map_or(clock + Duration::from_secs(60), |at| at.max(clock));
        if clock >= now + Duration::from_secs(60) {
            break;
        }
        assert!(calls < 100, "it wants to be called for ever");
        client.handle_timeout(clock);
    }
}

#[test]
fn reversed_flights_of_the_server_complete() {
    let mut down: Network = Box::new(|mut packets| {
        packets.reverse();
        packets
    });
    handshake_over(&mut pass(), &mut down);
}

#[test]
fn noise_between_the_datagrams_is_ignored() {
    let noisy = || -> Network {
        Box::new(|packets| {
            let noise = [vec![22], vec![22, 254, 253], vec![0x2f; 60], vec![63; 1400]];
            packets.into_iter().flat_map(|packet| noise.clone().into_iter().chain([packet])).collect()
        })
    };
    handshake_over(&mut noisy(), &mut noisy());
}

/// A fatal `handshake_failure` in the clear, as anybody can make it.
const FORGED_ALERT: [u8; 15] = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];

#[test]
fn alerts_in_the_clear_end_nothing() {
    let forging = || -> Network {
        Box::new(|packets| {
            let with_alert = |packet: Vec<u8>| [FORGED_ALERT.to_vec(), [&packet[..], &FORGED_ALERT].concat()];
            packets.into_iter().flat_map(with_alert).collect()
        })
    };
    handshake_over(&mut forging(), &mut forging());
    let now = Instant::now();
    let (mut client, mut server) = (Dtls12Peer::new(Role::Client, now), End::new(&identities().0, Role::Server, now));
    run(&mut client, &mut server, now, &mut forging(), &mut pass());
}

#[test]
fn what_was_not_made_with_the_keys_ends_nothing_once_they_are_there() {
    let (ours, theirs) = identities();
    let now = Instant::now();
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut server = End::new(&theirs, Role::Server, now);
        let (keep, sent) = std::sync::mpsc::channel();
        let mut up: Network = Box::new(move |packets| {
            packets.iter().for_each(|packet| keep.send(packet.clone()).unwrap());
            packets
        });
        match version {
            Version::Dtls12 => run(&mut Dtls12Peer::new(Role::Client, now), &mut server, now, &mut up, &mut pass()),
            Version::Dtls13 => run(&mut End::new(&ours, Role::Client, now), &mut server, now, &mut up, &mut pass()),
        };
        server.handle(now, &FORGED_ALERT);
        for mut datagram in sent.try_iter() {
            for at in 0..datagram.len().min(40) {
                datagram[at] ^= 0x55;
                server.handle(now, &datagram);
                datagram[at] ^= 0x55;
            }
        }
        server.drain();
        assert!(!server.closed);
    }
}

#[test]
fn close_reaches_the_other_end() {
    let (ours, theirs) = identities();
    let now = Instant::now();
    let (mut client, mut server) = (End::new(&ours, Role::Client, now), End::new(&theirs, Role::Server, now));
    run(&mut client, &mut server, now, &mut pass(), &mut pass());
    client.handshake.close();
    let packets = client.drain();
    packets.iter().for_each(|datagram| server.handle(now, datagram));
    server.drain();
    assert!(server.closed);
}

#[test]
fn a_handshake_nobody_answers_gives_up() {
    let (ours, _) = identities();
    let now = Instant::now();
    let mut client = End::new(&ours, Role::Client, now);
    let mut clock = now;
    loop {
        client.drain();
        clock = client.deadline.unwrap().max(clock + Duration::from_millis(1));
        if client.handshake.handle_timeout(clock).is_err() {
            break;
        }
    }
    assert!(clock - now <= Duration::from_secs(31), "gave up after {:?}", clock - now);
}
