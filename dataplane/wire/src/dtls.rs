//! DTLS-SRTP handshake of one peer: `dimpl` behind the few calls the lobby makes.
//!
//! Input: datagrams from an address that ICE validated, and the time. Output: datagrams to send, the next deadline,
//! and once the SRTP keys. Owns the handshake and its bounded buffers. Does not decide whether the peer's certificate
//! is the right one: the caller compares [`DtlsKeys::peer_digest`] with the fingerprint of the peer's
//! description before it uses the keys. DTLS 1.2 and 1.3, whichever the peer offers; ECDSA certificates.
//! RFC 5763, RFC 5764, RFC 6347, RFC 9147.
//!
//! ```text
//!  new -> poll* -> (handle | handle_timeout) -> poll* -> … -> Established -> …
//!         `-- until Timeout or Idle
//! ```
//!
//! After `Established` the handshake is kept and fed: it answers retransmissions and hears the peer's `close_notify`.
//!
//! A ClientHello may come in pieces, in any order and repeatedly; the version is decided when it is whole. Pieces that
//! overlap and disagree give a transcript that the peer did not sign, so such a handshake does not complete.

use crate::srtp::{MasterKey, Suite};
use aws_lc_rs::digest;
use dimpl::{Dtls, DtlsCertificate, ProtocolVersion, SecurityError, SrtpProfile, UnexpectedMessageError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The caller's `scratch` must be this long. More than any datagram we send.
pub const SCRATCH_BYTES_MIN: usize = 1500;

/// Largest datagram we send; leaves room for tunnels on the way.
const DATAGRAM_BYTES_MAX: usize = 1200;

/// Datagrams a peer may have waiting for their turn: a flight with a long certificate chain needs eight.
const DATAGRAMS_WAITING_MAX: usize = 20;

/// A peer's certificate, or any other thing the engine hands us, is no larger than this.
const OUTPUT_BYTES_MAX: usize = 32 << 10;

/// RFC 9147 §5.8.2 proposes one second unless something is known of the round trip. ICE has just made one, and every
/// repetition waits for a person who answered a call.
const FLIGHT_TIMEOUT: Duration = Duration::from_millis(250);

/// Doubled each time: the last repetition comes after about 16 s.
const FLIGHT_REPETITIONS_MAX: usize = 6;

/// A handshake that is not complete by then has failed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// RFC 6347 §4.1.
const RECORD_HEADER_BYTES: usize = 13;
/// RFC 5246 §6.2.1.
const ALERT: u8 = 21;
/// RFC 9147 §4: the first three bits of an encrypted record of DTLS 1.3.
const UNIFIED_HEADER: u8 = 0b0010_0000;
const UNIFIED_HEADER_MASK: u8 = 0b1110_0000;
const LONG_SEQUENCE_NUMBER: u8 = 0b0000_1000;
const WITH_LENGTH: u8 = 0b0000_0100;

/// The certificate and key that this process shows to all peers, and the settings of all its handshakes.
#[derive(Clone)]
pub struct Identity {
    certificate: DtlsCertificate,
    config: Arc<dimpl::Config>,
    sha256: [u8; 32],
}

impl Identity {
    /// Draws an ECDSA P-256 key and signs a certificate with it. Random; needs a few hundred microseconds.
    pub fn generate() -> Result<Identity, DtlsError> {
        let certificate = dimpl::certificate::generate_self_signed_certificate().map_err(|_| DtlsError::Identity)?;
        let config = dimpl::Config::builder()
            .mtu(DATAGRAM_BYTES_MAX)
            .max_queue_rx(DATAGRAMS_WAITING_MAX)
            .require_client_certificate(true)
            // RFC 6347 §4.2.1: a server answers with more than it was sent only after the peer has shown that it receives at
            // its address. The checks of ICE do not show that: a lite agent answers them without ever asking (RFC 8445
            // §2.5), so who has a call of his own could aim our flights at others.
            .use_server_cookie(true)
            .flight_start_rto(FLIGHT_TIMEOUT)
            .flight_retries(FLIGHT_REPETITIONS_MAX)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .build()?;
        let sha256 = sha256(&certificate.certificate);
        Ok(Identity { certificate, config: Arc::new(config), sha256 })
    }

    /// For digests with other hash functions.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate.certificate
    }

    /// RFC 8122 §5: the digest of the certificate in DER, for `a=fingerprint`.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// RFC 5763 §5: who sends the ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `a=setup:active`
    Client,
    /// `a=setup:passive`
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Dtls12,
    Dtls13,
}

/// The handshake is over; the caller drops it.
#[derive(Debug, Error)]
pub enum DtlsError {
    #[error("no certificate could be made; is the random source of the system there?")]
    Identity,
    #[error("the handshake failed: {0}")]
    Failed(#[from] dimpl::Error),
}

/// What a completed handshake gives.
#[derive(Debug)]
pub struct DtlsKeys {
    /// Protects what we send.
    pub send: MasterKey,
    /// Unprotects what the peer sends.
    pub receive: MasterKey,
    /// In DER.
    pub peer_certificate: Vec<u8>,
    pub version: Version,
}

impl DtlsKeys {
    /// What the peer's `a=fingerprint` must say for this hash function.
    pub fn peer_digest(&self, hash: Hash) -> Vec<u8> {
        digest::digest(hash.algorithm(), &self.peer_certificate).as_ref().to_vec()
    }
}

/// Hash functions of RFC 8122 §5 that are still in use. SHA-1 too: RFC 4572 had no better, and old peers know no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha224 => &digest::SHA224,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        }
    }

    /// Bytes of a digest.
    pub fn bytes(self) -> usize {
        self.algorithm().output_len()
    }
}

#[derive(Debug)]
pub enum Output {
    /// `scratch[..len]` is to be sent to the peer.
    Packet(usize),
    /// Nothing more until then, or until a datagram comes.
    Timeout(Instant),
    /// The keys, given once.
    Established(Box<DtlsKeys>),
    /// The peer sent `close_notify`; given once.
    PeerClosed,
    /// Nothing more until a datagram comes.
    Idle,
}

/// One handshake with one peer.
pub struct Handshake {
    dtls: Dtls,
    role: Role,
    /// Where the engine puts what it hands out.
    buffer: Vec<u8>,
    connected: bool,
    /// The last flight was repeated as often as may be, and the peer never acknowledged it.
    repeated_enough: bool,
    peer_certificate: Option<Vec<u8>>,
    keys: Option<(MasterKey, MasterKey)>,
}

impl Handshake {
    pub fn new(identity: &Identity, role: Role, now: Instant) -> Self {
        let mut dtls = Dtls::new_auto(identity.config.clone(), identity.certificate.clone(), now);
        if role == Role::Client {
            dtls.set_active(true);
        }
        Handshake {
            dtls,
            role,
            buffer: vec![0; SCRATCH_BYTES_MIN],
            connected: false,
            repeated_enough: false,
            peer_certificate: None,
            keys: None,
        }
    }

    /// Takes one datagram of the peer. Datagrams that make no sense are ignored; an error ends the handshake. Once there
    /// are keys, only what was made with them can end anything.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsError> {
        self.handle_timeout(now)?;
        match self.dtls.handle_packet(&datagram[..plaintext_alert_at(datagram)]) {
            Err(dimpl::Error::SecurityError(error @ SecurityError::FatalAlert { .. })) => {
                Err(dimpl::Error::SecurityError(error).into())
            }
            Err(_) if self.connected => Ok(()),
            // The first datagram of a server was not its ServerHello: it was overtaken, and comes again.
            Err(dimpl::Error::UnexpectedMessage(UnexpectedMessageError::UnrecognizedAutoServerResponse)) => Ok(()),
            result => Ok(result?),
        }
    }

    /// To be called when the time of the last [`Output::Timeout`] has come. Repeats a flight, or gives up. With keys there is
    /// nothing to give up: RFC 9147 §5.8.1 has a client repeat its last flight until it is acknowledged, and a peer that
    /// only never says so may be in the middle of a call.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        match self.dtls.handle_timeout(now) {
            Err(_) if self.connected => {
                self.repeated_enough = true;
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// The next thing to do. Call until `Timeout` or `Idle` after each `new`, `handle` and `handle_timeout`.
    ///
    /// # Panics
    /// When `scratch` is shorter than [`SCRATCH_BYTES_MIN`].
    pub fn poll(&mut self, scratch: &mut [u8]) -> Output {
        assert!(scratch.len() >= SCRATCH_BYTES_MIN, "scratch is shorter than a datagram");
        loop {
            if let Some(keys) = self.take_keys() {
                return Output::Established(Box::new(keys));
            }
            match self.dtls.poll_output(&mut self.buffer) {
                dimpl::Output::Packet(packet) => {
                    scratch[..packet.len()].copy_from_slice(packet);
                    return Output::Packet(packet.len());
                }
                dimpl::Output::Timeout(_) if self.repeated_enough => return Output::Idle,
                dimpl::Output::Timeout(at) => return Output::Timeout(at),
                dimpl::Output::CloseNotify => return Output::PeerClosed,
                dimpl::Output::Connected => self.connected = true,
                dimpl::Output::PeerCert(der) => self.peer_certificate = Some(der.to_vec()),
                dimpl::Output::KeyingMaterial(material, profile) => {
                    self.keys = split_keys(&material, profile, self.role);
                }
                dimpl::Output::BufferTooSmall { needed } if needed <= OUTPUT_BYTES_MAX => {
                    self.buffer.resize(needed, 0);
                }
                // Data channels are not served.
                dimpl::Output::ApplicationData(_) => {}
                // A certificate longer than any honest one: the handshake ends by its deadline.
                _ => return Output::Idle,
            }
        }
    }

    /// Queues a `close_notify`; poll to get it.
    pub fn close(&mut self) {
        // An error means that there is no association to close.
        let _ = self.dtls.close();
    }

    /// The keys, when the engine has said all three: connected, certificate, keying material.
    fn take_keys(&mut self) -> Option<DtlsKeys> {
        let certificate = self.peer_certificate.as_ref().filter(|_| self.connected)?;
        let (send, receive) = self.keys.take()?;
        let peer_certificate = certificate.clone();
        let version = match self.dtls.protocol_version()? {
            ProtocolVersion::DTLS1_3 => Version::Dtls13,
            _ => Version::Dtls12,
        };
        Some(DtlsKeys { send, receive, peer_certificate, version })
    }
}

/// RFC 5764 §4.2: client key, server key, client salt, server salt. Returns what we send and receive with.
fn split_keys(material: &[u8], profile: SrtpProfile, role: Role) -> Option<(MasterKey, MasterKey)> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
        _ => return None,
    };
    let (client_key, rest) = material.split_at_checked(suite.key_bytes())?;
    let (server_key, rest) = rest.split_at_checked(suite.key_bytes())?;
    let (client_salt, server_salt) = rest.split_at_checked(suite.salt_bytes())?;
    let client = MasterKey::new(suite, client_key, client_salt)?;
    let server = MasterKey::new(suite, server_key, server_salt)?;
    Some(if role == Role::Client { (client, server) } else { (server, client) })
}

/// Where the first alert in the clear begins, or the length of the datagram. Nobody vouches for such an alert: one forged
/// packet would end a handshake. RFC 6347 §4.1.2.7: invalid records SHOULD be silently discarded. A peer that gives up
/// is noticed by its silence.
fn plaintext_alert_at(datagram: &[u8]) -> usize {
    let mut at = 0;
    while let Some(len) = datagram.get(at..).and_then(record_len) {
        if let [ALERT, _, _, 0, 0, ..] = datagram[at..] {
            return at;
        }
        at += len;
    }
    datagram.len()
}

/// The length of the record that `bytes` begin with, as its header says it. Nothing when there is no header.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let &kind = bytes.first()?;
    if kind & UNIFIED_HEADER_MASK != UNIFIED_HEADER {
        // RFC 6347 §4.1: type, version, epoch and sequence number, then the length.
        let length = bytes.get(11..RECORD_HEADER_BYTES)?;
        return Some(RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([length[0], length[1]])));
    }
    // RFC 9147 §4: whoever leaves out the length fills the datagram. We offer no connection ids.
    let sequence_number_bytes = if kind & LONG_SEQUENCE_NUMBER != 0 { 2 } else { 1 };
    let head = 1 + sequence_number_bytes;
    if kind & WITH_LENGTH == 0 {
        return Some(bytes.len());
    }
    let length = bytes.get(head..head + 2)?;
    Some(head + 2 + usize::from(u16::from_be_bytes([length[0], length[1]])))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
