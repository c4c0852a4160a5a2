//! A dataplane that does as it is told, and remembers.

use crosspoint_contract::{
    Answer, CallKey, CallNote, Command, Done, FlowFilter, LegId, LegReport, LegSnapshot, LegState, LocalDescription,
    Order, Refused, RtpLegSnapshot, RtpRemote, RtpRequest, Snapshot, StreamReport, TransportRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

#[derive(Debug, Default)]
pub struct FakeDataplane {
    pub legs: BTreeMap<LegId, RtpRequest>,
    pub sinks: BTreeMap<LegId, Vec<LegId>>,
    pub remotes: BTreeMap<LegId, RtpRemote>,
    filters: BTreeMap<LegId, FlowFilter>,
    pub notes: BTreeMap<CallKey, Vec<u8>>,
    /// Legs that have said that they hear nothing.
    pub silent: BTreeSet<LegId>,
    /// Legs on which something was heard, beside what the next reports say.
    pub heard: BTreeSet<LegId>,
    /// What the next reports say.
    pub report: LegReport,
    pub streams: Vec<StreamReport>,
    /// Ports that another program has.
    pub taken: BTreeSet<SocketAddr>,
    /// What it says to orders for more legs, and to all others.
    pub refuses_legs: Option<Refused>,
    pub refuses: Option<Refused>,
    /// It has stopped answering.
    pub is_mute: bool,
    answers: Vec<Answer>,
}

impl FakeDataplane {
    pub fn take(&mut self, order: Order) {
        let result = self.carry_out(order.command);
        if !self.is_mute {
            self.answers.push(Answer { id: order.id, result });
        }
    }

    pub fn keep(&mut self, command: Command) {
        self.carry_out(command).expect("a promise is kept");
    }

    pub fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// What whoever attaches now is told.
    pub fn snapshot(&self) -> Snapshot {
        let leg = |(leg, request): (&LegId, &RtpRequest)| LegSnapshot {
            leg: *leg,
            call: CallKey(0),
            state: LegState::Connected,
            failure: None,
            silent: self.silent.contains(leg),
            local: local_description(request),
            remote: None,
            rtp: Some(Box::new(RtpLegSnapshot {
                request: request.clone(),
                remote: self.remotes.get(leg).cloned(),
                sinks: self.sinks.get(leg).cloned().unwrap_or_default(),
                filter: self.filters.get(leg).copied().unwrap_or_default(),
            })),
            bridge: None,
            report: self.report.clone(),
        };
        let note = |(call, note): (&CallKey, &Vec<u8>)| CallNote { call: *call, note: note.clone() };
        Snapshot {
            legs: self.legs.iter().map(leg).collect(),
            notes: self.notes.iter().map(note).collect(),
            ..Snapshot::default()
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<Done, Refused> {
        match command {
            Command::OpenLeg { leg, .. } if self.refuses_legs.is_some() && !self.legs.contains_key(&leg) => {
                Err(self.refuses_legs.clone().expect("a reason"))
            }
            Command::OpenLeg { leg, transport: TransportRequest::Rtp(request), .. } => {
                if self.taken.contains(&request.rtp) {
                    return Err(Refused::PortTaken(request.rtp));
                }
                let local = local_description(&request);
                self.legs.insert(leg, request);
                Ok(Done::Opened(local))
            }
            _ if self.refuses.is_some() => Err(self.refuses.clone().expect("a reason")),
            Command::SetRtpRemote { leg, remote } => {
                self.remotes.insert(leg, remote);
                Ok(Done::Ok)
            }
            Command::Filter { leg, filter } => {
                self.filters.insert(leg, filter);
                Ok(Done::Ok)
            }
            Command::Note { call, note } => {
                self.notes.insert(call, note);
                Ok(Done::Ok)
            }
            Command::Forward { source, sinks } => {
                self.sinks.insert(source, sinks);
                Ok(Done::Ok)
            }
            Command::ReadLeg { .. } => Ok(Done::Report(self.report.clone())),
            Command::ReadStreams { .. } => Ok(Done::Streams(self.streams.clone())),
            Command::CloseLeg { leg } => {
                self.legs.remove(&leg);
                self.remotes.remove(&leg);
                self.silent.remove(&leg);
                let mut report = self.report.clone();
                report.packets_received += u64::from(self.heard.contains(&leg));
                Ok(Done::Report(report))
            }
            _ => Ok(Done::Ok),
        }
    }
}

fn local_description(request: &RtpRequest) -> LocalDescription {
    let none = crosspoint_contract::IceCredentials { ufrag: String::new(), pwd: String::new() };
    LocalDescription {
        ice: request.ice.clone().unwrap_or(none),
        fingerprint: crosspoint_contract::Fingerprint { sha256: [0xab; 32] },
        candidates: vec![request.rtp],
        ssrc: 0,
        video_ssrc: 0,
        cname: String::new(),
        worker: crosspoint_contract::WorkerId(0),
        place: 0,
    }
}
