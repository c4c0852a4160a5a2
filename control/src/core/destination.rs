//! Whom a call is for: the text of `To`, read.
//!
//! Input: `To` of an invite. Output: a [`Destination`]. It does not say whether the destination exists or is served.

use super::refusal::Refusal;
use std::fmt;

/// Longest client name: that of the token's identity.
pub const CLIENT_NAME_CHARS_MAX: usize = 121;
const ADDRESS_CHARS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// All instances of a client of the caller's account.
    Client(String),
    /// A SIP address, scheme included.
    Sip(String),
    /// A telephone number, digits with an optional leading `+`.
    Number(String),
    Conference(String),
    /// An application's instructions.
    App(String),
}

impl Destination {
    /// A bare word is a client's name, as apps of the stock client use it; a bare number is a number.
    pub fn parse(text: &str) -> Result<Destination, Refusal> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once(':') else { return bare(text) };
        match scheme.to_ascii_lowercase().as_str() {
            "client" => client_name(rest).map(Destination::Client),
            "sip" | "sips" => word(rest).map(|_| Destination::Sip(text.to_owned())),
            "tel" | "number" => number(rest).map(Destination::Number).ok_or(Refusal::DestinationMalformed),
            "conference" => word(rest).map(Destination::Conference),
            "app" => word(rest).map(Destination::App),
            _ => Err(Refusal::DestinationMalformed),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Client(name) => write!(f, "client:{name}"),
            Destination::Sip(address) => f.write_str(address),
            Destination::Number(number) => f.write_str(number),
            Destination::Conference(name) => write!(f, "conference:{name}"),
            Destination::App(name) => write!(f, "app:{name}"),
        }
    }
}

fn bare(text: &str) -> Result<Destination, Refusal> {
    match number(text) {
        Some(number) => Ok(Destination::Number(number)),
        None => client_name(text).map(Destination::Client),
    }
}

/// A name that may stand in a route, a record and a log line: printable, without white space at its ends.
pub fn client_name(text: &str) -> Result<String, Refusal> {
    let sane = text.chars().count() <= CLIENT_NAME_CHARS_MAX
        && !text.is_empty()
        && text.trim() == text
        && !text.chars().any(char::is_control);
    if sane { Ok(text.to_owned()) } else { Err(Refusal::DestinationMalformed) }
}

fn number(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    let bare = digits.strip_prefix('+').unwrap_or(&digits);
    // ITU-T E.164 §6: at most 15 digits; three is the shortest service number.
    ((3..=15).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

fn word(text: &str) -> Result<String, Refusal> {
    let sane = !text.is_empty()
        && text.len() <= ADDRESS_CHARS_MAX
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if sane { Ok(text.to_owned()) } else { Err(Refusal::DestinationMalformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_destination_is_told_apart() {
        let parsed = |text| Destination::parse(text).expect("well-formed");
        assert_eq!(parsed("client:bob"), Destination::Client("bob".into()));
        assert_eq!(parsed("bob"), Destination::Client("bob".into()));
        assert_eq!(parsed("sip:bob@example.com"), Destination::Sip("sip:bob@example.com".into()));
        assert_eq!(parsed("+1 (415) 555-0100"), Destination::Number("+14155550100".into()));
        assert_eq!(parsed("conference:daily"), Destination::Conference("daily".into()));
        assert_eq!(parsed("app:AP1"), Destination::App("AP1".into()));
    }

    #[test]
    fn names_that_would_break_a_log_line_are_refused() {
        for text in ["", "client:", "client:a\nb", "client: x", "fax:1", &format!("client:{}", "x".repeat(122))] {
            assert_eq!(Destination::parse(text), Err(Refusal::DestinationMalformed), "{text:?}");
        }
    }
}
