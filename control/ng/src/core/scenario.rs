//! Drives the core through whole calls: a virtual clock, a client that speaks JSON, a dataplane that answers at once.
//!
//! ```text
//!   test ──ask──▶ World ──Message──▶ NgCore ──Reply──▶ the answer as a dictionary
//!                   ▲                   │
//!                   └──Answered─────────┴──Order──▶ FakeDataplane
//! ```

mod adoption;
mod answers;
mod basics;
mod commands;
mod datagrams;
mod dataplane;
mod deletions;
mod fake_dataplane;
mod figures;
mod forks;
mod ice;
mod links;
mod log;
mod ports;
mod security;
mod timeouts;

use super::NgCore;
use crate::dictionary::{Dict, Value};
use crate::effect::{Channel, Effect, Input, Note, Now, Peer};
use crate::json;
use crate::settings::Settings;
use crosspoint_contract::{Command, Fingerprint, LegId, PortsHello, RtpRemote, Snapshot};
use fake_dataplane::FakeDataplane;
use std::net::SocketAddr;

/// 2026-11-22 12:00 UTC.
const START_UNIX_US: u64 = 1_795_348_800_000_000;

pub struct World {
    pub core: NgCore,
    pub now_ms: u64,
    /// Of the moment when the monotonic clock showed one second.
    epoch_us: u64,
    pub dataplane: FakeDataplane,
    /// What the dataplane was told since the last look.
    pub orders: Vec<Command>,
    pub notes: Vec<Note>,
    pub cli: Vec<String>,
    replies: Vec<Vec<u8>>,
    cookie: u64,
    pub peer: Peer,
}

pub fn hello(steered: bool) -> crosspoint_contract::DataplaneHello {
    crosspoint_contract::DataplaneHello {
        version: crosspoint_contract::VERSION,
        generation: crosspoint_contract::Generation(1),
        process_id: 1,
        workers: Vec::new(),
        fingerprint: Fingerprint { sha256: [0xab; 32] },
        certificate_der: vec![0x30, 0x00],
        ports: PortsHello { addrs: vec![[192, 0, 2, 1].into()], steered, reason: "test".into() },
        line: None,
    }
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> World {
        let mut world = World::detached(change);
        world.input(Input::DataplaneAttached { hello: hello(true), snapshot: Snapshot::default() });
        world
    }

    pub fn detached(change: impl FnOnce(&mut Settings)) -> World {
        let mut settings = Settings::on([192, 0, 2, 1].into());
        change(&mut settings);
        let now = Now { monotonic_ms: 1_000, unix_us: START_UNIX_US };
        let peer = Peer { channel: Channel::Datagrams(0), address: "198.51.100.7:40000".parse().unwrap() };
        World {
            core: NgCore::new(settings, [5; 32], now),
            now_ms: 1_000,
            epoch_us: START_UNIX_US,
            dataplane: FakeDataplane::default(),
            orders: Vec::new(),
            notes: Vec::new(),
            cli: Vec::new(),
            replies: Vec::new(),
            cookie: 0,
            peer,
        }
    }

    /// This process is killed, and the next one finds the dataplane as it is; its clock begins anew.
    pub fn restarted(self, after_ms: u64) -> World {
        let mut next = World::detached(|_| {});
        next.epoch_us = self.epoch_us + (self.now_ms + after_ms - 1_000) * 1_000;
        next.core = NgCore::new(Settings::on([192, 0, 2, 1].into()), [6; 32], next.now());
        next.dataplane = self.dataplane;
        next.cookie = self.cookie;
        let snapshot = next.dataplane.snapshot();
        next.input(Input::DataplaneAttached { hello: hello(true), snapshot });
        next
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.now_ms, unix_us: self.epoch_us + (self.now_ms - 1_000) * 1_000 }
    }

    /// One input, and whatever follows from it.
    pub fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle(self.now(), input, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
        for answer in self.dataplane.answers() {
            self.input(Input::DataplaneAnswered(answer));
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { bytes, .. } => self.replies.push(bytes.to_vec()),
            Effect::CliReply { text, .. } => self.cli.push(text),
            Effect::Order(order) => {
                // Words for the control plane after us change nothing.
                if !matches!(order.command, Command::Note { .. }) {
                    self.orders.push(order.command.clone());
                }
                self.dataplane.take(order);
            }
            Effect::Promise(command) => {
                if !matches!(command, Command::Note { .. }) {
                    self.orders.push(command.clone());
                }
                self.dataplane.keep(command);
            }
            Effect::Note(note) => self.notes.push(note),
        }
    }

    /// Lets time pass, entering each deadline on its way.
    pub fn advance(&mut self, by_ms: u64) {
        let until_ms = self.now_ms + by_ms;
        while let Some(at_ms) = self.core.next_deadline().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.input(Input::DeadlineReached);
        }
        self.now_ms = until_ms;
    }

    /// Asks and takes the answer that must have come.
    pub fn ask(&mut self, command: &str, options: &[(&str, &str)]) -> Dict {
        self.ask_with(command, options, &[])
    }

    /// The same with lists.
    pub fn ask_with(&mut self, command: &str, options: &[(&str, &str)], lists: &[(&str, &[&str])]) -> Dict {
        self.send(command, options, lists);
        self.heard().expect("an answer")
    }

    pub fn send(&mut self, command: &str, options: &[(&str, &str)], lists: &[(&str, &[&str])]) {
        let mut dict = Dict::new().with("command", command);
        for (key, value) in options {
            dict.push(*key, *value);
        }
        for (key, values) in lists {
            dict.push(*key, Value::List(values.iter().map(|value| Value::from(*value)).collect()));
        }
        self.cookie += 1;
        let mut bytes = format!("c{} ", self.cookie).into_bytes();
        json::encode_dict(&dict, &mut bytes);
        self.send_bytes(&bytes);
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let peer = self.peer;
        self.input(Input::Message { from: peer, bytes });
    }

    /// The next answer.
    pub fn heard(&mut self) -> Option<Dict> {
        let reply = (!self.replies.is_empty()).then(|| self.replies.remove(0))?;
        let payload = reply.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
        Some(json::decode(&reply[payload..]).expect("a dictionary"))
    }

    pub fn offer(&mut self, call: &str, from: &str, sdp: &str, more: &[(&str, &str)]) -> Dict {
        let options = [&[("call-id", call), ("from-tag", from), ("sdp", sdp)], more].concat();
        self.ask("offer", &options)
    }

    pub fn answer(&mut self, call: &str, from: &str, to: &str, sdp: &str, more: &[(&str, &str)]) -> Dict {
        let options = [&[("call-id", call), ("from-tag", from), ("to-tag", to), ("sdp", sdp)], more].concat();
        self.ask("answer", &options)
    }

    /// A plain call between two parties; what each of them was told.
    pub fn plain_call(&mut self, call: &str) -> (String, String) {
        let offered = self.offer(call, "f", &audio("198.51.100.10", 4000), &[]);
        let answered = self.answer(call, "f", "t", &audio("203.0.113.20", 5000), &[]);
        (sdp(&offered), sdp(&answered))
    }

    /// What was ordered since the last look.
    pub fn ordered(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.orders)
    }

    pub fn described(&mut self) -> Vec<(LegId, RtpRemote)> {
        let described = |command| match command {
            Command::SetRtpRemote { leg, remote } => Some((leg, remote)),
            _ => None,
        };
        self.ordered().into_iter().filter_map(described).collect()
    }
}

/// A command, its options, and the reason for which it is refused.
type Refusal<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

pub fn audio(address: &str, port: u16) -> String {
    with_lines(address, &[&format!("m=audio {port} RTP/AVP 0 8")])
}

pub fn with_lines(address: &str, lines: &[&str]) -> String {
    let head = format!("v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n");
    lines.iter().fold(head, |text, line| text + line + "\r\n")
}

pub fn sdp(reply: &Dict) -> String {
    reply.text("sdp").unwrap_or_else(|| panic!("no SDP in {reply:?}")).to_owned()
}

/// The lines that start so.
pub fn lines<'a>(sdp: &'a str, start: &str) -> Vec<&'a str> {
    sdp.lines().filter(|line| line.starts_with(start)).collect()
}

/// The port of the first m-line.
pub fn port(sdp: &str) -> u16 {
    lines(sdp, "m=")[0].split(' ').nth(1).unwrap().parse().unwrap()
}

pub fn error(reply: &Dict) -> &str {
    reply.text("error-reason").unwrap_or("no error")
}

pub fn at(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}
