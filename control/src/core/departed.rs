//! Calls that ended while a client of theirs had no socket: it hears how they ended when it asks for them.
//!
//! Input: the SID of each leg whose client could not be told. Output: what it is told when it comes back within the
//! time that a call waits for a lost client. Owns only names; a bound and one length of time for all keep it small.

use super::refusal::Refusal;
use std::collections::{HashMap, VecDeque};

/// Names kept at once; beyond it the oldest are forgotten, and their clients hear that the call does not exist.
const DEPARTED_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub struct Departed {
    by_sid: HashMap<String, Kept>,
    /// The same, oldest first.
    oldest: VecDeque<(u64, String)>,
}

#[derive(Debug)]
struct Kept {
    refusal: Option<Refusal>,
    /// Monotonic.
    until_ms: u64,
}

impl Departed {
    /// `until_ms` must not be earlier than that of any name before.
    pub fn remember(&mut self, sid: String, refusal: Option<Refusal>, now_ms: u64, until_ms: u64) {
        self.forget_until(now_ms);
        if self.by_sid.insert(sid.clone(), Kept { refusal, until_ms }).is_none() {
            self.oldest.push_back((until_ms, sid));
        }
    }

    /// `None` if no call of that name is known; else the error it ended with, if it was one.
    pub fn recall(&self, sid: &str, now_ms: u64) -> Option<Option<Refusal>> {
        self.by_sid.get(sid).filter(|kept| kept.until_ms > now_ms).map(|kept| kept.refusal)
    }

    fn forget_until(&mut self, now_ms: u64) {
        while let Some((until_ms, _)) = self.oldest.front()
            && (*until_ms <= now_ms || self.oldest.len() >= DEPARTED_MAX)
        {
            if let Some((_, sid)) = self.oldest.pop_front() {
                self.by_sid.remove(&sid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_for_their_time_and_no_more_than_may_be() {
        let mut departed = Departed::default();
        departed.remember("CA1".into(), Some(Refusal::MediaFailed), 0, 10);
        assert_eq!(departed.recall("CA1", 9), Some(Some(Refusal::MediaFailed)));
        assert_eq!(departed.recall("CA1", 10), None);
        for n in 0..=DEPARTED_MAX {
            departed.remember(format!("CB{n}"), None, 20, 30);
        }
        assert_eq!((departed.recall("CB0", 20), departed.by_sid.len()), (None, DEPARTED_MAX));
    }
}
