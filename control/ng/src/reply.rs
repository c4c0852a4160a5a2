//! What a request is answered with.
//!
//! Input: the core's dictionaries and refusals. Output: a [`Dict`] that [`crate::message`] writes in the encoding of the
//! question. Owns: the names of the keys that every reply has, and where they stand: `result` comes last in a success and
//! first in an error, as in rtpengine's replies.

use crate::dictionary::{Dict, Value};
use crate::error::NgError;
use crate::options::Options;

/// A complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(Dict);

impl Reply {
    /// Success; `figures` are the keys beyond `result`.
    pub fn ok(figures: Dict) -> Reply {
        Reply(figures.with("result", "ok"))
    }

    /// Success of `offer`, `answer` and their like.
    pub fn sdp(sdp: impl Into<Value>) -> Reply {
        Reply::ok(Dict::with_capacity(2).with("sdp", sdp))
    }

    /// Success with a fault that the client may look into, as of `delete` for an unknown call.
    pub fn warning(reason: NgError) -> Reply {
        Reply::ok(Dict::with_capacity(2).with("warning", reason.to_string()))
    }

    pub fn pong() -> Reply {
        Reply(Dict::new().with("result", "pong"))
    }

    pub fn error(reason: NgError) -> Reply {
        Reply(Dict::with_capacity(2).with("result", "error").with("error-reason", reason.to_string()))
    }

    /// The refusal of a request: an error, or `load limit` for a limit if the client has said that it understands that.
    pub fn refusal(reason: NgError, options: &Options) -> Reply {
        match reason.is_load_limit() && options.supports_load_limit {
            true => Reply(Dict::with_capacity(2).with("result", "load limit").with("message", reason.to_string())),
            false => Reply::error(reason),
        }
    }

    pub fn is_error(&self) -> bool {
        self.0.text("result") == Some("error")
    }

    pub fn dict(&self) -> &Dict {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_an_error_unless_the_client_supports_the_load_limit() {
        let mut options = Options::default();
        assert!(Reply::refusal(NgError::SessionLimit, &options).is_error());
        options.supports_load_limit = true;
        let reply = Reply::refusal(NgError::SessionLimit, &options);
        assert_eq!(reply.dict().text("result"), Some("load limit"));
        assert_eq!(reply.dict().text("message"), Some("Parallel session limit reached"));
        assert!(Reply::refusal(NgError::OutOfPorts, &options).is_error(), "clients compare this one as an error");
    }
}
