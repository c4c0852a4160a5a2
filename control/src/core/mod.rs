//! The control plane's decisions, without socket, clock, thread, random source or `async`.
//!
//! One entrance, [`Core::handle`]: a fact comes in as an [`Input`] with the time it came at, what is to be done about
//! it goes out as [`Effect`]s. Nobody waits in here. What takes time (the dataplane, a client) is asked by an effect
//! and answers as a fresh input; what remembers the question is the state of a call or the [`orders`] under way.
//!
//! The journey of a call:
//!
//! ```text
//!   SessionFrame ──▶ message ──▶ session ──▶ token, admission ──▶ route ──▶ call ──▶ path, sdp ──▶ effects
//!
//!   caller              core                       dataplane               callee's instances
//!     │ listen ──────────▶│ token                        │                        │
//!     │◀─────── connected │                              │       listen, register │
//!     │ invite(offer) ───▶│ admission, route             │◀───────────────────────│
//!     │                   │ OpenLeg caller ─────────────▶│                        │
//!     │                   │◀────────── Opened            │                        │
//!     │                   │ OpenLeg for each instance ──▶│                        │
//!     │                   │◀────────── Opened            │                        │
//!     │                   │ invite(offer, sealed token) ─────────────────────────▶│ all ring
//!     │◀───────── ringing │                              │                        │
//!     │                   │◀──────────────────────────────────────── answer(sdp)  │ first one
//!     │                   │ cancel ──────────────────────────────────────────────▶│ the others
//!     │                   │ SetRemote ×2, Bridge ───────▶│                        │
//!     │                   │◀────────── Ok ×3             │                        │
//!     │◀──── answer(sdp, sealed token)                   │                        │
//!     │ ═══════════════════════ media ══════════════════▶│══════════════════════▶ │
//!     │ hangup ──────────▶│ CloseLeg ×2 ────────────────▶│                        │
//!     │                   │ hangup ──────────────────────────────────────────────▶│
//!     │                   │◀────────── Report ×2         │                        │
//!     │                   │ WriteRecord                  │                        │
//! ```
//!
//! Owns every state of control: sessions, routes, calls, orders, timers. Deliberately not: any IO, the store's format,
//! HTTP, and whatever a media packet is.

mod admission;
mod adopt;
mod answer;
mod bridge_token;
mod call;
mod clients;
pub mod config;
mod dataplane;
mod departed;
pub mod destination;
mod directions;
pub mod effect;
mod ending;
mod form;
mod hours;
pub mod input;
mod invite;
pub mod keys;
pub mod limits;
mod listen;
pub mod message;
pub mod metrics;
mod orders;
pub mod path;
mod pattern;
pub mod record;
pub mod refusal;
mod reoffer;
mod resume;
mod revocation;
pub mod route;
pub mod sdp;
mod session;
mod talk;
mod timers;
pub mod token;
mod turn;

#[cfg(test)]
mod border_tests;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod scenario;

use bridge_token::Sealer;
use call::{Call, CallState, Leg, LegEvent, LegState};
use clients::{ClientName, Clients};
use config::CoreConfig;
use crosspoint_contract::{CallKey, Generation, LegId};
use departed::Departed;
use effect::{Effect, Level};
use ending::Ending;
use input::{Input, Now, SessionId};
use keys::KeyTable;
use message::{FromClient, ToClient};
use metrics::{Counters, Gauges};
use orders::Orders;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use record::LiveCall;
use refusal::Refusal;
use route::{EmbeddedRegistry, Route, RouteKey, RouteRegistry};
use session::{Session, Verdict};
use std::collections::{HashMap, HashSet};
use timers::{Timer, Timers};
use turn::Turn;

/// Everything that control knows and decides. Calling order: [`Input::KeysChanged`] and [`Input::Restored`] first, then
/// anything; after each `handle`, carry out the effects in order and arm a timer for [`Core::next_deadline`].
pub struct Core {
    config: CoreConfig,
    counters: Counters,
    random: ChaCha20Rng,
    sealer: Sealer,
    keys: KeyTable,
    sessions: HashMap<SessionId, Session>,
    registry: Box<dyn RouteRegistry>,
    /// Which session serves a route of ours.
    sockets: HashMap<RouteKey, SessionId>,
    /// Who holds which sessions and legs.
    clients: Clients,
    calls: HashMap<CallKey, Call>,
    /// Of these, those that were answered.
    calls_answered: usize,
    /// Legs of calls that have not ended.
    legs: HashMap<LegId, CallKey>,
    /// The same by the name their clients use.
    sids: HashMap<String, LegId>,
    /// Legs of answered calls whose media has not connected.
    handshakes: HashSet<LegId>,
    departed: Departed,
    orders: Orders,
    timers: Timers,
    /// We are ending: nobody is let in any more.
    closing: bool,
    /// The dataplane that was attached last, unless it is known to be gone.
    dataplane: Option<Generation>,
}

impl Core {
    /// `seed` feeds every SID; `node_key` seals bridge tokens and must outlive the process, or calls cannot be resumed.
    pub fn new(config: CoreConfig, seed: [u8; 32], node_key: [u8; 32]) -> Core {
        Core {
            config,
            counters: Counters::default(),
            random: ChaCha20Rng::from_seed(seed),
            sealer: Sealer::new(node_key),
            keys: KeyTable::default(),
            sessions: HashMap::new(),
            registry: Box::new(EmbeddedRegistry::default()),
            sockets: HashMap::new(),
            clients: Clients::default(),
            calls: HashMap::new(),
            calls_answered: 0,
            legs: HashMap::new(),
            sids: HashMap::new(),
            handshakes: HashSet::new(),
            departed: Departed::default(),
            orders: Orders::default(),
            timers: Timers::default(),
            closing: false,
            dataplane: None,
        }
    }

    /// Takes one fact and appends what is to be done about it.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let turn = &mut Turn { now, effects };
        match input {
            Input::Restored { calls } => self.restored(turn, calls),
            Input::KeysChanged(keys) => self.keys_changed(turn, keys),
            Input::SessionOpened { session, remote } => self.session_opened(turn, session, remote),
            Input::SessionFrame { session, text } => self.frame(turn, session, &text),
            Input::SessionClosed { session } => self.session_closed(turn, session),
            Input::DataplaneAttached { hello, snapshot } => self.attached(turn, hello, snapshot),
            Input::DataplaneDetached => self.detached(turn),
            Input::DataplaneLost { why } => self.lost(turn, &why),
            Input::DataplaneAnswered(answer) => self.dataplane_answered(turn, answer),
            Input::DataplaneSaid(event) => self.dataplane_said(turn, event),
            Input::DeadlineReached => {}
            Input::HangUp { call_sid } => self.hang_up_by_operator(turn, &call_sid),
            Input::ShutDown => self.shut_down(turn),
            Input::Leave => self.leave(turn),
        }
        while let Some(timer) = self.timers.pop(now.monotonic_ms) {
            self.due(turn, timer);
        }
        self.watch_for_mute();
    }

    /// Monotonic milliseconds at which [`Input::DeadlineReached`] is due.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    pub fn gauges(&self) -> Gauges {
        Gauges {
            sessions: self.sessions.len(),
            registrations: self.sockets.len(),
            calls: self.calls.len(),
            calls_answered: self.calls_answered,
            legs: self.legs.len(),
            handshakes: self.handshakes.len(),
            dataplane_attached: self.orders.is_attached(),
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn config(&self) -> &CoreConfig {
        &self.config
    }

    /// Calls in progress, as they would be saved, oldest first.
    pub fn calls(&self) -> Vec<LiveCall> {
        let mut calls: Vec<_> =
            self.calls.values().filter(|c| c.state != CallState::Ended).map(Call::to_live).collect();
        calls.sort_by(|a, b| (a.started_unix_ms, &a.call_sid).cmp(&(b.started_unix_ms, &b.call_sid)));
        calls
    }

    /// The routes of a client, expired ones left out.
    pub fn routes_of(&self, now: Now, account_sid: &str, client: &str) -> Vec<Route> {
        self.registry.routes_of(account_sid, client, now.unix_ms)
    }

    fn frame(&mut self, turn: &mut Turn, session: SessionId, text: &str) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        self.counters.frames_received += 1;
        match entry.pace.frame(&self.config.limits, turn.now.monotonic_ms) {
            Verdict::Pass => self.message_in(turn, session, text),
            Verdict::Refuse => self.refuse_frame(turn, session, Refusal::FramesTooFast, None),
            Verdict::Drop => self.count(Refusal::FramesTooFast),
            Verdict::Close => {
                self.count(Refusal::FramesTooFast);
                turn.close(session, listen::CLOSE_POLICY, "frames came faster than allowed");
            }
        }
    }

    fn message_in(&mut self, turn: &mut Turn, session: SessionId, text: &str) {
        if text.len() > self.config.limits.message_bytes_max {
            return self.refuse_frame(turn, session, Refusal::ParameterTooLong, None);
        }
        match FromClient::parse(text) {
            Ok(FromClient::Listen(listen)) => self.listen(turn, session, listen),
            Ok(FromClient::Register(register)) => self.register(turn, session, register),
            Ok(FromClient::Invite(invite)) => self.invite(turn, session, invite),
            Ok(FromClient::Answer(answer)) => self.answer(turn, session, answer),
            Ok(FromClient::Reinvite(reinvite)) => self.reinvite(turn, session, reinvite),
            Ok(FromClient::Dtmf(dtmf)) => self.dtmf(turn, session, dtmf),
            Ok(FromClient::HangUp(named)) => self.hang_up(turn, session, named),
            Ok(FromClient::Reject(named)) => self.reject(turn, session, named),
            Ok(FromClient::Message(message)) => self.message(turn, session, message),
            Ok(FromClient::Heartbeat) => {}
            Ok(FromClient::Unknown(kind)) => turn.note(Level::Debug, "frame_unknown", &[("type", &kind)]),
            Err((refusal, callsid)) => self.refuse_frame(turn, session, refusal, callsid),
        }
    }

    fn refuse_frame(&mut self, turn: &mut Turn, session: SessionId, refusal: Refusal, callsid: Option<String>) {
        self.count(refusal);
        turn.send(session, &ToClient::Error { refusal, callsid, voiceeventsid: None });
    }

    fn due(&mut self, turn: &mut Turn, timer: Timer) {
        match timer {
            Timer::Listen(session) => self.listen_overdue(turn, session),
            Timer::TokenExpires(session) => self.token_expired(turn, session),
            Timer::Ring(key) => self.end_call(turn, key, Ending::NoAnswer),
            Timer::CallEnds(key) => self.end_call(turn, key, Ending::LengthLimit),
            Timer::Reconnect(leg) => self.client_did_not_return(turn, leg),
            Timer::MediaGone(leg) => self.end_call_of_leg(turn, leg, Ending::HungUp),
            Timer::Offer(leg) => self.offer_overdue(turn, leg),
            Timer::Reports(key) => self.write_record(turn, key),
            Timer::Orphan(leg) => self.orphan_overdue(turn, leg),
            Timer::Routes => self.renew_routes(turn),
            Timer::Orders => self.orders.resume(turn),
            Timer::Mute => self.check_mute(turn),
        }
    }

    fn hang_up_by_operator(&mut self, turn: &mut Turn, call_sid: &str) {
        if let Some(leg) = self.sids.get(call_sid).copied() {
            self.end_call_of_leg(turn, leg, |_| Ending::Operator);
        }
    }

    /// The shell exits after this, so records do not wait for last reports.
    fn shut_down(&mut self, turn: &mut Turn) {
        self.closing = true;
        self.end_all(turn, Ending::ShutDown);
        let keys: Vec<_> = self.calls.keys().copied().collect();
        for key in keys {
            self.write_record(turn, key);
        }
        for session in self.sessions_in_order() {
            turn.close(session, listen::CLOSE_GOING_AWAY, "the server is shutting down");
        }
    }

    /// Calls that nobody has answered cannot be handed on: neither side has a token to come back with.
    fn leave(&mut self, turn: &mut Turn) {
        self.closing = true;
        let unanswered: Vec<_> = self.calls.values().filter(|call| !call.is_answered()).map(|call| call.key).collect();
        for key in unanswered {
            self.end_call(turn, key, Ending::ShutDown);
        }
        for session in self.sessions_in_order() {
            turn.close(session, listen::CLOSE_GOING_AWAY, "the server restarts; calls go on");
            self.forget_session(session);
        }
        for leg in self.calls.values_mut().flat_map(|call| &mut call.legs) {
            leg.session = None;
            if leg.state == LegState::Up {
                leg.advance(LegEvent::SocketLost);
            }
        }
    }

    fn sessions_in_order(&self) -> Vec<SessionId> {
        let mut sessions: Vec<_> = self.sessions.keys().copied().collect();
        sessions.sort_unstable();
        sessions
    }

    /// The leg that a session means by `callsid`: its own, or one of its client that lost its socket.
    fn resolve(&self, session: SessionId, callsid: &str) -> Option<LegId> {
        let entry = self.sessions.get(&session)?;
        let bearer = entry.bearer()?;
        let temporary = || {
            let is_it = |id: &&LegId| self.leg(**id).is_some_and(|leg| leg.client_sid.as_deref() == Some(callsid));
            entry.legs.iter().find(is_it).copied()
        };
        let id = self.sids.get(callsid).copied().or_else(temporary)?;
        let call = self.calls.get(self.legs.get(&id)?)?;
        let leg = call.leg(id)?;
        let same_client = leg.identity == bearer.identity && call.account_sid == bearer.account_sid;
        let is_theirs = leg.session.map_or(same_client, |owner| owner == session);
        is_theirs.then_some(id)
    }

    fn leg(&self, id: LegId) -> Option<&Leg> {
        self.calls.get(self.legs.get(&id)?)?.leg(id)
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.calls.get_mut(self.legs.get(&id)?)?.leg_mut(id)
    }

    fn hold_call(&mut self, call: Call) {
        self.calls_answered += usize::from(call.is_answered());
        self.calls.insert(call.key, call);
    }

    /// Makes the legs of a call findable by id, by name, by client and by session.
    fn reindex(&mut self, key: CallKey) {
        let Some(call) = self.calls.get(&key) else { return };
        for leg in &call.legs {
            self.legs.insert(leg.id, key);
            self.sids.insert(leg.sid.clone(), leg.id);
            self.clients.add_leg(ClientName::new(&call.account_sid, &leg.identity), leg.id);
            if let Some(session) = leg.session.and_then(|session| self.sessions.get_mut(&session)) {
                session.legs.insert(leg.id);
            }
        }
    }

    fn count(&mut self, refusal: Refusal) {
        *self.counters.refusals.entry(refusal.name()).or_default() += 1;
    }

    fn draw(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Without the bit that tells the relay's legs from ours.
    fn draw_leg(&mut self) -> LegId {
        LegId(self.draw() & !crosspoint_ng::LEG)
    }

    fn draw_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// A name nobody can guess: prefix and 32 hex digits.
    fn draw_sid(&mut self, prefix: &str) -> String {
        let bytes: [u8; 16] = self.draw_bytes();
        format!("{prefix}{:032x}", u128::from_be_bytes(bytes))
    }
}
