//! What an operator wants to know of a request beside its answer: which line, which address, which name was wrong.
//!
//! Input: a request, and what became of it. Output: text for the log. Clients compare the answers letter by letter, so the
//! facts cannot stand there.

use super::NgCore;
use crate::effect::{Level, Turn};
use crate::error::NgError;
use crate::options::{Family, Options};
use crate::remote;
use crate::request::Command;
use crate::sdp;
use std::net::SocketAddr;

/// Of a message that was not understood.
const QUOTED_BYTES_MAX: usize = 48;

impl NgCore {
    /// Whether lines of this level are read by anybody.
    pub(crate) fn is_logged(&self, level: Level) -> bool {
        level >= self.settings.log
    }

    /// No answer went out, or one that says no more than that it was no request.
    pub(super) fn say_malformed(&self, from: SocketAddr, why: &str, bytes: &[u8], turn: &mut Turn) {
        let head = &bytes[..bytes.len().min(QUOTED_BYTES_MAX)];
        let text = format!("{why}, from {from}: {} bytes that begin \"{}\"", bytes.len(), head.escape_ascii());
        turn.note(Level::Warn, "message_malformed", None, text);
    }

    pub(super) fn say_refused(
        &self,
        from: SocketAddr,
        command: Command,
        options: &Options,
        error: NgError,
        turn: &mut Turn,
    ) {
        let call = options.call_id.as_deref();
        let fact = self.fact(error, options).map_or(String::new(), |fact| format!(" ({fact})"));
        let text = format!("{} from {from}: {error}{fact}", command.name());
        match error.is_load_limit() || error == NgError::OutOfPorts {
            true => turn.note(Level::Warn, "limit_reached", call, text),
            false => turn.note(Level::Info, "request_refused", call, text),
        }
    }

    fn fact(&self, error: NgError, options: &Options) -> Option<String> {
        let text = options.sdp.as_deref()?;
        match error {
            NgError::BadSdp => Some(sdp::first_fault(text)),
            NgError::Misdirected => {
                let description = sdp::read(text).ok()?;
                description.media.iter().find_map(|line| {
                    let why = remote::misdirection(line, &self.settings)?;
                    Some(format!("{} is {why}", line.rtp_destination()?))
                })
            }
            _ => None,
        }
    }

    /// Names that stand for nothing here: the request is done as if they were not there, as rtpengine does it.
    pub(super) fn warn_of_names(&self, options: &Options, turn: &mut Turn) {
        let call = options.call_id.as_deref();
        let interfaces = &self.settings.interfaces;
        for name in [&options.from_interface, &options.to_interface].into_iter().flatten() {
            if !interfaces.iter().any(|interface| interface.name == *name) {
                let known: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
                let text =
                    format!("there is no interface {name:?}, the first is taken; there are {}", known.join(", "));
                turn.note(Level::Warn, "interface_unknown", call, text);
            }
        }
        let wants_ipv6 = options.address_family.map(|family| family == Family::Ip6);
        if wants_ipv6.is_some_and(|wanted| self.settings.addresses().all(|address| address.local.is_ipv6() != wanted)) {
            turn.note(
                Level::Warn,
                "address_family_unavailable",
                call,
                "no interface has an address of the family asked for",
            );
        }
    }
}
