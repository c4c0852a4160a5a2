//! DTLS handshake.
use crate::srtp::MasterKey;
use std::time::Instant;
use thiserror::Error;

#[derive(Clone)]
pub struct Identity {
    sha256: [u8; 32],
}
impl Identity {
    pub fn generate() -> Result<Identity, DtlsError> {
        unimplemented!()
    }
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Dtls12,
    Dtls13,
}

#[derive(Debug, Error)]
pub enum DtlsError {
    #[error("the handshake failed: {0}")]
    Handshake(String),
}

pub struct DtlsKeys {
    pub send: MasterKey,
    pub receive: MasterKey,
    pub peer_certificate_sha256: [u8; 32],
    pub version: Version,
}

pub enum Output {
    /// `scratch[..len]` is to be sent to the peer.
    Packet(usize),
    /// Nothing more until then, or until a datagram comes.
    Timeout(Instant),
    Established(Box<DtlsKeys>),
    PeerClosed,
    Idle,
}

pub struct Handshake {
    _private: (),
}
impl Handshake {
    pub fn new(_identity: &Identity, _role: Role, _now: Instant) -> Self {
        unimplemented!()
    }
    pub fn handle(&mut self, _now: Instant, _datagram: &[u8]) -> Result<(), DtlsError> {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) -> Result<(), DtlsError> {
        unimplemented!()
    }
    /// Call until `Timeout` or `Idle` after each `new`, `handle` and `handle_timeout`. `scratch` should hold 2048 bytes.
    pub fn poll(&mut self, _scratch: &mut [u8]) -> Output {
        unimplemented!()
    }
    /// Queues a `close_notify`.
    pub fn close(&mut self) {
        unimplemented!()
    }
}
