//! What each client holds, so that asking costs what it holds and not what everybody holds.
//!
//! Input: sessions and legs as they come and go, each under its client. Output: how many sessions, which legs. Owns the
//! index only; what a session or a leg is stands elsewhere.

use crosspoint_contract::LegId;
use std::collections::{BTreeSet, HashMap};

/// A client of an account: account SID and identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientName {
    pub account_sid: String,
    pub identity: String,
}

#[derive(Debug, Default)]
pub struct Clients {
    by_name: HashMap<ClientName, Holdings>,
}

#[derive(Debug, Default)]
struct Holdings {
    sessions: usize,
    legs: BTreeSet<LegId>,
}

impl ClientName {
    pub fn new(account_sid: &str, identity: &str) -> ClientName {
        ClientName { account_sid: account_sid.to_owned(), identity: identity.to_owned() }
    }
}

impl Clients {
    pub fn add_session(&mut self, name: ClientName) {
        self.by_name.entry(name).or_default().sessions += 1;
    }

    pub fn remove_session(&mut self, name: &ClientName) {
        self.change(name, |holdings| holdings.sessions -= 1);
    }

    pub fn add_leg(&mut self, name: ClientName, leg: LegId) {
        self.by_name.entry(name).or_default().legs.insert(leg);
    }

    pub fn remove_leg(&mut self, name: &ClientName, leg: LegId) {
        self.change(name, |holdings| {
            holdings.legs.remove(&leg);
        });
    }

    pub fn sessions_of(&self, name: &ClientName) -> usize {
        self.by_name.get(name).map_or(0, |holdings| holdings.sessions)
    }

    /// Of calls that have not ended, those included that only ring.
    pub fn legs_of(&self, name: &ClientName) -> impl Iterator<Item = LegId> {
        self.by_name.get(name).into_iter().flat_map(|holdings| &holdings.legs).copied()
    }

    /// Clients that hold anything.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    fn change(&mut self, name: &ClientName, change: impl FnOnce(&mut Holdings)) {
        let Some(holdings) = self.by_name.get_mut(name) else { return };
        change(holdings);
        if holdings.sessions == 0 && holdings.legs.is_empty() {
            self.by_name.remove(name);
        }
    }
}
