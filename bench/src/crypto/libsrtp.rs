//! The system's libsrtp2, loaded when it is there: `apt install libsrtp2-1`.
//!
//! Called through the C interface of version 2 (`srtp2/srtp.h`), whose structures are repeated here as far as they are used.
//! Nothing is linked: without the library this is `None`, and everything else works.

use super::{Implementation, STREAMS, Slot, Streams, key};
use crosspoint_wire::srtp::Suite;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::mem::zeroed;

const LIBRARY: &CStr = c"libsrtp2.so.1";

const SSRC_ANY_INBOUND: c_uint = 2;
const SSRC_ANY_OUTBOUND: c_uint = 3;

/// `srtp_crypto_policy_t`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CryptoPolicy {
    cipher_type: c_uint,
    cipher_key_len: c_int,
    auth_type: c_uint,
    auth_key_len: c_int,
    auth_tag_len: c_int,
    sec_serv: c_uint,
}

/// `srtp_policy_t`.
#[repr(C)]
struct Policy {
    ssrc_type: c_uint,
    ssrc_value: c_uint,
    rtp: CryptoPolicy,
    rtcp: CryptoPolicy,
    key: *const u8,
    keys: *mut c_void,
    num_master_keys: c_ulong,
    deprecated_ekt: *mut c_void,
    window_size: c_ulong,
    allow_repeat_tx: c_int,
    enc_xtn_hdr: *mut c_int,
    enc_xtn_hdr_count: c_int,
    next: *mut Policy,
}

type Session = *mut c_void;
type Init = unsafe extern "C" fn() -> c_int;
type SetPolicy = unsafe extern "C" fn(*mut CryptoPolicy);
type Create = unsafe extern "C" fn(*mut Session, *const Policy) -> c_int;
type Transform = unsafe extern "C" fn(Session, *mut c_void, *mut c_int) -> c_int;
type Version = unsafe extern "C" fn() -> *const c_char;

/// The functions that are used.
#[derive(Clone, Copy)]
pub struct Library {
    handle: *mut c_void,
    create: Create,
    protect: Transform,
    unprotect: Transform,
}

impl Library {
    pub fn load() -> Option<Library> {
        // SAFETY: the name is a C string. The library's initialisers touch nothing of ours.
        let handle = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return None;
        }
        let init = symbol(handle, c"srtp_init")?;
        // SAFETY: these are the types of the functions by these names in version 2 of the library, which its soname
        // promises; `srtp_init` is called once in this process, before everything else.
        unsafe {
            let library = Library {
                handle,
                create: std::mem::transmute::<*mut c_void, Create>(symbol(handle, c"srtp_create")?),
                protect: std::mem::transmute::<*mut c_void, Transform>(symbol(handle, c"srtp_protect")?),
                unprotect: std::mem::transmute::<*mut c_void, Transform>(symbol(handle, c"srtp_unprotect")?),
            };
            (std::mem::transmute::<*mut c_void, Init>(init)() == 0).then_some(library)
        }
    }

    pub fn version(&self) -> String {
        let Some(version) = symbol(self.handle, c"srtp_get_version_string") else { return "libsrtp2".into() };
        // SAFETY: the function takes nothing and gives a static C string.
        let text = unsafe { CStr::from_ptr(std::mem::transmute::<*mut c_void, Version>(version)()) };
        text.to_string_lossy().into_owned()
    }

    fn session(&self, suite: Suite, stream: usize, ssrc_type: c_uint) -> Option<Session> {
        let name = match suite {
            // The default is AES-CM with 128 bits and a tag of 80.
            Suite::AesCm128HmacSha1_80 => c"srtp_crypto_policy_set_rtp_default",
            Suite::AesCm128HmacSha1_32 => c"srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32",
            Suite::AesCm256HmacSha1_80 => c"srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80",
            Suite::AeadAes128Gcm => c"srtp_crypto_policy_set_aes_gcm_128_16_auth",
            Suite::AeadAes256Gcm => c"srtp_crypto_policy_set_aes_gcm_256_16_auth",
        };
        let set = symbol(self.handle, name)?;
        let key = key(suite, stream);
        let key_and_salt = [key.key(), key.salt()].concat();
        // SAFETY: all-zero bytes are a valid policy: null pointers, zero numbers, and no further policy behind it. The
        // setters write one crypto policy each. `srtp_create` reads the policy and copies the key, both alive until it
        // returns; the key is as long as the suite that was set says.
        unsafe {
            let set = std::mem::transmute::<*mut c_void, SetPolicy>(set);
            let mut policy: Policy = zeroed();
            set(&mut policy.rtp);
            set(&mut policy.rtcp);
            policy.ssrc_type = ssrc_type;
            policy.key = key_and_salt.as_ptr();
            policy.window_size = 128;
            let mut session: Session = std::ptr::null_mut();
            ((self.create)(&mut session, &policy) == 0).then_some(session)
        }
    }
}

fn symbol(handle: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the handle is of an open library and the name a C string.
    let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
    (!symbol.is_null()).then_some(symbol)
}

/// Sessions live as long as the process: there are few, and it is short.
pub struct Libsrtp {
    library: Library,
    senders: Vec<Session>,
    receivers: Vec<Session>,
}

impl Libsrtp {
    /// Nothing for suites that this build of the library has not.
    pub fn new(library: Library, suite: Suite) -> Option<Libsrtp> {
        let sessions = |ssrc_type| (0..STREAMS).map(|stream| library.session(suite, stream, ssrc_type)).collect();
        let (senders, receivers): (Option<Vec<_>>, Option<Vec<_>>) =
            (sessions(SSRC_ANY_OUTBOUND), sessions(SSRC_ANY_INBOUND));
        Some(Libsrtp { library, senders: senders?, receivers: receivers? })
    }
}

fn transform(function: Transform, session: Session, slot: &mut Slot) -> bool {
    let mut length = slot.length as c_int;
    // SAFETY: the session was made by `srtp_create`. The packet is `length` bytes long, in a slot with room for the 144 bytes
    // (SRTP_MAX_TRAILER_LEN) that the library may add to the 172 of a packet here; it begins at an address that is
    // aligned to 4, as the library asks, since `Slot` begins with it and is aligned to 8.
    let status = unsafe { function(session, slot.bytes.as_mut_ptr().cast(), &mut length) };
    slot.length = length as usize;
    status == 0
}

impl Implementation for Libsrtp {
    fn protect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        let protect = self.library.protect;
        slots.iter_mut().enumerate().all(|(packet, slot)| transform(protect, self.senders[streams.of(packet)], slot))
    }

    fn unprotect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        let unprotect = self.library.unprotect;
        slots
            .iter_mut()
            .enumerate()
            .all(|(packet, slot)| transform(unprotect, self.receivers[streams.of(packet)], slot))
    }
}
