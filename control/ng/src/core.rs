//! The core of the relay: entered by `handle(now, input, effects)`, asked for `next_deadline()`.
//!
//! ```text
//!   Message ─▶ cookies ─▶ message ─▶ request ─▶ commands::* ─┬─▶ Effect::Order …, Effect::Reply
//!                                                            └─▶ Wait (figures, ports) ── answers or deadline ─▶ Reply
//!   Reply of a command with orders ─▶ held until they are answered
//!   DataplaneAnswered, DataplaneSaid ─▶ calls, waits, held replies
//! ```
//!
//! Input: [`Input`]. Output: [`Effect`]s in order. Owns the calls, the ports, the orders under way and the answers that wait.
//! Deliberately not here: sockets, clocks, randomness (a seed comes in once) and what each command does ([`crate::commands`]).

mod adopt;
mod answers;
mod dataplane;
mod due;
mod ended;
mod held;
mod oddities;
#[cfg(test)]
mod scenario;

use crate::call::{Call, Kit};
use crate::commands::Setup;
use crate::cookies::{Arrival, Cookies, Ticket};
use crate::dictionary::Dict;
use crate::effect::{Effect, Input, Level, Load, Now, Peer, Turn};
use crate::error::NgError;
use crate::fragments::Fragments;
use crate::keys::Draw;
use crate::message::{self, Encoding};
use crate::options::Options;
use crate::orders::Orders;
use crate::plan::{LOOP_ATTRIBUTE, Ours};
use crate::ports::Ports;
use crate::reply::Reply;
use crate::request::{Command, Request};
use crate::sdp::SessionDescription;
use crate::settings::Settings;
use crate::statistics::Statistics;
use crate::timers::{Timer, Timers};
use crosspoint_contract::{CallKey, LegId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use adopt::Orphan;
pub(crate) use answers::{Await, Figured, Later, Wait};
use held::{HeldReplies, Words};

/// The relay. One per process; calls are independent of each other.
pub struct NgCore {
    pub(crate) settings: Settings,
    pub(crate) draw: Draw,
    pub(crate) ports: Ports,
    pub(crate) orders: Orders,
    pub(crate) timers: Timers,
    pub(crate) calls: HashMap<CallKey, Call>,
    pub(crate) keys_by_id: HashMap<String, CallKey>,
    /// Calls of this process have greater keys than this.
    first_key: u64,
    last_key: u64,
    cookies: Cookies<Peer>,
    pub(crate) waits: HashMap<u64, Wait>,
    last_wait: u64,
    held: HeldReplies,
    /// Candidates that have overtaken their description.
    pub(crate) fragments: Fragments,
    pub(crate) statistics: Statistics,
    /// What the attached dataplane said of itself.
    pub(crate) dataplane: Option<dataplane::Attached>,
    pub(crate) load: Load,
    /// Legs of ours in the dataplane that belong to no call.
    orphans: BTreeMap<LegId, Orphan>,
    /// Legs that the dataplane was too busy to close.
    unclosed: Vec<LegId>,
    foundation: String,
    instance: String,
    shutting_down: bool,
}

/// A question that is being answered.
#[derive(Debug)]
pub struct Question {
    pub peer: Peer,
    cookie: Option<Box<[u8]>>,
    ticket: Option<Ticket>,
    encoding: Encoding,
    pub command: Option<Command>,
    asked_us: u64,
}

/// What a command comes to.
pub(crate) enum Outcome {
    Reply(Reply),
    /// The reply follows when the dataplane has answered.
    Later(Box<Later>),
    /// An offer or answer, whose reply is written when its orders are taken.
    Setup(Box<Setup>),
}

impl NgCore {
    /// `seed` must come from the system's random source: keys are drawn from it.
    pub fn new(settings: Settings, seed: [u8; 32], now: Now) -> NgCore {
        let mut draw = Draw::seeded(seed);
        let foundation = draw.alphanumeric(16);
        let instance = draw.hexadecimal(6);
        let mut core = NgCore {
            settings,
            draw,
            ports: Ports::default(),
            orders: Orders::default(),
            timers: Timers::default(),
            calls: HashMap::new(),
            keys_by_id: HashMap::new(),
            // Unlike the keys of any earlier process on the same dataplane, unless that one opened 2^19 calls a second.
            first_key: now.unix_s() << 19,
            last_key: now.unix_s() << 19,
            cookies: Cookies::default(),
            waits: HashMap::new(),
            last_wait: 0,
            held: HeldReplies::default(),
            fragments: Fragments::default(),
            statistics: Statistics::new(now),
            dataplane: None,
            load: Load::default(),
            orphans: BTreeMap::new(),
            unclosed: Vec::new(),
            foundation,
            instance,
            shutting_down: false,
        };
        core.configure_ports();
        core
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Calls right now.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// When to enter [`Input::DeadlineReached`], in `Now::monotonic_ms`.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let turn = &mut Turn { now, effects };
        match input {
            Input::Message { from, bytes } => self.take_message(from, bytes, turn),
            Input::Plain { from, bytes } => self.take_payload(from, None, None, bytes, turn),
            Input::CliLine { from, line } => {
                let text = self.cli(line, turn);
                turn.effects.push(Effect::CliReply { to: from, text });
            }
            Input::Scrape { from } => {
                let text = self.prometheus(turn);
                turn.effects.push(Effect::CliReply { to: from, text });
            }
            Input::DataplaneAttached { hello, snapshot } => self.attach(hello, snapshot, turn),
            Input::DataplaneLost => self.detach(turn),
            Input::DataplaneAnswered(answer) => self.take_answer(answer, turn),
            Input::DataplaneSaid(event) => self.take_event(event, turn),
            Input::DeadlineReached => self.act_on_deadlines(turn),
            Input::SettingsChanged(settings) => {
                self.settings = *settings;
                self.configure_ports();
            }
            Input::LoadMeasured(load) => self.load = load,
            Input::ShutDown => self.shut_down(turn),
        }
    }

    fn configure_ports(&mut self) {
        let addresses = self.settings.interfaces.iter().flat_map(|interface| &interface.addresses);
        let addresses = addresses.map(|address| address.local);
        self.ports.configure(addresses, self.settings.port_min, self.settings.port_max, &mut self.draw);
    }

    /// A repetition is answered as the first message was; what has no cookie has nobody to answer to.
    fn take_message(&mut self, from: Peer, bytes: &[u8], turn: &mut Turn) {
        let Some((cookie, payload)) = message::split(bytes) else {
            self.statistics.count_malformed();
            return self.say_malformed(from.address, "no cookie", bytes, turn);
        };
        match self.cookies.arrive(turn.now.monotonic_ms, from.sender(bytes), cookie, from) {
            Arrival::Fresh(ticket) => self.take_payload(from, Some(cookie), Some(ticket), payload, turn),
            Arrival::Answered(bytes) => turn.effects.push(Effect::Reply { to: from, bytes }),
            Arrival::Waiting => {}
        }
    }

    fn take_payload(
        &mut self,
        peer: Peer,
        cookie: Option<&[u8]>,
        ticket: Option<Ticket>,
        payload: &[u8],
        turn: &mut Turn,
    ) {
        let (encoding, dict) = message::decode(payload);
        let cookie = cookie.map(Box::from);
        let mut question = Question { peer, cookie, ticket, encoding, command: None, asked_us: turn.now.unix_us };
        match dict.and_then(|dict: Dict| Request::read(&dict)) {
            Ok(request) => {
                question.command = Some(request.command);
                self.answer(question, Arc::new(request), turn);
            }
            Err(error) => {
                self.say_malformed(peer.address, &error.to_string(), payload, turn);
                self.reply(question, &Reply::error(error), turn);
            }
        }
    }

    fn answer(&mut self, question: Question, request: Arc<Request>, turn: &mut Turn) {
        let call = request.options.call_id.as_deref();
        for warning in &request.options.warnings {
            turn.note(Level::Warn, "option_unknown", call, warning.as_str());
        }
        self.warn_of_names(&request.options, turn);
        if self.is_logged(Level::Debug) {
            turn.note(
                Level::Debug,
                "command",
                call,
                format!("{} from {}", request.command.name(), question.peer.address),
            );
        }
        let orders_before = self.orders.last_given();
        let outcome = self.run(&question.peer, &request, turn);
        // An offer or answer is noted with its reply.
        let is_done = matches!(outcome, Ok(Outcome::Reply(_) | Outcome::Later(_)));
        let noted = call.filter(|_| is_done && request.command.changes_calls()).map(str::to_owned);
        match outcome {
            Ok(Outcome::Reply(reply)) => self.reply_when_done(question, Words::Reply(reply), orders_before, turn),
            Ok(Outcome::Setup(setup)) => self.reply_when_done(question, Words::Setup(setup), orders_before, turn),
            Ok(Outcome::Later(later)) => self.wait(Some(question), *later, turn),
            Err(error) => {
                self.say_refused(question.peer.address, request.command, &request.options, error, turn);
                self.count_refusal(error);
                self.reply(question, &Reply::refusal(error, &request.options), turn);
            }
        }
        if let Some(key) = noted.and_then(|id| self.call_by_id(&id)) {
            self.note_call(key, turn);
        }
    }

    pub(crate) fn count_refusal(&mut self, error: NgError) {
        if error.is_load_limit() {
            self.statistics.sessions_rejected += 1;
        }
    }

    /// The bytes go to whoever asked, and to those who repeated the question meanwhile.
    pub(crate) fn reply(&mut self, question: Question, reply: &Reply, turn: &mut Turn) {
        let took_us = turn.now.unix_us.saturating_sub(question.asked_us);
        self.statistics.count_request(question.command, question.peer.address.ip(), took_us, reply.is_error());
        let bytes: Arc<[u8]> = message::encode(question.cookie.as_deref(), question.encoding, reply).into();
        match question.ticket {
            Some(ticket) => {
                for to in self.cookies.answer(ticket, Arc::clone(&bytes)) {
                    turn.effects.push(Effect::Reply { to, bytes: Arc::clone(&bytes) });
                }
            }
            None => turn.effects.push(Effect::Reply { to: question.peer, bytes }),
        }
    }

    pub(crate) fn call_by_id(&self, id: &str) -> Option<CallKey> {
        self.keys_by_id.get(id).copied()
    }

    /// A call of that id, new if there is none and the limits allow.
    pub(crate) fn call_or_new(&mut self, id: &str, peer: &Peer, turn: &mut Turn) -> Result<CallKey, NgError> {
        if let Some(key) = self.call_by_id(id) {
            return Ok(key);
        }
        crate::limits::admit(self.calls.len(), &self.settings, self.load)?;
        if self.dataplane.is_none() || self.shutting_down {
            return Err(NgError::LoadLimit);
        }
        self.last_key += 1;
        let key = CallKey(self.last_key);
        self.calls.insert(key, Call::new(key, id, peer.address, turn.now.unix_us));
        self.keys_by_id.insert(id.into(), key);
        self.statistics.sessions_managed(self.calls.len());
        self.set_expiry(key, turn);
        Ok(key)
    }

    /// What never came to be a call, or does not matter any more, is one no longer: its legs close, its ports rest.
    pub(crate) fn remove(&mut self, key: CallKey, turn: &mut Turn) {
        let Some(mut call) = self.retire(key) else { return };
        let (mut kit, _) = self.kit();
        for (party, index) in call.media_indices() {
            call.close(party, index, &mut kit, turn);
        }
    }

    /// Takes a call out of all tables; its legs are still open.
    pub(crate) fn retire(&mut self, key: CallKey) -> Option<Call> {
        let call = self.calls.remove(&key)?;
        self.keys_by_id.remove(&call.id);
        for timer in [Timer::Delete(key), Timer::Expire(key), Timer::Silence(key), Timer::Repair(key)] {
            self.timers.cancel(timer);
        }
        Some(call)
    }

    /// The parts that a call acts with, and the calls.
    pub(crate) fn kit(&mut self) -> (Kit<'_>, &mut HashMap<CallKey, Call>) {
        let NgCore { settings, ports, draw, orders, calls, .. } = self;
        (Kit { settings, ports, draw, orders }, calls)
    }

    pub(crate) fn ours(&self, options: &Options) -> Option<Ours> {
        let fingerprint = self.dataplane.as_ref()?.fingerprint(options.dtls_fingerprint);
        let address = self.settings.first_address()?.advertised;
        Some(Ours { fingerprint, foundation: self.foundation.clone(), address, instance: self.instance.clone() })
    }

    /// A description that has passed here before.
    pub(crate) fn is_loop(&self, description: &SessionDescription) -> bool {
        description.attribute(LOOP_ATTRIBUTE) == Some(&self.instance)
    }

    pub(crate) fn next_wait(&mut self) -> u64 {
        self.last_wait += 1;
        self.last_wait
    }
}
