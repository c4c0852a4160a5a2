//! Exchanges within a call in every order that chance brings: whatever happens, both parties end up as they wish.
//!
//! ```text
//!   Party ──outbox──▶ Core ──orders──▶ dataplane, which answers when it likes, is busy, or refuses
//!     ▲                 │
//!     └──────inbox──────┘   both boxes keep their order; each step of a history moves one thing one place
//! ```
//!
//! A [`Party`] is a client as the protocol wants it (`message`): it has one offer of its own out at a time, leaves ours
//! unanswered when it crosses that, numbers its offers and repeats the numbers of ours. It may be slow, give an offer
//! up, answer with less than it was offered or with nonsense, lose its socket and come back.

use super::video::{directions, with_video, word};
use super::*;
use crate::core::directions::LegDirections;
use crate::core::sdp::mirrored;
use crosspoint_contract::{Direction, Directions};
use proptest::prelude::*;
use std::collections::VecDeque;

/// Longer than any offer waits for its answer.
const LONG_MS: u64 = 11_000;
/// That many waits fit into the time that a call is kept for a lost socket.
const AWAY_MS_MAX: u64 = 100;
/// More rounds than any history needs to come to rest.
const ROUNDS_MAX: usize = 200;

/// What a client said of itself.
#[derive(Clone, Debug, PartialEq)]
struct Words {
    setup: &'static str,
    ufrag: String,
    digest: u8,
    directions: Directions,
}

impl Words {
    fn sdp(&self) -> String {
        let audio = sdp(&self.ufrag, &format!("{:02X}", self.digest), self.setup, word(self.directions.audio));
        with_video(&audio, self.directions.video)
    }
}

struct Party {
    identity: &'static str,
    session: SessionId,
    sid: String,
    token: String,
    inbox: VecDeque<(String, Value)>,
    outbox: VecDeque<(&'static str, Value)>,
    wish: Directions,
    /// Of its last complete exchange.
    said: Words,
    /// Its own offer that is out, with its number.
    offer: Option<(u64, Words)>,
    /// It was told something else than what it wanted to say, and will offer again.
    is_unheard: bool,
    /// Offers of ours that it has read and not answered.
    unanswered: VecDeque<Value>,
    last_number: u64,
    is_away: bool,
    /// It has shown its token on another socket, and waits for the answer before it says anything else.
    is_resuming: bool,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Honest,
    Inactive,
    /// Of another peer connection.
    Foreign,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A party changes its mind, and offers that if it may.
    Wish(usize, Direction, Direction),
    RestartIce(usize),
    /// With another peer connection.
    Reload(usize),
    /// An offer that nobody can read.
    Stammer(usize),
    Deliver(usize),
    Read(usize),
    Answer(usize, Answer),
    GiveUp(usize),
    LoseSocket(usize),
    ComeBack(usize),
    Obey,
    BeBusy,
    Refuse,
    Wait(u64),
}

fn a_direction() -> impl Strategy<Value = Direction> {
    use Direction::{Inactive, ReceiveOnly, SendOnly, SendReceive};
    prop_oneof![Just(SendReceive), Just(SendOnly), Just(ReceiveOnly), Just(Inactive)]
}

fn a_step() -> impl Strategy<Value = Step> {
    let who = || 0..2usize;
    let answer = prop_oneof![6 => Just(Answer::Honest), 2 => Just(Answer::Inactive), 1 => Just(Answer::Foreign)];
    prop_oneof![
        6 => (who(), a_direction(), a_direction()).prop_map(|(who, audio, video)| Step::Wish(who, audio, video)),
        2 => who().prop_map(Step::RestartIce),
        1 => who().prop_map(Step::Reload),
        1 => who().prop_map(Step::Stammer),
        10 => who().prop_map(Step::Deliver),
        10 => who().prop_map(Step::Read),
        6 => (who(), answer).prop_map(|(who, answer)| Step::Answer(who, answer)),
        1 => who().prop_map(Step::GiveUp),
        1 => who().prop_map(Step::LoseSocket),
        2 => who().prop_map(Step::ComeBack),
        10 => Just(Step::Obey),
        1 => Just(Step::BeBusy),
        1 => Just(Step::Refuse),
        2 => (0..LONG_MS).prop_map(Step::Wait),
    ]
}

struct History {
    world: World,
    parties: [Party; 2],
    /// A dataplane that refuses what it took before is ill; once in a history is enough.
    has_refused: bool,
}

impl History {
    fn new() -> History {
        let mut world = World::new();
        let clients = [world.offerable("alice"), world.offerable("bob")];
        let (talk, _) = world.video_call(clients, [Direction::SendReceive; 2]);
        world.dataplane.is_stuck = true;
        let party = |identity, session, sid: &String, token: &String, said| Party {
            identity,
            session,
            sid: sid.clone(),
            token: token.clone(),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            wish: Directions::default(),
            said,
            offer: None,
            is_unheard: false,
            unanswered: VecDeque::new(),
            last_number: 0,
            is_away: false,
            is_resuming: false,
        };
        let words = |setup, ufrag: &str, digest| Words {
            setup,
            ufrag: ufrag.into(),
            digest,
            directions: Directions::default(),
        };
        let parties = [
            party("alice", talk.alice, &talk.alice_sid, &talk.alice_token, words("actpass", "alic", 0xAA)),
            party("bob", talk.bob, &talk.bob_sid, &talk.bob_token, words("active", "bobb", 0xBB)),
        ];
        History { world, parties, has_refused: false }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wish(who, audio, video) => {
                self.parties[who].wish = Directions { audio, video };
                self.offer(who, |_| {});
            }
            Step::RestartIce(who) => self.offer(who, |words| words.ufrag = next(&words.ufrag)),
            Step::Reload(who) => self.offer(who, |words| words.digest = words.digest.wrapping_add(16)),
            Step::Stammer(who) => self.offer(who, |words| words.ufrag.clear()),
            Step::Deliver(who) => drop(self.deliver(who)),
            Step::Read(who) => drop(self.read(who)),
            Step::Answer(who, answer) => drop(self.answer(who, answer)),
            Step::GiveUp(who) => self.give_up(who),
            Step::LoseSocket(who) => self.lose_socket(who),
            Step::ComeBack(who) => self.come_back(who),
            Step::Obey => drop(self.order(None)),
            Step::BeBusy => drop(self.order(Some(Refused::Busy(WorkerId(0))))),
            Step::Refuse => self.refuse(),
            Step::Wait(milliseconds) => self.wait(milliseconds),
        }
        self.collect();
    }

    fn collect(&mut self) {
        for party in &mut self.parties {
            party.inbox.extend(self.world.heard(party.session));
        }
    }

    fn give_up(&mut self, who: usize) {
        let party = &mut self.parties[who];
        party.is_unheard |= party.offer.take().is_some();
    }

    fn refuse(&mut self) {
        use Command::{Bridge, OpenLeg, RestartIce, SetRemote};
        let first = self.world.dataplane.unanswered.first().map(|order| &order.command);
        let may_refuse = matches!(first, Some(Bridge { .. } | OpenLeg { .. } | RestartIce { .. } | SetRemote { .. }));
        let why = (may_refuse && !self.has_refused).then_some(Refused::TooManyFormats);
        self.has_refused |= why.is_some();
        self.order(why);
    }

    /// Nobody is away for longer than its call is kept.
    fn wait(&mut self, milliseconds: u64) {
        let is_away = |party: &Party| party.is_away || party.outbox.iter().any(|(kind, _)| *kind == "invite");
        let bound_ms = if self.parties.iter().any(is_away) { AWAY_MS_MAX } else { u64::MAX };
        self.world.pass(milliseconds.min(bound_ms));
    }

    /// All that its client wants, unless an exchange is in progress as far as it knows.
    fn offer(&mut self, who: usize, vary: impl Fn(&mut Words)) {
        let party = &mut self.parties[who];
        if party.is_away || party.is_resuming || party.offer.is_some() || !party.unanswered.is_empty() {
            party.is_unheard = true;
            return;
        }
        let mut words = Words { setup: "actpass", directions: party.wish, ..party.said.clone() };
        vary(&mut words);
        party.last_number += 1;
        let payload = json!({ "callsid": party.sid, "sdp": words.sdp(), "offer": party.last_number });
        party.outbox.push_back(("reinvite", payload));
        (party.offer, party.is_unheard) = (Some((party.last_number, words)), false);
    }

    fn deliver(&mut self, who: usize) -> bool {
        let Some((kind, payload)) = self.parties[who].outbox.pop_front() else { return false };
        self.world.say(self.parties[who].session, kind, payload);
        true
    }

    fn read(&mut self, who: usize) -> bool {
        let party = &mut self.parties[who];
        let Some((kind, payload)) = party.inbox.pop_front() else { return false };
        let number = payload["offer"].as_u64();
        match kind.as_str() {
            "reinvite" if party.offer.is_none() => party.unanswered.push_back(payload),
            "reinvite" => {}
            "answer" => {
                party.token = text(&payload, "reconnect");
                party.is_resuming &= number.is_some();
                match party.offer.take_if(|offer| number.is_none_or(|number| number == offer.0)) {
                    Some((_, words)) => party.said = words,
                    // What it has taken back was taken.
                    None => party.is_unheard |= number.is_some(),
                }
            }
            "error" => {
                let is_about_offer = |offer: &mut (u64, Words)| number.map_or(party.is_resuming, |n| n == offer.0);
                party.offer.take_if(is_about_offer);
                party.is_unheard = true;
                party.is_resuming &= number.is_some();
            }
            _ => panic!("{} heard {kind} {payload}", party.identity),
        }
        true
    }

    fn answer(&mut self, who: usize, how: Answer) -> bool {
        let party = &mut self.parties[who];
        let Some(offer) = party.unanswered.pop_front() else { return false };
        let offered = directions(&offer);
        let words = Directions::from_fn(|medium| match how {
            Answer::Inactive => Direction::Inactive,
            Answer::Honest | Answer::Foreign => {
                let (offered, wish) = (mirrored(*offered.of(medium)), party.wish.of(medium));
                Direction::new(offered.sends() && wish.sends(), offered.receives() && wish.receives())
            }
        });
        let mut words = Words { setup: "active", directions: words, ..party.said.clone() };
        match how {
            Answer::Foreign => {
                // Nobody knows what such a client thinks; it will say so.
                words.digest ^= 0xFF;
                party.is_unheard = true;
            }
            Answer::Honest => party.said = words.clone(),
            Answer::Inactive => {
                party.said = words.clone();
                party.is_unheard = true;
            }
        }
        let payload = json!({ "callsid": party.sid, "sdp": words.sdp(), "offer": offer["offer"] });
        party.outbox.push_back(("answer", payload));
        true
    }

    fn lose_socket(&mut self, who: usize) {
        let party = &mut self.parties[who];
        if party.is_away {
            return;
        }
        party.is_away = true;
        (party.outbox, party.inbox, party.unanswered) = Default::default();
        party.is_resuming = false;
        self.world.close(party.session);
    }

    /// With a token, and what it said last or is about to say.
    fn come_back(&mut self, who: usize) {
        if !self.parties[who].is_away {
            return;
        }
        let session = self.world.offerable(self.parties[who].identity);
        let party = &mut self.parties[who];
        (party.session, party.is_away, party.is_resuming) = (session, false, true);
        // It does not come back with what nobody can read.
        party.is_unheard |= party.offer.take_if(|(_, words)| words.ufrag.is_empty()).is_some();
        let words = party.offer.as_ref().map_or(&party.said, |(_, words)| words);
        let payload = json!({ "callsid": party.sid, "sdp": words.sdp(), "reconnect": party.token, "twilio": {} });
        party.outbox.push_back(("invite", payload));
    }

    /// The dataplane answers the oldest order.
    fn order(&mut self, refused: Option<Refused>) -> bool {
        if self.world.dataplane.unanswered.is_empty() {
            return false;
        }
        let order = self.world.dataplane.unanswered.remove(0);
        match refused {
            Some(why) => {
                self.world
                    .input(Input::DataplaneAnswered(crosspoint_contract::Answer { id: order.id, result: Err(why) }));
            }
            None => self.world.answer_order(order),
        }
        true
    }

    /// Everybody is quick, honest and heard.
    fn come_to_rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut is_moving = false;
            for who in 0..2 {
                self.come_back(who);
                is_moving |= self.parties[who].is_resuming;
                while self.deliver(who) {}
            }
            self.take(Step::Wait(LONG_MS));
            is_moving |= self.move_everything();
            for who in 0..2 {
                self.give_up(who);
                if self.parties[who].is_unheard {
                    self.offer(who, |_| {});
                    is_moving = true;
                }
            }
            if !is_moving {
                return;
            }
        }
        panic!("they never come to rest");
    }

    fn move_everything(&mut self) -> bool {
        let mut has_moved = false;
        loop {
            self.collect();
            let parties = [0, 1].map(|who| self.deliver(who) || self.read(who) || self.answer(who, Answer::Honest));
            if !(self.order(None) || parties.contains(&true)) {
                return has_moved;
            }
            has_moved = true;
        }
    }

    fn check(&self) {
        let call = self.world.core.calls.values().next().expect("the call goes on");
        assert_eq!((self.world.core.calls.len(), self.world.dataplane.legs.len()), (1, 2));
        for (who, party) in self.parties.iter().enumerate() {
            let other = &self.parties[1 - who];
            let id = self.world.core.sids[&party.sid];
            let leg = call.leg(id).expect("of the call");
            assert!(leg.reoffer.is_none() && !leg.awaits_answer && party.offer.is_none(), "{who}: nothing is open");
            let remote = self.world.dataplane.legs[&id].2.as_ref().expect("described");
            assert_eq!(remote.ice.ufrag, party.said.ufrag, "{who}");
            assert_eq!(remote.fingerprint.sha256[0], party.said.digest, "{who}");
            let said = |medium| mirrored(*party.said.directions.of(medium));
            assert_eq!(remote.directions, Directions::from_fn(said), "{who}: what the dataplane knows");
            // Each is heard and hears as far as both wish it.
            let come_to = Directions::from_fn(|medium| {
                let (wish, theirs) = (party.wish.of(medium), other.wish.of(medium));
                Direction::new(theirs.sends() && wish.receives(), theirs.receives() && wish.sends())
            });
            assert_eq!(LegDirections::told(&leg.directions), come_to, "{who}: what its client knows");
            assert_eq!(leg.directions.news(call.our_directions(id)), None, "{who}");
        }
        let [alice, bob] = [0, 1].map(|who| self.world.core.sids[&self.parties[who].sid]);
        let bridge = self.world.dataplane.bridges.get(&call.bridge).expect("joined");
        assert!(bridge.contains(&alice) && bridge.contains(&bob));
    }
}

fn next(ufrag: &str) -> String {
    let number = ufrag.strip_prefix("rs").and_then(|number| number.parse::<u32>().ok()).unwrap_or(10);
    format!("rs{}", number + 1)
}

fn run(steps: &[Step]) {
    let mut history = History::new();
    for &step in steps {
        history.take(step);
    }
    history.come_to_rest();
    history.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_parties_end_up_as_they_wish_whatever_crosses_fails_or_comes_late(
        steps in proptest::collection::vec(a_step(), 0..60)
    ) {
        run(&steps);
    }
}
