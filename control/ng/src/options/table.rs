//! The one table of all options: what each is called, what it takes, and what becomes of it.
//!
//! Input: nothing. Output: rows for [`super::read`], and the matrix for the documentation. Owns: the names. An option that is not
//! here is unknown. Names are the same in upper and lower case and with space, hyphen or underscore; what a name has
//! besides stands in [`Row::also`].

use super::words::{self, transport_part};
use super::{Options, structures};
use crate::dictionary::Value;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    /// Other names for the same.
    pub also: &'static [&'static str],
    pub takes: Takes,
    pub effect: Effect,
}

/// What may stand behind a name, and where it goes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// Nothing, or yes and no. A word of `flags`, but also a key: `strict-source=yes`.
    Flag(fn(&mut Options)),
    /// A word or a list of words. In `flags`, `name-word`; the bare name is the empty word.
    Words(fn(&mut Options, &str) -> bool),
    Text(fn(&mut Options, String)),
    Integer(fn(&mut Options, i64)),
    Structure(fn(&mut Options, &Value) -> bool),
    /// A dictionary, each key of which is the option `name-key`.
    Family,
    /// A list of flags.
    Flags,
    /// A line of flags and keys, with lists and dictionaries in brackets.
    Line,
}

/// What becomes of an option once it is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Done,
    /// Nothing is left to do, for this reason.
    Implied(&'static str),
    /// Not done, for this reason; each use makes a warning.
    Ignored(&'static str),
}

const fn done(name: &'static str, also: &'static [&'static str], takes: Takes) -> Row {
    Row { name, also, takes, effect: Effect::Done }
}

const fn implied(name: &'static str, why: &'static str, takes: Takes) -> Row {
    Row { name, also: &[], takes, effect: Effect::Implied(why) }
}

const fn ignored(name: &'static str, also: &'static [&'static str], why: &'static str, takes: Takes) -> Row {
    Row { name, also, takes, effect: Effect::Ignored(why) }
}

const TRANSCODING: &str = "nothing is transcoded";
const ATTRIBUTES: &str = "attributes that are not ours pass as they came";
const RECORDING: &str = "nothing is recorded";
const PLAYING: &str = "nothing is played";
const DIGITS: &str = "digits are only blocked or passed on";

use Takes::{Family, Flag, Flags, Integer, Line, Structure, Text, Words};

/// All options, in the order of the documentation.
#[rustfmt::skip]
pub const OPTIONS: &[Row] = &[
    // Who and what.
    implied("command", "read before the options", Text(|_, _| ())),
    done("call-id", &[], Text(|o, v| o.call_id = Some(v))),
    done("from-tag", &[], Text(|o, v| o.from_tag = Some(v))),
    // In `flags`, for `delete`: the to-tag must match too.
    done("to-tag", &[], Words(|o, w| { if w.is_empty() { o.match_to_tag = true } else { o.to_tag = Some(w.to_owned()) } true })),
    done("via-branch", &[], Words(words::via_branch)),
    done("sdp", &[], Text(|o, v| o.sdp = Some(v))),
    done("label", &["from-label"], Text(|o, v| o.label = Some(v))),
    done("to-label", &[], Text(|o, v| o.to_label = Some(v))),
    done("set-label", &[], Text(|o, v| o.set_label = Some(v))),
    done("from-tags", &[], Words(|o, w| { o.from_tags.push(w.to_owned()); !w.is_empty() })),
    done("all", &[], Words(words::all)),
    done("address", &[], Text(|o, v| o.address = Some(v))),
    implied("directional", "a party is meant by what it sends", Flag(|o| o.directional = true)),
    ignored("bidirectional", &[], "subscriptions flow one way", Flag(|o| o.bidirectional = true)),
    done("supports", &[], Words(words::supports)),
    implied("sip-message-type", "the command tells which side speaks", Words(words::sip_message_type)),
    implied("sip-code", "an answer is an answer", Text(|_, _| ())),
    done("flags", &[], Flags),
    done("rtpp-flags", &[], Line),

    // Addresses and interfaces.
    done("received-from", &[], Words(words::received_from)),
    done("media-address", &[], Words(words::media_address)),
    done("address-family", &[], Words(words::address_family)),
    done("direction", &[], Words(words::direction)),
    done("from-interface", &["in-iface"], Text(|o, v| o.from_interface = Some(v))),
    done("to-interface", &["out-iface"], Text(|o, v| o.to_interface = Some(v))),
    done("interface", &[], Text(|o, v| o.interface = Some(v))),
    done("internal", &[], Flag(|o| { words::direction(o, "internal"); })),
    done("external", &[], Flag(|o| { words::direction(o, "external"); })),
    done("trust-address", &[], Flag(|o| o.trust_address = Some(true))),
    done("SIP-source-address", &[], Flag(|o| o.trust_address = Some(false))),

    // The description.
    done("transport-protocol", &[], Words(words::transport)),
    done("RTP/AVP", &[], Flag(|o| { words::transport(o, "RTP/AVP"); })),
    done("RTP/AVPF", &[], Flag(|o| { words::transport(o, "RTP/AVPF"); })),
    done("RTP/SAVP", &[], Flag(|o| { words::transport(o, "RTP/SAVP"); })),
    done("RTP/SAVPF", &[], Flag(|o| { words::transport(o, "RTP/SAVPF"); })),
    done("UDP/TLS/RTP/SAVP", &[], Flag(|o| { words::transport(o, "UDP/TLS/RTP/SAVP"); })),
    done("UDP/TLS/RTP/SAVPF", &[], Flag(|o| { words::transport(o, "UDP/TLS/RTP/SAVPF"); })),
    done("RTP", &[], Flag(|o| transport_part(o, |t| (t.secure, t.dtls) = (false, false)))),
    done("SRTP", &[], Flag(|o| transport_part(o, |t| t.secure = true))),
    done("AVP", &[], Flag(|o| transport_part(o, |t| t.feedback = false))),
    done("AVPF", &[], Flag(|o| transport_part(o, |t| t.feedback = true))),
    done("ICE", &[], Words(words::ice)),
    done("ICE-lite", &[], Words(words::ice_lite)),
    done("reject-ICE", &[], Flag(|o| o.reject_ice = true)),
    done("trickle-ICE", &[], Flag(|o| o.trickle_ice = true)),
    done("fragment", &[], Flag(|o| o.fragment = true)),
    done("DTLS", &[], Words(words::dtls)),
    done("DTLS-reverse", &[], Words(words::dtls_reverse)),
    done("DTLS-fingerprint", &[], Words(words::dtls_fingerprint)),
    done("SDES", &[], Words(words::sdes)),
    done("pad-crypto", &[], Flag(|o| o.sdes.pad = true)),
    done("OSRTP", &[], Words(words::osrtp)),
    done("rtcp-mux", &[], Words(words::rtcp_mux)),
    done("replace", &[], Words(words::replace)),
    done("codec", &[], Family),
    done("codec-strip", &[], Words(|o, w| words::codec(&mut o.codecs.strip, w))),
    done("codec-offer", &[], Words(|o, w| words::codec(&mut o.codecs.offer, w))),
    done("codec-except", &[], Words(|o, w| words::codec(&mut o.codecs.except, w))),
    done("codec-mask", &[], Words(|o, w| words::codec(&mut o.codecs.mask, w))),
    ignored("codec-accept", &[], TRANSCODING, Words(|o, w| words::codec(&mut o.codecs.accept, w))),
    ignored("codec-consume", &[], TRANSCODING, Words(|o, w| words::codec(&mut o.codecs.consume, w))),
    ignored("codec-transcode", &["transcode"], TRANSCODING, Words(|o, w| words::codec(&mut o.codecs.transcode, w))),
    ignored("codec-set", &[], TRANSCODING, Words(|o, w| words::codec(&mut o.codecs.set, w))),
    ignored("always-transcode", &[], TRANSCODING, Flag(|o| o.always_transcode = true)),
    ignored("allow-transcoding", &[], TRANSCODING, Flag(|o| o.allow_transcoding = true)),
    done("single-codec", &[], Flag(|o| o.single_codec = true)),
    ignored("reuse-codecs", &["no-codec-renegotiation"], TRANSCODING, Flag(|o| o.reuse_codecs = true)),
    ignored("static-codecs", &[], TRANSCODING, Flag(|o| o.static_codecs = true)),
    ignored("sdp-attr", &[], ATTRIBUTES, Structure(structures::sdp_attributes)),
    ignored("sdp-attr-add", &[], ATTRIBUTES, Words(|o, w| structures::sdp_attribute_flag(o, "add", w))),
    ignored("sdp-attr-remove", &[], ATTRIBUTES, Words(|o, w| structures::sdp_attribute_flag(o, "remove", w))),
    ignored("sdp-attr-substitute", &["sdp-attr-substitude"], ATTRIBUTES, Words(|o, w| structures::sdp_attribute_flag(o, "substitute", w))),
    done("ptime", &[], Integer(|o, v| o.ptime_ms = Some(v))),
    done("ptime-reverse", &[], Integer(|o, v| o.ptime_reverse_ms = Some(v))),
    ignored("repacketize", &[], TRANSCODING, Integer(|_, _| ())),
    ignored("T.38", &["T38"], TRANSCODING, Words(words::t38)),
    done("generate-mid", &[], Flag(|o| o.generate_mid = true)),
    done("no-rtcp-attribute", &[], Flag(|o| o.no_rtcp_attribute = true)),
    done("full-rtcp-attribute", &[], Flag(|o| o.full_rtcp_attribute = true)),
    done("strip-extmap", &[], Flag(|o| o.strip_extmap = true)),
    done("original-sendrecv", &[], Flag(|o| o.original_sendrecv = true)),
    done("loop-protect", &[], Flag(|o| o.loop_protect = true)),
    done("WebRTC", &[], Flag(words::webrtc)),
    ignored("bundle", &[], "each m-line has a port of its own", Flag(|o| o.bundle = true)),
    ignored("SIPREC", &[], "subscribers are described in SDP only", Flag(|o| o.siprec = true)),
    done("inactive", &[], Flag(|o| o.inactive = true)),
    implied("reset", "each description is taken anew", Flag(|o| o.reset = true)),

    // How packets are treated.
    done("asymmetric", &[], Flag(|o| o.asymmetric = true)),
    implied("symmetric", "it is so without asymmetric", Flag(|o| o.symmetric = true)),
    done("strict-source", &[], Flag(|o| o.strict_source = true)),
    done("media-handover", &[], Flag(|o| o.media_handover = true)),
    done("port-latching", &[], Flag(|o| o.port_latching = Some(true))),
    done("no-port-latching", &[], Flag(|o| o.port_latching = Some(false))),
    done("endpoint-learning", &[], Words(words::endpoint_learning)),
    done("unidirectional", &[], Flag(|o| o.unidirectional = true)),
    ignored("NAT-wait", &[], "media is forwarded at once", Flag(|o| o.nat_wait = true)),
    ignored("pierce-NAT", &[], "no empty packets are sent", Flag(|o| o.pierce_nat = true)),
    ignored("RTCP-mirror", &[], "RTCP ends at each leg", Flag(|o| o.rtcp_mirror = true)),
    implied("generate-RTCP", "RTCP always ends at each leg", Words(words::generate_rtcp)),
    ignored("block-short", &["block-short-packets"], "short packets pass", Flag(|o| o.block_short = true)),
    done("TOS", &[], Integer(|o, v| o.tos = Some(v))),
    ignored("delay-buffer", &[], "media is never delayed", Integer(|o, v| o.delay_buffer_ms = Some(v))),
    done("drop-traffic", &[], Words(words::drop_traffic)),
    ignored("media-echo", &[], "media is not echoed", Words(words::media_echo)),

    // Digits.
    ignored("inject-DTMF", &[], DIGITS, Flag(|o| o.inject_dtmf = true)),
    ignored("detect-DTMF", &[], DIGITS, Flag(|o| o.detect_dtmf = true)),
    ignored("DTMF-security", &[], DIGITS, Words(|o, w| words::dtmf_security(&mut o.dtmf.security, w))),
    ignored("DTMF-security-trigger", &[], DIGITS, Words(|o, w| words::dtmf_security(&mut o.dtmf.security_trigger, w))),
    ignored("DTMF-security-trigger-end", &[], DIGITS, Words(|o, w| words::dtmf_security(&mut o.dtmf.security_trigger_end, w))),
    ignored("DTMF-delay", &[], DIGITS, Integer(|o, v| o.dtmf.delay_ms = u64::try_from(v).ok())),
    ignored("DTMF-log-dest", &[], DIGITS, Words(words::dtmf_log_destination)),
    ignored("trigger", &[], DIGITS, Text(|o, v| o.dtmf.trigger = Some(v))),
    ignored("trigger-end", &["end-trigger"], DIGITS, Text(|o, v| o.dtmf.trigger_end = Some(v))),
    ignored("trigger-end-time", &[], DIGITS, Integer(|o, v| o.dtmf.trigger_end_time_ms = u64::try_from(v).ok())),
    ignored("trigger-end-digits", &[], DIGITS, Integer(|o, v| o.dtmf.trigger_end_digits = u64::try_from(v).ok())),
    ignored("frequency", &["frequencies"], DIGITS, Words(words::frequencies)),
    ignored("code", &["digit"], DIGITS, Text(|o, v| o.playback.code = Some(v))),
    ignored("duration", &[], DIGITS, Integer(|o, v| o.playback.duration_ms = Some(v))),
    ignored("volume", &[], DIGITS, Integer(|o, v| o.playback.volume = Some(v))),
    ignored("pause", &[], DIGITS, Words(words::pause)),

    // Players and recording.
    ignored("file", &[], PLAYING, Text(|o, v| o.playback.file = Some(v))),
    ignored("blob", &[], PLAYING, Text(|o, v| o.playback.blob = Some(v))),
    ignored("blob64", &[], PLAYING, Text(|o, v| o.playback.blob64 = Some(v))),
    ignored("db-id", &[], PLAYING, Integer(|o, v| o.playback.database_id = Some(v))),
    ignored("repeat-times", &[], PLAYING, Integer(|o, v| o.playback.repeat_times = Some(v))),
    ignored("repeat-duration", &[], PLAYING, Integer(|o, v| o.playback.repeat_duration_ms = Some(v))),
    ignored("start-pos", &[], PLAYING, Integer(|o, v| o.playback.start_position = Some(v))),
    ignored("audio-player", &["player"], PLAYING, Text(|o, v| o.audio_player = Some(v))),
    ignored("early-media", &[], PLAYING, Flag(|o| o.early_media = true)),
    ignored("moh", &[], PLAYING, Structure(|o, _| { o.music_on_hold = true; true })),
    ignored("record-call", &[], RECORDING, Words(words::record_call)),
    ignored("metadata", &[], RECORDING, Text(|o, v| o.recording.metadata = Some(v))),
    ignored("recording-file", &[], RECORDING, Text(|o, v| o.recording.file = Some(v))),
    ignored("recording-dir", &["recording-directory", "recording-path"], RECORDING, Text(|o, v| o.recording.directory = Some(v))),
    ignored("recording-pattern", &[], RECORDING, Text(|o, v| o.recording.pattern = Some(v))),
    ignored("output-destination", &[], RECORDING, Text(|o, v| o.recording.output_destination = Some(v))),
    ignored("discard-recording", &[], RECORDING, Flag(|o| o.recording.discard = true)),
    ignored("exclude-recording", &[], RECORDING, Flag(|o| o.recording.exclude = true)),

    // The call.
    done("delete-delay", &[], Integer(|o, v| o.delete_delay_s = Some(v))),
    done("fatal", &[], Flag(|o| o.fatal = true)),
    done("fast", &[], Flag(|o| o.fast = true)),
    done("limit", &[], Integer(|o, v| o.limit = Some(v))),
    ignored("debug", &["debugging"], "the log level is that of the process", Flag(|o| o.debug = true)),
    ignored("xmlrpc-callback", &[], "nobody is called back", Words(words::xmlrpc_callback)),
    ignored("template", &[], "there are no templates", Text(|o, v| o.template = Some(v))),
];

/// A flag is a name and a word; a hyphen further on than this is part of the word.
const NAME_BYTES_MAX: usize = 32;

/// Where the row of each name is, names in one spelling.
static INDEX: LazyLock<HashMap<String, usize>> = LazyLock::new(|| {
    let names = |(index, row): (usize, &'static Row)| {
        std::iter::once(&row.name).chain(row.also).map(move |name| (words::lower(name), index))
    };
    OPTIONS.iter().enumerate().flat_map(names).collect()
});

/// The row of an option, however its name is spelled.
pub fn find(name: &str) -> Option<&'static Row> {
    find_spelled(&words::lower(name))
}

fn find_spelled(name: &str) -> Option<&'static Row> {
    INDEX.get(name).map(|index| &OPTIONS[*index])
}

/// The row of a flag and the word behind it: `SDES-no-X` is `SDES` and `no-X`. Of several, the longest name counts.
pub fn find_flag(flag: &str) -> Option<(&'static Row, &str)> {
    let spelled = words::lower(flag);
    if let Some(row) = find_spelled(&spelled) {
        return Some((row, ""));
    }
    let head = &spelled.as_bytes()[..spelled.len().min(NAME_BYTES_MAX)];
    (0..head.len()).rev().filter(|at| head[*at] == b'-').find_map(|hyphen| {
        let row = find_spelled(&spelled[..hyphen])?;
        matches!(row.takes, Words(_)).then(|| (row, &flag[hyphen + 1..]))
    })
}

/// The table for the documentation, as Markdown.
pub fn matrix() -> String {
    let mut table = String::from("| option | also | effect |\n|---|---|---|\n");
    for row in OPTIONS {
        let also = row.also.join(", ");
        let effect = match row.effect {
            Effect::Done => "done".to_owned(),
            Effect::Implied(why) => format!("nothing to do: {why}"),
            Effect::Ignored(why) => format!("ignored with a warning: {why}"),
        };
        writeln!(table, "| `{}` | {also} | {effect} |", row.name).expect("a String takes all");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_in_the_table_twice() {
        let names = OPTIONS.iter().map(|row| 1 + row.also.len()).sum::<usize>();
        assert_eq!(INDEX.len(), names);
        assert!(INDEX.keys().all(|name| name.len() < NAME_BYTES_MAX));
    }

    #[test]
    fn a_flag_belongs_to_the_longest_name() {
        let found = |flag| find_flag(flag).map(|(row, rest)| (row.name, rest));
        assert_eq!(found("codec strip PCMU"), Some(("codec-strip", "PCMU")));
        assert_eq!(found("SDES-no-AES_CM_128_HMAC_SHA1_80"), Some(("SDES", "no-AES_CM_128_HMAC_SHA1_80")));
        assert_eq!(found("ICE-lite-both"), Some(("ICE-lite", "both")));
        assert_eq!(found("sdp-attr-remove-audio-a-b"), Some(("sdp-attr-remove", "audio-a-b")));
        assert_eq!(found("label-x"), None, "only options of words may stand in one word with their value");
        assert_eq!(found("no_port latching"), Some(("no-port-latching", "")));
        assert_eq!(found("ΩSDES-é"), None);
    }

    #[test]
    fn the_page_of_the_control_plane_shows_this_table() {
        let page = include_str!("../../../README.md");
        assert!(page.contains(&matrix()), "control/README.md is to hold this:\n{}", matrix());
    }

    #[test]
    fn the_matrix_has_a_line_for_each_option() {
        assert_eq!(matrix().lines().count(), 2 + OPTIONS.len());
        assert!(matrix().contains("| `symmetric` |  | nothing to do: it is so without asymmetric |\n"));
    }
}
