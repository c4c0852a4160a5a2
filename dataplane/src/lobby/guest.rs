//! One leg in the lobby: what its peer sent too early, what its description says, and its handshake.
//!
//! Input: datagrams and expectations. Output: the stage of the leg. Owns the handshake. Does not send anything.

use crate::leg::LegHandle;
use crate::queues::Datagram;
use crosspoint_contract::limits::HANDSHAKE_BUFFER_BYTES_MAX;
use crosspoint_contract::{CertificateDigest, DtlsRole, WorkerId};
use crosspoint_wire::dtls::Handshake;
use std::time::Instant;

/// Datagrams kept of a peer whose description is not there yet: a ClientHello in two or three parts, sent twice.
const EARLY_DATAGRAMS_MAX: usize = 8;

/// What a leg's description says of its handshake.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    pub worker: WorkerId,
    pub leg: LegHandle,
    pub role: DtlsRole,
    pub fingerprint: CertificateDigest,
    /// A failed handshake is no failed leg: whoever signals may say something else, or another party answer.
    pub patient: bool,
}

pub struct Guest {
    /// Datagrams that came before the description.
    pub early: Vec<Datagram>,
    pub expected: Option<Expectation>,
    /// A pair is validated: what we send arrives.
    pub reachable: bool,
    pub stage: Stage,
    /// When it wants to be called: its entry among the lobby's timeouts.
    pub due: Option<Instant>,
}

pub enum Stage {
    Waiting,
    Shaking(Box<Handshake>),
    /// Keys were given. The handshake stays: it answers repeated flights and hears the peer's `close_notify`.
    In(Box<Handshake>),
    Failed,
}

impl Guest {
    pub fn new() -> Self {
        Guest { early: Vec::new(), expected: None, reachable: false, stage: Stage::Waiting, due: None }
    }

    pub fn handshake(&mut self) -> Option<&mut Handshake> {
        match &mut self.stage {
            Stage::Shaking(handshake) | Stage::In(handshake) => Some(handshake),
            Stage::Waiting | Stage::Failed => None,
        }
    }

    pub fn is_shaking(&self) -> bool {
        matches!(self.stage, Stage::Shaking(_))
    }

    /// Our role, when the description is there and there is somebody to shake hands with.
    pub fn may_start(&self) -> Option<DtlsRole> {
        let role = self.expected.as_ref()?.role;
        let wanted = match role {
            DtlsRole::Client => self.reachable,
            DtlsRole::Server => !self.early.is_empty(),
        };
        (wanted && matches!(self.stage, Stage::Waiting)).then_some(role)
    }

    /// Keeps a bounded few; the peer repeats what is not kept.
    pub fn keep(&mut self, datagram: Datagram) {
        let bytes: usize = self.early.iter().map(|datagram| datagram.bytes().len()).sum();
        let fits = bytes + datagram.bytes().len() <= HANDSHAKE_BUFFER_BYTES_MAX;
        if fits && self.early.len() < EARLY_DATAGRAMS_MAX {
            self.early.push(datagram);
        }
    }
}
