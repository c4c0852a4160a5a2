//! `delete`: a call ends, or a branch of it, now or after a while.
//!
//! Input: which call and, if said, which party. Output: the last figures, if a party was named, as rtpengine has it. Owns nothing.

use super::call_id;
use crate::call::Call;
use crate::core::{Await, Figured, Later, NgCore, Outcome};
use crate::dictionary::Dict;
use crate::effect::Turn;
use crate::error::NgError;
use crate::options::Options;
use crate::party::PartyId;
use crate::reply::Reply;
use crate::timers::Timer;
use crosspoint_contract::CallKey;

/// What a request means.
struct Target {
    /// Whom it ends.
    ends: Vec<PartyId>,
    /// Whose figures it is told. Nobody's if it named nobody.
    tells: Option<Vec<PartyId>>,
}

impl NgCore {
    pub(super) fn delete(&mut self, options: &Options, turn: &mut Turn) -> Result<Outcome, NgError> {
        let id = call_id(options)?;
        let found = self.call_by_id(id).and_then(|key| Some((key, target(self.calls.get(&key)?, options)?)));
        let Some((key, target)) = found else {
            return match options.fatal {
                true => Err(NgError::CallNotFound),
                false => Ok(Outcome::Reply(Reply::warning(NgError::CallNotFound))),
            };
        };
        let delay_s = options.delete_delay_s.unwrap_or(i64::from(self.settings.delete_delay_s));
        match u64::try_from(delay_s) {
            Ok(0) | Err(_) => self.delete_now(key, target, options, turn),
            Ok(delay_s) => self.delete_later(key, target, delay_s, options, turn),
        }
    }

    fn delete_later(
        &mut self,
        key: CallKey,
        target: Target,
        delay_s: u64,
        options: &Options,
        turn: &mut Turn,
    ) -> Result<Outcome, NgError> {
        let at_ms = turn.now.monotonic_ms + delay_s.min(86_400) * 1000;
        if let Some(call) = self.calls.get_mut(&key) {
            for party in target.ends {
                call.parties[party].delete_at(at_ms);
            }
        }
        self.timers.set_earlier(Timer::Delete(key), at_ms);
        match target.tells.filter(|_| !options.fast) {
            Some(parties) => Ok(self.tell_figures(key, Some(parties), Vec::new(), turn)),
            None => Ok(Outcome::Reply(Reply::ok(Dict::new()))),
        }
    }

    fn delete_now(
        &mut self,
        key: CallKey,
        target: Target,
        options: &Options,
        turn: &mut Turn,
    ) -> Result<Outcome, NgError> {
        let is_whole = self.calls.get(&key).is_some_and(|call| call.is_over_without(&target.ends));
        let tells = target.tells.filter(|_| !options.fast && self.orders.is_attached());
        match (is_whole, tells) {
            (true, Some(parties)) => Ok(self.end_with_figures(key, parties, turn)),
            (false, Some(parties)) => Ok(self.tell_figures(key, Some(parties), target.ends, turn)),
            (_, None) => {
                self.delete_parties(key, &target.ends, turn);
                Ok(Outcome::Reply(Reply::ok(Dict::new())))
            }
        }
    }

    /// The call is gone at once; the reply follows with the figures that its legs say last.
    fn end_with_figures(&mut self, key: CallKey, parties: Vec<PartyId>, turn: &mut Turn) -> Outcome {
        self.statistics.sessions_ended += 1;
        match self.take_leave(key, Some(parties), turn) {
            Some(later) => Outcome::Later(Box::new(later)),
            None => Outcome::Reply(Reply::ok(Dict::new())),
        }
    }

    /// The figures of a call that lives, or of some parties of it, and after that the end of some.
    pub(super) fn tell_figures(
        &mut self,
        key: CallKey,
        parties: Option<Vec<PartyId>>,
        then_delete: Vec<PartyId>,
        turn: &mut Turn,
    ) -> Outcome {
        let wait = self.next_wait();
        let remaining = self.order_figures(key, wait, turn);
        let what = Await { call: Figured::Live(key), parties, then_delete };
        Outcome::Later(Box::new(Later { id: wait, remaining, what }))
    }
}

/// Whom a request names, as rtpengine looks for them: by to-tag, else by branch, else by from-tag. `None`: nobody that the
/// call has.
fn target(call: &Call, options: &Options) -> Option<Target> {
    let named = |tag: &Option<String>| tag.as_deref().filter(|tag| !tag.is_empty()).map(|tag| call.party_by_tag(tag));
    let Some(from) = named(&options.from_tag) else {
        return Some(Target { ends: (0..call.parties.len()).collect(), tells: None });
    };
    let of_branch = || of_branch(call, from, options);
    let (ended, told) = match named(&options.to_tag) {
        Some(to) => (to.or_else(of_branch).or_else(|| alone_with_a_nameless(call, from?)), to),
        None => (of_branch().or(from), from),
    };
    let told = told.map_or_else(Vec::new, |party| told_with(call, party));
    Some(Target { ends: with_the_lonely(call, ended?), tells: Some(told) })
}

/// The party of that branch, if the request names one and the other, where the call has it, hears it.
fn of_branch(call: &Call, other: Option<PartyId>, options: &Options) -> Option<PartyId> {
    let branch = options.via_branch.as_deref()?;
    let hears = |id: PartyId| other.is_none_or(|other| call.parties[other].hears(id));
    (0..call.parties.len()).find(|id| call.parties[*id].via_branch.as_deref() == Some(branch) && hears(*id))
}

/// A caller whose only partner has not answered yet: whatever its tag will have been, the request means that one.
fn alone_with_a_nameless(call: &Call, caller: PartyId) -> Option<PartyId> {
    let mut partners = (0..call.parties.len()).filter(|id| *id != caller && call.are_in_dialogue(*id, caller));
    let partner = partners.next().filter(|id| call.parties[*id].tag.is_empty())?;
    partners.next().is_none().then_some(partner)
}

/// A party, and whom it hears.
pub(super) fn told_with(call: &Call, party: PartyId) -> Vec<PartyId> {
    std::iter::once(party).chain(call.parties[party].sources.iter().map(|source| source.party)).collect()
}

/// A party, and those who are left in dialogue with nobody when it is gone.
fn with_the_lonely(call: &Call, party: PartyId) -> Vec<PartyId> {
    let is_linked = |a: PartyId, b: PartyId| call.are_in_dialogue(a, b);
    let lives = |id: PartyId| id != party && call.parties[id].deleted.is_none();
    let all = 0..call.parties.len();
    let is_lonely = |id: PartyId| {
        lives(id) && is_linked(id, party) && !all.clone().any(|other| lives(other) && is_linked(id, other))
    };
    std::iter::once(party).chain(all.clone().filter(|id| is_lonely(*id))).collect()
}
