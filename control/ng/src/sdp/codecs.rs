//! Which payload types are passed on: what the `codec` options of ng make of a list, without transcoding.
//!
//! ```text
//!   offer    list ──strip, mask, consume──▶ without them ──offer, transcode──▶ with those again ──▶ no orphans
//!   answer   list ──only what was offered──▶ ──strip, offer──▶ ──single codec──▶
//! ```
//!
//! A name is `opus`, which matches any clock rate, or `opus/48000/2`, which matches that format only; case does not matter.
//! `all` and `full` are every format but those in `except`. No m-line loses its last format: options that would take it
//! have no effect there, as in rtpengine 10.5. Deliberately not: making formats that the party did not list, and what
//! 10.5 does to a list when it decides to transcode (silence formats for all clock rates, no RED).

use super::{Codec, MediaDescription};
use crate::options::Codecs;

/// The list of an offer, for the other party.
pub fn offered(media: &MediaDescription, options: &Codecs) -> Vec<Codec> {
    let removing: Vec<&str> = words(&[&options.strip, &options.mask, &options.consume]);
    select(&media.codecs, options, &removing)
}

/// The payload types of [`offered`]; `None` where options leave nothing out.
pub fn selection(media: &MediaDescription, options: &Codecs) -> Option<Box<[u8]>> {
    let is_selective = !(options.strip.is_empty() && options.mask.is_empty() && options.consume.is_empty());
    is_selective.then(|| offered(media, options).iter().map(|codec| codec.payload_type).collect())
}

/// The list of an answer, for the party that offered `offered`: an answer holds nothing that was not offered (RFC 3264 §6.1).
/// With `single`, only the first format of media, and what goes with media.
pub fn answered(media: &MediaDescription, offered: &[Codec], options: &Codecs, single: bool) -> Vec<Codec> {
    let known = |codec: &&Codec| offered.iter().any(|other| other.is_same_format(codec));
    let common = or_all(media.codecs.iter().filter(known).cloned().collect(), &media.codecs);
    let mut selected = select(&common, options, &words(&[&options.strip]));
    if single {
        let first = selected.iter().find(|codec| !codec.is_supplement()).map(|codec| codec.payload_type);
        selected.retain(|codec| codec.is_supplement() || Some(codec.payload_type) == first);
    }
    selected
}

fn words<'a>(lists: &[&'a Vec<String>]) -> Vec<&'a str> {
    lists.iter().flat_map(|list| list.iter()).map(String::as_str).collect()
}

fn select(list: &[Codec], options: &Codecs, removing: &[&str]) -> Vec<Codec> {
    if removing.is_empty() {
        return list.to_vec();
    }
    let every = removing.iter().any(|word| is_every(word));
    let excepted = |codec: &Codec| options.except.iter().any(|name| codec.is_called(name));
    let goes = |codec: &Codec| match every {
        true => !excepted(codec),
        false => removing.iter().any(|name| codec.is_called(name)),
    };
    let mut selected: Vec<Codec> = list.iter().filter(|codec| !goes(codec)).cloned().collect();
    let wanted = words(&[&options.offer, &options.transcode]);
    put_back(&mut selected, list, &wanted);
    let selected = without_orphans(or_all(selected, list));
    or_all(selected, list)
}

/// What was removed and is asked for by name, in the order of the names; behind the formats of media, before those that
/// go with them.
fn put_back(selected: &mut Vec<Codec>, list: &[Codec], wanted: &[&str]) {
    for name in wanted {
        for codec in list.iter().filter(|codec| codec.is_called(name)) {
            if selected.iter().all(|other| other.payload_type != codec.payload_type) {
                let behind_media = selected.iter().rposition(|codec| !codec.is_supplement()).map_or(0, |last| last + 1);
                let at = if codec.is_supplement() { selected.len() } else { behind_media };
                selected.insert(at, codec.clone());
            }
        }
    }
}

/// Telephone events, comfort noise and redundancy have the clock rate of the media they stand among (RFC 4733 §2.1, RFC 3389
/// §4); with its last format gone, so are they.
fn without_orphans(list: Vec<Codec>) -> Vec<Codec> {
    let media_rates: Vec<u32> =
        list.iter().filter(|codec| !codec.is_supplement()).map(|codec| codec.clock_rate_hz).collect();
    if media_rates.is_empty() {
        return list;
    }
    list.into_iter().filter(|codec| !codec.is_supplement() || media_rates.contains(&codec.clock_rate_hz)).collect()
}

fn or_all(selected: Vec<Codec>, list: &[Codec]) -> Vec<Codec> {
    if selected.is_empty() { list.to_vec() } else { selected }
}

fn is_every(word: &str) -> bool {
    matches!(word, "all" | "full")
}

impl Codec {
    /// `name`, or `name/rate[/channels]`.
    pub fn is_called(&self, called: &str) -> bool {
        let mut parts = called.split('/');
        let same_name = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(&self.name));
        let Some(rate) = parts.next() else { return same_name };
        let channels = parts.next().unwrap_or("1");
        let same_rate = rate.parse() == Ok(self.clock_rate_hz);
        same_name && same_rate && channels.parse() == Ok(self.channels) && parts.next().is_none()
    }

    /// Under the same payload type: without transcoding, nobody renumbers for an endpoint that chose another.
    fn is_same_format(&self, other: &Self) -> bool {
        self.payload_type == other.payload_type
            && (other.name.is_empty() || self.name.eq_ignore_ascii_case(&other.name))
    }

    /// Goes with media, and is none of its own.
    pub fn is_supplement(&self) -> bool {
        ["telephone-event", "CN", "red"].iter().any(|name| name.eq_ignore_ascii_case(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp;

    /// An audio line with these payload types, as of the dynamic ones browsers and gateways use.
    fn line(types: &str) -> MediaDescription {
        let text = format!(
            "v=0\nc=IN IP4 192.0.2.1\nm=audio 2000 RTP/AVP {types}\na=rtpmap:96 opus/48000/2\na=rtpmap:98 opus/48000/2\n\
             a=rtpmap:101 telephone-event/8000\na=rtpmap:110 telephone-event/48000\n"
        );
        sdp::read(&text).expect("SDP").media.remove(0)
    }

    fn types(codecs: &[Codec]) -> String {
        codecs.iter().map(|codec| codec.payload_type.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn options(strip: &[&str], offer: &[&str], transcode: &[&str]) -> Codecs {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Codecs { strip: list(strip), offer: list(offer), transcode: list(transcode), ..Codecs::default() }
    }

    #[test]
    fn a_codec_to_transcode_to_is_offered_where_the_party_lists_it() {
        let of =
            |strip: &[&str], transcode: &[&str]| types(&offered(&line("0 8 101"), &options(strip, &[], transcode)));
        assert_eq!(of(&["all"], &["PCMA"]), "8");
        assert_eq!(of(&["all"], &["PCMA", "telephone-event"]), "8 101");
        assert_eq!(of(&["all"], &["G729"]), "0 8 101", "what nobody lists cannot be made here");
    }

    #[test]
    fn what_goes_with_media_goes_with_its_clock_rate() {
        let of = |list: &str, strip: &[&str]| types(&offered(&line(list), &options(strip, &[], &[])));
        assert_eq!(of("0 110 8 96 101", &["opus"]), "0 8 101");
        assert_eq!(of("0 96 8 13 101", &["PCMU", "PCMA"]), "96");
        assert_eq!(of("101 0 110 8 96", &["PCMU"]), "101 110 8 96", "the order stays");
        assert_eq!(of("0 101", &["PCMU"]), "101", "an m-line is not left without formats");
    }

    #[test]
    fn an_answer_holds_what_was_offered() {
        let of = |offer: &str, answer: &str, options: &Codecs, single| {
            types(&answered(&line(answer), &line(offer).codecs, options, single))
        };
        let none = Codecs::default();
        assert_eq!(of("0 8 101", "8 0 101", &none, false), "8 0 101", "in the answerer's order");
        assert_eq!(of("0 8 101", "8 9 101", &none, false), "8 101");
        assert_eq!(of("96 110", "98 110", &none, false), "110", "98 was not offered");
        assert_eq!(of("0 8 101", "9", &none, false), "9", "nothing in common, and nobody transcodes");
        assert_eq!(of("0 8 101", "8 0 101", &options(&["PCMA"], &[], &[]), false), "0 101");
        assert_eq!(of("0 8 101", "8 0 101", &options(&["all"], &["PCMU"], &[]), false), "0");
    }

    #[test]
    fn a_single_codec_keeps_what_goes_with_media() {
        let of =
            |offer: &str, answer: &str| types(&answered(&line(answer), &line(offer).codecs, &Codecs::default(), true));
        assert_eq!(of("0 8 101", "8 0 101"), "8 101");
        assert_eq!(of("0 8 101", "101 8 0"), "101 8");
        assert_eq!(of("96 8 110 101", "96 8 101 110"), "96 101 110");
    }
}
