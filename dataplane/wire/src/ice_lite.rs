//! The lite side of ICE for one leg.
use crate::{stun, time::Nanos};
use std::net::SocketAddr;
use thiserror::Error;

#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairChange {
    /// A check from this address succeeded for the first time; the peer has not nominated it.
    Validated(SocketAddr),
    /// Media goes to this address from now on.
    Selected(SocketAddr),
}

/// Why a message was not answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StunRefusal {
    #[error("breaks STUN or ICE syntax")]
    Malformed,
    #[error("username fragment is not ours")]
    UnknownUser,
    #[error("message integrity or fingerprint is wrong")]
    Unauthentic,
    #[error("peer claims the controlled role")]
    RoleConflict,
    #[error("a kind of message that a lite agent neither serves nor awaits")]
    Unexpected,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of `reply` to send back to the source; 0 means nothing.
    pub reply_len: usize,
    pub change: Option<PairChange>,
    pub refused: Option<StunRefusal>,
}

pub struct IceLite {
    _local: Credentials,
}

impl IceLite {
    pub fn new(local: Credentials) -> Self {
        IceLite { _local: local }
    }
    /// Whether a check whose USERNAME begins with `ufrag` is for this leg.
    pub fn has_local_ufrag(&self, _ufrag: &str) -> bool {
        unimplemented!()
    }
    pub fn local(&self) -> &Credentials {
        unimplemented!()
    }
    pub fn set_remote(&mut self, _remote: Credentials) {
        unimplemented!()
    }
    /// New local credentials; the old ones stay valid until a check with the new ones succeeds.
    pub fn restart(&mut self, _local: Credentials) {
        unimplemented!()
    }
    pub fn handle(
        &mut self,
        _now: Nanos,
        _source: SocketAddr,
        _message: &stun::Message<'_>,
        _reply: &mut [u8],
    ) -> Outcome {
        unimplemented!()
    }
    pub fn is_validated(&self, _addr: SocketAddr) -> bool {
        unimplemented!()
    }
    pub fn selected(&self) -> Option<SocketAddr> {
        unimplemented!()
    }
    pub fn consent_expired(&self, _now: Nanos) -> bool {
        unimplemented!()
    }
}
