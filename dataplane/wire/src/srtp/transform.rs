//! The ciphers and authenticators of the suites, with everything that can be computed before the first packet.
//!
//! Input: a packet split into what stays clear and what is encrypted, and its index. Output: the same bytes, sealed or
//! opened in place. Owns session keys. Does not look at headers, and keeps no counters.
//! RFC 3711 §4.1.1, §4.2; RFC 7714 §8, §9.

use super::derive::{Label, Protocol, derive};
use super::engine::Engine;
use super::hmac::{self, TAG_BYTES};
use super::{MasterKey, SrtpError, Suite};
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit, StreamCipher, StreamCipherCoreWrapper, consts::U16};
use aes::{Aes128Enc, Aes256Enc};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use crosspoint_vector::{AesKey, GcmKey, HmacStates};
use ctr::cipher::InnerIvInit;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) const GCM_TAG_BYTES: usize = 16;

/// Session keys of one protocol in one direction.
#[expect(
    clippy::large_enum_variant,
    reason = "counter mode is what most legs use; without a box its keys are a step nearer"
)]
pub(super) enum Transform {
    Counter(CounterMode),
    Galois(Box<GaloisMode>),
}

impl Transform {
    pub fn new(master: &MasterKey, protocol: Protocol, engine: Engine) -> Self {
        match master.suite() {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::AesCm256HmacSha1_80 => {
                Transform::Counter(CounterMode::new(master, protocol, engine))
            }
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
                Transform::Galois(Box::new(GaloisMode::new(master, protocol, engine)))
            }
        }
    }

    /// Bytes that stand behind a master key identifier: the tag, unless the cipher has it among its text.
    pub fn bytes_behind_mki(&self) -> usize {
        match self {
            Transform::Counter(mode) => mode.tag_bytes(),
            Transform::Galois(_) => 0,
        }
    }
}

/// AES in counter mode and HMAC-SHA1.
pub(super) struct CounterMode {
    cipher: CounterCipher,
    states: HmacStates,
    salt: [u8; 14],
    tag_bytes: usize,
}

enum CounterCipher {
    Vector(AesKey),
    Aes128(Aes128Enc),
    Aes256(Aes256Enc),
}

impl CounterMode {
    fn new(master: &MasterKey, protocol: Protocol, engine: Engine) -> Self {
        let mut key = Zeroizing::new([0u8; 32]);
        let key = &mut key[..master.key().len()];
        derive(master, protocol, Label::Encryption, key);
        let mut authentication_key = Zeroizing::new([0u8; TAG_BYTES]);
        derive(master, protocol, Label::Authentication, &mut authentication_key[..]);
        let mut salt = [0u8; 14];
        derive(master, protocol, Label::Salt, &mut salt);
        let suite = master.suite();
        let tag_bytes = if protocol == Protocol::Rtp { suite.rtp_tag_bytes() } else { suite.rtcp_tag_bytes() };
        Self::with_session_keys(key, &authentication_key, salt, tag_bytes, engine)
    }

    pub(super) fn with_session_keys(
        key: &[u8],
        authentication_key: &[u8; TAG_BYTES],
        salt: [u8; 14],
        tag_bytes: usize,
        engine: Engine,
    ) -> Self {
        let cipher = match engine {
            Engine::Vector(processor) => CounterCipher::Vector(AesKey::new(processor, key)),
            Engine::Portable if key.len() == 32 => CounterCipher::Aes256(new_cipher(key)),
            Engine::Portable => CounterCipher::Aes128(new_cipher(key)),
        };
        CounterMode { cipher, states: hmac::states(authentication_key), salt, tag_bytes }
    }

    pub fn tag_bytes(&self) -> usize {
        self.tag_bytes
    }

    pub fn states(&self) -> &HmacStates {
        &self.states
    }

    /// Encrypts or decrypts: the key stream is its own inverse.
    #[inline]
    pub fn apply_key_stream(&self, ssrc: u32, index: u64, payload: &mut [u8]) {
        // RFC 3711 §4.1.1: IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16). The counter is its last 16 bits: a datagram
        // has fewer blocks, so none of the engines' wider counters carries into the index.
        let mut iv = [0u8; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        match &self.cipher {
            CounterCipher::Vector(cipher) => cipher.apply_key_stream(iv, payload),
            CounterCipher::Aes128(cipher) => portable_key_stream(cipher, iv, payload),
            CounterCipher::Aes256(cipher) => portable_key_stream(cipher, iv, payload),
        }
    }

    /// The tag over `authenticated` and `trailer`, whole; the suite uses its first `tag_bytes`.
    #[inline]
    pub fn tag(&self, authenticated: &[u8], trailer: &[u8]) -> [u8; TAG_BYTES] {
        hmac::tag(&self.states, authenticated, trailer)
    }

    /// Whether `tag` is the beginning of `expected`, in constant time.
    #[inline]
    pub fn compare(&self, expected: &[u8; TAG_BYTES], tag: &[u8]) -> Result<(), SrtpError> {
        let equal = expected[..self.tag_bytes].ct_eq(tag);
        if bool::from(equal) { Ok(()) } else { Err(SrtpError::Unauthentic) }
    }

    #[inline]
    pub fn verify(&self, authenticated: &[u8], trailer: &[u8], tag: &[u8]) -> Result<(), SrtpError> {
        self.compare(&self.tag(authenticated, trailer), tag)
    }
}

fn new_cipher<C: KeyInit>(key: &[u8]) -> C {
    C::new_from_slice(key).expect("the suite's key length")
}

#[inline]
fn portable_key_stream<C>(cipher: &C, iv: [u8; 16], payload: &mut [u8])
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let core = ctr::CtrCore::<&C, ctr::flavors::Ctr128BE>::inner_iv_init(cipher, &iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(payload);
}

/// AES-GCM, which encrypts and authenticates at once.
pub(super) struct GaloisMode {
    cipher: GaloisCipher,
    salt: [u8; NONCE_LEN],
}

#[expect(clippy::large_enum_variant, reason = "it lies in a box of its own, and a process has one kind only")]
enum GaloisCipher {
    Vector(GcmKey),
    Portable(LessSafeKey),
}

impl GaloisMode {
    fn new(master: &MasterKey, protocol: Protocol, engine: Engine) -> Self {
        let mut key = Zeroizing::new([0u8; 32]);
        let key = &mut key[..master.key().len()];
        derive(master, protocol, Label::Encryption, key);
        let mut salt = [0u8; NONCE_LEN];
        derive(master, protocol, Label::Salt, &mut salt);
        Self::with_session_keys(key, salt, engine)
    }

    pub(super) fn with_session_keys(key: &[u8], salt: [u8; NONCE_LEN], engine: Engine) -> Self {
        let cipher = match engine {
            Engine::Vector(processor) => GaloisCipher::Vector(GcmKey::new(processor, key)),
            Engine::Portable => {
                let algorithm = if key.len() == AES_256_GCM.key_len() { &AES_256_GCM } else { &AES_128_GCM };
                let key = UnboundKey::new(algorithm, key).expect("the suite's key length");
                GaloisCipher::Portable(LessSafeKey::new(key))
            }
        };
        GaloisMode { cipher, salt }
    }

    /// RFC 7714 §8.1 (SRTP) and §9.1 (SRTCP): two zero bytes, SSRC, and 48 bits of index, XORed with the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..], &index.to_be_bytes()[2..]);
        nonce
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
        let nonce = self.nonce(ssrc, index);
        match &self.cipher {
            GaloisCipher::Vector(key) => Ok(key.seal(&nonce, associated, payload)),
            GaloisCipher::Portable(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(associated), payload);
                tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(SrtpError::Malformed)
            }
        }
    }

    /// Decrypts `sealed`, whose last 16 bytes are its tag.
    #[inline]
    pub fn open(&self, ssrc: u32, index: u64, associated: &[u8], sealed: &mut [u8]) -> Result<(), SrtpError> {
        let nonce = self.nonce(ssrc, index);
        let authentic = match &self.cipher {
            GaloisCipher::Vector(key) => {
                let (payload, tag) = sealed.split_last_chunk_mut::<GCM_TAG_BYTES>().ok_or(SrtpError::Malformed)?;
                bool::from(key.open(&nonce, associated, payload).ct_eq(tag))
            }
            GaloisCipher::Portable(key) => {
                key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), sealed).is_ok()
            }
        };
        if authentic { Ok(()) } else { Err(SrtpError::Unauthentic) }
    }
}

fn xor(target: &mut [u8], with: &[u8]) {
    for (byte, other) in target.iter_mut().zip(with) {
        *byte ^= other;
    }
}
