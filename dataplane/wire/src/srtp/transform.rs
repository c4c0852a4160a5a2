//! The ciphers and authenticators of the suites, with everything that can be computed before the first packet.
//!
//! Input: a packet split into what stays clear and what is encrypted, and its index. Output: the same bytes, sealed or
//! opened in place. Owns session keys. Does not look at headers, and keeps no counters.
//! RFC 3711 §4.1.1, §4.2; RFC 7714 §8, §9.

use super::derive::{Label, Protocol, derive};
use super::{MasterKey, SrtpError, Suite};
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit, StreamCipher, StreamCipherCoreWrapper, consts::U16};
use aes::{Aes128Enc, Aes256Enc};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ctr::cipher::InnerIvInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) const GCM_TAG_BYTES: usize = 16;
const SHA1_KEY_BYTES: usize = 20;

/// Session keys of one protocol in one direction.
pub(super) enum Transform {
    Cm128(CounterMode<Aes128Enc>),
    Cm256(CounterMode<Aes256Enc>),
    Gcm(Box<GaloisMode>),
}

impl Transform {
    pub fn new(master: &MasterKey, protocol: Protocol) -> Self {
        match master.suite() {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
                Transform::Cm128(CounterMode::new(master, protocol))
            }
            Suite::AesCm256HmacSha1_80 => Transform::Cm256(CounterMode::new(master, protocol)),
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => Transform::Gcm(Box::new(GaloisMode::new(master, protocol))),
        }
    }

    /// Bytes that stand behind a master key identifier: the tag, unless the cipher has it among its text.
    pub fn bytes_behind_mki(&self) -> usize {
        match self {
            Transform::Cm128(mode) => mode.tag_bytes(),
            Transform::Cm256(mode) => mode.tag_bytes(),
            Transform::Gcm(_) => 0,
        }
    }
}

/// AES in counter mode and HMAC-SHA1.
pub(super) struct CounterMode<C> {
    cipher: C,
    /// Has absorbed the key; each packet starts from a copy.
    authenticator: Hmac<Sha1>,
    salt: [u8; 14],
    tag_bytes: usize,
}

impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit> CounterMode<C> {
    fn new(master: &MasterKey, protocol: Protocol) -> Self {
        let mut key = Zeroizing::new([0u8; 32]);
        let key = &mut key[..master.key().len()];
        derive(master, protocol, Label::Encryption, key);
        let mut authentication_key = Zeroizing::new([0u8; SHA1_KEY_BYTES]);
        derive(master, protocol, Label::Authentication, &mut authentication_key[..]);
        let mut salt = [0u8; 14];
        derive(master, protocol, Label::Salt, &mut salt);
        let suite = master.suite();
        let tag_bytes = if protocol == Protocol::Rtp { suite.rtp_tag_bytes() } else { suite.rtcp_tag_bytes() };
        Self::with_session_keys(key, &authentication_key[..], salt, tag_bytes)
    }

    pub(super) fn with_session_keys(key: &[u8], authentication_key: &[u8], salt: [u8; 14], tag_bytes: usize) -> Self {
        CounterMode {
            cipher: C::new_from_slice(key).expect("the suite's key length"),
            authenticator: Hmac::new_from_slice(authentication_key).expect("HMAC takes any key length"),
            salt,
            tag_bytes,
        }
    }

    pub fn tag_bytes(&self) -> usize {
        self.tag_bytes
    }

    /// Encrypts or decrypts: the key stream is its own inverse.
    #[inline]
    pub fn apply_key_stream(&self, ssrc: u32, index: u64, payload: &mut [u8]) {
        // RFC 3711 §4.1.1: IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16).
        let mut iv = [0u8; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        let core = ctr::CtrCore::<&C, ctr::flavors::Ctr128BE>::inner_iv_init(&self.cipher, &iv.into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(payload);
    }

    /// The tag over `authenticated` and `trailer`, whole; the suite uses its first `tag_bytes`.
    #[inline]
    pub fn tag(&self, authenticated: &[u8], trailer: &[u8]) -> [u8; SHA1_KEY_BYTES] {
        let mut authenticator = self.authenticator.clone();
        authenticator.update(authenticated);
        authenticator.update(trailer);
        authenticator.finalize().into_bytes().into()
    }

    #[inline]
    pub fn verify(&self, authenticated: &[u8], trailer: &[u8], tag: &[u8]) -> Result<(), SrtpError> {
        let expected = self.tag(authenticated, trailer);
        let equal = expected[..self.tag_bytes].ct_eq(tag);
        if bool::from(equal) { Ok(()) } else { Err(SrtpError::Unauthentic) }
    }
}

/// AES-GCM, which encrypts and authenticates at once.
pub(super) struct GaloisMode {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
}

impl GaloisMode {
    fn new(master: &MasterKey, protocol: Protocol) -> Self {
        let mut key = Zeroizing::new([0u8; 32]);
        let key = &mut key[..master.key().len()];
        derive(master, protocol, Label::Encryption, key);
        let mut salt = [0u8; NONCE_LEN];
        derive(master, protocol, Label::Salt, &mut salt);
        Self::with_session_keys(key, salt)
    }

    pub(super) fn with_session_keys(key: &[u8], salt: [u8; NONCE_LEN]) -> Self {
        let algorithm = if key.len() == AES_256_GCM.key_len() { &AES_256_GCM } else { &AES_128_GCM };
        GaloisMode { key: LessSafeKey::new(UnboundKey::new(algorithm, key).expect("the suite's key length")), salt }
    }

    /// RFC 7714 §8.1 (SRTP) and §9.1 (SRTCP): two zero bytes, SSRC, and 48 bits of index, XORed with the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `payload` and returns its tag.
    #[inline]
    pub fn seal(
        &self,
        ssrc: u32,
        index: u64,
        associated: &[u8],
        payload: &mut [u8],
    ) -> Result<[u8; GCM_TAG_BYTES], SrtpError> {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(associated), payload)
            .map_err(|_| SrtpError::Malformed)?;
        tag.as_ref().try_into().map_err(|_| SrtpError::Malformed)
    }

    /// Decrypts `sealed`, whose last 16 bytes are its tag.
    #[inline]
    pub fn open(&self, ssrc: u32, index: u64, associated: &[u8], sealed: &mut [u8]) -> Result<(), SrtpError> {
        self.key
            .open_in_place(self.nonce(ssrc, index), Aad::from(associated), sealed)
            .map(|_| ())
            .map_err(|_| SrtpError::Unauthentic)
    }
}

fn xor(target: &mut [u8], with: &[u8]) {
    for (byte, other) in target.iter_mut().zip(with) {
        *byte ^= other;
    }
}
