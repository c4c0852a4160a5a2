//! Pure protocols of the media plane: RTP, RTCP, SRTP, STUN, ICE, DTLS and telephone events.
//!
//! Input: bytes of one datagram and the time. Output: values, or bytes written into a caller's buffer. Owns the
//! state that the protocols define (rollover counters, replay windows, reception statistics, handshakes) and
//! nothing else: no socket, no thread, no clock. What a media packet passes through does not allocate
//! (`tests/no_allocation.rs`).
//!
//! ```text
//!  datagram -> classify -+-> stun -> ice_lite, ice_checks  who may speak to this leg, and from where
//!                        +-> dtls ------ keys ---.       which keys it uses
//!                        +-> srtp::unprotect <---+-> rtp -> reception, telephone_event
//!                        |                               continuity -> srtp::protect -> datagram
//!                        +-> srtp::unprotect -----> rtcp -> reception
//! ```
//!
//! Every parser accepts any bytes and answers with a value or an error; none panics (`tests/fuzz.rs`).
#![forbid(unsafe_code)]

pub mod classify;
pub mod continuity;
pub mod dtls;
pub mod ice_checks;
pub mod ice_lite;
pub mod reception;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod stun;
pub mod telephone_event;
pub mod time;

pub use time::Nanos;
