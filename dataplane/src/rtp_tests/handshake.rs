//! Peers that shake hands, and peers that check.

use super::{Nanos, Stand, party::Party};
use crosspoint_contract::{CertificateDigest, DtlsRole, HashFunction, IceCredentials, Security};
use crosspoint_wire::classify::{Kind, classify};
use crosspoint_wire::dtls::{DtlsKeys, Handshake, Identity, Output, Role};
use crosspoint_wire::srtp::{SrtpReceiver, SrtpSender};
use crosspoint_wire::stun::{BindingRequest, Class, MESSAGE_BYTES_MAX, Message, write_binding_request};
use std::net::SocketAddr;
use std::time::Instant;

const ROUNDS_MAX: usize = 20;

pub fn dtls(identity: &Identity, our_role: DtlsRole) -> Security {
    let fingerprint = CertificateDigest { hash: HashFunction::Sha256, digest: identity.sha256().to_vec() };
    Security::Dtls { fingerprint, our_role }
}

impl Stand {
    /// One message of the peer arrives, on its own port or on the shared one.
    fn inject(&mut self, local: Option<SocketAddr>, from: SocketAddr, bytes: &[u8]) {
        match local {
            Some(local) => self.net.inject_to(local, from, bytes),
            None => self.net.inject(from, bytes),
        }
        self.turn();
    }

    /// A peer at `from` shakes hands with whoever is behind `local`. Nothing when no handshake comes about.
    pub fn shake_hands(
        &mut self,
        local: Option<SocketAddr>,
        from: SocketAddr,
        identity: &Identity,
        role: Role,
    ) -> Option<DtlsKeys> {
        let mut peer = Handshake::new(identity, role, Instant::now());
        let (mut scratch, mut keys) = ([0; 2048], None);
        // One round of the timers, by which the lobby hears that what it sends arrives.
        self.pass(Nanos::from_millis(300));
        for _ in 0..ROUNDS_MAX {
            loop {
                match peer.poll(&mut scratch) {
                    Output::Packet(len) => self.inject(local, from, &scratch[..len]),
                    Output::Established(made) => keys = Some(*made),
                    _ => break,
                }
            }
            self.turn();
            self.lobby.turn();
            self.turn();
            let arrived: Vec<_> = self.take_datagrams(from, Kind::Dtls);
            let is_idle = arrived.is_empty();
            for datagram in arrived {
                peer.handle(Instant::now(), &datagram).expect("sane");
            }
            if is_idle && keys.is_some() {
                break;
            }
        }
        keys
    }

    fn take_datagrams(&mut self, to: SocketAddr, kind: Kind) -> Vec<Vec<u8>> {
        let wanted = |datagram: &crate::io::sim::Datagram| {
            SocketAddr::from(datagram.remote) == to && classify(&datagram.bytes) == kind
        };
        let (there, others) = self.sent.drain(..).partition::<Vec<_>, _>(wanted);
        self.sent = others.into();
        there.into_iter().map(|datagram| datagram.bytes).collect()
    }

    /// The party shakes hands from its address and has keys afterwards.
    pub fn key(&mut self, party: &mut Party, identity: &Identity, role: Role) {
        let keys = self.shake_hands(Some(party.request.rtp), party.addr, identity, role).expect("keys");
        party.take_keys(&keys);
    }

    /// A check with our credentials; whether it was answered with success.
    pub fn check(&mut self, local: Option<SocketAddr>, from: SocketAddr, ours: &IceCredentials) -> bool {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let request = BindingRequest {
            remote_ufrag: &ours.ufrag,
            local_ufrag: "peer",
            priority: 1,
            tie_breaker: 7,
            controlling: true,
            use_candidate: true,
        };
        let len = write_binding_request(&mut message, &[5; 12], &request, ours.pwd.as_bytes()).expect("room");
        self.inject(local, from, &message[..len]);
        let replies = self.take_datagrams(from, Kind::Stun);
        replies.iter().any(|reply| Message::parse(reply).is_ok_and(|reply| reply.class() == Class::Success))
    }
}

impl Party {
    pub fn take_keys(&mut self, keys: &DtlsKeys) {
        self.sender = Some(SrtpSender::new(&keys.send));
        self.receiver = Some(SrtpReceiver::new(&keys.receive));
    }
}
