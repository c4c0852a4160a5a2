//! One leg as the link thread knows it, and how its descriptions are made and read.
//!
//! Input: control's commands, and what workers say. Output: snapshots; seeds and descriptions for workers. Owns what a
//! control plane that attaches wants to know of a leg.

use super::Attachment;
use crate::leg::{Description, LegHandle, LegSeed, MidExtension};
use crate::random;
use crosspoint_contract::limits::FORMATS_PER_LEG_MAX;
use crosspoint_contract::{
    BridgeId, CallKey, Codec, CommandId, Event, Fingerprint, Format, IceCredentials, LegFailure, LegReport,
    LegSnapshot, LegState, LocalDescription, PerMedium, RemoteDescription, WorkerHello,
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
    pub bridge: Option<BridgeId>,
    report: LegReport,
    /// Number of the last ICE restart.
    pub restart: u32,
    /// The last digits that were sent: the same command again does not send them again.
    pub digits: Option<(Attachment, CommandId)>,
    pub closing: bool,
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
            bridge: None,
            report: LegReport::default(),
            restart: 0,
            digits: None,
            closing: false,
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
            Event::DigitHeard { .. } | Event::WorkerLost { .. } | Event::Drained => {}
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
            rtp: None,
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
    }
}

pub fn seed(handle: LegHandle, local: &LocalDescription) -> LegSeed {
    LegSeed {
        handle,
        ice: credentials(&local.ice),
        audio_ssrc: local.ssrc,
        video_ssrc: local.video_ssrc,
        first_sequence_number: random::first_sequence_number(),
        first_timestamp: random::ssrc(),
        cname: local.cname.clone().into(),
    }
}

pub fn credentials(ice: &IceCredentials) -> Credentials {
    Credentials { ufrag: ice.ufrag.clone(), pwd: ice.pwd.clone() }
}

pub fn takes_telephone_events(formats: &[Format]) -> bool {
    formats.iter().any(|format| format.codec == Codec::TelephoneEvent)
}

/// The part of a description that the worker needs; nothing when it has too many formats.
pub fn description(remote: &RemoteDescription) -> Option<Description> {
    const UNUSED: Format = Format { payload_type: 0, codec: Codec::Pcmu, clock_rate_hz: 0, channels: 0 };
    let mut formats = [UNUSED; FORMATS_PER_LEG_MAX];
    formats.get_mut(..remote.formats.len())?.copy_from_slice(&remote.formats);
    Some(Description {
        formats,
        formats_len: remote.formats.len(),
        directions: remote.directions,
        mids: PerMedium::from_fn(|medium| {
            remote.mid_extensions.of(medium).as_ref().and_then(|(id, mid)| MidExtension::new(*id, mid))
        }),
    })
}
