//! Trickled fragments that came before the description they belong to (RFC 8838 §10: they travel apart).
//!
//! Input: texts, by call and party. Output: the same, when the party's description comes within
//! [`FRAGMENTS_WAIT_MS`]. Owns what waits, of which there is a bounded number of bounded size. Does not read them.

use crate::limits::{FRAGMENTS_BYTES_MAX, FRAGMENTS_WAIT_MS, FRAGMENTS_WAITING_MAX};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub struct Fragments {
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    call: Box<str>,
    tag: Box<str>,
    text: Box<str>,
    until_ms: u64,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.call.len() + self.tag.len() + self.text.len()
    }
}

impl Fragments {
    pub fn keep(&mut self, call: &str, tag: &str, text: &str, now_ms: u64) {
        let until_ms = now_ms + FRAGMENTS_WAIT_MS;
        let waiting = Waiting { call: call.into(), tag: tag.into(), text: text.into(), until_ms };
        self.bytes += waiting.bytes();
        self.waiting.push_back(waiting);
        self.forget(now_ms);
    }

    /// Those of a party, in the order in which they came.
    pub fn take(&mut self, call: &str, tag: &str, now_ms: u64) -> Vec<Box<str>> {
        self.forget(now_ms);
        let mut taken = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if *waiting.call == *call && *waiting.tag == *tag {
                self.bytes -= waiting.bytes();
                taken.push(waiting.text);
            } else {
                self.waiting.push_back(waiting);
            }
        }
        taken
    }

    /// What has waited too long, and the oldest where there is too much.
    fn forget(&mut self, now_ms: u64) {
        let is_over = |waiting: &Waiting, bytes: usize, count: usize| {
            waiting.until_ms <= now_ms || bytes > FRAGMENTS_BYTES_MAX || count > FRAGMENTS_WAITING_MAX
        };
        while let Some(oldest) = self.waiting.front().filter(|oldest| is_over(oldest, self.bytes, self.waiting.len())) {
            self.bytes -= oldest.bytes();
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_wait_for_their_party_and_no_longer_than_they_may() {
        let mut fragments = Fragments::default();
        fragments.keep("c1", "f", "one", 0);
        fragments.keep("c1", "t", "other", 0);
        fragments.keep("c1", "f", "two", 10);
        assert_eq!(fragments.take("c2", "f", 20), []);
        assert_eq!(fragments.take("c1", "f", 20), ["one".into(), "two".into()]);
        assert_eq!(fragments.take("c1", "f", 20), [], "once");
        assert_eq!(fragments.take("c1", "t", FRAGMENTS_WAIT_MS), [], "too late");
        assert_eq!((fragments.bytes, fragments.waiting.len()), (0, 0));
    }

    #[test]
    fn flood_of_fragments_keeps_the_bounds() {
        let mut fragments = Fragments::default();
        let large = "x".repeat(60_000);
        for n in 0..1000 {
            fragments.keep(&n.to_string(), "f", &large, 0);
            assert!(fragments.bytes <= FRAGMENTS_BYTES_MAX);
        }
        for n in 0..5000 {
            fragments.keep(&n.to_string(), "f", "x", 0);
        }
        assert_eq!(fragments.waiting.len(), FRAGMENTS_WAITING_MAX);
        assert_eq!(fragments.take("4999", "f", 0).len(), 1, "the newest are there");
    }
}
