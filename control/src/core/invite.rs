//! A call begins: an invite is admitted, the callee's instances are found, legs are opened, instances ring.

use super::admission::{self, Admitted};
use super::call::{Call, CallEvent, CallState, Leg, LegEvent, LegState};
use super::destination::Destination;
use super::directions::LegDirections;
use super::effect::{Effect, Level};
use super::ending::Ending;
use super::input::SessionId;
use super::message::{Invite, InviteParameters, ToClient};
use super::orders::Purpose;
use super::record::LegRole;
use super::refusal::Refusal;
use super::route::{Route, RouteState};
use super::sdp::{self, Agreed, Ours};
use super::session::Session;
use super::timers::Timer;
use super::token::Grant;
use super::turn::Turn;
use super::{Core, limits};
use crosspoint_contract::{
    BridgeId, CallKey, Command, Directions, DtlsRole, LegId, LocalDescription, TransportRequest,
};

impl Core {
    pub(super) fn invite(&mut self, turn: &mut Turn, session: SessionId, invite: Invite) {
        if invite.reconnect.is_some() {
            return self.resume(turn, session, invite);
        }
        // The client's queue may send an invite again after a reconnection.
        if self.has_client_sid(session, &invite.callsid) {
            return;
        }
        match self.check_invite(turn, session, &invite) {
            Ok(admitted) => self.start_call(turn, session, invite, admitted),
            Err(refusal) => self.refuse_invite(turn, session, &invite.callsid, refusal),
        }
    }

    fn has_client_sid(&self, session: SessionId, callsid: &str) -> bool {
        let legs = self.sessions.get(&session).into_iter().flat_map(|s| &s.legs);
        legs.filter_map(|leg| self.leg(*leg)).any(|leg| leg.client_sid.as_deref() == Some(callsid))
    }

    fn check_invite(&self, turn: &Turn, session: SessionId, invite: &Invite) -> Result<Admitted, Refusal> {
        let entry = self.sessions.get(&session).ok_or(Refusal::NotListening)?;
        let grant = entry.grant()?;
        let calls = self.calls_of(grant);
        let admitted = admission::admit(invite, grant, calls, &self.config, turn.now.unix_ms)?;
        if self.closing {
            return Err(Refusal::ShuttingDown);
        }
        if !matches!(admitted.destination, Destination::Client(_)) {
            return Err(Refusal::DestinationKindUnserved);
        }
        if self.calls.len() >= self.config.limits.calls_max {
            return Err(Refusal::Overloaded);
        }
        self.check_dataplane()?;
        Ok(admitted)
    }

    /// Calls that a client takes part in; instances that only ring do not count.
    fn calls_of(&self, grant: &Grant) -> usize {
        let takes_part = |leg: &&Leg| leg.role == LegRole::Caller || leg.is_established();
        self.clients.legs_of(&grant.client()).filter_map(|leg| self.leg(leg)).filter(takes_part).count()
    }

    /// Stock clients end a call on `hangup` with an error; `error` alone would leave it connecting.
    pub(super) fn refuse_invite(&mut self, turn: &mut Turn, session: SessionId, callsid: &str, refusal: Refusal) {
        self.count(refusal);
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.may_note_refusal(turn.now.monotonic_ms) {
            let identity = entry.bearer().map(|grant| grant.identity.as_str()).unwrap_or_default();
            let fields: [(_, &dyn std::fmt::Display); 3] =
                [("why", &refusal.name()), ("identity", &identity), ("callsid", &callsid)];
            turn.note(Level::Info, "invite_refused", &fields);
        }
        let callsid = callsid.to_owned();
        turn.send(session, &ToClient::HangUp { callsid, refusal: Some(refusal), reason: None });
    }

    fn start_call(&mut self, turn: &mut Turn, session: SessionId, invite: Invite, admitted: Admitted) {
        let Some(call) = self.new_call(turn, session, invite, admitted) else { return };
        let key = call.key;
        turn.note(Level::Info, "call_started", &[("call_sid", &call.sid), ("from", &call.from), ("to", &call.to)]);
        self.counters.calls_started += 1;
        self.hold_call(call);
        self.reindex(key);
        let ending = self.find_branches(turn, key).err();
        if let Some(ending) = ending {
            return self.end_call(turn, key, ending);
        }
        self.timers.set(Timer::Ring(key), turn.now.monotonic_ms + u64::from(self.config.ring_timeout_s) * 1000);
        let caller = self.calls.get(&key).and_then(Call::caller).map(|leg| leg.id);
        if let Some(caller) = caller {
            self.open_leg(turn, key, caller);
        }
        self.save(turn, key);
    }

    fn new_call(&mut self, turn: &Turn, session: SessionId, invite: Invite, admitted: Admitted) -> Option<Call> {
        let (sid, key, bridge) = (self.draw_sid("CA"), CallKey(self.draw()), BridgeId(self.draw()));
        let mut leg = self.new_leg(session, LegRole::Caller)?;
        leg.sid.clone_from(&sid);
        leg.client_sid = Some(invite.callsid);
        leg.directions.client_offered(admitted.offer.directions());
        leg.remote = Some(admitted.offer);
        leg.remote_sdp = invite.sdp;
        leg.awaits_answer = true;
        let grant = self.sessions.get(&session)?.grant().ok()?;
        Some(Call {
            key,
            sid,
            account_sid: grant.account_sid.clone(),
            from: format!("client:{}", grant.identity),
            to: admitted.destination.to_string(),
            params: admitted.params,
            state: CallState::Opening,
            legs: vec![leg],
            bridge,
            dataplane: self.dataplane?,
            path: Vec::new(),
            earlier_path: Vec::new(),
            started_monotonic_ms: turn.now.monotonic_ms,
            started_unix_ms: turn.now.unix_ms,
            answered_unix_ms: None,
            joining_unix_ms: None,
            ends_unix_ms: None,
            is_doubtful: false,
            declined: false,
            joining: 0,
            closing: Default::default(),
            end: None,
        })
    }

    /// A leg for a session, not yet asked for.
    fn new_leg(&mut self, session: SessionId, role: LegRole) -> Option<Leg> {
        let (id, sid) = (self.draw_leg(), self.draw_sid("CA"));
        let entry = self.sessions.get(&session)?;
        let grant: &Grant = entry.bearer()?;
        Some(Leg {
            id,
            sid,
            client_sid: None,
            is_named: role == LegRole::Callee,
            role,
            state: LegState::Opening,
            session: Some(session),
            identity: grant.identity.clone(),
            instance: entry.instance.clone(),
            key_sid: grant.key_sid.clone(),
            gateway: self.config.gateway.clone(),
            region: self.config.region.clone(),
            reconnect_seconds: entry.reconnect_seconds,
            max_call_seconds: grant.limits.max_call_seconds,
            video: self.config.video && grant.limits.allows_medium("video"),
            ordered: false,
            connected: false,
            local: None,
            remote: None,
            remote_sdp: String::new(),
            local_sdp: String::new(),
            sdp_version: 1,
            agreed: Agreed::default(),
            directions: LegDirections::new(Directions::default(), entry.takes_offers),
            dtls_role: DtlsRole::Server,
            ice_restarts: 0,
            media_gone: false,
            awaits_answer: false,
            offer_number: None,
            reoffer: None,
            report: None,
        })
    }

    /// A leg for each instance of the callee that may ring.
    fn find_branches(&mut self, turn: &Turn, key: CallKey) -> Result<(), Ending> {
        let Some(call) = self.calls.get(&key) else { return Ok(()) };
        let Ok(Destination::Client(name)) = Destination::parse(&call.to) else { return Err(Ending::NotRegistered) };
        let routes = self.registry.routes_of(&call.account_sid, &name, turn.now.unix_ms);
        let sockets: Vec<_> = routes.iter().filter_map(|route| self.socket_of(route)).collect();
        if sockets.is_empty() {
            return Err(Ending::NotRegistered);
        }
        let caller_session = call.caller().and_then(|leg| leg.session);
        let free = |s: &SessionId| Some(*s) != caller_session && self.may_ring(*s);
        let free: Vec<_> = sockets.into_iter().filter(free).take(self.config.limits.ringing_instances_max).collect();
        if free.is_empty() {
            return Err(Ending::Busy);
        }
        let legs: Vec<_> = free.into_iter().filter_map(|session| self.new_leg(session, LegRole::Callee)).collect();
        if let Some(call) = self.calls.get_mut(&key) {
            call.legs.extend(legs);
        }
        self.reindex(key);
        Ok(())
    }

    fn socket_of(&self, route: &Route) -> Option<SessionId> {
        let socket = self.sockets.get(&route.key()).copied();
        socket.filter(|_| route.state == RouteState::Available && route.gateway == self.config.gateway)
    }

    fn may_ring(&self, session: SessionId) -> bool {
        let Some(Ok(grant)) = self.sessions.get(&session).map(Session::grant) else { return false };
        self.check_answer(grant).is_ok()
    }

    /// Whether the bearer may take one more call that rings. Asked again at the answer: several may ring together.
    pub(super) fn check_answer(&self, grant: &Grant) -> Result<(), Refusal> {
        if !grant.incoming {
            return Err(Refusal::NoIncomingGrant);
        }
        let calls = self.calls_of(grant);
        if calls < admission::calls_max(grant, &self.config) { Ok(()) } else { Err(Refusal::TooManyCalls) }
    }

    fn open_leg(&mut self, turn: &mut Turn, key: CallKey, leg: LegId) {
        if let Some(leg) = self.leg_mut(leg) {
            leg.ordered = true;
        }
        let command = Command::OpenLeg { leg, call: key, transport: TransportRequest::WebRtc };
        self.orders.give(command, Purpose::Open(leg), turn);
    }

    /// The dataplane has made a leg: the caller's, then those of the callee's instances.
    pub(super) fn leg_opened(&mut self, turn: &mut Turn, leg: LegId, local: LocalDescription) {
        let Some(key) = self.legs.get(&leg).copied() else {
            // Its call ended meanwhile, and the order to close it may have been carried out before.
            return self.orders.give(Command::CloseLeg { leg }, Purpose::Nothing, turn);
        };
        let Some(entry) = self.leg_mut(leg) else { return };
        if !entry.advance(LegEvent::Opened) {
            return;
        }
        entry.local = Some(local);
        match entry.role {
            LegRole::Caller => self.ring(turn, key),
            LegRole::Callee => self.notify(turn, key, leg),
        }
    }

    /// The dataplane did not make it.
    pub(super) fn leg_refused(&mut self, turn: &mut Turn, leg: LegId, why: &dyn std::fmt::Display) {
        let Some(key) = self.legs.get(&leg).copied() else { return };
        self.note_leg(turn, Level::Warn, "leg_refused", leg, &[("why", why)]);
        match self.leg(leg).map(|leg| leg.role) {
            Some(LegRole::Caller) => self.end_call(turn, key, Ending::NoDataplane),
            Some(LegRole::Callee) => self.drop_branch(turn, leg, Some(Ending::NoDataplane)),
            None => {}
        }
    }

    fn ring(&mut self, turn: &mut Turn, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if !call.advance(CallEvent::CallerOpened) {
            return;
        }
        let branches: Vec<_> = call.branches().map(|leg| leg.id).collect();
        for leg in branches {
            self.open_leg(turn, key, leg);
        }
        self.save(turn, key);
    }

    /// Tells an instance that it is called, and the caller that it rings.
    fn notify(&mut self, turn: &mut Turn, key: CallKey, leg: LegId) {
        let reconnect = self.seal(turn, leg);
        let Some(call) = self.calls.get_mut(&key) else { return };
        let offer = call.caller().and_then(|caller| Some(sdp::offered(caller.remote.as_ref()?, caller.video)));
        let (from, to, account_sid, params) =
            (call.from.clone(), call.to.clone(), call.account_sid.clone(), call.params.clone());
        let directions = call.first_directions(call.leg(leg).is_some_and(|leg| leg.directions.takes_offers));
        let Some(entry) = call.leg_mut(leg) else { return };
        let (Some(mut offer), Some(local)) = (offer, entry.local.as_ref()) else { return };
        if !entry.video {
            offer.video.clear();
        }
        let ours = Ours { local, session_id: entry.session_id(), version: entry.sdp_version };
        entry.local_sdp = sdp::write_offer(ours, &offer, directions);
        entry.directions.we_said(directions);
        let invite = ToClient::Invite {
            callsid: entry.sid.clone(),
            sdp: entry.local_sdp.clone(),
            parameters: InviteParameters { from, to, call_sid: entry.sid.clone(), account_sid, params },
            reconnect,
        };
        if let Some(session) = entry.session {
            turn.send(session, &invite);
        }
        self.tell_ringing(turn, key);
    }

    fn tell_ringing(&mut self, turn: &mut Turn, key: CallKey) {
        let Some(caller) = self.calls.get_mut(&key).and_then(|c| c.legs.iter_mut().find(|l| l.role == LegRole::Caller))
        else {
            return;
        };
        // From `ringing` on the client calls the call by our name; a second `ringing` says nothing new.
        if let (false, Some(session)) = (caller.is_named, caller.session) {
            caller.is_named = true;
            turn.send(session, &ToClient::Ringing { callsid: caller.sid.clone() });
        }
    }

    /// A sealed token by which a leg's client answers and resumes.
    pub(super) fn seal(&mut self, turn: &Turn, leg: LegId) -> String {
        let nonce = self.draw_bytes();
        let Some(call) = self.legs.get(&leg).and_then(|key| self.calls.get(key)) else { return String::new() };
        let Some(entry) = call.leg(leg) else { return String::new() };
        let token = super::bridge_token::BridgeToken {
            call_sid: entry.sid.clone(),
            node: self.config.node.clone(),
            account_sid: call.account_sid.clone(),
            identity: entry.identity.clone(),
            expires_unix_ms: turn.now.unix_ms + limits::BRIDGE_TOKEN_LIFE_MS,
        };
        self.sealer.seal(&token, nonce)
    }

    pub(super) fn save(&mut self, turn: &mut Turn, key: CallKey) {
        if let Some(call) = self.calls.get(&key).filter(|call| call.state != CallState::Ended) {
            turn.effects.push(Effect::SaveCall(Box::new(call.to_live())));
        }
    }
}
