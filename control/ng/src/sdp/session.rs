//! The parts of a description that stand before the first m-line.
//!
//! Input: [`super::read()`] fills them in. Output: lines and attributes of the session, by name. Owns their text, so that what
//! is not ours is written as it was read. RFC 8866 §5.

use super::IceDescription;
use super::media::{Fingerprint, MediaDescription, Setup};
use crosspoint_contract::Direction;
use std::net::IpAddr;

/// One line as it came, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The letter before `=`.
    pub letter: u8,
    /// What stands after `=`.
    pub value: String,
}

/// A description as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDescription {
    /// All lines before the first m-line, in order.
    pub lines: Vec<Line>,
    pub origin: Option<Origin>,
    /// `s=`.
    pub name: Option<String>,
    /// `c=` at session level.
    pub connection: Option<Connection>,
    /// `a=group`; those of BUNDLE say which m-lines share a transport.
    pub groups: Vec<Group>,
    /// At session level; m-lines that say nothing have inherited it already, see [`MediaDescription`].
    pub direction: Option<Direction>,
    pub setup: Option<Setup>,
    pub fingerprint: Option<Fingerprint>,
    pub tls_id: Option<String>,
    pub ice: IceDescription,
    pub media: Vec<MediaDescription>,
}

/// RFC 8866 §5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub username: String,
    pub session_id: String,
    pub version: String,
    /// `IP4` or `IP6`.
    pub family: String,
    /// As printed; a name is allowed here.
    pub address: String,
}

/// RFC 8866 §5.7. `0.0.0.0` and `::` are the old way to say hold (RFC 3264 §8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub address: IpAddr,
}

/// RFC 5888 §5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `BUNDLE`, `LS`, …
    pub semantics: String,
    pub mids: Vec<String>,
}

impl Group {
    /// RFC 9143 §5.
    pub fn is_bundle(&self) -> bool {
        self.semantics == "BUNDLE"
    }
}

impl Connection {
    pub fn is_zero(self) -> bool {
        self.address.is_unspecified()
    }
}

impl SessionDescription {
    /// The value of the first session-level attribute of that name; empty if it is a flag.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.lines, name)
    }
}

/// The value of the first attribute of that name among `lines`; empty for a flag.
pub(super) fn attribute<'a>(lines: &'a [Line], name: &str) -> Option<&'a str> {
    lines.iter().filter_map(Line::as_attribute).find(|(n, _)| *n == name).map(|(_, value)| value)
}

impl Line {
    /// Name and value of an `a=` line.
    pub fn as_attribute(&self) -> Option<(&str, &str)> {
        (self.letter == b'a').then(|| self.value.split_once(':').unwrap_or((&self.value, "")))
    }
}
