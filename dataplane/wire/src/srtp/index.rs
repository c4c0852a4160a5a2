//! Packet indices: the rollover counter that RTP does not carry, and the window that catches replays.
//!
//! Input: SSRC and sequence number (or SRTCP index). Output: the 48-bit index, and whether it is new. Owns one
//! [`StreamState`] per SSRC, [`STREAMS_MAX`] at most, and in which turn of its owner each was last used. RFC 3711 §3.3.1,
//! §3.3.2, appendix A.
//!
//! ```text
//!  index = ROC * 65536 + sequence number
//!  window bit k = "highest - k was seen";  older than the window = refused
//! ```

use super::{STREAMS_MAX, SrtpError};

/// RFC 3711 §3.3.2 asks for at least 64. A lost video burst may be repaired later than that.
pub(super) const WINDOW_PACKETS: u64 = u128::BITS as u64;

/// A stream that was not used for so many turns of its owner is quiet: with four a second, five seconds.
pub const QUIET_TURNS: u32 = 20;

/// RFC 3711 §9.2: a master key protects at most 2^48 SRTP packets.
const RTP_INDEX_MAX: u64 = (1 << 48) - 1;

/// What one direction knows of one SSRC; plain values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    pub ssrc: u32,
    /// Highest index that was authentic.
    pub highest_index: u64,
    /// Bit k is set when `highest_index - k` was seen.
    pub window: u128,
}

impl StreamState {
    fn new(ssrc: u32, index: u64) -> Self {
        StreamState { ssrc, highest_index: index, window: 1 }
    }

    fn check(&self, index: u64) -> Result<(), SrtpError> {
        let Some(age) = self.highest_index.checked_sub(index) else { return Ok(()) };
        if age >= WINDOW_PACKETS || (self.window >> age) & 1 == 1 {
            return Err(SrtpError::Replayed);
        }
        Ok(())
    }

    fn commit(&mut self, index: u64) {
        match index.checked_sub(self.highest_index) {
            Some(ahead) => {
                self.window = if ahead < WINDOW_PACKETS { self.window << ahead } else { 0 } | 1;
                self.highest_index = index;
            }
            None => self.window |= 1 << (self.highest_index - index),
        }
    }
}

/// An index that passed the replay check; to be handed back once the packet proved authentic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    ssrc: u32,
    pub index: u64,
    /// Place among the streams; none for an SSRC not seen before.
    slot: Option<usize>,
}

impl Checked {
    /// RFC 3711 §3.3.1: the rollover counter, which is part of what is authenticated.
    pub fn roc(&self) -> u32 {
        (self.index >> 16) as u32
    }
}

/// What happens when a ninth SSRC comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The stream that was silent longest makes room. A receiver does this, and only for an authentic packet.
    Replace,
    /// The same if that stream is quiet; otherwise the packet is refused. A sender does this who does not choose SSRCs.
    ReplaceQuiet,
    /// The packet is refused. A sender does this: a forgotten index would repeat a key stream.
    Refuse,
}

/// The streams of one direction, most recently used first.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    states: [StreamState; STREAMS_MAX],
    /// In which turn each was last used.
    used: [u32; STREAMS_MAX],
    turn: u32,
    len: usize,
    overflow: Overflow,
}

impl Streams {
    pub fn new(overflow: Overflow) -> Self {
        Streams { states: [StreamState::default(); STREAMS_MAX], used: [0; STREAMS_MAX], turn: 0, len: 0, overflow }
    }

    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.overflow = overflow;
    }

    pub fn turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The streams as plain values, most recently used first.
    pub fn export(&self) -> Vec<StreamState> {
        self.states[..self.len].to_vec()
    }

    /// Takes at most [`STREAMS_MAX`] of `states`.
    pub fn import(&mut self, states: &[StreamState]) {
        self.len = states.len().min(STREAMS_MAX);
        self.states[..self.len].copy_from_slice(&states[..self.len]);
        self.used = [self.turn; STREAMS_MAX];
    }

    /// The index of an SRTP packet, if it is new. Changes nothing.
    #[inline]
    pub fn check_sequence(&self, ssrc: u32, sequence_number: u16) -> Result<Checked, SrtpError> {
        let slot = self.find(ssrc)?;
        let index = match slot {
            Some(slot) => estimate(self.states[slot].highest_index, sequence_number)?,
            // RFC 3711 §3.3.1: the first packet of a stream sets s_l, with ROC zero.
            None => u64::from(sequence_number),
        };
        self.check(ssrc, slot, index)
    }

    /// The same for an index that the packet carries: SRTCP.
    #[inline]
    pub fn check_index(&self, ssrc: u32, index: u32) -> Result<Checked, SrtpError> {
        let slot = self.find(ssrc)?;
        self.check(ssrc, slot, u64::from(index))
    }

    fn check(&self, ssrc: u32, slot: Option<usize>, index: u64) -> Result<Checked, SrtpError> {
        if let Some(slot) = slot {
            self.states[slot].check(index)?;
        }
        Ok(Checked { ssrc, index, slot })
    }

    /// Remembers an index as seen. Only for packets that are authentic or our own.
    #[inline]
    pub fn commit(&mut self, checked: Checked) {
        match checked.slot {
            Some(slot) => {
                self.states[slot].commit(checked.index);
                self.states[..=slot].rotate_right(1);
                self.used[..=slot].rotate_right(1);
            }
            None => {
                self.len = (self.len + 1).min(STREAMS_MAX);
                self.states[..self.len].rotate_right(1);
                self.used[..self.len].rotate_right(1);
                self.states[0] = StreamState::new(checked.ssrc, checked.index);
            }
        }
        self.used[0] = self.turn;
    }

    #[inline]
    fn find(&self, ssrc: u32) -> Result<Option<usize>, SrtpError> {
        let slot = self.states[..self.len].iter().position(|state| state.ssrc == ssrc);
        if slot.is_none() && self.len == STREAMS_MAX && !self.may_replace() {
            return Err(SrtpError::TooManyStreams);
        }
        Ok(slot)
    }

    /// Whether the stream that was silent longest, the last one, may make room.
    fn may_replace(&self) -> bool {
        match self.overflow {
            Overflow::Replace => true,
            Overflow::ReplaceQuiet => self.turn.wrapping_sub(self.used[STREAMS_MAX - 1]) >= QUIET_TURNS,
            Overflow::Refuse => false,
        }
    }
}

/// RFC 3711 §3.3.1 and appendix A: the index nearest to the highest one seen. With ROC zero there is no earlier
/// round, so a sequence number far ahead counts as ahead.
#[inline]
fn estimate(highest_index: u64, sequence_number: u16) -> Result<u64, SrtpError> {
    const HALF: u16 = 1 << 15;
    let (roc, highest) = (highest_index >> 16, highest_index as u16);
    let roc = if highest < HALF {
        if sequence_number.saturating_sub(highest) > HALF { roc.saturating_sub(1) } else { roc }
    } else if highest - HALF > sequence_number {
        roc + 1
    } else {
        roc
    };
    let index = (roc << 16) | u64::from(sequence_number);
    if index > RTP_INDEX_MAX { Err(SrtpError::Exhausted) } else { Ok(index) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(streams: &mut Streams, ssrc: u32, sequence_number: u16) -> Result<u64, SrtpError> {
        let checked = streams.check_sequence(ssrc, sequence_number)?;
        streams.commit(checked);
        Ok(checked.index)
    }

    #[test]
    fn rollover_counts_up_once_and_late_packets_belong_to_the_earlier_round() {
        let mut streams = Streams::new(Overflow::Replace);
        assert_eq!(seen(&mut streams, 1, 65_533), Ok(65_533));
        assert_eq!(seen(&mut streams, 1, 1), Ok(65_537));
        assert_eq!(seen(&mut streams, 1, 65_535), Ok(65_535));
        assert_eq!(seen(&mut streams, 1, 0), Ok(65_536));
        assert_eq!(seen(&mut streams, 1, 65_534), Ok(65_534));
        assert_eq!(seen(&mut streams, 1, 2), Ok(65_538));
        assert_eq!(seen(&mut streams, 1, 65_535), Err(SrtpError::Replayed));
    }

    #[test]
    fn window_holds_128_packets() {
        let mut streams = Streams::new(Overflow::Replace);
        seen(&mut streams, 1, 1000).unwrap();
        assert_eq!(seen(&mut streams, 1, 1000 - 127), Ok(873));
        assert_eq!(seen(&mut streams, 1, 1000 - 127), Err(SrtpError::Replayed));
        assert_eq!(seen(&mut streams, 1, 1000 - 128), Err(SrtpError::Replayed));
        seen(&mut streams, 1, 1500).unwrap();
        assert_eq!(seen(&mut streams, 1, 1499), Ok(1499));
        assert_eq!(seen(&mut streams, 1, 1500), Err(SrtpError::Replayed));
    }

    #[test]
    fn window_agrees_with_a_set_of_everything_seen() {
        let mut streams = Streams::new(Overflow::Replace);
        let mut all = std::collections::HashSet::new();
        let (mut highest, mut random) = (30_000u64, 1u32);
        seen(&mut streams, 7, highest as u16).unwrap();
        all.insert(highest);
        for _ in 0..200_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let index = (highest + 40).saturating_sub(u64::from(random >> 24));
            let fresh = index + WINDOW_PACKETS > highest && all.insert(index);
            assert_eq!(seen(&mut streams, 7, index as u16).is_ok(), fresh, "index {index}, highest {highest}");
            highest = highest.max(if fresh { index } else { 0 });
        }
        assert!(highest > 10 << 16, "many rollovers were crossed");
    }

    #[test]
    fn estimate_matches_the_pseudo_code_of_the_rfc() {
        for roc in [1u64, 2, 77] {
            for highest in (0..=65_535u32).step_by(251).chain([0, 32_767, 32_768, 65_535]) {
                for seq in (0..=65_535u32).step_by(509).chain([0, 32_767, 32_768, 65_535]) {
                    let (s_l, s) = (i64::from(highest), i64::from(seq));
                    let v = if s_l < 32_768 {
                        if s - s_l > 32_768 { roc - 1 } else { roc }
                    } else if s_l - 32_768 > s {
                        roc + 1
                    } else {
                        roc
                    };
                    assert_eq!(estimate(roc * 65_536 + u64::from(highest), seq as u16), Ok(v * 65_536 + seq as u64));
                }
            }
        }
    }

    #[test]
    fn a_ninth_stream_replaces_the_one_silent_longest_in_a_receiver() {
        let mut streams = Streams::new(Overflow::Replace);
        for ssrc in 0..8 {
            seen(&mut streams, ssrc, 10).unwrap();
        }
        seen(&mut streams, 0, 11).unwrap();
        seen(&mut streams, 8, 10).unwrap();
        assert_eq!(seen(&mut streams, 0, 11), Err(SrtpError::Replayed), "0 spoke lately and is kept");
        assert_eq!(seen(&mut streams, 1, 10), Ok(10), "1 was forgotten");
        assert_eq!(streams.export().len(), STREAMS_MAX);
    }

    #[test]
    fn a_ninth_stream_is_refused_in_a_sender() {
        let mut streams = Streams::new(Overflow::Refuse);
        for ssrc in 0..8 {
            seen(&mut streams, ssrc, 10).unwrap();
        }
        assert_eq!(seen(&mut streams, 8, 10), Err(SrtpError::TooManyStreams));
        assert_eq!(seen(&mut streams, 3, 11), Ok(11));
    }

    #[test]
    fn a_ninth_stream_replaces_only_one_that_was_quiet_for_long_where_ssrcs_are_not_ours() {
        let mut streams = Streams::new(Overflow::ReplaceQuiet);
        for ssrc in 0..8 {
            seen(&mut streams, ssrc, 65_535).unwrap();
        }
        (1..QUIET_TURNS).for_each(|_| streams.turn());
        seen(&mut streams, 0, 0).unwrap();
        assert_eq!(seen(&mut streams, 8, 10), Err(SrtpError::TooManyStreams));
        streams.turn();
        assert_eq!(seen(&mut streams, 8, 10), Ok(10), "in the place of 1");
        assert_eq!(seen(&mut streams, 0, 1), Ok(65_537), "0 was used lately");
    }

    #[test]
    fn the_last_index_of_a_key_is_followed_by_exhaustion() {
        let mut streams = Streams::new(Overflow::Refuse);
        streams.import(&[StreamState { ssrc: 1, highest_index: RTP_INDEX_MAX, window: 1 }]);
        assert!(matches!(streams.check_sequence(1, 0), Err(SrtpError::Exhausted)));
    }
}
