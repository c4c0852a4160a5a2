//! Calls and legs: what is remembered of them, and their states as tables.
//!
//! ```text
//!   call   Opening ──CallerOpened──▶ Ringing ──CalleeAnswered──▶ Joining ──Joined──▶ Up
//!             └──────────────────────────┴───────────Ended──────────┴─────────────────┴──▶ Ended
//!
//!   leg    Opening ──Opened──▶ Waiting ──Answered──▶ Joining ──Joined──▶ Up ◀──SocketBack── Away
//!             │                   │                     │                └───SocketLost──────▶│
//!             └─────────SocketLost or Closed────────────┴─────────────── Closed ◀────Closed───┘
//! ```
//!
//! Input: events named by the flows (`invite`, `answer`, `resume`, `ending`, …). Output: the next state, or `None` when
//! the event has no meaning there and must be refused. Owns the state of a call and nothing else; it sends nothing.

use super::directions::LegDirections;
use super::input::SessionId;
use super::path::Path;
use super::record::{CallRecord, End, LegRecord, LegRole, LiveCall, LiveLeg};
use super::sdp::{Agreed, Description};
use crosspoint_contract::{BridgeId, CallKey, Directions, DtlsRole, Generation, LegId, LegReport, LocalDescription};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// The caller's leg is being opened.
    Opening,
    /// Instances of the callee are being told.
    Ringing,
    /// One of them has answered; the legs are being joined.
    Joining,
    Up,
    /// All legs are closing; waits for their last reports.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEvent {
    CallerOpened,
    CalleeAnswered,
    Joined,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegState {
    /// The dataplane has been asked for it, or will be.
    Opening,
    /// It exists; its client rings, or waits for an answer.
    Waiting,
    /// Its call was answered; it is being joined.
    Joining,
    Up,
    /// As up, but its client's socket is lost.
    Away,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEvent {
    Opened,
    Answered,
    Joined,
    SocketLost,
    SocketBack,
    Closed,
}

impl CallState {
    #[cfg(test)]
    const ALL: [CallState; 5] =
        [CallState::Opening, CallState::Ringing, CallState::Joining, CallState::Up, CallState::Ended];

    pub fn next(self, event: CallEvent) -> Option<CallState> {
        use CallEvent as E;
        use CallState as S;
        Some(match (self, event) {
            (S::Opening, E::CallerOpened) => S::Ringing,
            (S::Ringing, E::CalleeAnswered) => S::Joining,
            (S::Joining, E::Joined) => S::Up,
            (S::Opening | S::Ringing | S::Joining | S::Up, E::Ended) => S::Ended,
            (S::Opening, E::CalleeAnswered | E::Joined)
            | (S::Ringing, E::CallerOpened | E::Joined)
            | (S::Joining, E::CallerOpened | E::CalleeAnswered)
            | (S::Up, E::CallerOpened | E::CalleeAnswered | E::Joined)
            | (S::Ended, E::CallerOpened | E::CalleeAnswered | E::Joined | E::Ended) => return None,
        })
    }
}

#[cfg(test)]
impl CallEvent {
    const ALL: [CallEvent; 4] =
        [CallEvent::CallerOpened, CallEvent::CalleeAnswered, CallEvent::Joined, CallEvent::Ended];
}

impl LegState {
    #[cfg(test)]
    const ALL: [LegState; 6] =
        [LegState::Opening, LegState::Waiting, LegState::Joining, LegState::Up, LegState::Away, LegState::Closed];

    pub fn next(self, event: LegEvent) -> Option<LegState> {
        use LegEvent as E;
        use LegState as S;
        Some(match (self, event) {
            (S::Opening, E::Opened) => S::Waiting,
            (S::Waiting, E::Answered) => S::Joining,
            (S::Joining, E::Joined) => S::Up,
            // Before the answer nobody holds a token to come back with.
            (S::Opening | S::Waiting | S::Joining, E::SocketLost) => S::Closed,
            (S::Up, E::SocketLost) => S::Away,
            // A client may open the next socket before we notice the loss of the last.
            (S::Up | S::Away, E::SocketBack) => S::Up,
            (S::Opening | S::Waiting | S::Joining | S::Up | S::Away, E::Closed) => S::Closed,
            (S::Opening, E::Answered | E::Joined | E::SocketBack)
            | (S::Waiting, E::Opened | E::Joined | E::SocketBack)
            | (S::Joining, E::Opened | E::Answered | E::SocketBack)
            | (S::Up, E::Opened | E::Answered | E::Joined)
            | (S::Away, E::Opened | E::Answered | E::Joined | E::SocketLost)
            | (S::Closed, E::Opened | E::Answered | E::Joined | E::SocketLost | E::SocketBack | E::Closed) => {
                return None;
            }
        })
    }
}

#[cfg(test)]
impl LegEvent {
    const ALL: [LegEvent; 6] = [
        LegEvent::Opened,
        LegEvent::Answered,
        LegEvent::Joined,
        LegEvent::SocketLost,
        LegEvent::SocketBack,
        LegEvent::Closed,
    ];
}

/// One call: a caller's leg, and a leg for each instance that rings until one answers.
#[derive(Debug)]
pub struct Call {
    pub key: CallKey,
    /// The caller's leg's SID, which names the call.
    pub sid: String,
    pub account_sid: String,
    pub from: String,
    pub to: String,
    /// Form-encoded custom parameters for the callee.
    pub params: String,
    pub state: CallState,
    /// The caller's leg first. Closed branches are removed.
    pub legs: Vec<Leg>,
    pub bridge: BridgeId,
    pub dataplane: Generation,
    pub path: Vec<Path>,
    /// Paths chosen by a process before this one.
    pub earlier_path: Vec<String>,
    pub started_monotonic_ms: u64,
    pub started_unix_ms: u64,
    pub answered_unix_ms: Option<u64>,
    pub joining_unix_ms: Option<u64>,
    pub ends_unix_ms: Option<u64>,
    /// Adopted while its legs were being joined: the first snapshot tells whether they were.
    pub is_doubtful: bool,
    /// An instance declined: tells "declined" from "no answer" when the last one is gone.
    pub declined: bool,
    /// Orders to be answered before the legs are joined.
    pub joining: u8,
    /// Legs whose last report is awaited.
    pub closing: BTreeSet<LegId>,
    /// How it ended, until the record is written.
    pub end: Option<End>,
}

/// One side of a call.
#[derive(Debug)]
pub struct Leg {
    pub id: LegId,
    /// By which its client knows the call.
    pub sid: String,
    /// A caller's temporary name of the call. It stays good: a hang-up may cross our `ringing` on the wire.
    pub client_sid: Option<String>,
    /// Whether the client has been told our name.
    pub is_named: bool,
    pub role: LegRole,
    pub state: LegState,
    pub session: Option<SessionId>,
    pub identity: String,
    pub instance: String,
    pub key_sid: String,
    pub gateway: String,
    pub region: String,
    pub reconnect_seconds: u32,
    pub max_call_seconds: Option<u64>,
    /// Whether this node and the bearer's grant allow pictures.
    pub video: bool,
    /// Whether the dataplane was asked for it.
    pub ordered: bool,
    /// Whether media has connected.
    pub connected: bool,
    pub local: Option<LocalDescription>,
    pub remote: Option<Description>,
    pub remote_sdp: String,
    pub local_sdp: String,
    pub sdp_version: u64,
    pub agreed: Agreed,
    pub directions: LegDirections,
    pub dtls_role: DtlsRole,
    pub ice_restarts: u32,
    /// Its peer connection is closed. Without another one the call ends, even if the one that was to replace it is refused.
    pub media_gone: bool,
    /// The client sent the offer of the exchange in progress, so an `answer` is due to it.
    pub awaits_answer: bool,
    /// The client's own number of its last offer that was taken; its answer bears it.
    pub offer_number: Option<u64>,
    pub reoffer: Option<Reoffer>,
    pub report: Option<LegReport>,
}

/// A client's new description of a leg that is up, in work.
#[derive(Debug)]
pub struct Reoffer {
    /// Tells answers to this one from those to an older one.
    pub serial: u64,
    pub description: Description,
    pub sdp: String,
    pub agreed: Agreed,
    pub is: Redescription,
    /// The leg that takes over, when the client came with another peer connection.
    pub replacement: Option<Replacement>,
}

/// What a new description is in its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redescription {
    /// With the client's own number of it.
    Offer(Option<u64>),
    /// What its client said last before it lost its socket, or would have: an offer or an answer.
    Resumption,
    /// To our offer of these directions.
    Answer(Directions),
    /// The last that was taken, put back because the dataplane refused another: its client is told nothing.
    PutBack,
}

/// A leg that is made to take another's place; the other serves until it has.
#[derive(Debug)]
pub struct Replacement {
    pub local: LocalDescription,
    pub dtls_role: DtlsRole,
    pub bridge: BridgeId,
    /// The leg that it was last ordered to be joined with.
    pub joined_with: Option<LegId>,
}

impl Call {
    /// Moves on, or says that the event has no meaning now.
    pub fn advance(&mut self, event: CallEvent) -> bool {
        self.state.next(event).map(|next| self.state = next).is_some()
    }

    pub fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.id == id)
    }

    pub fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.id == id)
    }

    /// The other side of an answered call.
    pub fn other_leg(&self, id: LegId) -> Option<&Leg> {
        let role = self.leg(id)?.role;
        self.legs.iter().filter(|leg| leg.is_established()).find(|leg| leg.role != role)
    }

    pub fn caller(&self) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.role == LegRole::Caller)
    }

    pub fn branches(&self) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(|leg| leg.role == LegRole::Callee)
    }

    pub fn is_answered(&self) -> bool {
        self.answered_unix_ms.is_some()
    }

    fn path_text(&self) -> Vec<String> {
        self.earlier_path.iter().cloned().chain(self.path.iter().map(|p| p.to_string())).collect()
    }

    pub fn to_live(&self) -> LiveCall {
        LiveCall {
            call_sid: self.sid.clone(),
            account_sid: self.account_sid.clone(),
            key: self.key,
            dataplane: self.dataplane,
            bridge: self.bridge,
            from: self.from.clone(),
            to: self.to.clone(),
            started_unix_ms: self.started_unix_ms,
            answered_unix_ms: self.answered_unix_ms,
            joining_unix_ms: self.joining_unix_ms,
            end: self.end.clone(),
            ends_unix_ms: self.ends_unix_ms,
            path: self.path_text(),
            legs: self.legs.iter().map(Leg::to_live).collect(),
        }
    }

    pub fn to_record(&self, end: End) -> CallRecord {
        CallRecord {
            call_sid: self.sid.clone(),
            account_sid: self.account_sid.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            started_unix_ms: self.started_unix_ms,
            answered_unix_ms: self.answered_unix_ms,
            ended_unix_ms: end.unix_ms,
            end_reason: end.reason,
            ended_by: end.by,
            code: end.code,
            path: self.path_text(),
            legs: self.legs.iter().map(Leg::to_record).collect(),
        }
    }
}

impl Leg {
    /// Moves on, or says that the event has no meaning now.
    pub fn advance(&mut self, event: LegEvent) -> bool {
        self.state.next(event).map(|next| self.state = next).is_some()
    }

    /// Takes part in an answered call.
    pub fn is_established(&self) -> bool {
        matches!(self.state, LegState::Joining | LegState::Up | LegState::Away)
    }

    /// Whether its client may offer. A callee may as soon as it has answered; whoever waits for an answer may not.
    pub fn client_may_offer(&self) -> bool {
        match self.state {
            LegState::Up | LegState::Away => true,
            LegState::Joining => self.role == LegRole::Callee && !self.awaits_answer,
            LegState::Opening | LegState::Waiting | LegState::Closed => false,
        }
    }

    /// The name of the call that its client knows now.
    pub fn known_sid(&self) -> &str {
        self.client_sid.as_deref().filter(|_| !self.is_named).unwrap_or(&self.sid)
    }

    /// A number for `o=`: constant for the leg's client, positive as some parsers want it.
    pub fn session_id(&self) -> u64 {
        self.sid.bytes().fold(7u64, |n, b| n.wrapping_mul(31).wrapping_add(u64::from(b))) >> 2
    }

    fn to_live(&self) -> LiveLeg {
        // Only a leg that can be resumed is described anew; eleven that ring would be a large write for nothing.
        let kept = |sdp: &String| if self.is_established() { sdp.clone() } else { String::new() };
        LiveLeg {
            leg: self.id,
            call_sid: self.sid.clone(),
            role: self.role,
            identity: self.identity.clone(),
            instance: self.instance.clone(),
            remote_sdp: kept(&self.remote_sdp),
            local_sdp: kept(&self.local_sdp),
            ice_restarts: self.ice_restarts,
            dtls_client: self.dtls_role == DtlsRole::Client,
            key_sid: self.key_sid.clone(),
            codec: self.agreed.codec(),
            reconnect_seconds: self.reconnect_seconds,
        }
    }

    fn to_record(&self) -> LegRecord {
        LegRecord {
            call_sid: self.sid.clone(),
            role: self.role,
            identity: self.identity.clone(),
            instance: self.instance.clone(),
            gateway: self.gateway.clone(),
            region: self.region.clone(),
            codec: self.agreed.codec(),
            report: self.report.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<S: Copy + std::fmt::Debug, E: Copy + std::fmt::Debug>(
        states: &[S],
        events: &[E],
        next: impl Fn(S, E) -> Option<S>,
    ) -> String {
        let row = |s: &S| {
            let cells = events.iter().filter_map(|e| next(*s, *e).map(|n| format!("{e:?}→{n:?}")));
            format!("{s:?}: {}\n", cells.collect::<Vec<_>>().join(" "))
        };
        states.iter().map(row).collect()
    }

    #[test]
    fn the_call_table_is_this_one() {
        let expected = "\
Opening: CallerOpened→Ringing Ended→Ended
Ringing: CalleeAnswered→Joining Ended→Ended
Joining: Joined→Up Ended→Ended
Up: Ended→Ended
Ended: \n";
        assert_eq!(table(&CallState::ALL, &CallEvent::ALL, CallState::next), expected);
    }

    #[test]
    fn the_leg_table_is_this_one() {
        let expected = "\
Opening: Opened→Waiting SocketLost→Closed Closed→Closed
Waiting: Answered→Joining SocketLost→Closed Closed→Closed
Joining: Joined→Up SocketLost→Closed Closed→Closed
Up: SocketLost→Away SocketBack→Up Closed→Closed
Away: SocketBack→Up Closed→Closed
Closed: \n";
        assert_eq!(table(&LegState::ALL, &LegEvent::ALL, LegState::next), expected);
    }
}
