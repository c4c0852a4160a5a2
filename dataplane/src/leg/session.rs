//! What a leg that is an end of its RTP sessions keeps: formats, streams in and out, digits.
//!
//! Input: descriptions by command, authentic packets by the stages. Output: what the stages and reports read. Owns the
//! reception statistics and outgoing streams of one peer. Decides nothing about packets.
//!
//! ```text
//!  payload_types            what each incoming payload type is
//!  outgoing_payload_types   what it is called on the other leg
//!  then                     streams in, streams out, digits
//! ```

use crate::leg::{NO_SLOT, Slot};
use crosspoint_contract::limits::{FORMATS_PER_LEG_MAX, STREAMS_PER_LEG_MAX};
use crosspoint_contract::{Codec, Directions, Format, Medium, PerMedium};
use crosspoint_wire::Nanos;
use crosspoint_wire::continuity::Continuity;
use crosspoint_wire::reception::Reception;
use crosspoint_wire::telephone_event::{DigitListener, DigitSender};

/// Of an end.
pub struct Session {
    pub payload_types: [PayloadType; 128],
    /// Payload types on the other leg; [`UNMAPPED`] where its peer did not agree to the format.
    pub outgoing_payload_types: [u8; 128],
    /// The leg it is bridged with, on the same worker.
    pub other: Slot,
    pub streams: [IncomingStream; STREAMS_PER_LEG_MAX],
    pub audio: OutgoingStream,
    pub video: OutgoingStream,
    pub digits_heard: DigitListener,
    /// What the peer wants in front of the media it gets.
    pub mids: PerMedium<Option<MidExtension>>,
    pub description: Option<Box<Description>>,
    pub cname: Box<str>,
    pub digits_sent: Option<DigitSending>,
}

/// Until a description says otherwise.
const AUDIO_CLOCK_RATE_HZ: u32 = 48_000;
const VIDEO_CLOCK_RATE_HZ: u32 = 90_000;

impl Session {
    pub fn new(seed: SessionSeed) -> Box<Self> {
        let SessionSeed { audio_ssrc, video_ssrc, first_sequence_number, first_timestamp, cname } = seed;
        let stream =
            |ssrc, clock_rate_hz| OutgoingStream::new(ssrc, first_sequence_number, first_timestamp, clock_rate_hz);
        Box::new(Session {
            payload_types: [PayloadType::default(); 128],
            outgoing_payload_types: [UNMAPPED; 128],
            other: NO_SLOT,
            streams: std::array::from_fn(|_| IncomingStream::default()),
            audio: stream(audio_ssrc, AUDIO_CLOCK_RATE_HZ),
            video: stream(video_ssrc, VIDEO_CLOCK_RATE_HZ),
            digits_heard: DigitListener::new(),
            mids: PerMedium::default(),
            description: None,
            cname,
            digits_sent: None,
        })
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

    /// Packets lost on the way to us, and the jitter of the newest audio in microseconds.
    pub fn loss_and_jitter(&self) -> (i64, u32) {
        let (mut packets_lost, mut jitter_us, mut newest) = (0, 0, Nanos::ZERO);
        for stream in self.streams.iter().filter(|stream| stream.in_use) {
            let figures = stream.reception.figures();
            packets_lost += figures.packets_lost;
            if !stream.video && stream.last_heard >= newest {
                (jitter_us, newest) = (figures.jitter_us, stream.last_heard);
            }
        }
        (packets_lost, jitter_us)
    }
}

/// What the link thread draws for the streams of an end.
pub struct SessionSeed {
    pub audio_ssrc: u32,
    pub video_ssrc: u32,
    pub first_sequence_number: u16,
    pub first_timestamp: u32,
    pub cname: Box<str>,
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
