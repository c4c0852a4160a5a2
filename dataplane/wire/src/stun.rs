//! STUN messages.
use std::net::SocketAddr;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StunError {
    #[error("message breaks STUN syntax")]
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// The Binding method, the only one ICE uses.
pub const BINDING: u16 = 0x001;

pub type TransactionId = [u8; 12];

#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    raw: &'a [u8],
}

impl<'a> Message<'a> {
    pub fn parse(_datagram: &'a [u8]) -> Result<Self, StunError> {
        unimplemented!()
    }
    pub fn class(&self) -> Class {
        unimplemented!()
    }
    pub fn method(&self) -> u16 {
        unimplemented!()
    }
    pub fn transaction_id(&self) -> TransactionId {
        unimplemented!()
    }
    /// `(our ufrag, peer's ufrag)` of a request that the peer sent us.
    pub fn username(&self) -> Option<(&'a str, &'a str)> {
        unimplemented!()
    }
    pub fn priority(&self) -> Option<u32> {
        unimplemented!()
    }
    pub fn use_candidate(&self) -> bool {
        unimplemented!()
    }
    pub fn ice_controlling(&self) -> Option<u64> {
        unimplemented!()
    }
    pub fn ice_controlled(&self) -> Option<u64> {
        unimplemented!()
    }
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        unimplemented!()
    }
    pub fn error_code(&self) -> Option<u16> {
        unimplemented!()
    }
    pub fn verify_integrity(&self, _pwd: &[u8]) -> bool {
        let _ = self.raw;
        unimplemented!()
    }
    pub fn verify_fingerprint(&self) -> bool {
        unimplemented!()
    }
}
