//! Bencode (BEP 3): `i3e`, `4:ping`, `l…e`, `d…e`.
//!
//! Input: bytes of a client. Output: a [`Value`], or where a message ends on a stream ([`Scan`]). Owns: nothing.
//! Why no crate: those that are kept (`bendy`, `bt_bencode`, `serde_bencode`) are made for torrents. They insist on sorted keys or
//! lose their order, while ng clients send keys as they like; none of them tells a message that is not complete yet from one
//! that never will be, which is all the framing that ng has on TCP.
//!
//! Stricter than rtpengine in two points: a dictionary without its last `e` and an integer that does not fit 64 bits are refused.
//! As there, keys need no order, numbers have no leading zeros, and what follows the value is not looked at.

use crate::dictionary::{Dict, Value, bytes_of, text_of};
use thiserror::Error;

/// Options nest three deep; the decoder calls itself once a level.
pub const DEPTH_MAX: usize = 32;

/// Digits of the longest length that is looked at: a message has 65,536 bytes at most.
const LENGTH_DIGITS_MAX: usize = 9;
/// The digits of 2^63.
const INTEGER_DIGITS_MAX: usize = 19;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BencodeError {
    #[error("the value goes on beyond these bytes")]
    Incomplete,
    #[error("this is not bencode")]
    Malformed,
}

use BencodeError::{Incomplete, Malformed};

/// The value at the head of `bytes`, and how many bytes it takes.
pub fn decode(bytes: &[u8]) -> Result<(Value, usize), BencodeError> {
    let mut decoder = Decoder { bytes, position: 0 };
    let value = decoder.value(DEPTH_MAX)?;
    Ok((value, decoder.position))
}

/// Appends the value to `out`.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(integer) => out.extend_from_slice(format!("i{integer}e").as_bytes()),
        Value::Text(text) => encode_text(text, out),
        Value::List(list) => {
            out.push(b'l');
            list.iter().for_each(|value| encode(value, out));
            out.push(b'e');
        }
        Value::Dict(dict) => encode_dict(dict, out),
    }
}

/// Appends a dictionary, in the order of its keys.
pub fn encode_dict(dict: &Dict, out: &mut Vec<u8>) {
    out.push(b'd');
    for (key, value) in dict.iter() {
        encode_text(key, out);
        encode(value, out);
    }
    out.push(b'e');
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    let bytes = bytes_of(text);
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(&bytes);
}

struct Decoder<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Decoder<'_> {
    fn value(&mut self, depth_left: usize) -> Result<Value, BencodeError> {
        match self.peek()? {
            b'i' => self.integer(),
            b'0'..=b'9' => Ok(Value::Text(self.text()?)),
            b'l' if depth_left > 0 => self.list(depth_left - 1),
            b'd' if depth_left > 0 => self.dict(depth_left - 1),
            _ => Err(Malformed),
        }
    }

    fn list(&mut self, depth_left: usize) -> Result<Value, BencodeError> {
        self.position += 1;
        let mut list = Vec::new();
        while self.peek()? != b'e' {
            list.push(self.value(depth_left)?);
        }
        self.position += 1;
        Ok(Value::List(list))
    }

    fn dict(&mut self, depth_left: usize) -> Result<Value, BencodeError> {
        self.position += 1;
        let mut dict = Dict::new();
        while self.peek()? != b'e' {
            let key = self.text()?;
            dict.push(key, self.value(depth_left)?);
        }
        self.position += 1;
        Ok(Value::Dict(dict))
    }

    fn integer(&mut self) -> Result<Value, BencodeError> {
        let (integer, after) = integer_at(self.bytes, self.position)?;
        self.position = after;
        Ok(Value::Integer(integer))
    }

    fn text(&mut self) -> Result<String, BencodeError> {
        let (start, end) = text_at(self.bytes, self.position)?;
        let text = self.bytes.get(start..end).ok_or(Incomplete)?;
        self.position = end;
        Ok(text_of(text))
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.position).copied().ok_or(Incomplete)
    }
}

/// `i`, digits, `e`: the integer, and the position after it.
fn integer_at(bytes: &[u8], position: usize) -> Result<(i64, usize), BencodeError> {
    let start = position + 1;
    let sign_bytes = usize::from(bytes.get(start) == Some(&b'-'));
    let magnitude = digits_until(bytes, start + sign_bytes, b'e', INTEGER_DIGITS_MAX)?;
    let end = start + sign_bytes + magnitude.len();
    let integer = std::str::from_utf8(&bytes[start..end]).ok().and_then(|digits| digits.parse().ok());
    Ok((integer.ok_or(Malformed)?, end + 1))
}

/// Digits, `:`, bytes: where the bytes start and end, which may be beyond those that are there.
fn text_at(bytes: &[u8], position: usize) -> Result<(usize, usize), BencodeError> {
    let digits = digits_until(bytes, position, b':', LENGTH_DIGITS_MAX)?;
    let length: usize = digits.parse().map_err(|_| Malformed)?;
    let start = position + digits.len() + 1;
    Ok((start, start + length))
}

/// One digit or more, without a zero in front of another, and `stop` behind them.
fn digits_until(bytes: &[u8], start: usize, stop: u8, digits_max: usize) -> Result<&str, BencodeError> {
    let rest = bytes.get(start..).ok_or(Incomplete)?;
    let digits = rest.iter().take(digits_max).take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits) {
        Some(_) if digits > 1 && rest[0] == b'0' => Err(Malformed),
        Some(byte) if digits > 0 && *byte == stop => std::str::from_utf8(&rest[..digits]).map_err(|_| Malformed),
        None => Err(Incomplete),
        Some(_) => Err(Malformed),
    }
}

/// Looks for the end of a value on a stream. Goes on where it stopped, so that a client which sends single bytes
/// costs no more than one that does not.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    position: usize,
    depth: usize,
}

impl Scan {
    /// `bytes` are those of the call before and perhaps more. The length of the value, once it is known to be there.
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<usize, BencodeError> {
        loop {
            self.step(bytes)?;
            if self.depth == 0 {
                return Ok(self.position);
            }
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<(), BencodeError> {
        match *bytes.get(self.position).ok_or(Incomplete)? {
            b'd' | b'l' if self.depth < DEPTH_MAX => (self.depth, self.position) = (self.depth + 1, self.position + 1),
            b'e' if self.depth > 0 => (self.depth, self.position) = (self.depth - 1, self.position + 1),
            b'i' => self.position = integer_at(bytes, self.position)?.1,
            b'0'..=b'9' => {
                self.position =
                    Some(text_at(bytes, self.position)?.1).filter(|end| *end <= bytes.len()).ok_or(Incomplete)?
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any value a message can carry.
    pub(crate) fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::Integer),
            ".{0,12}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| Value::Text(text_of(&bytes))),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let entries = proptest::collection::vec((".{0,8}", inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::List),
                entries.prop_map(|entries| Value::Dict(entries.into_iter().collect())),
            ]
        })
    }

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes);
        bytes
    }

    #[test]
    fn the_four_types_are_read() {
        let (value, used) = decode(b"d4:listli-7e0:e3:key1:\xffetrail").unwrap();
        let list = Value::List(vec![Value::Integer(-7), "".into()]);
        assert_eq!(value, Value::Dict(Dict::new().with("list", list).with("key", text_of(b"\xff"))));
        assert_eq!(used, 24);
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let bad = [
            "i03e",
            "ie",
            "i-e",
            "i-03e",
            "i1-e",
            "i+1e",
            "i9223372036854775808e",
            "01:a",
            "-1:a",
            "1a",
            "e",
            "x",
            "di1ei2ee",
        ];
        for text in bad {
            assert_eq!(decode(text.as_bytes()), Err(Malformed), "{text}");
        }
        for length in ["9223372036854775808:a", "18446744073709551615:a", "18446744073709551616:", "4294967296:"] {
            assert_eq!(decode(length.as_bytes()), Err(Malformed), "{length}");
        }
        assert_eq!(decode(b"i-9223372036854775808e").unwrap().0, Value::Integer(i64::MIN));
        assert_eq!(decode(b"999999999:a"), Err(Incomplete));
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(decode(&nested(DEPTH_MAX)).is_ok() && Scan::default().find_end(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(decode(&nested(DEPTH_MAX + 1)), Err(Malformed));
        assert_eq!(Scan::default().find_end(&vec![b'd'; 60_000]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(value in values()) {
            // Text that a client cannot send, because its bytes mean other text, is made what the client would send.
            let bytes = encoded(&value);
            let (read, used) = decode(&bytes).unwrap();
            prop_assert_eq!(used, bytes.len());
            prop_assert_eq!(encoded(&read), bytes);
        }

        #[test]
        fn a_part_of_a_value_is_incomplete_and_its_end_is_found(value in values()) {
            let bytes = encoded(&value);
            let mut scan = Scan::default();
            for end in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..end]), Err(Incomplete));
                prop_assert_eq!(scan.find_end(&bytes[..end]), Err(Incomplete));
            }
            prop_assert_eq!(scan.find_end(&bytes), Ok(bytes.len()));
        }
    }
}
