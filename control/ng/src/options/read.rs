//! From a dictionary to [`Options`]: each key, each flag and each word of `rtpp-flags` is looked up in the table.
//!
//! Input: the dictionary of a request. Output: [`Options`], with a warning for whatever was not understood or has no effect.
//! Owns: the words of warnings, which are rtpengine's, since operators know them.

use super::table::{Effect, OPTIONS, Row, Takes, find, find_flag};
use super::{Options, rtpp_flags, words};
use crate::dictionary::{Dict, Value};

/// A request can name thousands of unknown keys; the log needs the first.
const WARNINGS_MAX: usize = 16;
const QUOTED_CHARS_MAX: usize = 80;
/// Of an unknown name, to the one that it is taken for a misspelling of.
const CLOSENESS_MIN: f64 = 0.75;

impl Options {
    pub fn read(dict: &Dict) -> Options {
        let mut options = Options::default();
        for (name, value) in dict.iter() {
            options.read_key(name, value);
        }
        options
    }

    fn read_key(&mut self, name: &str, value: &Value) {
        match find(name) {
            Some(row) => self.read_row(row, value),
            None => self.warn(|| format!("Unknown dictionary key encountered: '{}'{}", quoted(name), meant(name))),
        }
    }

    fn read_row(&mut self, row: &'static Row, value: &Value) {
        match row.takes {
            Takes::Flag(set) => self.read_flag_value(row, set, value),
            Takes::Words(set) => self.read_words(row, set, value),
            Takes::Text(set) => match value {
                Value::Text(text) => set(self, text.clone()),
                Value::Integer(integer) => set(self, integer.to_string()),
                _ => self.warn_of_value(row, value),
            },
            Takes::Integer(set) => match value.as_integer() {
                Some(integer) => set(self, integer),
                None => self.warn_of_value(row, value),
            },
            Takes::Structure(set) => {
                if !set(self, value) {
                    self.warn_of_value(row, value);
                }
            }
            Takes::Family => self.read_family(row, value),
            Takes::Flags => self.read_flags(value),
            Takes::Line => self.read_line(row, value),
        }
        // What is asked not to be done is not done.
        if words::yes_or_no(&value.to_string()) != Some(false) {
            self.warn_if_without_effect(row);
        }
    }

    /// `strict-source=yes`.
    fn read_flag_value(&mut self, row: &Row, set: fn(&mut Options), value: &Value) {
        match words::yes_or_no(&value.to_string()) {
            Some(true) => set(self),
            Some(false) => {}
            None => self.warn_of_value(row, value),
        }
    }

    fn read_words(&mut self, row: &Row, set: fn(&mut Options, &str) -> bool, value: &Value) {
        for word in value.as_list().unwrap_or(std::slice::from_ref(value)) {
            let known = match word {
                Value::Text(word) => set(self, word),
                Value::Integer(integer) => set(self, &integer.to_string()),
                _ => false,
            };
            if !known {
                self.warn_of_value(row, word);
            }
        }
    }

    fn read_family(&mut self, row: &Row, value: &Value) {
        match value {
            Value::Dict(dict) => {
                for (name, value) in dict.iter() {
                    self.read_key(&format!("{}-{name}", row.name), value);
                }
            }
            _ => self.warn_of_value(row, value),
        }
    }

    fn read_flags(&mut self, value: &Value) {
        for flag in value.as_list().unwrap_or(std::slice::from_ref(value)) {
            self.read_flag(&flag.to_string());
        }
    }

    fn read_flag(&mut self, flag: &str) {
        let row = find_flag(flag).and_then(|(row, word)| self.read_flag_of(row, word).then_some(row));
        match row {
            Some(row) => self.warn_if_without_effect(row),
            None => self.warn(|| format!("Unknown flag encountered: '{}'{}", quoted(flag), meant(flag))),
        }
    }

    fn read_flag_of(&mut self, row: &Row, word: &str) -> bool {
        match row.takes {
            Takes::Flag(set) => set(self),
            Takes::Words(set) => return set(self, word),
            _ => return false,
        }
        true
    }

    fn read_line(&mut self, row: &Row, value: &Value) {
        let Some(line) = value.as_text() else { return self.warn_of_value(row, value) };
        for (name, value) in rtpp_flags::parse(line) {
            match value {
                // A line within a line could be nested without end.
                Some(_) if matches!(find(&name), Some(Row { takes: Takes::Line, .. })) => self.read_flag(&name),
                Some(value) => self.read_key(&name, &value),
                None => self.read_flag(&name),
            }
        }
    }

    fn warn_of_value(&mut self, row: &Row, value: &Value) {
        self.warn(|| format!("Unknown '{}' flag encountered: '{}'", row.name, quoted(&value.to_string())));
    }

    fn warn_if_without_effect(&mut self, row: &Row) {
        if let Effect::Ignored(why) = row.effect {
            self.warn(|| format!("'{}' is ignored: {why}", row.name));
        }
    }

    fn warn(&mut self, warning: impl FnOnce() -> String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning());
        }
    }
}

/// The name that was probably meant, for the log.
fn meant(name: &str) -> String {
    let head: String = name.chars().take(QUOTED_CHARS_MAX).flat_map(char::to_lowercase).collect();
    let similar = OPTIONS
        .iter()
        .flat_map(|row| std::iter::once(&row.name).chain(row.also))
        .map(|known| (strsim::normalized_damerau_levenshtein(&head, &known.to_lowercase()), *known));
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(closeness, _)| *closeness >= CLOSENESS_MIN);
    nearest.map_or(String::new(), |(_, known)| format!("; did you mean '{known}'?"))
}

/// As much of a client's words as a line of the log takes.
fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::WARNINGS_MAX;
    use crate::dictionary::{Dict, Value};

    fn read(dict: Dict) -> Options {
        let options = Options::read(&dict);
        assert_eq!(options.warnings, Vec::<String>::new());
        options
    }

    fn flags(flags: &[&str]) -> Options {
        read(Dict::new().with("flags", flags.to_vec()))
    }

    /// What Kamailio sends for `rtpengine_offer("replace-origin ICE=force RTP/SAVPF rtcp-mux-offer label=a ptime=20")`.
    #[test]
    fn an_offer_of_kamailio_is_understood_whole() {
        let options = read(
            Dict::new()
                .with("supports", vec!["load limit"])
                .with("sdp", "v=0")
                .with("ICE", "force")
                .with("ptime", "20")
                .with(
                    "flags",
                    vec!["trust-address", "symmetric", "codec-strip-PCMU", "SDES-no-AES_CM_128_HMAC_SHA1_32"],
                )
                .with("replace", vec!["origin", "session-connection"])
                .with("rtcp-mux", vec!["offer"])
                .with("transport-protocol", "RTP/SAVPF")
                .with("direction", vec!["priv", "pub"])
                .with("call-id", "c")
                .with("via-branch", "z9hG4bK1")
                .with("received-from", vec!["IP4", "192.0.2.7"])
                .with("from-tag", "f")
                .with("to-tag", "t")
                .with("sip-message-type", "sip_request")
                .with("command", "offer"),
        );
        assert!(options.supports_load_limit && options.replace.origin && options.replace.session_connection);
        assert_eq!((options.ice, options.ptime_ms, options.rtcp_mux.offer), (Ice::Force, Some(20), true));
        assert_eq!(options.transport.map(Transport::name), Some("RTP/SAVPF"));
        assert_eq!(options.from_interface.zip(options.to_interface), Some(("priv".into(), "pub".into())));
        assert_eq!(
            (options.codecs.strip, options.sdes.no),
            (vec!["PCMU".into()], vec!["AES_CM_128_HMAC_SHA1_32".into()])
        );
        assert_eq!(options.received_from, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(options.call_id.as_deref().zip(options.via_branch.as_deref()), Some(("c", "z9hG4bK1")));
    }

    #[test]
    fn a_line_of_rtpp_flags_says_the_same_as_keys_and_flags() {
        let line = "replace-origin strict-source label=callee OSRTP=[accept] transport-protocol=RTP/AVP via-branch=auto-next \
            address-family=IP4 flags=[generate-mid codec-strip-G722] codec=[mask=[opus] offer=[PCMA PCMU]] \
            SDES-off ICE=remove direction=[a b] received-from=[IP4 192.0.2.7] delete-delay=0 rtcp-mux-demux port-latching=no";
        let from_line = read(Dict::new().with("via-branch", "branch").with("rtpp-flags", line));
        let codec = Dict::new().with("mask", vec!["opus"]).with("offer", vec!["PCMA", "PCMU"]);
        let from_keys = read(
            Dict::new()
                .with("via-branch", "branch")
                .with("flags", vec!["strict source", "generate mid", "codec-strip-G722", "SDES-off"])
                .with("replace", vec!["origin"])
                .with("label", "callee")
                .with("OSRTP", vec!["accept"])
                .with("transport protocol", "RTP/AVP")
                .with("address family", "IP4")
                .with("codec", codec)
                .with("ICE", "remove")
                .with("direction", vec!["a", "b"])
                .with("received from", vec!["IP4", "192.0.2.7"])
                .with("delete delay", 0)
                .with("rtcp-mux", vec!["demux"]),
        );
        assert_eq!(from_line, from_keys);
        assert_eq!(from_line.codecs.offer, ["PCMA", "PCMU"]);
    }

    #[test]
    fn spaces_hyphens_underscores_and_case_make_no_difference() {
        for name in ["media address", "media-address", "media_address", "Media-Address"] {
            let options = read(Dict::new().with(name, "2001:db8::1"));
            assert_eq!(options.media_address, Some("2001:db8::1".parse().unwrap()), "{name}");
        }
        for flag in ["SIP source address", "SIP-source-address", "sip_source_address"] {
            assert_eq!(flags(&[flag]).trust_address, Some(false), "{flag}");
        }
    }

    #[test]
    fn sdes_words_stand_in_their_list_and_in_flags() {
        let words =
            ["only-AES_256_CM_HMAC_SHA1_80", "pad", "UNENCRYPTED_SRTCP", "order:AEAD_AES_128_GCM;F8_128_HMAC_SHA1_80;"];
        let from_list = read(Dict::new().with("SDES", words.to_vec()));
        let from_flags = flags(&words.map(|word| format!("SDES-{word}")).each_ref().map(String::as_str));
        assert_eq!(from_list, from_flags);
        let sdes = from_list.sdes;
        assert_eq!(sdes.order, ["AEAD_AES_128_GCM", "F8_128_HMAC_SHA1_80"]);
        assert!(sdes.pad && sdes.unencrypted_srtcp == Some(true) && sdes.only.len() == 1);
    }

    #[test]
    fn transports_are_named_whole_or_by_their_parts() {
        let name = |words: &[&str]| flags(words).transport.unwrap().name();
        assert_eq!(name(&["SRTP", "AVPF"]), "RTP/SAVPF");
        assert_eq!(name(&["DTLS", "AVPF"]), "UDP/TLS/RTP/SAVPF");
        assert_eq!(name(&["UDP/TLS/RTP/SAVP", "RTP"]), "RTP/AVP");
        let accept = read(Dict::new().with("transport-protocol", "accept"));
        assert_eq!((accept.transport, accept.transport_accept), (None, true));
    }

    #[test]
    fn webrtc_is_a_word_for_eight() {
        let words = [
            "trickle-ICE",
            "rtcp-mux-offer",
            "rtcp-mux-require",
            "no-rtcp-attribute",
            "SDES-off",
            "generate-mid",
            "ICE-force",
        ];
        assert_eq!(flags(&["WebRTC"]), flags(&[&words[..], &["UDP/TLS/RTP/SAVPF"]].concat()));
    }

    #[test]
    fn attribute_changes_stand_in_a_dictionary_and_in_flags() {
        let pair: Vec<Value> = vec![vec!["sendrecv", "sendonly"].into()];
        let audio = Dict::new().with("add", vec!["fmtp:101 0-15"]).with("remove", vec!["ssrc:"]);
        let sections = Dict::new().with("none", Dict::new().with("substitute", pair)).with("audio", audio);
        let from_dict = Options::read(&Dict::new().with("sdp-attr", sections));
        let words = vec![
            "sdp-attr-substitute-none-sendrecv>sendonly",
            "sdp-attr-add-audio-fmtp:101..0-15",
            "sdp-attr-remove-audio-ssrc:",
        ];
        let from_flags = Options::read(&Dict::new().with("flags", words));
        assert_eq!(from_dict.sdp_attributes, from_flags.sdp_attributes);
        assert_eq!(from_dict.sdp_attributes.len(), 3);
    }

    #[test]
    fn what_is_unknown_makes_a_warning_and_no_error() {
        let options = Options::read(
            &Dict::new()
                .with("bogus\n", 3)
                .with("flags", vec!["nonsense", "strict-source"])
                .with("ICE", "maybe")
                .with("ptime", "long")
                .with("call-id", vec!["a"])
                .with("codec", 3)
                .with("codec-transcode", vec!["opus"]),
        );
        let expected = [
            "Unknown dictionary key encountered: 'bogus\\n'",
            "Unknown flag encountered: 'nonsense'",
            "Unknown 'ICE' flag encountered: 'maybe'",
            "Unknown 'ptime' flag encountered: 'long'",
            "Unknown 'call-id' flag encountered: 'a list of 1'",
            "Unknown 'codec' flag encountered: '3'",
            "'codec-transcode' is ignored: nothing is transcoded",
        ];
        assert_eq!(options.warnings, expected);
        assert!(options.strict_source, "what is known beside it counts");
        assert_eq!(options.codecs.transcode, ["opus"]);
    }

    #[test]
    fn misspelt_flag_is_warned_of_with_the_one_that_was_meant() {
        let options = Options::read(&Dict::new().with("flags", vec!["strict-sorce"]).with("directon", "a"));
        let said = options.warnings.join("\n");
        assert!(said.contains("'strict-sorce'; did you mean 'strict-source'?"), "{said}");
        assert!(said.contains("did you mean 'direction'?"), "{said}");
    }

    #[test]
    fn what_is_asked_not_to_be_done_needs_no_warning() {
        assert_eq!(Options::read(&Dict::new().with("record-call", "off")).warnings, Vec::<String>::new());
        assert_eq!(Options::read(&Dict::new().with("record-call", "on")).warnings.len(), 1);
    }

    #[test]
    fn warnings_are_few_and_short() {
        let long = "x".repeat(10_000);
        let options = Options::read(&(0..1_000).map(|number| (format!("{number}{long}"), 0)).collect());
        assert_eq!(options.warnings.len(), WARNINGS_MAX);
        assert!(options.warnings.iter().all(|warning| warning.len() < 200));
    }
}
