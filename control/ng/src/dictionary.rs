//! What an ng message says, whichever of the two encodings it came in: integers, texts, lists and dictionaries.
//!
//! Input: [`crate::bencode`] and [`crate::json`] build it from bytes, the core builds replies. Output: the options, or
//! bytes again. Owns: the order of keys (replies keep the order in which they were written) and the mapping between
//! bytes and text.
//!
//! Bencode carries bytes: a `call-id` or a session name need not be UTF-8. All the rest of this crate works on `str`,
//! so a byte that is not part of UTF-8 travels as one character of the private range U+10FF80…U+10FFFF and becomes that byte
//! again on the way out. The mapping is one to one (a genuine character of that range is taken apart into its four
//! bytes), so two different call identifiers never become the same text.

use std::fmt;

/// U+10FF00 + byte, for bytes from 0x80 up.
const STRAY_BYTE: u32 = 0x0010_FF00;

/// One value of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Integer(i64),
    Text(String),
    List(Vec<Value>),
    Dict(Dict),
}

impl Value {
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Clients send integers as integers and as text: `"limit": "3"`.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(integer) => Some(*integer),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }
}

/// A dictionary that keeps the order of its keys.
///
/// Found by linear search: the largest request has some thirty keys, and each is visited once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dict(Vec<(String, Value)>);

impl Dict {
    pub fn new() -> Dict {
        Dict::default()
    }

    pub fn with_capacity(keys: usize) -> Dict {
        Dict(Vec::with_capacity(keys))
    }

    /// The value of the first entry of this name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    pub fn integer(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_integer()
    }

    /// Appends an entry. A key that is already there is not looked for; see [`Dict::set`].
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.push((key.into(), value.into()));
    }

    /// Replaces the value of a key in place, or appends the entry.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value.into(),
            None => self.push(key, value),
        }
    }

    /// [`Dict::push`] for building one in an expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Dict {
        self.push(key, value);
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Dict {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Dict {
        Dict(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Value {
        Value::Integer(integer)
    }
}

impl From<i32> for Value {
    fn from(integer: i32) -> Value {
        Value::Integer(integer.into())
    }
}

/// Counters stop at the largest integer of the protocol, which no counter reaches.
impl From<u64> for Value {
    fn from(count: u64) -> Value {
        Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<Dict> for Value {
    fn from(dict: Dict) -> Value {
        Value::Dict(dict)
    }
}

impl<V: Into<Value>> From<Vec<V>> for Value {
    fn from(list: Vec<V>) -> Value {
        Value::List(list.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(integer) => write!(out, "{integer}"),
            Value::Text(text) => out.write_str(text),
            Value::List(list) => write!(out, "a list of {}", list.len()),
            Value::Dict(dict) => write!(out, "a dictionary of {}", dict.len()),
        }
    }
}

/// Bytes as text; see the head of this file for those that are not UTF-8.
pub fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_stray) => text.to_owned(),
        _ => text_of_stray_bytes(bytes),
    }
}

fn text_of_stray_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match is_stray(character) {
                true => character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push(stray(byte))),
                false => text.push(character),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push(stray(*byte)));
    }
    text
}

/// The bytes that [`text_of`] was given.
pub fn bytes_of(text: &str) -> std::borrow::Cow<'_, [u8]> {
    if !text.chars().any(is_stray) {
        return text.as_bytes().into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match is_stray(character) {
            true => bytes.push(u32::from(character) as u8),
            false => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes.into()
}

fn is_stray(character: char) -> bool {
    character >= '\u{10FF80}'
}

fn stray(byte: u8) -> char {
    char::from_u32(STRAY_BYTE + u32::from(byte)).expect("U+10FF00 plus a byte is a character")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_from_text_too() {
        let dict = Dict::new().with("limit", "3").with("ptime", 20).with("sdp", "v=0");
        assert_eq!((dict.integer("limit"), dict.integer("ptime"), dict.integer("sdp")), (Some(3), Some(20), None));
    }

    #[test]
    fn keys_keep_their_order_and_set_replaces_in_place() {
        let mut dict = Dict::new().with("z", 1).with("a", 2);
        dict.set("z", 3);
        dict.set("b", 4);
        assert_eq!(dict.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["z", "a", "b"]);
        assert_eq!(dict.integer("z"), Some(3));
    }

    #[test]
    fn call_identifiers_that_differ_in_bytes_differ_as_text() {
        assert_ne!(text_of(b"\xe9"), text_of("é".as_bytes()));
        assert_ne!(text_of(b"\xff"), text_of("\u{10FFFF}".as_bytes()));
    }

    proptest! {
        #[test]
        fn bytes_survive_their_time_as_text(bytes: Vec<u8>, text in ".{0,20}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let as_text = text_of(bytes);
                prop_assert_eq!(&*bytes_of(&as_text), bytes);
            }
        }
    }
}
