//! The receiving direction of one key: packets come in protected and leave in the clear.

use super::derive::Protocol;
use super::engine::Engine;
use super::index::{Checked, Overflow, Streams};
use super::mki::Mki;
use super::transform::{CounterMode, GCM_TAG_BYTES, GaloisMode, Transform};
use super::{DirectionState, MasterKey, RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTCP_INDEX_BYTES, SrtpError, rtcp_ssrc};
use crate::rtp::RtpHeader;
use crosspoint_vector::Authenticated;

/// Unprotects what one peer sends. Allocates in [`new`](Self::new) only.
pub struct SrtpReceiver {
    rtp: Transform,
    rtp_streams: Streams,
    rtcp: Transform,
    rtcp_streams: Streams,
    mki: Option<Mki>,
}

impl SrtpReceiver {
    pub fn new(master: &MasterKey) -> Self {
        Self::with_engine(master, Engine::chosen())
    }

    pub fn with_engine(master: &MasterKey, engine: Engine) -> Self {
        Self::with_transforms(
            Transform::new(master, Protocol::Rtp, engine),
            Transform::new(master, Protocol::Rtcp, engine),
        )
    }

    pub(super) fn with_transforms(rtp: Transform, rtcp: Transform) -> Self {
        SrtpReceiver {
            rtp,
            rtp_streams: Streams::new(Overflow::Replace),
            rtcp,
            rtcp_streams: Streams::new(Overflow::Replace),
            mki: None,
        }
    }

    pub fn with_mki(self, mki: Option<Mki>) -> Self {
        SrtpReceiver { mki, ..self }
    }

    /// Goes on where another receiver with the same key stopped.
    pub fn resume(master: &MasterKey, state: &DirectionState) -> Self {
        let mut receiver = Self::new(master);
        receiver.rtp_streams.import(&state.rtp);
        receiver.rtcp_streams.import(&state.rtcp);
        receiver
    }

    pub fn state(&self) -> DirectionState {
        DirectionState { rtp: self.rtp_streams.export(), rtcp: self.rtcp_streams.export(), rtcp_index: 0 }
    }

    /// Turns an SRTP packet into the RTP packet at the start of the same bytes, and returns its length.
    /// After an error the packet's bytes are undefined.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let packet = self.without_mki(&self.rtp, packet)?;
        let (header, checked) = self.check(packet)?;
        let len = match &self.rtp {
            Transform::Counter(mode) => {
                let opening = Opening::new(mode, &header, checked, packet)?;
                let tag = mode.tag(&packet[..opening.len], &opening.roc);
                open_rtp(mode, &opening, &tag, packet)?
            }
            Transform::Galois(mode) => open_rtp_gcm(mode, &header, checked, packet)?,
        };
        self.rtp_streams.commit(checked);
        Ok(len)
    }

    /// The first half of [`unprotect_rtp`](Self::unprotect_rtp), for suites whose [tag is computed
    /// apart](super::Suite::has_separate_tag): up to the question whether the packet is authentic. Changes nothing of the state, so
    /// a second packet of the same receiver must wait for [`finish_rtp`](Self::finish_rtp).
    #[inline]
    pub fn begin_rtp(&self, packet: &mut [u8]) -> Result<Opening, SrtpError> {
        let Transform::Counter(mode) = &self.rtp else { return Err(SrtpError::Malformed) };
        let packet = self.without_mki(&self.rtp, packet)?;
        let (header, checked) = self.check(packet)?;
        Opening::new(mode, &header, checked, packet)
    }

    /// What the tag of a packet that was begun covers.
    #[inline]
    pub fn authenticated<'a>(&'a self, opening: &'a Opening, packet: &'a [u8]) -> Option<Authenticated<'a>> {
        let Transform::Counter(mode) = &self.rtp else { return None };
        Some(Authenticated { states: mode.states(), message: &packet[..opening.len], trailer: &opening.roc })
    }

    /// The second half: `tag` is what an authentic packet has.
    #[inline]
    pub fn finish_rtp(&mut self, opening: &Opening, tag: &[u8; 20], packet: &mut [u8]) -> Result<usize, SrtpError> {
        let Transform::Counter(mode) = &self.rtp else { return Err(SrtpError::Malformed) };
        let len = open_rtp(mode, opening, tag, packet)?;
        self.rtp_streams.commit(opening.checked);
        Ok(len)
    }

    #[inline]
    fn check(&self, packet: &[u8]) -> Result<(RtpHeader, Checked), SrtpError> {
        let header = RtpHeader::parse_protected(packet).map_err(|_| SrtpError::Malformed)?;
        let checked = self.rtp_streams.check_sequence(header.ssrc, header.sequence_number)?;
        Ok((header, checked))
    }

    /// The same for SRTCP.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let packet = self.without_mki(&self.rtcp, packet)?;
        let ssrc = rtcp_ssrc(packet)?;
        let (checked, len) = match &self.rtcp {
            Transform::Counter(mode) => open_rtcp(mode, &self.rtcp_streams, ssrc, packet)?,
            Transform::Galois(mode) => open_rtcp_gcm(mode, &self.rtcp_streams, ssrc, packet)?,
        };
        self.rtcp_streams.commit(checked);
        Ok(len)
    }

    #[inline]
    fn without_mki<'p>(&self, transform: &Transform, packet: &'p mut [u8]) -> Result<&'p mut [u8], SrtpError> {
        match &self.mki {
            None => Ok(packet),
            Some(mki) => {
                let len = mki.take_out(packet, transform.bytes_behind_mki())?;
                Ok(&mut packet[..len])
            }
        }
    }
}

/// An SRTP packet that may be new, and waits for its tag. Places in it count from its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    checked: Checked,
    ssrc: u32,
    /// RFC 3711 §4.2: what the tag covers behind the packet.
    roc: [u8; 4],
    payload_offset: usize,
    /// Where the tag begins.
    len: usize,
}

impl Opening {
    #[inline]
    fn new(mode: &CounterMode, header: &RtpHeader, checked: Checked, packet: &[u8]) -> Result<Self, SrtpError> {
        let len = packet.len().checked_sub(mode.tag_bytes()).ok_or(SrtpError::Malformed)?;
        if header.payload_offset > len {
            return Err(SrtpError::Malformed);
        }
        let (ssrc, payload_offset, roc) = (header.ssrc, header.payload_offset, checked.roc().to_be_bytes());
        Ok(Opening { checked, ssrc, roc, payload_offset, len })
    }
}

/// RFC 3711 §3.1: `header | encrypted payload | tag`.
#[inline]
fn open_rtp(mode: &CounterMode, opening: &Opening, tag: &[u8; 20], packet: &mut [u8]) -> Result<usize, SrtpError> {
    mode.compare(tag, &packet[opening.len..][..mode.tag_bytes()])?;
    mode.apply_key_stream(opening.ssrc, opening.checked.index, &mut packet[opening.payload_offset..opening.len]);
    Ok(opening.len)
}

/// RFC 7714 §8.2: the header is associated data; the tag stands behind the encrypted payload.
#[inline]
fn open_rtp_gcm(
    mode: &GaloisMode,
    header: &RtpHeader,
    checked: Checked,
    packet: &mut [u8],
) -> Result<usize, SrtpError> {
    let len = packet.len().checked_sub(GCM_TAG_BYTES).ok_or(SrtpError::Malformed)?;
    if header.payload_offset > len {
        return Err(SrtpError::Malformed);
    }
    let (associated, sealed) = packet.split_at_mut(header.payload_offset);
    mode.open(header.ssrc, checked.index, associated, sealed)?;
    Ok(len)
}

/// RFC 3711 §3.4: `clear header | encrypted | E and index | tag`.
fn open_rtcp(
    mode: &CounterMode,
    streams: &Streams,
    ssrc: u32,
    packet: &mut [u8],
) -> Result<(Checked, usize), SrtpError> {
    let tag_start = packet.len().checked_sub(mode.tag_bytes()).ok_or(SrtpError::Malformed)?;
    let (len, trailer) = split_trailer(&packet[..tag_start])?;
    let checked = streams.check_index(ssrc, trailer & !RTCP_ENCRYPTED)?;
    let (authenticated, tag) = packet.split_at(tag_start);
    mode.verify(authenticated, &[], tag)?;
    if trailer & RTCP_ENCRYPTED != 0 {
        mode.apply_key_stream(ssrc, checked.index, &mut packet[RTCP_CLEAR_BYTES..len]);
    }
    Ok((checked, len))
}

/// RFC 7714 §9.2, §9.3: `clear header | encrypted | tag | E and index`. Header and index word are associated data;
/// with E = 0 the whole packet is, and nothing is encrypted.
fn open_rtcp_gcm(
    mode: &GaloisMode,
    streams: &Streams,
    ssrc: u32,
    packet: &mut [u8],
) -> Result<(Checked, usize), SrtpError> {
    let (tag_end, trailer) = split_trailer(packet)?;
    let len = tag_end.checked_sub(GCM_TAG_BYTES).filter(|len| *len >= RTCP_CLEAR_BYTES).ok_or(SrtpError::Malformed)?;
    let checked = streams.check_index(ssrc, trailer & !RTCP_ENCRYPTED)?;
    if trailer & RTCP_ENCRYPTED != 0 {
        let mut associated = [0; RTCP_CLEAR_BYTES + RTCP_INDEX_BYTES];
        associated[..RTCP_CLEAR_BYTES].copy_from_slice(&packet[..RTCP_CLEAR_BYTES]);
        associated[RTCP_CLEAR_BYTES..].copy_from_slice(&trailer.to_be_bytes());
        mode.open(ssrc, checked.index, &associated, &mut packet[RTCP_CLEAR_BYTES..tag_end])?;
    } else {
        let mut tag = [0; GCM_TAG_BYTES];
        tag.copy_from_slice(&packet[len..tag_end]);
        packet[len..len + RTCP_INDEX_BYTES].copy_from_slice(&trailer.to_be_bytes());
        mode.open(ssrc, checked.index, &packet[..len + RTCP_INDEX_BYTES], &mut tag)?;
    }
    Ok((checked, len))
}

/// Splits the word of E-bit and SRTCP index from the end.
fn split_trailer(packet: &[u8]) -> Result<(usize, u32), SrtpError> {
    let (front, word) = packet.split_last_chunk::<RTCP_INDEX_BYTES>().ok_or(SrtpError::Malformed)?;
    if front.len() < RTCP_CLEAR_BYTES {
        return Err(SrtpError::Malformed);
    }
    Ok((front.len(), u32::from_be_bytes(*word)))
}
