//! One socket of a client: who it is, what it holds, how fast it may talk.
//!
//! Input: the shell's opening and closing, frames counted. Output: whether a frame may pass. Owns what is known of the
//! socket; legs know their session by id and outlive it.

use super::limits::{Limits, REFUSALS_NOTED_MAX, REFUSALS_NOTED_MS};
use super::refusal::Refusal;
use super::token::Grant;
use crosspoint_contract::LegId;
use std::collections::BTreeSet;
use std::net::SocketAddr;

#[derive(Debug)]
pub struct Session {
    pub remote: SocketAddr,
    pub standing: Standing,
    /// Named by the client or by us.
    pub instance: String,
    pub registered: bool,
    /// How long its calls are kept when the socket is lost.
    pub reconnect_seconds: u32,
    /// It answers offers of ours.
    pub takes_offers: bool,
    pub legs: BTreeSet<LegId>,
    pub pace: Pace,
    /// Since the last good one.
    pub listens_refused: u32,
    notes: Allowance,
}

/// How many refusals have been logged since when.
#[derive(Debug, Default)]
struct Allowance {
    noted: u32,
    since_ms: u64,
}

/// What the session has shown of itself.
#[derive(Debug)]
pub enum Standing {
    /// Nothing yet.
    Stranger,
    Listening(Grant),
    /// Its token ran out; its calls go on, new ones need a new token.
    Expired(Grant),
}

impl Session {
    pub fn new(remote: SocketAddr, limits: &Limits, now_ms: u64) -> Session {
        Session {
            remote,
            standing: Standing::Stranger,
            instance: String::new(),
            registered: false,
            reconnect_seconds: 0,
            takes_offers: false,
            legs: BTreeSet::new(),
            pace: Pace::new(limits, now_ms),
            listens_refused: 0,
            notes: Allowance::default(),
        }
    }

    /// Whether one more refusal of this session is worth a line in the log. All are counted.
    pub fn may_note_refusal(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.notes.since_ms + REFUSALS_NOTED_MS {
            self.notes = Allowance { noted: 0, since_ms: now_ms };
        }
        self.notes.noted += 1;
        self.notes.noted <= REFUSALS_NOTED_MAX
    }

    /// The grant that allows new calls and registration now.
    pub fn grant(&self) -> Result<&Grant, Refusal> {
        match &self.standing {
            Standing::Listening(grant) => Ok(grant),
            Standing::Expired(_) => Err(Refusal::SessionExpired),
            Standing::Stranger => Err(Refusal::NotListening),
        }
    }

    /// Who it is, whether or not its token has run out since.
    pub fn bearer(&self) -> Option<&Grant> {
        match &self.standing {
            Standing::Listening(grant) | Standing::Expired(grant) => Some(grant),
            Standing::Stranger => None,
        }
    }
}

/// A token bucket over frames.
#[derive(Debug)]
pub struct Pace {
    /// Frames that may come now, in thousandths.
    millis: u64,
    filled_ms: u64,
    refused: u32,
    told_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Drop the frame and say so.
    Refuse,
    /// Drop it; the client was told within the last second.
    Drop,
    /// It does not listen: close it.
    Close,
}

const TOLD_AGAIN_MS: u64 = 1000;

impl Pace {
    fn new(limits: &Limits, now_ms: u64) -> Pace {
        Pace { millis: u64::from(limits.frames_burst_max) * 1000, filled_ms: now_ms, refused: 0, told_ms: None }
    }

    pub fn frame(&mut self, limits: &Limits, now_ms: u64) -> Verdict {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let filled = self.millis.saturating_add(elapsed_ms.saturating_mul(u64::from(limits.frames_per_second_max)));
        self.millis = filled.min(u64::from(limits.frames_burst_max) * 1000);
        if self.millis >= 1000 {
            self.millis -= 1000;
            self.refused = 0;
            return Verdict::Pass;
        }
        self.refused += 1;
        if self.refused > limits.frames_refused_max {
            return Verdict::Close;
        }
        if self.told_ms.is_some_and(|told| now_ms < told + TOLD_AGAIN_MS) {
            return Verdict::Drop;
        }
        self.told_ms = Some(now_ms);
        Verdict::Refuse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_flood_is_told_once_and_then_closed() {
        let limits =
            Limits { frames_per_second_max: 10, frames_burst_max: 3, frames_refused_max: 2, ..Limits::default() };
        let mut pace = Pace::new(&limits, 0);
        let verdicts: Vec<_> = (0..6).map(|_| pace.frame(&limits, 0)).collect();
        use Verdict::*;
        assert_eq!(verdicts, [Pass, Pass, Pass, Refuse, Drop, Close]);
        assert_eq!(pace.frame(&limits, 100), Pass);
    }
}
