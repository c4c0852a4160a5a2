//! `rtpp-flags`: options as one line of text, as a proxy's script wrote them.
//!
//! Input: `replace-origin label=caller codec=[transcode=[PCMA PCMU] strip=[EVS]]`. Output: the words in their order, each with
//! the value behind its `=`: text, a list, or a dictionary if the brackets hold keys. Owns: nothing.
//!
//! Nothing is refused: a bracket that is never closed ends with the line, one too many is ignored.

use crate::dictionary::{Dict, Value};

/// Deeper brackets are read as part of the level above.
const DEPTH_MAX: usize = 8;

/// The words of a line. Flags have no value.
pub fn parse(line: &str) -> Vec<(String, Option<Value>)> {
    let mut reader = Reader { rest: line };
    let mut words = Vec::new();
    while !reader.rest.is_empty() {
        words.extend(reader.words(DEPTH_MAX));
    }
    words
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Words up to the bracket that closes this level, or to the end.
    fn words(&mut self, depth_left: usize) -> Vec<(String, Option<Value>)> {
        let mut words = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.skip(']') || self.rest.is_empty() {
                return words;
            }
            if self.skip('[') {
                // A list without a name, as in [[a b] [c d]], has nothing that knows it: its words belong to this level.
                continue;
            }
            let name = self.until(&['=', ']', '[']);
            let value = self.skip('=').then(|| self.value(depth_left));
            words.push((name, value));
        }
    }

    fn value(&mut self, depth_left: usize) -> Value {
        match depth_left > 0 && self.skip('[') {
            true => bracketed(self.words(depth_left - 1)),
            false => Value::Text(self.until(&[']'])),
        }
    }

    /// The text before white space or one of the `ends`.
    fn until(&mut self, ends: &[char]) -> String {
        let is_end = |character: char| character.is_whitespace() || ends.contains(&character);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        text.to_owned()
    }

    fn skip(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// `[a b]` is a list, `[x=[a] y=b]` a dictionary.
fn bracketed(words: Vec<(String, Option<Value>)>) -> Value {
    match words.iter().any(|(_, value)| value.is_some()) {
        true => Value::Dict(
            words.into_iter().map(|(name, value)| (name, value.unwrap_or(Value::Integer(1)))).collect::<Dict>(),
        ),
        false => Value::List(words.into_iter().map(|(name, _)| Value::Text(name)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_values_lists_and_dictionaries_are_told_apart() {
        let words =
            parse("replace-origin via-branch=auto-next OSRTP=[accept]\tcodec=[transcode=[PCMA PCMU] strip=[EVS]] x");
        let codec = Dict::new().with("transcode", vec!["PCMA", "PCMU"]).with("strip", vec!["EVS"]);
        let expected = [
            ("replace-origin", None),
            ("via-branch", Some("auto-next".into())),
            ("OSRTP", Some(vec!["accept"].into())),
            ("codec", Some(codec.into())),
            ("x", None),
        ];
        assert_eq!(words, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn a_value_may_hold_equals_signs_and_colons() {
        let words = parse("codec-set=opus/48000/2////level=2 media-address=2001:db8::1");
        assert_eq!(words[0].1, Some("opus/48000/2////level=2".into()));
        assert_eq!(words[1].1, Some("2001:db8::1".into()));
    }

    #[test]
    fn brackets_that_do_not_match_lose_nothing() {
        let names = |line: &str| parse(line).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("a ]]b=[x [y] c"), ["a", "b", "c"]);
        assert_eq!(parse("b=[x"), [("b".to_owned(), Some(vec!["x"].into()))]);
        assert_eq!(names(&"a=[".repeat(20_000)), ["a"]);
        assert_eq!(names(&"a=[ ".repeat(20_000)), ["a"]);
    }
}
