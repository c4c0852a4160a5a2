//! One leg as the link thread knows it, and how its descriptions are made and read.
//!
//! Input: control's commands, and what workers say. Output: snapshots; seeds and descriptions for workers. Owns what a
//! control plane that attaches wants to know of a leg.

use super::Attachment;
use crate::io::ClaimedPort;
use crate::leg::{Description, LegHandle, LegSeed, MidExtension, SessionSeed};
use crate::random;
use crosspoint_contract::limits::FORMATS_PER_LEG_MAX;
use crosspoint_contract::{
    BridgeId, CallKey, CertificateDigest, Codec, CommandId, Directions, Event, Fingerprint, FlowFilter, Format,
    HashFunction, IceCredentials, LegFailure, LegReport, LegSnapshot, LegState, LocalDescription, PerMedium, Relaying,
    RemoteDescription, RtpLegSnapshot, RtpRequest, Security, WorkerHello,
};
use crosspoint_wire::ice_lite::Credentials;

/// What the link thread knows of one leg.
pub struct LegRecord {
    pub handle: LegHandle,
    pub worker: usize,
    pub call: CallKey,
    pub state: LegState,
    failure: Option<LegFailure>,
    silent: bool,
    pub local: LocalDescription,
    pub remote: Option<RemoteDescription>,
    /// Of a leg with ports of its own, in place of `remote`.
    pub rtp: Option<Box<RtpRecord>>,
    pub bridge: Option<BridgeId>,
    report: LegReport,
    /// Number of the last ICE restart.
    pub restart: u32,
    /// The last digits that were sent: the same command again does not send them again.
    pub digits: Option<(Attachment, CommandId)>,
    pub closing: bool,
    /// The worker's order whose answer is awaited for the last command that names this leg.
    pub awaited: u64,
}

/// What an RTP leg was told. Dropped with the record, once the worker has closed the ports or is lost.
pub struct RtpRecord {
    pub told: RtpLegSnapshot,
    ports: [Option<ClaimedPort>; 4],
}

impl RtpRecord {
    pub fn new(request: RtpRequest, ports: [Option<ClaimedPort>; 4]) -> Box<Self> {
        let told = RtpLegSnapshot { request, remote: None, sinks: Vec::new(), filter: FlowFilter::default() };
        Box::new(RtpRecord { told, ports })
    }

    /// What packets from its ports carry from now on.
    pub fn mark(&mut self, tos: u8) {
        self.ports.iter_mut().flatten().for_each(|port| port.mark(tos));
    }
}

impl LegRecord {
    pub fn new(handle: LegHandle, worker: usize, call: CallKey, local: LocalDescription) -> Self {
        LegRecord {
            handle,
            worker,
            call,
            state: LegState::Opening,
            failure: None,
            silent: false,
            local,
            remote: None,
            rtp: None,
            bridge: None,
            report: LegReport::default(),
            restart: 0,
            digits: None,
            closing: false,
            awaited: 0,
        }
    }

    /// Keeps what an event says of this leg.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::LegConnected { remote_addr, suite, .. } => {
                self.state = LegState::Connected;
                (self.report.remote_addr, self.report.suite) = (Some(*remote_addr), Some(*suite));
                self.report.local_addr = self.local.candidates.first().copied();
            }
            Event::LegMoved { remote_addr, .. } => self.report.remote_addr = Some(*remote_addr),
            Event::LegSilent { .. } => self.silent = true,
            Event::LegHeard { .. } => self.silent = false,
            Event::LegReported { report, .. } => self.report = report.clone(),
            Event::LegFailed { why, .. } => (self.state, self.failure) = (LegState::Failed, Some(*why)),
            Event::LegUnreachable { .. }
            | Event::DigitHeard { .. }
            | Event::PromiseBroken { .. }
            | Event::WorkerLost { .. }
            | Event::Drained => {}
        }
    }

    /// Whether the lobby may know of the leg: thousands of calls without handshakes shall not wake it.
    pub fn is_expected_in_lobby(&self) -> bool {
        match &self.rtp {
            None => true,
            Some(rtp) => {
                rtp.told.remote.as_ref().is_some_and(|remote| matches!(remote.security, Security::Dtls { .. }))
            }
        }
    }

    pub fn is_translator(&self) -> bool {
        self.rtp.as_ref().is_some_and(|rtp| rtp.told.request.relaying == Relaying::Translator)
    }

    /// What the peer takes, as far as it was described.
    pub fn formats(&self) -> &[Format] {
        match (&self.remote, self.rtp.as_ref().and_then(|rtp| rtp.told.remote.as_ref())) {
            (Some(remote), _) => &remote.formats,
            (None, Some(remote)) => &remote.formats,
            (None, None) => &[],
        }
    }

    pub fn snapshot(&self) -> LegSnapshot {
        LegSnapshot {
            leg: self.handle.leg,
            call: self.call,
            state: self.state,
            failure: self.failure,
            silent: self.silent,
            local: self.local.clone(),
            remote: self.remote.clone(),
            rtp: self.rtp.as_ref().map(|rtp| Box::new(rtp.told.clone())),
            bridge: self.bridge,
            report: self.report.clone(),
        }
    }
}

pub fn local_description(worker: &WorkerHello, fingerprint: &Fingerprint) -> LocalDescription {
    let ssrc = random::ssrc();
    LocalDescription {
        ice: random::ice_credentials(),
        fingerprint: fingerprint.clone(),
        candidates: vec![worker.addr],
        ssrc,
        // RFC 3550 §8.1: SSRCs of one session differ.
        video_ssrc: Some(random::ssrc()).filter(|&video| video != ssrc).unwrap_or(!ssrc),
        cname: random::cname(),
        worker: worker.worker,
        place: 0,
    }
}

pub fn seed(handle: LegHandle, local: &LocalDescription) -> LegSeed {
    LegSeed { handle, ice: credentials(&local.ice), session: session_seed(local) }
}

pub fn session_seed(local: &LocalDescription) -> SessionSeed {
    SessionSeed {
        audio_ssrc: local.ssrc,
        video_ssrc: local.video_ssrc,
        first_sequence_number: random::first_sequence_number(),
        first_timestamp: random::ssrc(),
        cname: local.cname.clone().into(),
    }
}

pub fn sha256_digest(fingerprint: &Fingerprint) -> CertificateDigest {
    CertificateDigest { hash: HashFunction::Sha256, digest: fingerprint.sha256.to_vec() }
}

pub fn credentials(ice: &IceCredentials) -> Credentials {
    Credentials { ufrag: ice.ufrag.clone(), pwd: ice.pwd.clone() }
}

pub fn takes_telephone_events(formats: &[Format]) -> bool {
    formats.iter().any(|format| format.codec == Codec::TelephoneEvent)
}

/// The part of a description that the worker needs; nothing when it has too many formats.
pub fn description(remote: &RemoteDescription) -> Option<Description> {
    let mids = PerMedium::from_fn(|medium| {
        remote.mid_extensions.of(medium).as_ref().and_then(|(id, mid)| MidExtension::new(*id, mid))
    });
    describe(&remote.formats, remote.directions, mids)
}

pub fn describe(
    named: &[Format],
    directions: Directions,
    mids: PerMedium<Option<MidExtension>>,
) -> Option<Description> {
    const UNUSED: Format = Format { payload_type: 0, codec: Codec::Pcmu, clock_rate_hz: 0, channels: 0 };
    let mut formats = [UNUSED; FORMATS_PER_LEG_MAX];
    formats.get_mut(..named.len())?.copy_from_slice(named);
    Some(Description { formats, formats_len: named.len(), directions, mids })
}
