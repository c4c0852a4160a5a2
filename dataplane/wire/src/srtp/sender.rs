//! The sending direction of one key: packets come in clear and leave protected.

use super::derive::Protocol;
use super::engine::Engine;
use super::index::{Checked, Overflow, Streams};
use super::mki::Mki;
use super::transform::{CounterMode, GCM_TAG_BYTES, GaloisMode, Transform};
use super::{DirectionState, MasterKey, RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTCP_INDEX_BYTES, SrtpError, rtcp_ssrc};
use crate::rtp::RtpHeader;
use crosspoint_vector::Authenticated;

/// Protects what we send to one peer. Allocates in [`new`](Self::new) only.
///
/// A packet whose index was already used is refused with `Replayed`: the same key stream over two payloads would
/// reveal both. A ninth SSRC is refused with `TooManyStreams`, except [for a translator](Self::for_translator).
pub struct SrtpSender {
    rtp: Transform,
    streams: Streams,
    rtcp: Transform,
    /// Of the last packet sent. One counter serves all SSRCs: the key stream depends on both.
    rtcp_index: u32,
    mki: Option<Mki>,
}

impl SrtpSender {
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
        SrtpSender { rtp, streams: Streams::new(Overflow::Refuse), rtcp, rtcp_index: 0, mki: None }
    }

    /// For a translator (RFC 3550 §7.2), which does not choose the SSRCs it sends: a further one takes the place of the one
    /// that was silent longest, if that is [`QUIET_TURNS`](super::QUIET_TURNS) turns ago. A stream that made room and came
    /// back would begin with ROC 0, which its receiver takes for a forgery, and repeat key stream.
    pub fn for_translator(master: &MasterKey) -> Self {
        let mut sender = Self::new(master);
        sender.translate();
        sender
    }

    /// From now on it is [a translator's](Self::for_translator).
    pub fn translate(&mut self) {
        self.streams.set_overflow(Overflow::ReplaceQuiet);
    }

    /// Time goes on by one turn, whose length the owner decides. A translator that is never told forgets no stream.
    pub fn turn(&mut self) {
        self.streams.turn();
    }

    pub fn with_mki(self, mki: Option<Mki>) -> Self {
        SrtpSender { mki, ..self }
    }

    /// Goes on where another sender with the same key stopped.
    pub fn resume(master: &MasterKey, state: &DirectionState) -> Self {
        let mut sender = Self::new(master);
        sender.import(state);
        sender
    }

    pub(super) fn import(&mut self, state: &DirectionState) {
        self.streams.import(&state.rtp);
        self.rtcp_index = state.rtcp_index;
    }

    pub fn state(&self) -> DirectionState {
        DirectionState { rtp: self.streams.export(), rtcp: Vec::new(), rtcp_index: self.rtcp_index }
    }

    /// Protects the RTP packet in `buffer[..len]` in place and returns its new length, at most
    /// [`OVERHEAD_BYTES_MAX`](super::OVERHEAD_BYTES_MAX) more.
    #[inline]
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        if let Transform::Counter(mode) = &self.rtp {
            let sealing = self.begin_rtp(buffer, len)?;
            let tag = mode.tag(&buffer[..len], &sealing.roc);
            return self.finish_rtp(&sealing, &tag, buffer);
        }
        let (header, checked) = self.check(buffer, len)?;
        let Transform::Galois(mode) = &self.rtp else { return Err(SrtpError::Malformed) };
        let protected_len = seal_rtp_gcm(mode, &header, checked, buffer, len)?;
        let protected_len = self.name_key(&self.rtp, buffer, protected_len)?;
        self.streams.commit(checked);
        Ok(protected_len)
    }

    /// The first half of [`protect_rtp`](Self::protect_rtp), for suites whose [tag is computed
    /// apart](super::Suite::has_separate_tag): encrypts. The index is used up by [`finish_rtp`](Self::finish_rtp), for which a
    /// second packet of the same sender must wait.
    #[inline]
    pub fn begin_rtp(&self, buffer: &mut [u8], len: usize) -> Result<Sealing, SrtpError> {
        let Transform::Counter(mode) = &self.rtp else { return Err(SrtpError::Malformed) };
        let (header, checked) = self.check(buffer, len)?;
        let mki_bytes = self.mki.as_ref().map_or(0, Mki::len);
        room_behind(buffer, len, mode.tag_bytes() + mki_bytes)?;
        mode.apply_key_stream(header.ssrc, checked.index, &mut buffer[header.payload_offset..len]);
        Ok(Sealing { checked, roc: checked.roc().to_be_bytes(), len })
    }

    /// What the tag of a packet that was begun covers: the packet and the rollover counter, which is not sent (RFC 3711 §4.2).
    #[inline]
    pub fn authenticated<'a>(&'a self, sealing: &'a Sealing, buffer: &'a [u8]) -> Option<Authenticated<'a>> {
        let Transform::Counter(mode) = &self.rtp else { return None };
        Some(Authenticated { states: mode.states(), message: &buffer[..sealing.len], trailer: &sealing.roc })
    }

    /// The second half: puts the tag behind, and returns the new length. RFC 3711 §3.1.
    #[inline]
    pub fn finish_rtp(&mut self, sealing: &Sealing, tag: &[u8; 20], buffer: &mut [u8]) -> Result<usize, SrtpError> {
        let Transform::Counter(mode) = &self.rtp else { return Err(SrtpError::Malformed) };
        let end = room_behind(buffer, sealing.len, mode.tag_bytes())?;
        buffer[sealing.len..end].copy_from_slice(&tag[..mode.tag_bytes()]);
        let protected_len = self.name_key(&self.rtp, buffer, end)?;
        self.streams.commit(sealing.checked);
        Ok(protected_len)
    }

    #[inline]
    fn check(&self, buffer: &[u8], len: usize) -> Result<(RtpHeader, Checked), SrtpError> {
        let packet = buffer.get(..len).ok_or(SrtpError::Malformed)?;
        let header = RtpHeader::parse_protected(packet).map_err(|_| SrtpError::Malformed)?;
        let checked = self.streams.check_sequence(header.ssrc, header.sequence_number)?;
        Ok((header, checked))
    }

    /// The same for an RTCP compound packet; it is always encrypted.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..len).ok_or(SrtpError::Malformed)?)?;
        // RFC 3711 §9.2: at most 2^31 SRTCP packets under one key.
        let index = self.rtcp_index + 1;
        if index & RTCP_ENCRYPTED != 0 {
            return Err(SrtpError::Exhausted);
        }
        let protected_len = match &self.rtcp {
            Transform::Counter(mode) => seal_rtcp(mode, ssrc, index, buffer, len)?,
            Transform::Galois(mode) => seal_rtcp_gcm(mode, ssrc, index, buffer, len)?,
        };
        self.rtcp_index = index;
        self.name_key(&self.rtcp, buffer, protected_len)
    }

    #[inline]
    fn name_key(&self, transform: &Transform, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        match &self.mki {
            None => Ok(len),
            Some(mki) => mki.put_in(buffer, len, transform.bytes_behind_mki()),
        }
    }
}

/// An RTP packet that is encrypted and waits for its tag.
#[derive(Clone, Copy, Debug)]
pub struct Sealing {
    checked: Checked,
    roc: [u8; 4],
    len: usize,
}

#[inline]
fn seal_rtp_gcm(
    mode: &GaloisMode,
    header: &RtpHeader,
    checked: Checked,
    buffer: &mut [u8],
    len: usize,
) -> Result<usize, SrtpError> {
    let end = room_behind(buffer, len, GCM_TAG_BYTES)?;
    let (associated, payload) = buffer[..len].split_at_mut(header.payload_offset);
    let tag = mode.seal(header.ssrc, checked.index, associated, payload)?;
    buffer[len..end].copy_from_slice(&tag);
    Ok(end)
}

fn seal_rtcp(mode: &CounterMode, ssrc: u32, index: u32, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
    let end = room_behind(buffer, len, RTCP_INDEX_BYTES + mode.tag_bytes())?;
    mode.apply_key_stream(ssrc, u64::from(index), &mut buffer[RTCP_CLEAR_BYTES..len]);
    let tag_start = len + RTCP_INDEX_BYTES;
    buffer[len..tag_start].copy_from_slice(&(index | RTCP_ENCRYPTED).to_be_bytes());
    let tag = mode.tag(&buffer[..tag_start], &[]);
    buffer[tag_start..end].copy_from_slice(&tag[..mode.tag_bytes()]);
    Ok(end)
}

fn seal_rtcp_gcm(mode: &GaloisMode, ssrc: u32, index: u32, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
    let end = room_behind(buffer, len, GCM_TAG_BYTES + RTCP_INDEX_BYTES)?;
    let trailer = (index | RTCP_ENCRYPTED).to_be_bytes();
    let mut associated = [0; RTCP_CLEAR_BYTES + RTCP_INDEX_BYTES];
    associated[..RTCP_CLEAR_BYTES].copy_from_slice(&buffer[..RTCP_CLEAR_BYTES]);
    associated[RTCP_CLEAR_BYTES..].copy_from_slice(&trailer);
    let tag = mode.seal(ssrc, u64::from(index), &associated, &mut buffer[RTCP_CLEAR_BYTES..len])?;
    let tag_end = len + GCM_TAG_BYTES;
    buffer[len..tag_end].copy_from_slice(&tag);
    buffer[tag_end..end].copy_from_slice(&trailer);
    Ok(end)
}

/// Where a packet of `len` ends once `overhead` is behind it, if the buffer is that long.
fn room_behind(buffer: &[u8], len: usize, overhead: usize) -> Result<usize, SrtpError> {
    let end = len + overhead;
    if end > buffer.len() { Err(SrtpError::Malformed) } else { Ok(end) }
}
