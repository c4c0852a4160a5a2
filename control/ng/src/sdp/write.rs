//! From a description and a plan to text.

use super::{SdpError, SessionDescription, SessionPlan};

/// The text of `description` with what `plan` says in place of what the party said.
pub fn write(_description: &SessionDescription, _plan: &SessionPlan) -> Result<String, SdpError> {
    Err(SdpError::Unwritable)
}
