//! Sessions: sockets open, show tokens, register for calls, renew, expire, close.

use super::Core;
use super::effect::Level;
use super::input::SessionId;
use super::limits::{LISTENS_REFUSED_MAX, NAME_BYTES_MAX, RECONNECT_SECONDS_BOUND, ROUTE_LIFE_MS, ROUTE_RENEW_MS};
use super::message::{Listen, Register, ToClient};
use super::refusal::Refusal;
use super::route::{Route, RouteKey, RouteState};
use super::session::{Session, Standing};
use super::timers::Timer;
use super::token::{self, Grant};
use super::turn::Turn;
use std::net::SocketAddr;

/// RFC 6455 §7.4.1 and its registry.
pub const CLOSE_GOING_AWAY: u16 = 1001;
pub const CLOSE_POLICY: u16 = 1008;
pub const CLOSE_TRY_LATER: u16 = 1013;

impl Core {
    pub(super) fn session_opened(&mut self, turn: &mut Turn, session: SessionId, remote: SocketAddr) {
        if self.closing {
            self.count(Refusal::ShuttingDown);
            return turn.close(session, CLOSE_GOING_AWAY, "the server is shutting down");
        }
        if self.sessions.len() >= self.config.limits.sessions_max {
            self.count(Refusal::Overloaded);
            turn.close(session, CLOSE_TRY_LATER, "as many connections as allowed are open");
            return;
        }
        let now_ms = turn.now.monotonic_ms;
        self.sessions.insert(session, Session::new(remote, &self.config.limits, now_ms));
        self.timers.set(Timer::Listen(session), now_ms + self.config.limits.listen_ms_max);
    }

    /// A token, at first or anew. The session's calls and registration stay.
    pub(super) fn listen(&mut self, turn: &mut Turn, session: SessionId, listen: Listen) {
        match self.check_listen(turn, session, &listen) {
            Ok(grant) => self.listening(turn, session, listen, grant),
            Err(refusal) => {
                self.refuse_listen(turn, session, refusal);
                self.count_refused_listen(turn, session);
            }
        }
    }

    fn check_listen(&self, turn: &Turn, session: SessionId, listen: &Listen) -> Result<Grant, Refusal> {
        let grant = token::verify(&listen.token, &self.keys, &self.config.limits, turn.now.unix_ms)?;
        let bearer = self.sessions.get(&session).and_then(Session::bearer);
        match bearer {
            // One socket is one client: a token of another may not take over its calls.
            Some(old) if (&old.identity, &old.account_sid) != (&grant.identity, &grant.account_sid) => {
                Err(Refusal::TokenIdentity)
            }
            Some(_) => Ok(grant),
            None if self.clients.sessions_of(&grant.client()) >= self.config.limits.sessions_per_identity_max => {
                Err(Refusal::TooManySessions)
            }
            None => Ok(grant),
        }
    }

    pub(super) fn refuse_listen(&mut self, turn: &mut Turn, session: SessionId, refusal: Refusal) {
        self.count(refusal);
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.may_note_refusal(turn.now.monotonic_ms) {
            turn.note(Level::Info, "token_refused", &[("why", &refusal.name()), ("remote", &entry.remote)]);
        }
        turn.send(session, &ToClient::Error { refusal, callsid: None, voiceeventsid: None });
    }

    /// Each token costs us a signature's check: a session that goes on showing bad ones is closed, unless calls hang
    /// on it.
    fn count_refused_listen(&mut self, turn: &mut Turn, session: SessionId) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.listens_refused += 1;
        if entry.listens_refused >= LISTENS_REFUSED_MAX && entry.legs.is_empty() {
            turn.close(session, CLOSE_POLICY, "too many access tokens were refused");
        }
    }

    /// What a session has shown of itself; who it is counts among the sessions of its client.
    pub(super) fn set_standing(&mut self, session: SessionId, standing: Standing) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let before = entry.bearer().map(Grant::client);
        entry.standing = standing;
        let after = entry.bearer().map(Grant::client);
        if before == after {
            return;
        }
        if let Some(name) = before {
            self.clients.remove_session(&name);
        }
        if let Some(name) = after {
            self.clients.add_session(name);
        }
    }

    fn listening(&mut self, turn: &mut Turn, session: SessionId, listen: Listen, grant: Grant) {
        let fresh_instance = self.draw_sid("IN");
        let reconnect_max = self.config.reconnect_seconds_max.min(RECONNECT_SECONDS_BOUND);
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.instance.is_empty() {
            let given = listen.instance.filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
            entry.instance = given.unwrap_or(fresh_instance);
        }
        // A float that is negative or no number becomes 0.
        entry.takes_offers = listen.reinvite;
        entry.reconnect_seconds = listen.reconnect_timeout.map_or(reconnect_max, |s| s as u32).min(reconnect_max);
        let connected_until = grant.expires_unix_ms;
        let connected = ToClient::Connected {
            region: self.config.region.clone(),
            gateway: self.config.gateway.clone(),
            identity: grant.identity.clone(),
            instance: entry.instance.clone(),
            ttl_s: connected_until.saturating_sub(turn.now.unix_ms) / 1000,
        };
        let loses_registration = entry.registered && !grant.incoming;
        entry.listens_refused = 0;
        self.set_standing(session, Standing::Listening(grant));
        self.timers.cancel(Timer::Listen(session));
        let leeway_ms = self.config.limits.token_leeway_s * 1000;
        let expires_ms = (connected_until + leeway_ms).saturating_sub(turn.now.unix_ms);
        self.timers.set(Timer::TokenExpires(session), turn.now.monotonic_ms + expires_ms);
        turn.send(session, &connected);
        if loses_registration {
            self.unregister(session);
            turn.send(session, &ToClient::Offline);
        }
    }

    pub(super) fn register(&mut self, turn: &mut Turn, session: SessionId, register: Register) {
        if !register.media.audio {
            self.unregister(session);
            turn.send(session, &ToClient::Offline);
            return;
        }
        match self.check_register(session) {
            Ok(()) => self.registered(turn, session),
            Err(refusal) => {
                self.count(refusal);
                turn.send(session, &ToClient::Error { refusal, callsid: None, voiceeventsid: None });
            }
        }
    }

    fn check_register(&self, session: SessionId) -> Result<(), Refusal> {
        let entry = self.sessions.get(&session).ok_or(Refusal::NotListening)?;
        if entry.grant()?.incoming { Ok(()) } else { Err(Refusal::NoIncomingGrant) }
    }

    fn registered(&mut self, turn: &mut Turn, session: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.registered = true;
        }
        self.put_route(session, RouteState::Available, turn.now.unix_ms + ROUTE_LIFE_MS);
        if !self.timers.is_set(Timer::Routes) {
            self.timers.set(Timer::Routes, turn.now.monotonic_ms + ROUTE_RENEW_MS);
        }
        turn.send(session, &ToClient::Ready);
    }

    fn put_route(&mut self, session: SessionId, state: RouteState, expires_unix_ms: u64) {
        let Some(route) = self.route_of(session, state, expires_unix_ms) else { return };
        let key = route.key();
        // An instance that comes back on another socket takes its route along.
        if let Some(earlier) = self.sockets.insert(key, session).filter(|earlier| *earlier != session)
            && let Some(earlier) = self.sessions.get_mut(&earlier)
        {
            earlier.registered = false;
        }
        self.registry.put(route);
    }

    fn route_of(&self, session: SessionId, state: RouteState, expires_unix_ms: u64) -> Option<Route> {
        let entry = self.sessions.get(&session)?;
        let bearer = entry.bearer()?;
        Some(Route {
            account_sid: bearer.account_sid.clone(),
            client: bearer.identity.clone(),
            instance: entry.instance.clone(),
            gateway: self.config.gateway.clone(),
            region: self.config.region.clone(),
            state,
            expires_unix_ms,
        })
    }

    /// The session takes no calls any more; its route goes.
    pub(super) fn unregister(&mut self, session: SessionId) {
        if let Some(key) = self.route_key_of(session)
            && self.sockets.get(&key) == Some(&session)
        {
            self.sockets.remove(&key);
            self.registry.remove(&key);
        }
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.registered = false;
        }
    }

    fn route_key_of(&self, session: SessionId) -> Option<RouteKey> {
        self.route_of(session, RouteState::Available, 0).map(|route| route.key())
    }

    /// Soft state: what we own is put again, what nobody owns is forgotten.
    pub(super) fn renew_routes(&mut self, turn: &mut Turn) {
        let owned: Vec<_> = self.sockets.values().copied().collect();
        for session in &owned {
            self.put_route(*session, RouteState::Available, turn.now.unix_ms + ROUTE_LIFE_MS);
        }
        self.registry.expire(turn.now.unix_ms);
        if !owned.is_empty() || !self.registry.is_empty() {
            self.timers.set(Timer::Routes, turn.now.monotonic_ms + ROUTE_RENEW_MS);
        }
    }

    /// A session that shows no token is closed, unless calls hang on it.
    pub(super) fn listen_overdue(&mut self, turn: &mut Turn, session: SessionId) {
        let Some(entry) = self.sessions.get(&session) else { return };
        if matches!(entry.standing, Standing::Listening(_)) {
            return;
        }
        if entry.legs.is_empty() {
            turn.close(session, CLOSE_POLICY, "no valid access token was given in time");
        } else {
            self.timers.set(Timer::Listen(session), turn.now.monotonic_ms + self.config.limits.listen_ms_max);
        }
    }

    pub(super) fn token_expired(&mut self, turn: &mut Turn, session: SessionId) {
        self.unregister(session);
        if let Some(Ok(grant)) = self.sessions.get(&session).map(|s| s.grant().cloned()) {
            self.set_standing(session, Standing::Expired(grant));
        }
        self.timers.set(Timer::Listen(session), turn.now.monotonic_ms + self.config.limits.listen_ms_max);
        self.refuse_listen(turn, session, Refusal::TokenExpired);
    }

    pub(super) fn session_closed(&mut self, turn: &mut Turn, session: SessionId) {
        let Some(legs) = self.sessions.get(&session).map(|s| s.legs.clone()) else { return };
        let reconnect_ms = self.sessions.get(&session).map_or(0, |s| u64::from(s.reconnect_seconds) * 1000);
        let keeps_calls = legs.iter().any(|leg| self.leg(*leg).is_some_and(|l| l.is_established())) && reconnect_ms > 0;
        let away = self
            .sessions
            .get(&session)
            .filter(|s| s.registered && keeps_calls)
            .and_then(|_| self.route_of(session, RouteState::Away, turn.now.unix_ms + reconnect_ms));
        self.forget_session(session);
        if let Some(route) = away {
            self.registry.put(route);
        }
        for leg in legs {
            self.leg_lost_socket(turn, leg);
        }
    }

    /// Its registration, name and timers; its legs stay as they are.
    pub(super) fn forget_session(&mut self, session: SessionId) {
        self.unregister(session);
        self.set_standing(session, Standing::Stranger);
        self.sessions.remove(&session);
        self.timers.cancel(Timer::Listen(session));
        self.timers.cancel(Timer::TokenExpires(session));
    }
}
