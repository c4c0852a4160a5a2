//! `webrtc-srtp` 0.17.2: gives a new packet, allocated, for each.

use super::{Implementation, STREAMS, Slot, Streams, key};
use crosspoint_wire::srtp::Suite;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

pub struct Webrtc {
    senders: Vec<Context>,
    receivers: Vec<Context>,
}

impl Webrtc {
    /// Nothing for suites that it has not.
    pub fn new(suite: Suite) -> Option<Webrtc> {
        let profile = match suite {
            Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
            Suite::AesCm256HmacSha1_80 => return None,
        };
        let context = |stream| {
            let key = key(suite, stream);
            Context::new(key.key(), key.salt(), profile, None, None).expect("lengths are the profile's own")
        };
        Some(Webrtc { senders: (0..STREAMS).map(context).collect(), receivers: (0..STREAMS).map(context).collect() })
    }
}

impl Implementation for Webrtc {
    fn protect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        slots.iter_mut().enumerate().all(|(packet, slot)| {
            let protected = self.senders[streams.of(packet)].encrypt_rtp(&slot.bytes[..slot.length]);
            std::hint::black_box(&protected).is_ok()
        })
    }

    fn unprotect(&mut self, slots: &mut [Slot], streams: Streams) -> bool {
        slots.iter_mut().enumerate().all(|(packet, slot)| {
            let opened = self.receivers[streams.of(packet)].decrypt_rtp(&slot.bytes[..slot.length]);
            std::hint::black_box(&opened).is_ok()
        })
    }
}
