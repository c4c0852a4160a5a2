//! One input being handled: the time it came at, and the effects it has so far.

use super::effect::{Effect, Level, Note};
use super::input::{Now, SessionId};
use super::limits::NOTE_VALUE_CHARS_MAX;
use super::message::ToClient;

pub struct Turn<'a> {
    pub now: Now,
    pub effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub fn send(&mut self, session: SessionId, message: &ToClient) {
        self.effects.push(Effect::Send { session, text: message.to_text() });
    }

    pub fn close(&mut self, session: SessionId, code: u16, reason: &'static str) {
        self.effects.push(Effect::Close { session, code, reason });
    }

    pub fn note(&mut self, level: Level, kind: &'static str, fields: &[(&'static str, &dyn std::fmt::Display)]) {
        let text = |value: &dyn std::fmt::Display| value.to_string().chars().take(NOTE_VALUE_CHARS_MAX).collect();
        let fields = fields.iter().map(|(name, value)| (*name, text(*value))).collect();
        self.effects.push(Effect::Note(Note { level, kind, fields }));
    }
}
