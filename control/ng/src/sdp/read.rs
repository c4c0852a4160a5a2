//! From text to [`SessionDescription`].

use super::{SdpError, SessionDescription};

pub fn read(text: &str) -> Result<SessionDescription, SdpError> {
    if text.is_empty() { Err(SdpError::Malformed) } else { Err(SdpError::Incomplete) }
}
