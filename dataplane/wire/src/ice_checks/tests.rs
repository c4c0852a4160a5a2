//! Agents on a network in memory, with a clock that the test turns.

use super::*;
use crate::ice_lite::IceLite;
use crate::stun::{MESSAGE_BYTES_MAX, write_binding_error, write_binding_success};

const A: &str = "192.0.2.1:5000";
const B: &str = "198.51.100.2:6000";
const B_OTHER: &str = "[2001:db8::2]:6000";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn credentials(of: &str) -> Credentials {
    Credentials { ufrag: of.into(), pwd: format!("password-of-{of}-0123456789") }
}

fn candidate(at: &str, priority: u32) -> Candidate {
    Candidate { component: 0, addr: addr(at), priority }
}

fn checks(controlling: bool, tie_breaker: u64, peer: &str) -> Checks {
    Checks::new(Role { controlling, tie_breaker }, credentials(peer), &[tie_breaker as u8; 32])
}

/// Somebody with one address.
struct Agent {
    addr: SocketAddr,
    ice: IceLite,
    checks: Option<Checks>,
    heard: usize,
}

impl Agent {
    fn full(at: &str, name: &str, mut checks: Checks, candidates: &[Candidate]) -> Agent {
        let mut ice = IceLite::new(credentials(name));
        ice.set_checks(true);
        candidates.iter().for_each(|candidate| checks.add(*candidate));
        Agent { addr: addr(at), ice, checks: Some(checks), heard: 0 }
    }

    fn lite(at: &str, name: &str) -> Agent {
        Agent { addr: addr(at), ice: IceLite::new(credentials(name)), checks: None, heard: 0 }
    }

    /// What goes back.
    fn hear(&mut self, now: Nanos, source: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        self.heard += 1;
        let message = Message::parse(datagram).unwrap();
        if message.class() != Class::Request {
            let proof = self.checks.as_mut()?.hear_answer(0, source, &message, now).ok().flatten();
            proof.into_iter().for_each(|proof| self.ice.confirm(proof));
            return None;
        }
        let mut reply = [0; MESSAGE_BYTES_MAX];
        let outcome =
            self.ice.handle(source, &message, self.checks.as_mut().map(|checks| &mut checks.role), &mut reply);
        if let Some(check) = outcome.check {
            self.ice.note(now, check);
            let nominates = check.nominates(&self.ice);
            let proof = self.checks.as_mut().and_then(|checks| checks.hear_check(0, source, 1, nominates, now));
            proof.into_iter().for_each(|proof| self.ice.confirm(proof));
        }
        (outcome.reply_len > 0).then(|| reply[..outcome.reply_len].to_vec())
    }

    fn poll(&mut self, now: Nanos) -> Option<(SocketAddr, Vec<u8>)> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let ufrag = self.ice.ufrag().to_owned();
        let sent = self.checks.as_mut()?.poll(now, &ufrag, &mut buffer)?;
        Some((sent.addr, buffer[..sent.len].to_vec()))
    }
}

/// Lets time pass in steps of ten milliseconds; what goes to nobody's address is lost. All addresses that anything was sent to.
fn pass(agents: &mut [Agent], from: Nanos, time: Nanos) -> Vec<(Nanos, SocketAddr)> {
    let (mut now, mut sent) = (from, Vec::new());
    while now < from + time {
        for sender in 0..agents.len() {
            while let Some((to, datagram)) = agents[sender].poll(now) {
                sent.push((now, to));
                carry(agents, sender, to, datagram, now);
            }
        }
        now += Nanos::from_millis(10);
    }
    sent
}

fn carry(agents: &mut [Agent], sender: usize, to: SocketAddr, datagram: Vec<u8>, now: Nanos) {
    let source = agents[sender].addr;
    let Some(receiver) = agents.iter().position(|agent| agent.addr == to) else { return };
    if let Some(answer) = agents[receiver].hear(now, source, &datagram) {
        agents[sender].hear(now, to, &answer);
    }
}

const START: Nanos = Nanos::from_secs(100);
const SECOND: Nanos = Nanos::from_secs(1);

#[test]
fn lite_peer_is_checked_and_nominated_and_nobody_else_is_sent_to() {
    let named = [candidate(B, 100), candidate(B_OTHER, 90)];
    let mut agents = [Agent::full(A, "us", checks(true, 1, "them"), &named), Agent::lite(B, "them")];
    let sent = pass(&mut agents, START, SECOND);
    assert_eq!((agents[0].ice.in_use(), agents[1].ice.in_use()), (Some(addr(B)), Some(addr(A))));
    assert!(agents[0].checks.as_ref().unwrap().checklists[0].chosen, "the peer has answered the nomination");
    assert!(sent.iter().all(|(_, to)| named.iter().any(|candidate| candidate.addr == *to)));
    assert!(sent.len() <= 3, "{sent:?}: once the best pair is chosen, the others rest");
}

#[test]
fn pair_that_answers_is_nominated_although_a_better_one_never_does() {
    let named = [candidate(B_OTHER, 100), candidate(B, 90)];
    let mut agents = [Agent::full(A, "us", checks(true, 1, "them"), &named), Agent::lite(B, "them")];
    pass(&mut agents, START, Nanos::from_millis(200));
    assert_eq!(agents[0].ice.in_use(), Some(addr(B)), "in use as soon as it is valid");
    assert!(!agents[0].checks.as_ref().unwrap().checklists[0].chosen);
    pass(&mut agents, START + Nanos::from_millis(200), SECOND);
    assert!(agents[0].checks.as_ref().unwrap().checklists[0].chosen);
}

#[test]
fn two_full_agents_find_each_other_whoever_controls() {
    for (ours, theirs) in [(true, false), (false, true), (true, true), (false, false)] {
        let (us, them) = (checks(ours, 5, "them"), checks(theirs, 9, "us"));
        let mut agents = [Agent::full(A, "us", us, &[candidate(B, 9)]), Agent::full(B, "them", them, &[])];
        pass(&mut agents, START, Nanos::from_secs(3));
        let roles = agents.each_ref().map(|agent| agent.checks.as_ref().unwrap().role.controlling);
        assert_ne!(roles[0], roles[1], "{ours} {theirs}");
        assert_eq!(agents.each_ref().map(|agent| agent.ice.in_use()), [Some(addr(B)), Some(addr(A))]);
        let chosen = agents.each_ref().map(|agent| agent.checks.as_ref().unwrap().checklists[0].chosen);
        assert_eq!(chosen, [true, true], "{ours} {theirs}");
    }
}

#[test]
fn address_that_does_not_answer_gets_seven_packets_and_has_failed() {
    let mut agents = [Agent::full(A, "us", checks(true, 1, "them"), &[candidate(B, 9), candidate(B_OTHER, 8)])];
    let sent = pass(&mut agents, START, Nanos::from_secs(60));
    for named in [B, B_OTHER] {
        assert_eq!(sent.iter().filter(|(_, to)| *to == addr(named)).count(), usize::from(TRIES_MAX));
    }
    let checks = agents[0].checks.as_ref().unwrap();
    assert!(checks.has_failed() && checks.next_due() == NEVER);
}

#[test]
fn packets_of_a_leg_keep_their_distance() {
    let many: Vec<_> = (1..=40).map(|port| candidate(&format!("203.0.113.1:{port}"), port)).collect();
    let mut agents = [Agent::full(A, "us", checks(true, 1, "them"), &many)];
    let sent = pass(&mut agents, START, Nanos::from_secs(60));
    assert!(sent.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= PACE));
    let mut all: Vec<_> = sent.iter().map(|(_, to)| to).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), PAIRS_MAX);
}

#[test]
fn flood_of_authentic_checks_from_everywhere_makes_us_send_a_bounded_number() {
    let mut us = Agent::full(A, "us", checks(false, 1, "them"), &[]);
    let (mut now, mut sent) = (START, 0);
    for n in 0..20_000u16 {
        let source = SocketAddr::from(([203, 0, (n >> 8) as u8, n as u8], 7000));
        us.checks.as_mut().unwrap().hear_check(0, source, 1, true, now);
        sent += usize::from(us.poll(now).is_some());
        now += Nanos::from_millis(10);
    }
    assert!(sent <= usize::from(CHECKS_MAX), "{sent}");
    assert!(sent >= PAIRS_MAX, "it does check some");
}

/// An agent that has just sent a check, and that check's transaction.
fn asked() -> (Agent, TransactionId) {
    let mut us = Agent::full(A, "us", checks(true, 1, "them"), &[candidate(B, 9)]);
    let (_, datagram) = us.poll(START).expect("a check");
    (us, Message::parse(&datagram).unwrap().transaction_id())
}

fn answer(id: &TransactionId, pwd: &str) -> Vec<u8> {
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let len = write_binding_success(&mut buffer, id, addr(A), pwd.as_bytes()).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn answer_counts_only_with_the_password_the_transaction_and_the_source_of_the_check() {
    let pwd = credentials("them").pwd;
    let (us, id) = asked();
    drop(us);
    let other = id.map(|byte| byte ^ 1);
    for (from, datagram, why) in [
        (B, answer(&other, &pwd), "unknown transaction"),
        (B, answer(&id, "another password"), "wrong password"),
        (B, answer(&id, &credentials("us").pwd), "our own password"),
        (B_OTHER, answer(&id, &pwd), "from elsewhere"),
    ] {
        let (mut us, same) = asked();
        assert_eq!(same, id);
        us.hear(START, addr(from), &datagram);
        assert_eq!((us.ice.in_use(), us.ice.is_validated(addr(from))), (None, false), "{why}");
    }
    let (mut us, _) = asked();
    us.hear(START, addr(B), &answer(&id, &pwd));
    assert_eq!(us.ice.in_use(), Some(addr(B)));
}

#[test]
fn forged_answer_does_not_end_a_check_that_is_under_way() {
    let (mut us, id) = asked();
    us.hear(START, addr(B), &answer(&id, "another password"));
    us.hear(START, addr(B), &answer(&id, &credentials("them").pwd));
    assert_eq!(us.ice.in_use(), Some(addr(B)));
}

#[test]
fn error_ends_the_check_of_a_pair() {
    let (mut us, id) = asked();
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let pwd = credentials("them").pwd;
    let len = write_binding_error(&mut buffer, &id, 400, None, Some(pwd.as_bytes())).unwrap();
    us.hear(START, addr(B), &buffer[..len]);
    assert!(us.checks.as_ref().unwrap().has_failed());
}

#[test]
fn transaction_ids_do_not_follow_from_each_other() {
    let mut one = checks(true, 1, "them");
    let drawn: Vec<_> = (0..100).map(|_| one.draw()).collect();
    let mut other = checks(true, 2, "them");
    assert!(drawn.iter().all(|id| drawn.iter().filter(|same| *same == id).count() == 1));
    assert_ne!(drawn[0], other.draw(), "another secret, other numbers");
}

#[test]
fn consent_lives_on_answers_and_not_on_checks_of_the_peer() {
    let mut agents = [Agent::full(A, "us", checks(true, 1, "them"), &[candidate(B, 9)]), Agent::lite(B, "them")];
    let sent = pass(&mut agents, START, Nanos::from_secs(300));
    let now = START + Nanos::from_secs(300);
    assert!(!agents[0].ice.consent_expired(now));
    assert!((50..=80).contains(&sent.len()), "{}: one each four to six seconds", sent.len());
    // From now on the peer asks and does not answer.
    let [mut us, _] = agents;
    let mut asking = Agent::full(B, "them", checks(false, 7, "us"), &[candidate(A, 9)]);
    let mut then = now;
    while then < now + Nanos::from_secs(31) {
        us.poll(then);
        if let Some((_, check)) = asking.poll(then) {
            us.hear(then, addr(B), &check);
        }
        then += Nanos::from_millis(100);
    }
    assert!(us.ice.consent_expired(then));
}

#[test]
fn nominated_pair_is_used_only_when_our_own_check_has_been_answered() {
    let mut us = Agent::full(A, "us", checks(false, 1, "them"), &[]);
    us.checks.as_mut().unwrap().hear_check(0, addr(B), 1, true, START);
    assert_eq!(us.ice.in_use(), None);
    let (to, datagram) = us.poll(START).expect("a triggered check");
    assert_eq!(to, addr(B));
    us.hear(START, to, &answer(&Message::parse(&datagram).unwrap().transaction_id(), &credentials("them").pwd));
    assert_eq!(us.ice.in_use(), Some(addr(B)));
    assert!(us.checks.as_ref().unwrap().checklists[0].chosen);
}

#[test]
fn after_a_restart_packets_go_where_they_went_until_another_pair_is_chosen() {
    let mut agents = [Agent::full(A, "us", checks(true, 1, "them"), &[candidate(B, 9)]), Agent::lite(B, "them")];
    pass(&mut agents, START, SECOND);
    let [mut us, _] = agents;
    us.ice.restart(credentials("us-again"));
    let mut restarted = checks(true, 1, "them-again");
    restarted.add(candidate(B_OTHER, 9));
    us.checks = Some(restarted);
    assert_eq!(us.ice.in_use(), Some(addr(B)));
    let mut agents = [us, Agent::lite(B_OTHER, "them-again")];
    pass(&mut agents, START + SECOND, SECOND);
    assert_eq!(agents[0].ice.in_use(), Some(addr(B_OTHER)));
    assert!(!agents[0].ice.has_local_ufrag("us") && !agents[0].ice.is_validated(addr(B)));
}
