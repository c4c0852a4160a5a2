//! What the tests share: a control plane and peers, both by the same crates that the product is made of.
#![allow(dead_code)] // each test file uses its own part

pub mod control;
pub mod peer;
pub mod stand;

use crosspoint_contract::{
    Codec, Directions, DtlsRole, Fingerprint, Format, IceCredentials, PerMedium, RemoteDescription,
};

pub const OPUS: Format = Format { payload_type: 111, codec: Codec::Opus, clock_rate_hz: 48_000, channels: 2 };
pub const DIGITS: Format =
    Format { payload_type: 110, codec: Codec::TelephoneEvent, clock_rate_hz: 48_000, channels: 1 };

/// What a browser-like peer says of itself.
pub fn description(fingerprint: [u8; 32], role: DtlsRole, formats: &[Format]) -> RemoteDescription {
    RemoteDescription {
        ice: IceCredentials { ufrag: "peer".into(), pwd: "peer-password-of-24-bytes".into() },
        fingerprint: Fingerprint { sha256: fingerprint },
        our_dtls_role: role,
        formats: formats.to_vec(),
        directions: Directions::default(),
        mid_extensions: PerMedium::default(),
    }
}
