//! A message as it is on the wire: `cookie SP dictionary`, in bencode or JSON.
//!
//! Input: one datagram, one body of HTTP, one WebSocket message, or one message cut from a stream by [`crate::framing`].
//! Output: cookie and dictionary, and the bytes of replies. Owns: nothing. [`split`] comes first and [`decode`] later, because a
//! repeated message is recognised by its cookie and never looked into ([`crate::cookies`]).

use crate::bencode;
use crate::dictionary::{Dict, Value};
use crate::error::NgError;
use crate::json;
use crate::reply::Reply;

/// The largest datagram. Streams, HTTP bodies and WebSocket messages have the same bound.
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Clients use 10 to 40 bytes.
pub const COOKIE_BYTES_MAX: usize = 256;

/// The content type of `/ng`, question and answer.
pub const CONTENT_TYPE: &str = "application/x-rtpengine-ng";
/// The content type of `/ng-plain`.
pub const CONTENT_TYPE_PLAIN: &str = "application/json";

/// A reply is written in the encoding of its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Bencode,
    Json,
}

/// Whether messages start with a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    Cookie,
    /// The transport tells which answer belongs to which question. No message is ever a repetition.
    Plain,
}

impl Carriage {
    /// The carriage of a POST, or `None` for what is no ng request (to be answered with 404).
    pub fn of_http(path: &str, content_type: Option<&str>) -> Option<Carriage> {
        let media_type = content_type?.split(';').next()?.trim();
        match path {
            "/ng" if media_type.eq_ignore_ascii_case(CONTENT_TYPE) => Some(Carriage::Cookie),
            "/ng-plain" if media_type.eq_ignore_ascii_case(CONTENT_TYPE_PLAIN) => Some(Carriage::Plain),
            _ => None,
        }
    }

    /// The carriage of a WebSocket subprotocol. Replies are binary messages, whichever kind the question was.
    pub fn of_subprotocol(name: &str) -> Option<Carriage> {
        match name {
            "ng.rtpengine.com" => Some(Carriage::Cookie),
            "ng-plain.rtpengine.com" => Some(Carriage::Plain),
            _ => None,
        }
    }
}

/// Cookie and payload. `None`: there is no cookie, so there is nobody to answer to.
pub fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = message.iter().take(COOKIE_BYTES_MAX + 1).position(|byte| *byte == b' ')?;
    match space {
        0 => None,
        _ => Some((&message[..space], &message[space + 1..])),
    }
}

/// The dictionary of a payload, and the encoding to answer in, which is known of an unreadable one too.
pub fn decode(payload: &[u8]) -> (Encoding, Result<Dict, NgError>) {
    match payload.first() {
        None => (Encoding::Bencode, Err(NgError::NoPayload)),
        Some(b'd') => (Encoding::Bencode, decode_bencode(payload)),
        Some(b'{') => (Encoding::Json, json::decode(payload)),
        Some(_) => (Encoding::Bencode, Err(NgError::BadFormat)),
    }
}

fn decode_bencode(payload: &[u8]) -> Result<Dict, NgError> {
    match bencode::decode(payload) {
        Ok((Value::Dict(dict), _)) => Ok(dict),
        _ => Err(NgError::BadBencode),
    }
}

/// The bytes of a reply. `cookie` is `None` on a [`Carriage::Plain`].
pub fn encode(cookie: Option<&[u8]>, encoding: Encoding, reply: &Reply) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    if let Some(cookie) = cookie {
        bytes.extend_from_slice(cookie);
        bytes.push(b' ');
    }
    match encoding {
        Encoding::Bencode => bencode::encode_dict(reply.dict(), &mut bytes),
        Encoding::Json => json::encode_dict(reply.dict(), &mut bytes),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_the_cookie_and_the_encoding_of_its_question() {
        for (question, answer) in [
            (&b"5323_1 d7:command4:pinge"[..], &b"5323_1 d6:result4:ponge"[..]),
            (b"x {\"command\":\"ping\"}", b"x {\"result\":\"pong\"}"),
        ] {
            let (cookie, payload) = split(question).unwrap();
            let (encoding, dict) = decode(payload);
            assert_eq!(dict.unwrap().text("command"), Some("ping"));
            assert_eq!(encode(Some(cookie), encoding, &Reply::pong()), answer);
        }
        assert_eq!(encode(None, Encoding::Json, &Reply::pong()), b"{\"result\":\"pong\"}");
    }

    #[test]
    fn without_a_cookie_there_is_no_message() {
        let long = [vec![b'x'; COOKIE_BYTES_MAX + 1], b" {}".to_vec()].concat();
        for message in [&b""[..], b"x", b" {\"command\":\"ping\"}", b"d7:command4:pinge", &long] {
            assert_eq!(split(message), None);
        }
        assert_eq!(split(&long[1..]).unwrap().1, b"{}");
        assert_eq!(split(b"x "), Some((&b"x"[..], &b""[..])));
    }

    #[test]
    fn what_is_no_dictionary_is_refused_in_the_words_of_rtpengine() {
        for (payload, encoding, error) in [
            ("", Encoding::Bencode, NgError::NoPayload),
            ("x", Encoding::Bencode, NgError::BadFormat),
            (" d7:command4:pinge", Encoding::Bencode, NgError::BadFormat),
            ("[{\"command\":\"ping\"}]", Encoding::Bencode, NgError::BadFormat),
            ("d7:command04:pinge", Encoding::Bencode, NgError::BadBencode),
            ("d7:command4:ping", Encoding::Bencode, NgError::BadBencode),
            ("{\"command\":\"ping\"}trail", Encoding::Json, NgError::BadJson),
        ] {
            assert_eq!(decode(payload.as_bytes()), (encoding, Err(error)), "{payload}");
        }
    }

    #[test]
    fn http_paths_and_subprotocols_tell_whether_there_is_a_cookie() {
        let http = |path, kind| Carriage::of_http(path, Some(kind));
        assert_eq!(http("/ng", "application/x-rtpengine-ng"), Some(Carriage::Cookie));
        assert_eq!(http("/ng-plain", "application/json; charset=utf-8"), Some(Carriage::Plain));
        assert_eq!(http("/ng", "application/json"), None);
        assert_eq!(Carriage::of_http("/ng", None), None);
        assert_eq!(Carriage::of_subprotocol("ng.rtpengine.com"), Some(Carriage::Cookie));
        assert_eq!(Carriage::of_subprotocol("ng-plain.rtpengine.com"), Some(Carriage::Plain));
        assert_eq!(Carriage::of_subprotocol("janus-protocol"), None);
    }
}
