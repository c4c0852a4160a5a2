//! The two sides of ICE against str0m's agent (`is`), over a network in memory with a virtual clock.
//!
//! ```text
//!   ours: IceLite answers, Checks asks   192.0.2.1:5000  <-->  198.51.100.2:6000   is::IceAgent, full or lite
//! ```

use crosspoint_wire::Nanos;
use crosspoint_wire::ice_checks::{Candidate, Checks, REQUEST_BYTES_MAX, Role};
use crosspoint_wire::ice_lite::{Credentials, IceLite};
use crosspoint_wire::stun::{Class, MESSAGE_BYTES_MAX, Message};
use is::stun::{StunMessage, StunPacket};
use is::{IceAgent, IceAgentEvent, IceCreds, Protocol};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const OURS: &str = "192.0.2.1:5000";
const THEIRS: &str = "198.51.100.2:6000";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

struct Meeting {
    ice: IceLite,
    checks: Option<Checks>,
    theirs: IceAgent,
    /// Where their agent sends.
    nominated: Option<SocketAddr>,
    began: Instant,
    now: Nanos,
}

const PWD: &str = "a-password-of-ours-0123456789";

impl Meeting {
    /// `role` is ours, if we are a full agent; `tie_breaker` theirs.
    fn new(role: Option<Role>, theirs_control: bool, tie_breaker: u64, they_are_lite: bool) -> Self {
        let mut theirs = IceAgent::new(IceCreds::new());
        theirs.set_ice_lite(they_are_lite);
        theirs.set_controlling(theirs_control);
        theirs.set_control_tie_breaker(tie_breaker);
        theirs.add_local_candidate(is::Candidate::host(addr(THEIRS), "udp").expect("a candidate"));
        theirs.set_remote_credentials(IceCreds { ufrag: "ours".into(), pass: PWD.into() });
        theirs.add_remote_candidate(is::Candidate::host(addr(OURS), "udp").expect("a candidate"));
        let credentials = theirs.local_credentials().clone();
        let mut ice = IceLite::new(Credentials { ufrag: "ours".into(), pwd: PWD.into() });
        let checks = role.map(|role| {
            ice.set_checks(true);
            let mut checks =
                Checks::new(role, Credentials { ufrag: credentials.ufrag, pwd: credentials.pass }, &[7; 32]);
            checks.add(Candidate { component: 0, addr: addr(THEIRS), priority: 2_130_706_431 });
            checks
        });
        Meeting { ice, checks, theirs, nominated: None, began: Instant::now(), now: Nanos::from_secs(1) }
    }

    fn instant(&self) -> Instant {
        self.began + Duration::from_nanos(self.now.0)
    }

    fn pass(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            let mut buffer = [0; REQUEST_BYTES_MAX];
            let sent = self.checks.as_mut().and_then(|checks| checks.poll(self.now, "ours", &mut buffer));
            if let Some(sent) = sent {
                self.they_hear(&buffer[..sent.len]);
            }
            self.theirs.handle_timeout(self.instant());
            self.deliver_theirs();
            while let Some(event) = self.theirs.poll_event() {
                if let IceAgentEvent::NominatedSend { destination, .. } = event {
                    self.nominated = Some(destination);
                }
            }
            self.now += Nanos::from_millis(10);
        }
    }

    fn they_hear(&mut self, datagram: &[u8]) {
        let message = StunMessage::parse(datagram).expect("STUN that others understand");
        let packet = StunPacket { proto: Protocol::Udp, source: addr(OURS), destination: addr(THEIRS), message };
        self.theirs.handle_packet(self.instant(), packet);
    }

    fn deliver_theirs(&mut self) {
        while let Some(sent) = self.theirs.poll_transmit() {
            assert_eq!((sent.source, sent.destination), (addr(THEIRS), addr(OURS)));
            if let Some(answer) = self.hear(&sent.contents) {
                self.they_hear(&answer);
            }
        }
    }

    fn hear(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (message, source) = (Message::parse(datagram).expect("STUN"), addr(THEIRS));
        if message.class() != Class::Request {
            let proof = self.checks.as_mut()?.hear_answer(0, source, &message, self.now).ok().flatten();
            proof.into_iter().for_each(|proof| self.ice.confirm(proof));
            return None;
        }
        let mut reply = [0; MESSAGE_BYTES_MAX];
        let role = self.checks.as_mut().map(|checks| &mut checks.role);
        let outcome = self.ice.handle(source, &message, role, &mut reply);
        if let Some(check) = outcome.check {
            self.ice.note(self.now, check);
            let (nominates, priority) = (check.nominates(&self.ice), check.priority().expect("RFC 8445 §7.1.1"));
            let checks = self.checks.as_mut();
            let proof = checks.and_then(|checks| checks.hear_check(0, source, priority, nominates, self.now));
            proof.into_iter().for_each(|proof| self.ice.confirm(proof));
        }
        (outcome.reply_len > 0).then(|| reply[..outcome.reply_len].to_vec())
    }

    fn met(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.ice.in_use(), self.nominated)
    }
}

const MET: fn() -> (Option<SocketAddr>, Option<SocketAddr>) = || (Some(addr(THEIRS)), Some(addr(OURS)));

fn role(controlling: bool) -> Option<Role> {
    Some(Role { controlling, tie_breaker: 1000 })
}

#[test]
fn two_full_agents_meet_whatever_their_roles_and_numbers() {
    for ours in [true, false] {
        for theirs in [true, false] {
            for tie_breaker in [1, 1_000_000] {
                let mut meeting = Meeting::new(role(ours), theirs, tie_breaker, false);
                meeting.pass(Nanos::from_secs(5));
                assert_eq!(meeting.met(), MET(), "{ours} {theirs} {tie_breaker}");
                let controls = meeting.checks.as_ref().expect("a full agent").role.controlling;
                assert_ne!(controls, meeting.theirs.controlling(), "{ours} {theirs} {tie_breaker}");
            }
        }
    }
}

#[test]
fn lite_agent_of_theirs_is_found_by_us() {
    let mut meeting = Meeting::new(role(true), false, 1, true);
    meeting.pass(Nanos::from_secs(3));
    assert_eq!(meeting.met(), MET());
}

#[test]
fn lite_agent_of_ours_is_found_by_them() {
    let mut meeting = Meeting::new(None, true, 1, false);
    meeting.pass(Nanos::from_secs(3));
    assert_eq!(meeting.met(), MET());
}

#[test]
fn consent_holds_while_both_are_there_and_ends_with_them() {
    let mut meeting = Meeting::new(role(true), false, 1, false);
    meeting.pass(Nanos::from_secs(120));
    assert!(!meeting.ice.consent_expired(meeting.now));
    assert!(meeting.theirs.state().is_connected());
    // They are gone: nobody answers any more.
    let mut buffer = [0; REQUEST_BYTES_MAX];
    let end = meeting.now + Nanos::from_secs(31);
    while meeting.now < end {
        meeting.checks.as_mut().and_then(|checks| checks.poll(meeting.now, "ours", &mut buffer));
        meeting.now += Nanos::from_millis(100);
    }
    assert!(meeting.ice.consent_expired(meeting.now));
}
