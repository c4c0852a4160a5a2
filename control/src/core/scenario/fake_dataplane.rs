//! A dataplane for the scenarios: carries out each order at once, unless told otherwise, and remembers what it was told.

use crosspoint_contract::{
    BridgeId, BridgeSnapshot, CallKey, Command, Done, Fingerprint, Generation, IceCredentials, LegFailure, LegId,
    LegReport, LegSnapshot, LegState, LocalDescription, Order, Refused, RemoteDescription, Snapshot, WorkerId,
};
use std::collections::{BTreeMap, HashMap};

pub struct FakeDataplane {
    pub generation: Generation,
    pub is_attached: bool,
    /// While true, orders wait in `unanswered`.
    pub is_stuck: bool,
    pub unanswered: Vec<Order>,
    pub refuse: Option<fn(&Command) -> Option<Refused>>,
    pub legs: BTreeMap<LegId, (CallKey, LocalDescription, Option<RemoteDescription>)>,
    pub bridges: HashMap<BridgeId, [LegId; 2]>,
    pub digits: Vec<(LegId, String)>,
    /// Legs that carry media no more, and why.
    pub failed: BTreeMap<LegId, LegFailure>,
    /// Orders given to it, repetitions included.
    pub asked: usize,
    next_credentials: u32,
}

impl Default for FakeDataplane {
    fn default() -> Self {
        FakeDataplane {
            generation: Generation(1),
            is_attached: false,
            is_stuck: false,
            unanswered: Vec::new(),
            refuse: None,
            legs: BTreeMap::new(),
            bridges: HashMap::new(),
            digits: Vec::new(),
            failed: BTreeMap::new(),
            asked: 0,
            next_credentials: 0,
        }
    }
}

impl FakeDataplane {
    fn local(&mut self) -> LocalDescription {
        self.next_credentials += 1;
        let n = self.next_credentials;
        LocalDescription {
            ice: IceCredentials { ufrag: format!("ours{n}"), pwd: format!("our-password-number-{n:08}") },
            fingerprint: Fingerprint { sha256: [9; 32] },
            candidates: vec!["127.0.0.1:20000".parse().expect("an address")],
            ssrc: 1000 + n,
            video_ssrc: 2000 + n,
            cname: format!("cname{n}"),
            worker: WorkerId(0),
            place: 0,
        }
    }

    pub fn obey(&mut self, command: &Command) -> Result<Done, Refused> {
        self.asked += 1;
        if let Some(refused) = self.refuse.and_then(|refuse| refuse(command)) {
            return Err(refused);
        }
        match command {
            Command::OpenLeg { leg, call, .. } => {
                let local = self.local();
                let (_, local, _) = self.legs.entry(*leg).or_insert((*call, local, None));
                Ok(Done::Opened(local.clone()))
            }
            Command::SetRemote { leg, remote } => {
                let entry = self.legs.get_mut(leg).ok_or(Refused::UnknownLeg(*leg))?;
                entry.2 = Some(remote.clone());
                Ok(Done::Ok)
            }
            Command::RestartIce { leg, .. } => {
                let fresh = self.local().ice;
                let entry = self.legs.get_mut(leg).ok_or(Refused::UnknownLeg(*leg))?;
                entry.1.ice = fresh;
                Ok(Done::Opened(entry.1.clone()))
            }
            Command::Bridge { bridge, legs } => {
                for leg in legs {
                    self.legs.get(leg).ok_or(Refused::UnknownLeg(*leg))?;
                }
                self.bridges.insert(*bridge, *legs);
                Ok(Done::Ok)
            }
            Command::SendDigits { leg, digits } => {
                self.digits.push((*leg, digits.clone()));
                Ok(Done::Ok)
            }
            Command::CloseLeg { leg } => {
                self.legs.remove(leg);
                Ok(Done::Report(LegReport { packets_sent: 42, ..LegReport::default() }))
            }
            _ => Ok(Done::Ok),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let leg = |(leg, (call, local, remote)): (&LegId, &(CallKey, LocalDescription, Option<RemoteDescription>))| {
            LegSnapshot {
                leg: *leg,
                call: *call,
                state: if self.failed.contains_key(leg) { LegState::Failed } else { LegState::Connected },
                failure: self.failed.get(leg).copied(),
                silent: false,
                local: local.clone(),
                remote: remote.clone(),
                rtp: None,
                bridge: None,
                report: LegReport::default(),
            }
        };
        let stands = |(_, legs): &(&BridgeId, &[LegId; 2])| legs.iter().all(|leg| self.legs.contains_key(leg));
        let bridge = |(bridge, legs): (&BridgeId, &[LegId; 2])| BridgeSnapshot { bridge: *bridge, legs: legs.to_vec() };
        let bridges = self.bridges.iter().filter(stands).map(bridge).collect();
        Snapshot { legs: self.legs.iter().map(leg).collect(), bridges, notes: Vec::new() }
    }
}
