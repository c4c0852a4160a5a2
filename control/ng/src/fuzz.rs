//! Bytes from anywhere against everything that reads a client's message: none panics, and what is accepted means one thing.
//!
//! Runs in the ordinary tests over the committed corpus (`__fuzz__`) and random inputs;
//! `cargo bolero test --package crosspoint-ng fuzz::NAME` goes on from there.

use crate::bencode::{self, BencodeError, Scan};
use crate::dictionary::{Dict, Value};
use crate::framing::{FramingError, StreamReader};
use crate::options::Options;
use crate::request::Request;
use crate::{json, message};
use proptest::prelude::*;

#[test]
fn bencode_values() {
    bolero::check!(name = "bencode_values").for_each(check_bencode);
}

fn check_bencode(bytes: &[u8]) {
    let (value, used) = match bencode::decode(bytes) {
        Ok(read) => read,
        Err(BencodeError::Incomplete) => {
            return assert_eq!(Scan::default().find_end(bytes), Err(BencodeError::Incomplete));
        }
        Err(BencodeError::Malformed) => return,
    };
    assert_eq!(Scan::default().find_end(bytes), Ok(used), "the framing ends a message where the decoder does");
    let mut written = Vec::new();
    bencode::encode(&value, &mut written);
    assert!(written.len() <= used, "only -0 can be written shorter");
    assert_eq!(bencode::decode(&written), Ok((value, written.len())));
}

#[test]
fn json_documents() {
    bolero::check!(name = "json_documents").for_each(check_json);
}

fn check_json(bytes: &[u8]) {
    let Ok(dict) = json::decode(bytes) else { return };
    let mut written = Vec::new();
    json::encode_dict(&dict, &mut written);
    assert_eq!(json::decode(&written), Ok(dict));
}

/// A stream means the same however the network cuts it.
#[test]
fn streams() {
    bolero::check!(name = "streams").for_each(check_stream);
}

fn check_stream(bytes: &[u8]) {
    let (whole, at_once) = messages(bytes, bytes.len().max(1));
    for segment_bytes in [1, 7] {
        let (cut, bytewise) = messages(bytes, segment_bytes);
        assert_eq!((&cut, bytewise), (&whole, at_once));
    }
    assert!(whole.iter().map(Vec::len).sum::<usize>() <= bytes.len());
    assert!(whole.iter().all(|message| message::split(message).is_some()));
}

fn messages(stream: &[u8], segment_bytes: usize) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let (mut reader, mut messages) = (StreamReader::default(), Vec::new());
    for segment in stream.chunks(segment_bytes) {
        reader.push(segment);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// Whole messages, as far as the options.
#[test]
fn requests() {
    bolero::check!(name = "requests").for_each(check_request);
}

fn check_request(bytes: &[u8]) {
    let Some((_, payload)) = message::split(bytes) else { return };
    let Ok(dict) = message::decode(payload).1 else { return };
    if let Ok(request) = Request::read(&dict) {
        assert_modest(&request.options);
        assert_eq!(Options::read(&dict), request.options);
    }
}

/// Lines of a proxy's script; the same line as a list of flags is harmless too.
#[test]
fn rtpp_flags() {
    bolero::check!(name = "rtpp_flags").for_each(check_rtpp_flags);
}

fn check_rtpp_flags(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    assert_modest(&Options::read(&Dict::new().with("rtpp-flags", &*line)));
    let flags: Vec<&str> = line.split_whitespace().collect();
    assert_modest(&Options::read(&Dict::new().with("flags", flags.clone())));
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        assert_modest(&Options::read(&Dict::new().with(name, value)));
    }
}

proptest! {
    /// Bytes at random seldom get past the first; these are made of what the grammars are made of.
    #[test]
    fn nonsense_of_the_right_letters(
        bencode in "[dlei0-39:ae-]{0,40}",
        json in r#"\{([{}":,\[\]\\a1-]|"a":|"a"|1){0,20}\}"#,
        stream in r#"([12] [d{]([dlei0-2:a{}"\\]|"\}|1:a){0,12}){1,4}"#,
        line in r"([ \[\]=-]|SDES|codec|-strip|flags|sdp-attr|ICE|ptime|rtpp|1|all|direction|from-tags){0,30}",
    ) {
        check_bencode(bencode.as_bytes());
        check_json(json.as_bytes());
        check_stream(stream.as_bytes());
        check_request(format!("1 {json}").as_bytes());
        check_rtpp_flags(line.as_bytes());
    }
}

/// What goes to the log has a bound and no line ends.
fn assert_modest(options: &Options) {
    assert!(options.warnings.len() <= 16);
    assert!(options.warnings.iter().all(|line| line.chars().count() < 1_000 && !line.contains(['\n', '\r', '\0'])));
}

/// Without these the replay would exercise refusals only.
#[test]
fn each_corpus_holds_what_is_accepted_and_what_is_not() {
    let read = |name: &str| {
        let path = format!("{}/src/__fuzz__/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let is_accepted = |name: &str| match name.split_once('/').expect("in a directory").0 {
        "bencode_values" => bencode::decode(&read(name)).is_ok(),
        "json_documents" => json::decode(&read(name)).is_ok(),
        "streams" => matches!(messages(&read(name), 64), (messages, None) if messages.len() == 3),
        "requests" => {
            let message = read(name);
            let payload = message::split(&message).map_or(&[][..], |(_, payload)| payload);
            message::decode(payload)
                .1
                .and_then(|dict| Request::read(&dict))
                .is_ok_and(|request| request.options.warnings.is_empty())
        }
        _ => Options::read(&Dict::new().with("rtpp-flags", Value::Text(String::from_utf8(read(name)).expect("text"))))
            .warnings
            .is_empty(),
    };
    for name in [
        "bencode_values/corpus/offer.bencode",
        "bencode_values/corpus/bytes_that_are_no_text.bencode",
        "json_documents/corpus/offer.json",
        "json_documents/corpus/escapes.json",
        "streams/corpus/three_messages.bin",
        "requests/corpus/kamailio_offer.bencode",
        "requests/corpus/jambonz_offer.json",
        "rtpp_flags/corpus/kamailio.txt",
        "rtpp_flags/corpus/nested.txt",
    ] {
        assert!(is_accepted(name), "{name}");
    }
    for name in [
        "bencode_values/corpus/truncated.bencode",
        "bencode_values/corpus/deep.bencode",
        "bencode_values/corpus/length_2_63.bencode",
        "bencode_values/corpus/length_negative.bencode",
        "json_documents/corpus/null.json",
        "json_documents/corpus/trailing.json",
        "json_documents/corpus/deep.json",
        "streams/corpus/no_dictionary.bin",
        "requests/corpus/no_command.json",
        "requests/corpus/unknown_option.bencode",
        "rtpp_flags/corpus/brackets_do_not_match.txt",
    ] {
        assert!(!is_accepted(name), "{name}");
    }
}
