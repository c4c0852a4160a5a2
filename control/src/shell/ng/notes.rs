//! Log lines of the relay's core, of warnings only so many a second: a client that is misconfigured, or that means harm,
//! makes one with each message.
//!
//! Input: [`Note`]s. Output: lines of the log. Owns the count of what was held back, which is said with the next line of that
//! kind.

use crosspoint_ng::effect::{Level, Note};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Warnings of one kind in a second.
const WARNINGS_MAX: u32 = 10;
const SPAN: Duration = Duration::from_secs(1);

/// Kinds are few: they are words of the program.
#[derive(Debug, Default)]
pub struct Notes(HashMap<&'static str, Spell>);

/// One second of one kind.
#[derive(Debug)]
struct Spell {
    since: Instant,
    said: u32,
    held_back: u64,
}

impl Notes {
    pub fn say(&mut self, note: &Note) {
        let Note { level, kind, call, text } = note;
        let call = call.as_deref().unwrap_or_default();
        match level {
            Level::Debug => tracing::debug!(kind, call, "{text}"),
            Level::Info => tracing::info!(kind, call, "{text}"),
            Level::Warn => match self.admit(kind, Instant::now()) {
                None => {}
                Some(0) => tracing::warn!(kind, call, "{text}"),
                Some(held_back) => tracing::warn!(kind, call, held_back, "{text} (and {held_back} like it before)"),
            },
        }
    }

    /// `None`: not now. Otherwise how many were held back since the last one that was said.
    fn admit(&mut self, kind: &'static str, now: Instant) -> Option<u64> {
        let spell = self.0.entry(kind).or_insert(Spell { since: now, said: 0, held_back: 0 });
        if now.duration_since(spell.since) >= SPAN {
            (spell.since, spell.said) = (now, 0);
        }
        if spell.said == WARNINGS_MAX {
            spell.held_back += 1;
            return None;
        }
        spell.said += 1;
        Some(std::mem::take(&mut spell.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_a_kind_are_few_a_second_and_those_held_back_are_counted() {
        let (mut notes, begin) = (Notes::default(), Instant::now());
        let said = (0..50).filter(|_| notes.admit("a", begin).is_some()).count();
        assert_eq!(said, WARNINGS_MAX as usize);
        assert_eq!(notes.admit("b", begin), Some(0), "another kind");
        assert_eq!(notes.admit("a", begin + SPAN), Some(40));
        assert_eq!(notes.admit("a", begin + SPAN), Some(0));
    }
}
