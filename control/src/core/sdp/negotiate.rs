//! What both sides of a call can speak.
//!
//! Until transcoding exists a codec must be understood at both ends, so the callee is offered what the caller can
//! speak, and the caller is answered what the callee took. Payload types may differ between the legs; the dataplane
//! rewrites them.

use super::{Description, LineFormat, is_primary};
use crosspoint_contract::{Codec, Medium};

/// The formats in use on one leg, with that leg's payload types and the *other* leg's parameters: what the other
/// side wants to receive is what this side must be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    pub audio: Vec<LineFormat>,
    /// Empty when there is no video.
    pub video: Vec<LineFormat>,
}

/// Both legs' views of what was agreed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub caller: Agreed,
    pub callee: Agreed,
}

impl Agreed {
    pub fn of(&self, medium: Medium) -> &[LineFormat] {
        match medium {
            Medium::Audio => &self.audio,
            Medium::Video => &self.video,
        }
    }

    /// For the call record: the codec that speech travels in at first.
    pub fn codec(&self) -> Option<String> {
        self.audio.iter().find(|f| is_primary(f.format.codec)).map(|f| f.name.to_ascii_lowercase())
    }
}

/// What a callee is offered: all that the caller can speak.
pub fn offered(caller: &Description, video: bool) -> Agreed {
    let formats = |medium| caller.line(medium).map(|line| line.formats.clone()).unwrap_or_default();
    Agreed { audio: formats(Medium::Audio), video: if video { formats(Medium::Video) } else { Vec::new() } }
}

/// `None` when the two have no audio codec in common.
pub fn agree(caller: &Description, callee: &Description, video: bool) -> Option<Pair> {
    let all = offered(caller, video);
    let (caller_audio, callee_audio) = common(&all.audio, callee, Medium::Audio);
    let (caller_video, callee_video) = common(&all.video, callee, Medium::Video);
    caller_audio.iter().any(|f| is_primary(f.format.codec)).then_some(Pair {
        caller: Agreed { audio: caller_audio, video: caller_video },
        callee: Agreed { audio: callee_audio, video: callee_video },
    })
}

/// A re-offer of one leg: what it still has of what was `agreed` on that leg. `None` when no codec is left.
pub fn agree_again(offer: &Description, agreed: &Agreed) -> Option<Agreed> {
    let audio = common(&agreed.audio, offer, Medium::Audio).1;
    let video = common(&agreed.video, offer, Medium::Video).1;
    audio.iter().any(|f| is_primary(f.format.codec)).then_some(Agreed { audio, video })
}

/// Formats of both in the second's order of preference: the first's view, and the second's.
fn common(first: &[LineFormat], second: &Description, medium: Medium) -> (Vec<LineFormat>, Vec<LineFormat>) {
    let second = second.line(medium).map(|line| line.formats.as_slice()).unwrap_or_default();
    let pair = |b: &LineFormat| first.iter().find(|a| a.same_medium(b)).map(|a| (exchanged(a, b), exchanged(b, a)));
    let pairs: Vec<_> = second.iter().filter_map(pair).collect();
    // RFC 2198 §5: RED names the payload types inside it, which nobody rewrites; all must be equal on both legs.
    let types_are_equal = pairs.iter().all(|(a, b)| a.format.payload_type == b.format.payload_type);
    pairs.into_iter().filter(|(a, _)| a.format.codec != Codec::Red || types_are_equal).unzip()
}

/// `own` payload type and name, with the parameters that the peer of the other leg wishes.
fn exchanged(own: &LineFormat, other: &LineFormat) -> LineFormat {
    LineFormat { fmtp: other.fmtp.clone(), ..own.clone() }
}
