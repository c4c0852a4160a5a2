//! One leg as its worker holds it.
//!
//! Input: made by the link thread, filled by commands, STUN checks, the lobby's keys and packets. Owns the SRTP
//! contexts, reception statistics and outgoing streams of one peer. A leg arrives at its worker in its own memory and
//! leaves in it, so that the worker allocates nothing. Decides nothing about packets: that is what stages do.
//!
//! ```text
//!  line 0        id, keys, last_heard, remote address, other leg, state, directions
//!  lines 1-8     payload_types: what each incoming payload type is
//!  lines 9-10    outgoing_payload_types: what it is called on the other leg
//!  then          streams in, streams out, ICE, digits, figures
//! ```

use crate::flat_map::UfragKey;
use crate::io::Remote;
use crosspoint_contract::limits::{FORMATS_PER_LEG_MAX, STREAMS_PER_LEG_MAX};
use crosspoint_contract::{
    Codec, Directions, Format, LegFailure, LegId, LegReport, LegState, Medium, PerMedium, SrtpSuite,
};
use crosspoint_wire::Nanos;
use crosspoint_wire::continuity::Continuity;
use crosspoint_wire::ice_lite::{Credentials, IceLite};
use crosspoint_wire::reception::Reception;
use crosspoint_wire::srtp::{SrtpReceiver, SrtpSender};
use crosspoint_wire::telephone_event::{DigitListener, DigitSender};
use std::net::SocketAddr;

/// Place of a leg in its worker's table.
pub type Slot = u32;

/// No slot.
pub const NO_SLOT: Slot = Slot::MAX;

/// A leg's place and name. The name tells a leg from an earlier one in the same place, because it is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegHandle {
    pub slot: Slot,
    pub leg: LegId,
}

/// Addresses that may be known to belong to one leg: those of its validated ICE pairs.
pub const ADDRESSES_PER_LEG_MAX: usize = 8;

/// DTLS datagrams of one leg between two visits of the timers. A handshake needs about eight; more is a flood.
pub const KNOCKS_PER_VISIT_MAX: u8 = 32;

/// Facts that one leg may tell control between two visits of the timers, four a second. A finger is slower; more is a
/// flood, which must not fill the ring that all legs share.
pub const FACTS_PER_VISIT_MAX: u8 = 8;

#[repr(C, align(64))]
pub struct Leg {
    pub id: LegId,
    pub keys: Option<Box<Keys>>,
    /// When its peer last sent authentic media.
    pub last_heard: Nanos,
    /// Where its packets go: the selected pair; [`Remote::UNSPECIFIED`] before there is one.
    pub remote: Remote,
    /// The leg it is bridged with, on the same worker.
    pub other: Slot,
    pub slot: Slot,
    pub state: LegState,
    pub directions: Directions,
    /// Known with the keys.
    pub suite: Option<SrtpSuite>,
    /// Why it failed, when it did.
    pub failure: Option<LegFailure>,
    pub silent: bool,
    /// DTLS datagrams that may still go to the lobby before the next visit of the timers.
    pub knocks_left: u8,
    /// Facts that may still be told to control at once before the next visit: digits, and moves.
    pub facts_left: u8,

    pub payload_types: [PayloadType; 128],
    /// Payload types on the other leg; [`UNMAPPED`] where its peer did not agree to the format.
    pub outgoing_payload_types: [u8; 128],

    pub streams: [IncomingStream; STREAMS_PER_LEG_MAX],
    pub audio: OutgoingStream,
    pub video: OutgoingStream,
    pub digits_heard: DigitListener,
    /// What the peer wants in front of the media it gets.
    pub mids: PerMedium<Option<MidExtension>>,

    /// Position in the table's dense list.
    pub position: u32,
    pub ice: IceLite,
    /// What the table's address map holds for this leg.
    pub addresses: [Option<SocketAddr>; ADDRESSES_PER_LEG_MAX],
    /// What the table's username map holds for this leg: the fragment in force, and that of the pair in use.
    pub ufrags: [Option<UfragKey>; 2],
    pub description: Option<Box<Description>>,
    pub cname: Box<str>,
    pub digits_sent: Option<DigitSending>,
    pub deadlines: Deadlines,
    pub figures: Figures,
    pub told: Told,
}

const _: () = assert!(std::mem::offset_of!(Leg, payload_types) == 64);

/// The two SRTP contexts of a leg: made by the lobby, because expanding keys allocates.
pub struct Keys {
    pub suite: SrtpSuite,
    pub receiver: SrtpReceiver,
    pub sender: SrtpSender,
}

/// The peer's description in the form that commands apply. Its ICE credentials are not in it: we send no checks.
pub struct Description {
    pub formats: [Format; FORMATS_PER_LEG_MAX],
    pub formats_len: usize,
    pub directions: Directions,
    pub mids: PerMedium<Option<MidExtension>>,
}

impl Description {
    pub fn formats(&self) -> &[Format] {
        &self.formats[..self.formats_len]
    }
}

/// The value of `a=mid` as a header extension element (RFC 9143 §15) for a medium we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MidExtension {
    pub id: u8,
    pub len: u8,
    pub value: [u8; MID_BYTES_MAX],
}

/// RFC 8285 §4.2: the one-byte form carries up to 16 bytes.
pub const MID_BYTES_MAX: usize = 16;

impl MidExtension {
    /// Nothing when the one-byte form cannot carry it; the peer then tells streams apart by SSRC.
    pub fn new(id: u8, mid: &str) -> Option<Self> {
        let mut value = [0; MID_BYTES_MAX];
        value.get_mut(..mid.len())?.copy_from_slice(mid.as_bytes());
        let fits = (1..=14).contains(&id) && !mid.is_empty();
        fits.then_some(MidExtension { id, len: mid.len() as u8, value })
    }

    /// Length of an extension that holds only this: four bytes of head, one of element head, whole words.
    pub fn bytes(&self) -> usize {
        4 + (1 + usize::from(self.len)).next_multiple_of(4)
    }

    /// Writes it over `room`, which is [`Self::bytes`] long. RFC 8285 §4.2: profile 0xBEDE, length in words, and per
    /// element an id and its length less one.
    pub fn write(&self, room: &mut [u8]) {
        let words = (room.len() / 4 - 1) as u8;
        let len = usize::from(self.len);
        room.fill(0);
        room[..4].copy_from_slice(&[0xBE, 0xDE, 0, words]);
        room[4] = (self.id << 4) | (self.len - 1);
        room[5..5 + len].copy_from_slice(&self.value[..len]);
    }
}

/// What an incoming payload type is: the clock rate, and three flags above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadType(u32);

impl PayloadType {
    const KNOWN: u32 = 1 << 31;
    const VIDEO: u32 = 1 << 30;
    const TELEPHONE_EVENT: u32 = 1 << 29;
    const CLOCK_RATE: u32 = Self::TELEPHONE_EVENT - 1;

    pub fn new(format: &Format) -> Self {
        let video = if medium(format) == Medium::Video { Self::VIDEO } else { 0 };
        let event = if format.codec == Codec::TelephoneEvent { Self::TELEPHONE_EVENT } else { 0 };
        PayloadType(Self::KNOWN | video | event | (format.clock_rate_hz & Self::CLOCK_RATE))
    }

    #[inline]
    pub fn is_known(self) -> bool {
        self.0 & Self::KNOWN != 0
    }

    #[inline]
    pub fn is_video(self) -> bool {
        self.0 & Self::VIDEO != 0
    }

    #[inline]
    pub fn medium(self) -> Medium {
        if self.is_video() { Medium::Video } else { Medium::Audio }
    }

    #[inline]
    pub fn is_telephone_event(self) -> bool {
        self.0 & Self::TELEPHONE_EVENT != 0
    }

    #[inline]
    pub fn clock_rate_hz(self) -> u32 {
        self.0 & Self::CLOCK_RATE
    }
}

/// RFC 3551 §5: video uses the 90 kHz clock, and no audio format does.
pub fn medium(format: &Format) -> Medium {
    match format.codec {
        Codec::Vp8 | Codec::Vp9 | Codec::H264 | Codec::Av1 | Codec::Rtx | Codec::UlpFec => Medium::Video,
        _ if format.clock_rate_hz == 90_000 => Medium::Video,
        _ => Medium::Audio,
    }
}

pub const UNMAPPED: u8 = u8::MAX;

/// One SSRC of the peer.
#[derive(Clone, Debug, Default)]
pub struct IncomingStream {
    /// Meaningful when `in_use`.
    pub ssrc: u32,
    pub in_use: bool,
    pub video: bool,
    pub clock_rate_hz: u32,
    pub last_heard: Nanos,
    pub reception: Reception,
}

/// What we send of one medium: one SSRC whatever feeds it.
pub struct OutgoingStream {
    pub continuity: Continuity,
    /// The other leg's stream that feeds it now, and how far its sequence numbers are from ours: feedback about
    /// our stream is translated back with them.
    pub source_ssrc: u32,
    pub sequence_offset: u16,
    pub clock_rate_hz: u32,
    pub packets_sent: u32,
    pub payload_bytes_sent: u32,
    pub last_sent: Option<Nanos>,
}

impl OutgoingStream {
    pub fn new(ssrc: u32, first_sequence_number: u16, first_timestamp: u32, clock_rate_hz: u32) -> Self {
        OutgoingStream {
            continuity: Continuity::new(ssrc, first_sequence_number, first_timestamp),
            source_ssrc: 0,
            sequence_offset: 0,
            clock_rate_hz,
            packets_sent: 0,
            payload_bytes_sent: 0,
            last_sent: None,
        }
    }

    /// RFC 3550 §6.4.1: the sender's counts wrap.
    #[inline]
    pub fn count_sent(&mut self, payload_bytes: usize, now: Nanos) {
        self.packets_sent = self.packets_sent.wrapping_add(1);
        self.payload_bytes_sent = self.payload_bytes_sent.wrapping_add(payload_bytes as u32);
        self.last_sent = Some(now);
    }
}

/// Digits on their way to the peer.
pub struct DigitSending {
    pub sender: DigitSender,
    pub payload_type: u8,
    pub clock_rate_hz: u32,
}

/// `None` is "not awaited".
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadlines {
    pub connect: Option<Nanos>,
    pub rtcp: Option<Nanos>,
    pub report: Option<Nanos>,
}

/// What others know of the leg. Where it differs from the leg itself, something has yet to be said; the timers repeat what
/// found a ring full.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Control: state, address and silence.
    pub state: LegState,
    pub remote: Remote,
    pub silent: bool,
    /// The lobby: there is a validated pair.
    pub reachable: bool,
}

impl Default for Told {
    fn default() -> Self {
        Told { state: LegState::Opening, remote: Remote::UNSPECIFIED, silent: false, reachable: false }
    }
}

/// What `LegReport` needs beside the streams' own figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub packets_received: u64,
    pub payload_bytes_received: u64,
    pub packets_sent: u64,
    pub payload_bytes_sent: u64,
    pub packets_dropped: u64,
    pub round_trip_us: u32,
    pub remote_packets_lost: i64,
    pub remote_jitter_us: u32,
}

/// What the link thread draws for a new leg.
pub struct LegSeed {
    pub handle: LegHandle,
    pub ice: Credentials,
    pub audio_ssrc: u32,
    pub video_ssrc: u32,
    pub first_sequence_number: u16,
    pub first_timestamp: u32,
    pub cname: Box<str>,
}

/// Until a description says otherwise.
const AUDIO_CLOCK_RATE_HZ: u32 = 48_000;
const VIDEO_CLOCK_RATE_HZ: u32 = 90_000;

impl Leg {
    pub fn new(seed: LegSeed) -> Box<Self> {
        let LegSeed { handle, ice, audio_ssrc, video_ssrc, first_sequence_number, first_timestamp, cname } = seed;
        let stream =
            |ssrc, clock_rate_hz| OutgoingStream::new(ssrc, first_sequence_number, first_timestamp, clock_rate_hz);
        Box::new(Leg {
            id: handle.leg,
            last_heard: Nanos::ZERO,
            remote: Remote::UNSPECIFIED,
            other: NO_SLOT,
            state: LegState::Opening,
            directions: Directions::default(),
            suite: None,
            failure: None,
            silent: false,
            payload_types: [PayloadType::default(); 128],
            outgoing_payload_types: [UNMAPPED; 128],
            keys: None,
            streams: std::array::from_fn(|_| IncomingStream::default()),
            audio: stream(audio_ssrc, AUDIO_CLOCK_RATE_HZ),
            video: stream(video_ssrc, VIDEO_CLOCK_RATE_HZ),
            digits_heard: DigitListener::new(),
            mids: PerMedium::default(),
            knocks_left: KNOCKS_PER_VISIT_MAX,
            facts_left: FACTS_PER_VISIT_MAX,
            told: Told::default(),
            slot: handle.slot,
            position: 0,
            ufrags: [UfragKey::new(&ice.ufrag), None],
            ice: IceLite::new(ice),
            addresses: [None; ADDRESSES_PER_LEG_MAX],
            description: None,
            cname,
            digits_sent: None,
            deadlines: Deadlines::default(),
            figures: Figures::default(),
        })
    }

    /// Whether anything may be sent: there is an address, something to protect with, and nothing has failed.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.remote != Remote::UNSPECIFIED && self.keys.is_some() && self.failure.is_none()
    }

    /// The selected pair's remote side.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        (self.remote != Remote::UNSPECIFIED).then(|| self.remote.into())
    }

    pub fn handle(&self) -> LegHandle {
        LegHandle { slot: self.slot, leg: self.id }
    }

    /// Whether its description lets the peer send this medium to us.
    #[inline]
    pub fn may_receive(&self, medium: Medium) -> bool {
        self.directions.of(medium).receives()
    }

    /// Whether its description lets us send this medium to the peer.
    #[inline]
    pub fn may_send(&self, medium: Medium) -> bool {
        self.directions.of(medium).sends()
    }

    #[inline]
    pub fn outgoing(&mut self, medium: Medium) -> &mut OutgoingStream {
        match medium {
            Medium::Audio => &mut self.audio,
            Medium::Video => &mut self.video,
        }
    }

    /// The stream with this SSRC; a new one takes the place that was silent longest.
    #[inline]
    pub fn stream(&mut self, ssrc: u32) -> &mut IncomingStream {
        let at = self.streams.iter().position(|stream| stream.in_use && stream.ssrc == ssrc);
        match at {
            Some(at) => &mut self.streams[at],
            None => self.replace_stream(ssrc),
        }
    }

    #[cold]
    fn replace_stream(&mut self, ssrc: u32) -> &mut IncomingStream {
        let oldest = (0..self.streams.len())
            .min_by_key(|&at| (self.streams[at].in_use, self.streams[at].last_heard))
            .expect("a leg has streams");
        self.streams[oldest] = IncomingStream { ssrc, in_use: true, ..IncomingStream::default() };
        &mut self.streams[oldest]
    }

    /// How the leg fares now.
    pub fn report(&self, local_addr: SocketAddr) -> LegReport {
        let (mut packets_lost, mut jitter_us, mut newest) = (0, 0, Nanos::ZERO);
        for stream in self.streams.iter().filter(|stream| stream.in_use) {
            let figures = stream.reception.figures();
            packets_lost += figures.packets_lost;
            if !stream.video && stream.last_heard >= newest {
                (jitter_us, newest) = (figures.jitter_us, stream.last_heard);
            }
        }
        LegReport {
            packets_received: self.figures.packets_received,
            bytes_received: self.figures.payload_bytes_received,
            packets_sent: self.figures.packets_sent,
            bytes_sent: self.figures.payload_bytes_sent,
            packets_lost,
            jitter_us,
            round_trip_us: self.figures.round_trip_us,
            remote_packets_lost: self.figures.remote_packets_lost,
            remote_jitter_us: self.figures.remote_jitter_us,
            local_addr: self.remote_addr().map(|_| local_addr),
            remote_addr: self.remote_addr(),
            suite: self.suite,
            packets_dropped: self.figures.packets_dropped,
            rtcp_packets_received: 0,
            rtcp_bytes_received: 0,
        }
    }
}
