//! Commands for legs with ports of their own, and for those that translate.
//!
//! Input: control's commands. Output: claimed ports, expanded keys and orders for the worker, expectations for the lobby.
//! Owns nothing: it is the third part of [`Registry`].

use super::record::{LegRecord, RtpRecord, credentials, describe, local_description, session_seed};
use super::seat::Reply;
use super::{Asked, Outcome, Registry, Result};
use crate::io::{ClaimedPort, PortRefused};
use crate::leg::relay::RelayFormat;
use crate::leg::{
    ChecksChange, Ice, KeyChange, Keys, Leg, LegHandle, NewIce, OtherFamily, Part, Port, Ports, Protection, Relay,
    RtpChange, Session,
};
use crate::queues::{LobbyOrder, WorkerOrder};
use crate::random;
use crate::suites::{wire_hash, wire_suite};
use crosspoint_contract::limits::{CANDIDATES_PER_LEG_MAX, FORMATS_PER_LEG_MAX, SINKS_PER_LEG_MAX};
use crosspoint_contract::{
    CallKey, FlowFilter, IceCredentials, LegId, LegState, LocalDescription, PerMedium, Refused, Relaying, RtpRemote,
    RtpRequest, SdesKey, Security, WorkerId,
};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_checks::{Candidate, Checks, Role};
use crosspoint_wire::ice_lite::IceLite;
use crosspoint_wire::srtp::{MasterKey, Mki, SrtpReceiver, SrtpSender};
use std::net::SocketAddr;

impl Registry {
    pub(super) fn open_rtp(&mut self, asked: Asked, leg: LegId, call: CallKey, request: RtpRequest) -> Outcome {
        if let Some(record) = self.legs.get(&leg) {
            let (worker, local) = (record.worker, Box::new(record.local.clone()));
            return self.say_in_turn(worker, leg, asked, Reply::Described(local));
        }
        if self.draining {
            return Err(Refused::Draining);
        }
        let worker = self.place(call)?;
        let handle = self.next_handle(worker, leg)?;
        let rtp = self.claim(worker, request.rtp, request.tos)?;
        let rtcp = request.rtcp.map(|rtcp| self.claim(worker, rtcp, request.tos)).transpose()?;
        let claimed_others = match &request.other_family {
            Some(other) => {
                let rtp = self.claim(worker, other.rtp, request.tos)?;
                Some((rtp, other.rtcp.map(|rtcp| self.claim(worker, rtcp, request.tos)).transpose()?))
            }
            None => None,
        };
        let local = self.local_of(worker, &request);
        let silence = Nanos::from_millis(request.silent_ms.into());
        let port = |claimed: &ClaimedPort| Port::new(claimed.addr(), claimed.spec());
        let other_family = claimed_others
            .as_ref()
            .map(|(rtp, rtcp)| Box::new(OtherFamily { rtp: port(rtp), rtcp: rtcp.as_ref().map(port) }));
        let ports = Ports::new(port(&rtp), rtcp.as_ref().map(port), other_family, silence);
        let part = match request.relaying {
            Relaying::Translator => Part::Translator(Relay::new()),
            Relaying::Endpoint => Part::End(Session::new(session_seed(&local))),
        };
        let ice = request.ice.as_ref().map(|ice| agents(ice, request.rtcp.is_some()));
        let opened = Leg::with_ports(handle, part, ports, ice);
        let mut record = LegRecord::new(handle, worker, call, local);
        let (other_rtp, other_rtcp) = claimed_others.map_or((None, None), |(rtp, rtcp)| (Some(rtp), rtcp));
        record.rtp = Some(RtpRecord::new(request, [Some(rtp), rtcp, other_rtp, other_rtcp]));
        self.admit(asked, worker, opened, record)
    }

    fn claim(&self, worker: usize, addr: SocketAddr, tos: u8) -> Result<ClaimedPort> {
        self.ports.claim(worker, addr, tos).map_err(|refused| match refused {
            PortRefused::Taken => Refused::PortTaken(addr),
            PortRefused::NoSuchAddress => Refused::NoSuchAddress(addr.ip()),
            PortRefused::Exhausted => Refused::LegsExhausted,
        })
    }

    fn local_of(&self, worker: usize, request: &RtpRequest) -> LocalDescription {
        let none = || IceCredentials { ufrag: String::new(), pwd: String::new() };
        let (hello, fingerprint) = (&self.seats[worker].hello, &self.fingerprint);
        let drawn = match request.relaying {
            Relaying::Endpoint => local_description(hello, fingerprint),
            // It has no streams of its own, and there are many of its kind: nothing is drawn for it.
            Relaying::Translator => LocalDescription {
                ice: none(),
                fingerprint: fingerprint.clone(),
                candidates: Vec::new(),
                ssrc: 0,
                video_ssrc: 0,
                cname: String::new(),
                worker: hello.worker,
                place: 0,
            },
        };
        LocalDescription {
            ice: request.ice.clone().unwrap_or_else(none),
            candidates: [Some(request.rtp), request.rtcp].into_iter().flatten().collect(),
            ..drawn
        }
    }

    pub(super) fn set_rtp_remote(&mut self, asked: Asked, leg: LegId, remote: RtpRemote) -> Outcome {
        let (worker, handle) = self.known(leg)?;
        let record = self.legs.get(&leg).ok_or(Refused::UnknownLeg(leg))?;
        let Some(rtp) = &record.rtp else { return self.refuse(worker, leg, asked, Refused::UnsuitedLeg(leg)) };
        let change = match change(leg, &rtp.told.request, rtp.told.remote.as_ref(), &remote) {
            Ok(change) => Box::new(change),
            Err(refused) => return self.refuse(worker, leg, asked, refused),
        };
        let is_expected = record.is_expected_in_lobby();
        let done = self.tell(worker, &[leg], WorkerOrder::DescribeRtp { leg: handle, change }, asked, Reply::Ok)?;
        match &remote.security {
            Security::Dtls { fingerprint, our_role } => self.tell_lobby(LobbyOrder::Expect {
                worker: WorkerId(worker as u16),
                leg: handle,
                role: *our_role,
                fingerprint: fingerprint.clone(),
                patient: true,
            }),
            _ if is_expected => self.tell_lobby(LobbyOrder::Forget { leg }),
            _ => {}
        }
        if let Some(record) = self.legs.get_mut(&leg) {
            record.described(remote);
        }
        Ok(done)
    }

    pub(super) fn forward(&mut self, asked: Asked, source: LegId, sinks: &[LegId]) -> Outcome {
        let (worker, handle) = self.known_translator(source)?;
        if sinks.len() > SINKS_PER_LEG_MAX {
            return self.refuse(worker, source, asked, Refused::TooManySinks);
        }
        let mut handles = Vec::with_capacity(sinks.len());
        for &sink in sinks {
            let (other_worker, sink_handle) = self.known_translator(sink)?;
            if other_worker != worker {
                return Err(Refused::OtherWorker(sink));
            }
            if sink == source {
                return Err(Refused::SameLeg(sink));
            }
            handles.push(sink_handle);
        }
        let named = [&[source], sinks].concat();
        let order = WorkerOrder::Forward { leg: handle, sinks: handles.into() };
        let done = self.tell(worker, &named, order, asked, Reply::Ok)?;
        if let Some(rtp) = self.legs.get_mut(&source).and_then(|record| record.rtp.as_mut()) {
            rtp.told.sinks = sinks.to_vec();
        }
        Ok(done)
    }

    pub(super) fn filter(&mut self, asked: Asked, leg: LegId, filter: FlowFilter) -> Outcome {
        let (worker, handle) = self.known_translator(leg)?;
        let done = self.tell(worker, &[leg], WorkerOrder::Filter { leg: handle, filter }, asked, Reply::Ok)?;
        if let Some(rtp) = self.legs.get_mut(&leg).and_then(|record| record.rtp.as_mut()) {
            rtp.told.filter = filter;
        }
        Ok(done)
    }

    pub(super) fn read_streams(&mut self, asked: Asked, leg: LegId) -> Outcome {
        let (worker, handle) = self.known(leg)?;
        let order = WorkerOrder::ReadStreams { leg: handle, sheet: Box::default() };
        self.ask(worker, &[leg], order, asked, Reply::Streams)
    }

    pub(super) fn is_translator(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(LegRecord::is_translator)
    }

    fn known_translator(&self, leg: LegId) -> Result<(usize, LegHandle)> {
        let known = self.known(leg)?;
        if self.is_translator(leg) { Ok(known) } else { Err(Refused::UnsuitedLeg(leg)) }
    }

    /// In its turn, behind what the worker has yet to answer.
    fn refuse(&mut self, worker: usize, leg: LegId, asked: Asked, refused: Refused) -> Outcome {
        self.say_in_turn(worker, leg, asked, Reply::Refused(refused))
    }
}

fn agents(ice: &IceCredentials, with_rtcp: bool) -> Box<Ice> {
    let mut agents = Ice::new(credentials(ice));
    agents.rtcp = with_rtcp.then(|| IceLite::new(credentials(ice)));
    agents
}

/// What a description changes beside the one before.
fn change(leg: LegId, request: &RtpRequest, before: Option<&RtpRemote>, remote: &RtpRemote) -> Result<RtpChange> {
    let is_end = request.relaying == Relaying::Endpoint;
    let directions = PerMedium::from_fn(|_| remote.direction);
    if remote.formats.len() > FORMATS_PER_LEG_MAX {
        return Err(Refused::TooManyFormats);
    }
    let is_opaque = remote.security == Security::Opaque;
    if is_opaque && is_end {
        return Err(Refused::UnsuitedLeg(leg));
    }
    let is_plain = remote.security == Security::Plain || is_opaque;
    let ours_before = before.and_then(|before| before.our_ice.as_ref()).or(request.ice.as_ref());
    let uses_ice = remote.ice.is_some() && (remote.our_ice.is_some() || ours_before.is_some());
    let new_ice = remote.our_ice.as_ref().filter(|ours| Some(*ours) != ours_before);
    Ok(RtpChange {
        rtp: remote.rtp.map_or(crate::io::Remote::UNSPECIFIED, Into::into),
        rtcp: (!remote.rtcp_mux).then(|| remote.rtcp.map_or(crate::io::Remote::UNSPECIFIED, Into::into)),
        learning: remote.learning,
        unheard_packets_max: remote.unheard_packets_max,
        protection: if is_plain { Protection::Plain } else { Protection::Srtp },
        is_opaque,
        uses_dtls: matches!(remote.security, Security::Dtls { .. }),
        uses_ice,
        checks: checks(before, remote, uses_ice, new_ice.is_some()),
        ice: new_ice.map(|ours| NewIce {
            agents: Some(agents(ours, request.rtcp.is_some())),
            restart: [Some(credentials(ours)), Some(credentials(ours))],
        }),
        keys: key_change(leg, request.relaying, before.map(|before| &before.security), &remote.security)?,
        directions,
        medium: remote.medium,
        tos: remote.tos,
        formats: if is_end { Box::default() } else { remote.formats.iter().map(RelayFormat::new).collect() },
        description: if is_end {
            describe(&remote.formats, directions, PerMedium::default()).map(Box::new)
        } else {
            None
        },
    })
}

/// Equal credentials on both sides: the checks go on, with the candidates that are new.
fn checks(before: Option<&RtpRemote>, remote: &RtpRemote, uses_ice: bool, ours_are_new: bool) -> ChecksChange {
    let (Some(told), Some(peer), true) = (&remote.checks, &remote.ice, uses_ice) else {
        return ChecksChange::End(None);
    };
    let candidates = told.candidates.iter().take(CANDIDATES_PER_LEG_MAX).map(|candidate| Candidate {
        component: usize::from(candidate.component.saturating_sub(1)),
        addr: candidate.addr,
        priority: candidate.priority,
    });
    let goes_on = before.is_some_and(|before| before.checks.is_some() && before.ice.as_ref() == Some(peer));
    if goes_on && !ours_are_new {
        return ChecksChange::Add(candidates.collect());
    }
    let role = Role { controlling: told.controlling, tie_breaker: random::u64() };
    let mut begun = Box::new(Checks::new(role, credentials(peer), &random::bytes()));
    candidates.for_each(|candidate| begun.add(candidate));
    ChecksChange::Begin(Some(begun))
}

fn key_change(leg: LegId, relaying: Relaying, before: Option<&Security>, now: &Security) -> Result<KeyChange> {
    match (before, now) {
        (_, Security::Plain | Security::Opaque) => Ok(KeyChange::Forget),
        (_, Security::Dtls { fingerprint, .. }) if wire_hash(fingerprint.hash).bytes() != fingerprint.digest.len() => {
            Err(Refused::BadKeys(leg))
        }
        (Some(before), now) if before == now => Ok(KeyChange::Keep),
        (_, Security::Dtls { .. }) => Ok(KeyChange::Forget),
        (before, Security::Sdes { receive, send }) => {
            let (keep_receiver, keep_sender) = match before {
                Some(Security::Sdes { receive: receive_before, send: send_before }) => {
                    (receive_before == receive, send_before == send)
                }
                _ => (false, false),
            };
            let keys = sdes_keys(relaying, receive, send).ok_or(Refused::BadKeys(leg))?;
            Ok(KeyChange::Install { keys: Box::new(keys), keep_receiver, keep_sender })
        }
    }
}

/// Nothing when a key has not the length its suite wants, or an identifier none that is possible.
fn sdes_keys(relaying: Relaying, receive: &SdesKey, send: &SdesKey) -> Option<Keys> {
    let (opens, seals) = (master_key(receive)?, master_key(send)?);
    let sender = match relaying {
        Relaying::Translator => SrtpSender::for_translator(&seals),
        Relaying::Endpoint => SrtpSender::new(&seals),
    };
    Some(Keys {
        suite: receive.suite,
        receiver: SrtpReceiver::new(&opens).with_mki(mki(receive)?),
        sender: sender.with_mki(mki(send)?),
    })
}

fn master_key(key: &SdesKey) -> Option<MasterKey> {
    let suite = wire_suite(key.suite);
    let (master, salt) = key.key_and_salt.split_at_checked(suite.key_bytes())?;
    MasterKey::new(suite, master, salt)
}

/// The outer option is whether it is possible.
fn mki(key: &SdesKey) -> Option<Option<Mki>> {
    match key.mki {
        None => Some(None),
        Some((value, len)) => Mki::new(value, len.into()).map(Some),
    }
}

impl LegRecord {
    /// Keeps the peer's description for snapshots and for the next one.
    fn described(&mut self, mut remote: RtpRemote) {
        let Some(rtp) = &mut self.rtp else { return };
        rtp.mark(remote.tos);
        let before = rtp.told.remote.take().and_then(|before| before.our_ice);
        remote.our_ice = remote.our_ice.or(before);
        if let Some(ours) = &remote.our_ice {
            self.local.ice = ours.clone();
        }
        // Of what needs no handshake the worker says nothing.
        if self.state == LegState::Opening && !matches!(remote.security, Security::Dtls { .. }) {
            self.state = LegState::Connected;
        }
        rtp.told.remote = Some(remote);
    }
}
