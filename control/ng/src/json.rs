//! JSON documents as dictionaries.
//!
//! Input: a document that starts with `{`. Output: a [`Dict`] with its keys in their order, and documents again. Owns: what the
//! types of JSON are in ng: `true` is 1, `false` is 0; there is neither null nor a fraction, and rtpengine refuses a
//! document that has one, so this does too. Of a key that comes twice, the later one counts.
//! Nesting is bounded by `serde_json`, at 128.

use crate::dictionary::{Dict, Value, bytes_of, text_of};
use crate::error::NgError;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::error::Category;
use std::fmt;

pub fn decode(document: &[u8]) -> Result<Dict, NgError> {
    match serde_json::from_slice(document) {
        Ok(Value::Dict(dict)) => Ok(dict),
        Ok(_) => Err(NgError::BadFormat),
        // rtpengine turns the document into bencode first, hence its words for a value that has no place there.
        Err(error) if error.classify() == Category::Data => Err(NgError::BadBencode),
        Err(_) => Err(NgError::BadJson),
    }
}

/// Appends the document to `out`.
pub fn encode_dict(dict: &Dict, out: &mut Vec<u8>) {
    serde_json::to_writer(out, dict).expect("a dictionary has text for keys, and a Vec takes all bytes");
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an integer, a text, a list or a dictionary")
    }

    fn visit_bool<E: Error>(self, boolean: bool) -> Result<Value, E> {
        Ok(Value::Integer(boolean.into()))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Value, E> {
        Ok(Value::Integer(integer))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Value, E> {
        Ok(Value::from(integer))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text_of(text.as_bytes())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut later_last: Vec<(String, Value)> = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            later_last.push((text_of(key.as_bytes()), value));
        }
        Ok(Value::Dict(without_repeated_keys(later_last)))
    }
}

/// Sorting finds repetitions without comparing each key with each: a message may have thousands.
fn without_repeated_keys(entries: Vec<(String, Value)>) -> Dict {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| entries[*a].0.cmp(&entries[*b].0));
    let mut kept = vec![true; entries.len()];
    for pair in order.windows(2) {
        kept[pair[0]] = entries[pair[0]].0 != entries[pair[1]].0;
    }
    entries.into_iter().zip(kept).filter_map(|(entry, kept)| kept.then_some(entry)).collect()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Integer(integer) => serializer.serialize_i64(*integer),
            Value::Text(text) => serializer.serialize_str(&printable(text)),
            Value::List(list) => serializer.collect_seq(list),
            Value::Dict(dict) => dict.serialize(serializer),
        }
    }
}

impl Serialize for Dict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(key, value)| (printable(key), value)))
    }
}

/// RFC 8259 §8.1: documents are UTF-8; a stray byte (of a call that bencode set up) is shown as U+FFFD.
fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    match bytes_of(text) {
        std::borrow::Cow::Borrowed(_) => text.into(),
        std::borrow::Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::tests::values;
    use proptest::prelude::*;

    #[test]
    fn a_document_is_read_with_its_keys_in_order() {
        let dict = decode(br#"{"z":1,"a":"\u20ac\ud83d\ude00","l":[true,false,-3],"d":{"k":"v"}}"#).unwrap();
        let list = vec![1, 0, -3];
        let expected = Dict::new().with("z", 1).with("a", "€😀").with("l", list).with("d", Dict::new().with("k", "v"));
        assert_eq!(dict, expected);
    }

    #[test]
    fn the_later_of_two_equal_keys_counts() {
        let dict = decode(br#"{"command":"ping","a":1,"command":"list"}"#).unwrap();
        assert_eq!(dict, Dict::new().with("a", 1).with("command", "list"));
    }

    #[test]
    fn nonsense_is_refused_in_the_words_of_rtpengine() {
        for document in ["{", "{}trail", "{\"a\":}", "{\"a\":\"\\ud800\"}", "{\"command\":\"pi\u{1}\"}"] {
            assert_eq!(decode(document.as_bytes()), Err(NgError::BadJson), "{document}");
        }
        assert_eq!(decode(b"{\"command\":\"pi\xff\"}"), Err(NgError::BadJson));
        for document in ["{\"a\":null}", "{\"a\":1.5}", "{\"a\":[{\"c\":null}]}"] {
            assert_eq!(decode(document.as_bytes()), Err(NgError::BadBencode), "{document}");
        }
        assert_eq!(decode(&[b"{\"a\":".repeat(10_000), b"1".to_vec()].concat()), Err(NgError::BadJson));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(value in values()) {
            let mut first = Vec::new();
            encode_dict(&Dict::new().with("value", value), &mut first);
            // Repeated keys and stray bytes are gone after the first time.
            let read = decode(&first).unwrap();
            let mut second = Vec::new();
            encode_dict(&read, &mut second);
            prop_assert_eq!(decode(&second).unwrap(), read);
        }
    }
}
