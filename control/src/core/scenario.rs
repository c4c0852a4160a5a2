//! Drives the core through whole calls: a virtual clock, clients that speak JSON, a dataplane that answers at once.
//!
//! ```text
//!   test ──say──▶ World ──SessionFrame──▶ Core ──Send──▶ World.heard(session)
//!                   ▲                       │
//!                   └──DataplaneAnswered────┴──Order──▶ FakeDataplane
//! ```

mod attacks;
mod chance;
mod crossings;
mod endings;
mod fake_dataplane;
mod flow;
mod limits;
mod orders;
mod reoffers;
mod restarts;
mod resumptions;
mod video;

use super::Core;
use super::call::CallState;
use super::config::CoreConfig;
use super::effect::{Effect, Note};
use super::input::{Input, Now, SessionId};
use super::keys::{Account, ApiKey, KeyMaterial, KeyTable};
use super::record::{CallRecord, LiveCall};
use crosspoint_contract::{
    Answer, Command, CommandId, DataplaneHello, Fingerprint, Generation, LegFailure, LegId, Order, Refused, WorkerId,
};
use fake_dataplane::FakeDataplane;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use zeroize::Zeroizing;

pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
pub const OTHER_ACCOUNT: &str = "AC00000000000000000000000000000002";
pub const KEY: &str = "SK00000000000000000000000000000001";
pub const OTHER_KEY: &str = "SK00000000000000000000000000000002";
pub const SECRET: &[u8] = b"a secret of the first account";
pub const OTHER_SECRET: &[u8] = b"a secret of the second account";
/// 2026-11-22 12:00 UTC.
pub const START_UNIX_MS: u64 = 1_795_348_800_000;

pub struct World {
    pub core: Core,
    pub monotonic_ms: u64,
    pub unix_ms: u64,
    pub dataplane: FakeDataplane,
    pub saved: Vec<LiveCall>,
    pub records: Vec<CallRecord>,
    pub notes: Vec<Note>,
    pub closed: HashMap<SessionId, u16>,
    /// How often the dataplane was said to hang.
    pub mutes: u32,
    heard: HashMap<SessionId, Vec<(String, Value)>>,
    sessions: u64,
}

impl World {
    pub fn new() -> World {
        World::with(CoreConfig::default())
    }

    pub fn with(config: CoreConfig) -> World {
        let mut world = World {
            core: Core::new(config, [1; 32], [2; 32]),
            monotonic_ms: 1_000,
            unix_ms: START_UNIX_MS,
            dataplane: FakeDataplane::default(),
            saved: Vec::new(),
            records: Vec::new(),
            notes: Vec::new(),
            closed: HashMap::new(),
            mutes: 0,
            heard: HashMap::new(),
            sessions: 0,
        };
        world.input(Input::KeysChanged(keys()));
        world.attach();
        world
    }

    /// Another control process on the same node, with the calls that were saved, the same dataplane, other sockets.
    pub fn restart_control(&mut self) {
        let calls = self.live_calls();
        self.core = Core::new(self.core.config().clone(), [3; 32], [2; 32]);
        self.monotonic_ms = 50;
        self.heard.clear();
        self.input(Input::KeysChanged(keys()));
        self.input(Input::Restored { calls });
        self.attach();
    }

    /// What the store holds: the last save of each call that has no record.
    pub fn live_calls(&self) -> Vec<LiveCall> {
        let mut calls: BTreeMap<&str, &LiveCall> = BTreeMap::new();
        for call in &self.saved {
            calls.insert(&call.call_sid, call);
        }
        let is_over = |sid: &str| self.records.iter().any(|record| record.call_sid == sid);
        calls.into_iter().filter(|(sid, _)| !is_over(sid)).map(|(_, call)| call.clone()).collect()
    }

    pub fn attach(&mut self) {
        self.dataplane.is_attached = true;
        let hello = DataplaneHello {
            version: crosspoint_contract::VERSION,
            generation: self.dataplane.generation,
            process_id: 1,
            workers: Vec::new(),
            fingerprint: Fingerprint { sha256: [9; 32] },
            certificate_der: Vec::new(),
            ports: crosspoint_contract::PortsHello::default(),
            line: None,
        };
        let snapshot = self.dataplane.snapshot();
        self.input(Input::DataplaneAttached { hello, snapshot });
    }

    pub fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        let now = Now { monotonic_ms: self.monotonic_ms, unix_ms: self.unix_ms };
        self.core.handle(now, input, &mut effects);
        self.check_gauges();
        for effect in effects {
            self.carry_out(effect);
        }
    }

    /// Figures kept up to date equal those counted anew.
    fn check_gauges(&self) {
        let (core, gauges) = (&self.core, self.core.gauges());
        let legs = || core.calls.values().filter(|call| call.state != CallState::Ended).flat_map(|call| &call.legs);
        let handshakes = legs().filter(|leg| leg.is_established() && !leg.connected).count();
        assert_eq!((gauges.legs, gauges.handshakes), (legs().count(), handshakes));
        assert_eq!(gauges.calls_answered, core.calls.values().filter(|call| call.is_answered()).count());
        assert_eq!(gauges.registrations, core.sessions.values().filter(|session| session.registered).count());
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { session, text } => {
                let frame: Value = serde_json::from_str(&text).expect("we send JSON");
                let kind = frame["type"].as_str().expect("with a type").to_owned();
                self.heard.entry(session).or_default().push((kind, frame["payload"].clone()));
            }
            Effect::Close { session, code, .. } => {
                self.closed.insert(session, code);
            }
            Effect::Order(order) if self.dataplane.is_stuck => self.dataplane.unanswered.push(order),
            Effect::Order(order) => self.answer_order(order),
            Effect::DataplaneMute => self.mutes += 1,
            Effect::SaveCall(call) => self.saved.push(*call),
            Effect::WriteRecord(record) => self.records.push(*record),
            Effect::Note(note) => self.notes.push(note),
        }
    }

    fn answer_order(&mut self, order: Order) {
        let result = self.dataplane.obey(&order.command);
        self.input(Input::DataplaneAnswered(Answer { id: order.id, result }));
    }

    /// Answers what waited, in order, and what is ordered because of it.
    pub fn unstick(&mut self) {
        while !self.dataplane.unanswered.is_empty() {
            for order in std::mem::take(&mut self.dataplane.unanswered) {
                self.answer_order(order);
            }
        }
        self.dataplane.is_stuck = false;
    }

    pub fn numbers(&self) -> Vec<CommandId> {
        self.dataplane.unanswered.iter().map(|order| order.id).collect()
    }

    /// Lets time pass, deadline by deadline, as the shell's timer would.
    pub fn pass(&mut self, milliseconds: u64) {
        let end_ms = self.monotonic_ms + milliseconds;
        while let Some(at_ms) = self.core.next_deadline().filter(|at_ms| *at_ms <= end_ms) {
            let step_ms = at_ms.saturating_sub(self.monotonic_ms);
            self.monotonic_ms += step_ms;
            self.unix_ms += step_ms;
            self.input(Input::DeadlineReached);
        }
        self.unix_ms += end_ms - self.monotonic_ms;
        self.monotonic_ms = end_ms;
    }

    pub fn open(&mut self) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.input(Input::SessionOpened { session, remote: "127.0.0.1:5000".parse().expect("an address") });
        session
    }

    pub fn close(&mut self, session: SessionId) {
        self.input(Input::SessionClosed { session });
    }

    pub fn say(&mut self, session: SessionId, kind: &str, payload: Value) {
        let text = json!({ "type": kind, "payload": payload, "version": "1.6" }).to_string();
        self.input(Input::SessionFrame { session, text });
    }

    /// What was sent to a session since it was asked last.
    pub fn heard(&mut self, session: SessionId) -> Vec<(String, Value)> {
        self.heard.remove(&session).unwrap_or_default()
    }

    pub fn kinds(&mut self, session: SessionId) -> Vec<String> {
        self.heard(session).into_iter().map(|(kind, _)| kind).collect()
    }

    /// The payload of the one message of this kind; everything heard is taken.
    pub fn only(&mut self, session: SessionId, kind: &str) -> Value {
        let heard = self.heard(session);
        let mut found = heard.iter().filter(|(k, _)| k == kind);
        let payload = found.next().unwrap_or_else(|| panic!("{session:?} heard no {kind} but {heard:?}")).1.clone();
        assert!(found.next().is_none(), "{session:?} heard {kind} twice: {heard:?}");
        payload
    }

    pub fn listen(&mut self, token: &str) -> SessionId {
        let session = self.open();
        self.say(session, "listen", json!({ "token": token, "browserinfo": {}, "reconnectTimeout": 20 }));
        session
    }

    /// A client that has listened and registered.
    pub fn client(&mut self, identity: &str) -> SessionId {
        let session = self.listen(&token(identity));
        self.say(session, "register", json!({ "media": { "audio": true } }));
        assert_eq!(self.kinds(session), ["connected", "ready"]);
        session
    }

    pub fn call(&mut self, session: SessionId, to: &str) {
        self.say(session, "invite", invite(to));
    }

    /// alice calls bob, bob answers; what both know of it.
    pub fn connected_call(&mut self) -> Talk {
        let (alice, bob) = (self.client("alice"), self.client("bob"));
        self.call_up(alice, bob)
    }

    pub fn call_up(&mut self, alice: SessionId, bob: SessionId) -> Talk {
        self.call(alice, "client:bob");
        let invite = self.only(bob, "invite");
        let bob_sid = text(&invite, "callsid");
        self.say(bob, "answer", json!({ "callsid": bob_sid, "sdp": answer_sdp("bobb") }));
        let answer = self.only(alice, "answer");
        Talk {
            alice,
            bob,
            alice_sid: text(&answer, "callsid"),
            bob_sid,
            alice_token: text(&answer, "reconnect"),
            bob_token: text(&invite, "reconnect"),
        }
    }

    pub fn record(&self) -> &CallRecord {
        assert_eq!(self.records.len(), 1, "exactly one record");
        &self.records[0]
    }

    /// Nothing of a call is left anywhere.
    pub fn assert_clean(&self) {
        assert_eq!(self.core.gauges().calls, 0);
        assert!(self.core.legs.is_empty() && self.core.sids.is_empty());
        assert!(self.core.sessions.values().all(|session| session.legs.is_empty()));
        assert!(self.dataplane.legs.is_empty(), "legs are left open");
        let named = self.core.sessions.values().filter_map(|session| session.bearer()).map(|grant| grant.client());
        assert_eq!(self.core.clients.len(), named.collect::<HashSet<_>>().len(), "clients that hold nothing are kept");
        assert!(self.live_calls().is_empty(), "live calls are left in the store");
    }
}

pub struct Talk {
    pub alice: SessionId,
    pub bob: SessionId,
    pub alice_sid: String,
    pub bob_sid: String,
    pub alice_token: String,
    pub bob_token: String,
}

pub fn text(payload: &Value, name: &str) -> String {
    payload[name].as_str().unwrap_or_else(|| panic!("no {name} in {payload}")).to_owned()
}

pub fn code(payload: &Value) -> Option<u64> {
    payload["error"]["code"].as_u64()
}

pub fn invite(to: &str) -> Value {
    let params = super::form::write(&[("To".into(), to.into()), ("color".into(), "light blue".into())]);
    json!({ "callsid": "TJS1", "sdp": offer_sdp("alic"), "twilio": { "params": params } })
}

pub fn keys() -> KeyTable {
    let mut table = KeyTable::default();
    for (account, key, secret) in [(ACCOUNT, KEY, SECRET), (OTHER_ACCOUNT, OTHER_KEY, OTHER_SECRET)] {
        let name = "test".to_owned();
        table.accounts.insert(account.into(), Account { sid: account.into(), name, suspended: false });
        let material = KeyMaterial::Hs256(Zeroizing::new(secret.to_vec()));
        let key = ApiKey { sid: key.into(), account_sid: account.into(), material, revoked: false };
        table.keys.insert(key.sid.clone(), key);
    }
    table
}

pub fn claims(identity: &str) -> Value {
    let issued = START_UNIX_MS / 1000;
    json!({
        "jti": format!("{KEY}-{issued}"), "iss": KEY, "sub": ACCOUNT, "iat": issued, "exp": issued + 3600,
        "grants": { "identity": identity,
                    "voice": { "incoming": { "allow": true }, "outgoing": { "application_sid": "AP1" } } }
    })
}

pub fn token(identity: &str) -> String {
    sign(&claims(identity), SECRET)
}

/// A token of alice whose `grants.crosspoint` is `limits`.
pub fn limited_token(limits: Value) -> String {
    let mut claims = claims("alice");
    claims["grants"]["crosspoint"] = limits;
    sign(&claims, SECRET)
}

pub fn sign(claims: &Value, secret: &[u8]) -> String {
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.cty = Some("twilio-fpa;v=1".into());
    jsonwebtoken::encode(&header, claims, &jsonwebtoken::EncodingKey::from_secret(secret)).expect("signs")
}

pub fn offer_sdp(ufrag: &str) -> String {
    sdp(ufrag, "AA", "actpass", "sendrecv")
}

pub fn answer_sdp(ufrag: &str) -> String {
    sdp(ufrag, "BB", "active", "sendrecv")
}

/// As Chromium 156 writes it, with what does not matter here left out.
pub fn sdp(ufrag: &str, digest_byte: &str, setup: &str, direction: &str) -> String {
    let digest = [digest_byte; 32].join(":");
    [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS stream",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        &format!("a=ice-ufrag:{ufrag}"),
        "a=ice-pwd:a-password-of-two-and-twenty",
        "a=ice-options:trickle",
        &format!("a=fingerprint:sha-256 {digest}"),
        &format!("a=setup:{setup}"),
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        &format!("a={direction}"),
        "a=msid:stream track",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:13 CN/8000",
        "a=rtpmap:110 telephone-event/48000",
        "a=rtpmap:126 telephone-event/8000",
        "a=ssrc:3570614608 cname:alice",
        "",
    ]
    .join("\r\n")
}
