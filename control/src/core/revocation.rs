//! The table of accounts and keys changes: what stands under a key that is no longer good falls.
//!
//! | under a revoked key, or of a suspended account | when calls of such keys end | when they are kept |
//! |---|---|---|
//! | session | told, closed | told, closed when its calls are over; it may place, answer and resume none |
//! | instance that rings | stops ringing, the others ring on | the same |
//! | call not yet answered, by its caller | ends | ends |
//! | answered call, by either side | ends | goes on |
//!
//! Input: the new table, and calls adopted from a process that may have missed a change. Output: what falls is told and
//! ended by the flows in `listen` and `ending`.

use super::Core;
use super::call::CallState;
use super::effect::Level;
use super::ending::Ending;
use super::input::SessionId;
use super::keys::KeyTable;
use super::listen::CLOSE_POLICY;
use super::record::LegRole;
use super::refusal::Refusal;
use super::session::{Session, Standing};
use super::timers::Timer;
use super::turn::Turn;

impl Core {
    pub(super) fn keys_changed(&mut self, turn: &mut Turn, keys: KeyTable) {
        for key in keys.keys.values().filter(|key| key.material.is_unusable()) {
            turn.note(Level::Warn, "key_unusable", &[("key", &key.sid), ("why", &"its public key cannot be read")]);
        }
        self.keys = keys;
        self.end_fallen_legs(turn);
        let good = |session: &Session| session.grant().ok().map(|grant| grant.key_sid.clone());
        let fallen = |(id, session): (&SessionId, &Session)| Some((*id, self.fallen(&good(session)?)?));
        let fallen: Vec<_> = self.sessions.iter().filter_map(fallen).collect();
        for (session, refusal) in fallen {
            self.session_fell(turn, session, refusal);
        }
    }

    fn session_fell(&mut self, turn: &mut Turn, session: SessionId, refusal: Refusal) {
        self.unregister(session);
        self.refuse_listen(turn, session, refusal);
        let Some(entry) = self.sessions.get(&session) else { return };
        self.timers.cancel(Timer::TokenExpires(session));
        match entry.grant().ok().filter(|_| !entry.legs.is_empty()).cloned() {
            Some(grant) => {
                self.set_standing(session, Standing::Expired(grant));
                self.timers.set(Timer::Listen(session), turn.now.monotonic_ms + self.config.limits.listen_ms_max);
            }
            None => {
                turn.close(session, CLOSE_POLICY, "the key of the access token is no longer valid");
                self.set_standing(session, Standing::Stranger);
            }
        }
    }

    pub(super) fn end_fallen_legs(&mut self, turn: &mut Turn) {
        let calls = self.calls.values().filter(|call| call.state != CallState::Ended);
        let legs = calls.flat_map(|call| call.legs.iter().map(move |leg| (call.key, leg)));
        let fallen = legs.filter_map(|(key, leg)| Some((key, leg, self.fallen(&leg.key_sid)?)));
        let fallen: Vec<_> =
            fallen.map(|(key, leg, refusal)| (key, leg.id, leg.role, leg.is_established(), refusal)).collect();
        for (key, leg, role, is_established, refusal) in fallen {
            match role {
                _ if is_established && !self.config.end_calls_of_revoked_keys => {}
                LegRole::Callee if !is_established => self.cancel_branch_and_go_on(turn, key, leg),
                _ => self.end_call(turn, key, Ending::KeyFallen(role, refusal)),
            }
        }
    }

    /// Why a key is no longer good; `None` while it is, and for calls whose key is not known.
    fn fallen(&self, key_sid: &str) -> Option<Refusal> {
        if key_sid.is_empty() {
            return None;
        }
        let Some(key) = self.keys.keys.get(key_sid).filter(|key| !key.revoked) else {
            return Some(Refusal::KeyRevoked);
        };
        let suspended = self.keys.accounts.get(&key.account_sid).is_none_or(|account| account.suspended);
        suspended.then_some(Refusal::AccountSuspended)
    }
}
