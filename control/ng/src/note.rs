//! A call in the dataplane's keeping: what the next control plane needs to go on with it.
//!
//! ```text
//!   this process     call ──write──▶ Command::Note ──▶ dataplane, as long as the call has legs
//!   the next one     call ◀──read─── Snapshot::notes
//! ```
//!
//! Legs outlive us (`kill -9`, an upgrade); with the words beside them a `delete`, a `query` or another offer finds the call as
//! it was. Figures are not written: they are the legs' own. Input and output: bytes. Owns nothing. The words are for ourselves
//! alone: those of another layout are not read, and such legs go on until they fall silent.

use crate::call::Call;
use crate::effect::Now;
use crate::party::Deletion;
use serde::{Deserialize, Serialize};

/// Raised with each change of what a call, its parties and lines are made of, here and in the contract's types.
const LAYOUT: u32 = 6;

/// Most calls fit, so that their text moves in memory rarely.
const NOTE_BYTES: usize = 2048;

#[derive(Serialize)]
struct Written<'a> {
    layout: u32,
    /// When it was written, on both clocks: deadlines are in the one that ends with us.
    monotonic_ms: u64,
    unix_us: u64,
    call: &'a Call,
}

#[derive(Deserialize)]
struct Clocks {
    monotonic_ms: u64,
    unix_us: u64,
}

/// `None` when it cannot be told in words; then it is lost with us.
pub fn write(call: &Call, now: Now) -> Option<Vec<u8>> {
    let Now { monotonic_ms, unix_us } = now;
    let written = Written { layout: LAYOUT, monotonic_ms, unix_us, call };
    postcard::to_extend(&written, Vec::with_capacity(NOTE_BYTES)).ok()
}

/// The call as of now. `None`: not of our layout.
pub fn read(note: &[u8], now: Now) -> Option<Call> {
    let (layout, rest) = postcard::take_from_bytes::<u32>(note).ok()?;
    let (written, rest) = postcard::take_from_bytes::<Clocks>(rest).ok().filter(|_| layout == LAYOUT)?;
    let mut call: Call = postcard::from_bytes(rest).ok()?;
    let passed_ms = now.unix_us.saturating_sub(written.unix_us) / 1000;
    for party in &mut call.parties {
        if let Some(Deletion::At(at_ms)) = &mut party.deleted {
            let left_ms = at_ms.saturating_sub(written.monotonic_ms).saturating_sub(passed_ms);
            *at_ms = now.monotonic_ms + left_ms;
        }
    }
    Some(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosspoint_contract::CallKey;

    fn call() -> Call {
        let mut call = Call::new(CallKey(7), "c1", ([192, 0, 2, 1], 5060).into(), 5);
        call.add_party("f", Some("z9"), 5).expect("room");
        call.parties[0].deleted = Some(Deletion::At(31_000));
        call
    }

    #[test]
    fn a_deadline_is_as_far_as_it_was_on_the_next_clock() {
        let note = write(&call(), Now { monotonic_ms: 1_000, unix_us: 50_000_000 }).expect("words");
        let next = Now { monotonic_ms: 200, unix_us: 60_000_000 };
        let read = super::read(&note, next).expect("a call");
        assert_eq!((read.id.as_str(), read.parties[0].via_branch.as_deref()), ("c1", Some("z9")));
        assert_eq!(read.parties[0].deleted, Some(Deletion::At(20_200)), "twenty of thirty seconds are left");
        let late = super::read(&note, Now { monotonic_ms: 200, unix_us: 500_000_000 }).expect("a call");
        assert_eq!(late.parties[0].deleted, Some(Deletion::At(200)), "due");
    }

    #[test]
    fn words_of_another_layout_and_no_words_at_all_are_not_read() {
        let mut note = write(&call(), Now::default()).expect("words");
        note[0] += 1;
        assert!(read(&note, Now::default()).is_none());
        assert!(read(&[], Now::default()).is_none() && read(&[1, 2, 3], Now::default()).is_none());
    }
}
