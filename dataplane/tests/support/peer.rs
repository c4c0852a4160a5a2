//! A WebRTC peer with a real socket: full ICE's checks, DTLS in either role, SRTP.

use super::control::PATIENCE;
use crosspoint_contract::LocalDescription;
use crosspoint_wire::classify::{Kind, classify};
use crosspoint_wire::dtls::{DtlsKeys, Handshake, Hash, Identity, Output, Role};
use crosspoint_wire::rtp::RtpHeader;
use crosspoint_wire::srtp::{SrtpReceiver, SrtpSender};
use crosspoint_wire::stun::{self, BindingRequest, Class, Message};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

pub struct Peer {
    pub socket: UdpSocket,
    pub bridge: SocketAddr,
    pub identity: Identity,
    local: LocalDescription,
    keys: Option<(SrtpSender, SrtpReceiver)>,
    association: Option<Handshake>,
}

impl Peer {
    pub fn new(local: &LocalDescription) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let identity = Identity::generate().expect("a certificate");
        Peer { socket, bridge: local.candidates[0], identity, local: local.clone(), keys: None, association: None }
    }

    pub fn fingerprint(&self) -> [u8; 32] {
        self.identity.sha256()
    }

    /// Sends one check that nominates its pair, and waits for the answer.
    pub fn check(&self) {
        let request = check(&self.local, 1);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.socket.send_to(&request, self.bridge).expect("sent");
            if let Some(reply) = self.receive(Kind::Stun) {
                let reply = Message::parse(&reply).expect("STUN");
                assert_eq!(reply.class(), Class::Success);
                assert_eq!(reply.xor_mapped_address(), self.socket.local_addr().ok());
                return;
            }
        }
        panic!("no answer to a check");
    }

    /// Shakes hands until there are keys.
    pub fn shake_hands(&mut self, role: Role) {
        let mut handshake = Handshake::new(&self.identity, role, Instant::now());
        let mut scratch = [0; 2048];
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match handshake.poll(&mut scratch) {
                Output::Packet(len) => drop(self.socket.send_to(&scratch[..len], self.bridge).expect("sent")),
                Output::Established(keys) => self.use_keys(&keys),
                Output::PeerClosed => panic!("the bridge closed the association"),
                Output::Timeout(_) | Output::Idle if self.keys.is_some() => {
                    self.association = Some(handshake);
                    return;
                }
                Output::Timeout(_) | Output::Idle => match self.receive(Kind::Dtls) {
                    Some(datagram) => handshake.handle(Instant::now(), &datagram).expect("a sane handshake"),
                    None => handshake.handle_timeout(Instant::now()).expect("still in time"),
                },
            }
        }
        panic!("the handshake did not complete");
    }

    /// Sends `close_notify`.
    pub fn close(&mut self) {
        let association = self.association.as_mut().expect("connected");
        association.close();
        let mut scratch = [0; 2048];
        while let Output::Packet(len) = association.poll(&mut scratch) {
            self.socket.send_to(&scratch[..len], self.bridge).expect("sent");
        }
    }

    fn use_keys(&mut self, keys: &DtlsKeys) {
        assert_eq!(keys.peer_digest(Hash::Sha256), self.local.fingerprint.sha256);
        self.keys = Some((SrtpSender::new(&keys.send), SrtpReceiver::new(&keys.receive)));
    }

    pub fn send_rtp(&mut self, header: &RtpHeader, payload: &[u8]) {
        let mut buffer = [0; 1600];
        let start = header.write(&mut buffer).expect("room");
        buffer[start..start + payload.len()].copy_from_slice(payload);
        let (sender, _) = self.keys.as_mut().expect("connected");
        let len = sender.protect_rtp(&mut buffer, start + payload.len()).expect("protects");
        self.socket.send_to(&buffer[..len], self.bridge).expect("sent");
    }

    /// The next RTP packet in the clear.
    pub fn receive_rtp(&mut self) -> Option<(RtpHeader, Vec<u8>)> {
        let mut packet = self.receive(Kind::Rtp)?;
        let (_, receiver) = self.keys.as_mut().expect("connected");
        let len = receiver.unprotect_rtp(&mut packet).expect("authentic");
        let header = RtpHeader::parse(&packet[..len]).expect("RTP");
        Some((header, header.payload(&packet[..len]).to_vec()))
    }

    /// The next RTCP compound packet in the clear.
    pub fn receive_rtcp(&mut self) -> Option<Vec<u8>> {
        let mut packet = self.receive(Kind::Rtcp)?;
        let (_, receiver) = self.keys.as_mut().expect("connected");
        let len = receiver.unprotect_rtcp(&mut packet).expect("authentic");
        packet.truncate(len);
        Some(packet)
    }

    /// The next datagram of a kind; others are passed over. Nothing when none comes for a while.
    pub fn receive(&self, kind: Kind) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = self.socket.recv_from(&mut buffer).ok()?;
            assert_eq!(from, self.bridge);
            if classify(&buffer[..len]) == kind {
                return Some(buffer[..len].to_vec());
            }
        }
    }
}

/// A check by a controlling peer that nominates the pair.
pub fn check(local: &LocalDescription, transaction: u8) -> Vec<u8> {
    check_with(local, transaction, true)
}

pub fn check_with(local: &LocalDescription, transaction: u8, use_candidate: bool) -> Vec<u8> {
    let mut buffer = [0; 256];
    let request = BindingRequest {
        remote_ufrag: &local.ice.ufrag,
        local_ufrag: "peer",
        priority: 1,
        tie_breaker: 1,
        controlling: true,
        use_candidate,
    };
    let pwd = local.ice.pwd.as_bytes();
    let len = stun::write_binding_request(&mut buffer, &[transaction; 12], &request, pwd).expect("room");
    buffer[..len].to_vec()
}
