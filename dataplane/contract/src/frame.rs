//! Frames: a little-endian `u32` length, then that many bytes of `postcard`.
//!
//! [`encode`] makes one; [`FrameReader`] takes bytes as they come and gives frames as they complete. Neither
//! does any IO. A length over [`FRAME_BYTES_MAX`] or a body that does not parse ends the connection: both
//! processes are ours, so such a peer is broken, not hostile, yet must not be able to exhaust us.

use crate::command::{Command, Order};
use crate::event::{Answer, Event};
use crate::leg::{ControlHello, DataplaneHello, Snapshot};
use crate::limits::FRAME_BYTES_MAX;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

#[allow(clippy::large_enum_variant)] // a hello is said once
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToDataplane {
    Hello(ControlHello),
    Order(Order),
    /// Control has announced it on the [`crate::board`] and told its own peer that it is done. Not answered; if it is
    /// refused after all, [`Event::PromiseBroken`] says so.
    Promised(Command),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToControl {
    Hello(DataplaneHello),
    /// A part of the snapshot; parts are cut so that each is far below the bound of a frame.
    Snapshot(Snapshot),
    /// That was all of it.
    SnapshotEnd,
    Answer(Answer),
    Event(Event),
    /// Instead of a hello, before the connection is closed: another control plane is attached.
    Taken {
        /// Of the attached one, if the kernel tells.
        process_id: Option<u32>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("the peer announced a frame of {0} bytes; the most is {FRAME_BYTES_MAX}")]
    TooLong(usize),
    #[error("the peer sent a frame that is not of contract version {version}: {0}", version = crate::VERSION)]
    Malformed(postcard::Error),
}

/// Appends `value` as one frame to `out`.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let body = postcard::to_extend(value, std::mem::take(out)).expect("plain values always serialize");
    *out = body;
    let length = u32::try_from(out.len() - start - 4).expect("a frame is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Collects bytes until frames are whole.
#[derive(Debug, Default)]
pub struct FrameReader {
    pending: Vec<u8>,
    consumed: usize,
}

impl FrameReader {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.pending.drain(..self.consumed);
            self.consumed = 0;
        }
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes are pushed.
    #[allow(clippy::should_implement_trait)] // it may fail, and what comes next depends on the caller
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let pending = &self.pending[self.consumed..];
        let Some((length, rest)) = pending.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let value = postcard::from_bytes(body).map_err(FrameError::Malformed)?;
        self.consumed += 4 + length;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandId, LegId};

    fn order(id: u64) -> ToDataplane {
        ToDataplane::Order(Order { id: CommandId(id), command: Command::ReadLeg { leg: LegId(id) } })
    }

    #[test]
    fn frames_cut_at_every_byte_come_out_whole_and_in_order() {
        let mut bytes = Vec::new();
        encode(&order(1), &mut bytes);
        encode(&order(2), &mut bytes);
        for cut in 0..=bytes.len() {
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.push(part);
                while let Some(frame) = reader.next::<ToDataplane>().expect("well-formed") {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, [order(1), order(2)], "cut at {cut}");
        }
    }

    #[test]
    fn oversized_length_is_refused_before_the_body_arrives() {
        let mut reader = FrameReader::default();
        reader.push(&u32::MAX.to_le_bytes());
        assert_eq!(reader.next::<ToControl>(), Err(FrameError::TooLong(u32::MAX as usize)));
    }

    #[test]
    fn any_bytes_are_either_frames_or_an_error() {
        // Over the committed corpus and a thousand random inputs; `cargo bolero test` goes on from there.
        bolero::check!(name = "contract_frames").for_each(|bytes: &[u8]| {
            let mut reader = FrameReader::default();
            reader.push(bytes);
            while let Ok(Some(_)) = reader.next::<ToControl>() {}
            let mut reader = FrameReader::default();
            reader.push(bytes);
            while let Ok(Some(_)) = reader.next::<ToDataplane>() {}
        });
    }
}
