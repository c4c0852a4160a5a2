//! Rewritten SDP against what rtpengine 10.5.3.5 made of the same offers and answers (`rtpengine-10.5/record.py`).
//!
//! ```text
//!   recorded: title, options, text in ──read──▶ description ─┐
//!             text out ──read──▶ plan: its ports, keys, … ───┴──write──▶ must be the text out, line by line
//! ```
//!
//! The plan is taken from the recorded answer, so that chance (ports, keys) is equal; which lines there are and in which
//! order is the writer's own.

use crosspoint_ng::options::Codecs;
use crosspoint_ng::sdp::{
    self, Candidate, DtlsPlan, IceDescription, IcePlan, MediaDescription, MediaKind, MediaPlan, OriginPlan, OurIce,
    Placement, RelayPlan, RtcpPlan, SessionDescription, SessionPlan,
};
use serde_json::Value;

const REWRITES: &str = include_str!("rtpengine-10.5/rewrites.txt");
const VERDICTS: &str = include_str!("rtpengine-10.5/verdicts.txt");
const CODECS: &str = include_str!("rtpengine-10.5/codecs.txt");

struct Case {
    title: String,
    options: Value,
    before: String,
    after: String,
}

fn cases(text: &str) -> impl Iterator<Item = Case> {
    text.split("=== ").skip(1).flat_map(|input| {
        let (title, rest) = input.split_once('\n').expect("a title");
        let mut parts = rest.split("--- ");
        let before = parts.next().expect("a text");
        parts.map(move |part| {
            let (options, after) = part.split_once('\n').expect("options");
            let options = serde_json::from_str(options).expect("JSON");
            Case { title: title.into(), options, before: before.into(), after: after.into() }
        })
    })
}

impl Case {
    fn has(&self, key: &str, word: &str) -> bool {
        match &self.options[key] {
            Value::String(value) => value == word,
            Value::Array(values) => values.iter().any(|value| value == word),
            _ => false,
        }
    }

    /// The party's ICE stays if it has any.
    fn ice_stays(&self) -> bool {
        self.has("ICE", "optional") || self.has("ICE", "force-relay")
    }

    fn plan(&self, read: &SessionDescription, written: &SessionDescription) -> SessionPlan {
        let (origin, theirs) = (written.origin.as_ref(), read.origin.as_ref());
        SessionPlan {
            origin: OriginPlan {
                address: (origin != theirs).then(|| origin.expect("an origin").address.parse().expect("an address")),
                ..OriginPlan::default()
            },
            replace_connection: self.has("replace", "session-connection"),
            hide_hold: self.has("replace", "zero-address"),
            original_direction: self.has("flags", "original-sendrecv"),
            ice_lite: self.options["ICE-lite"] == "forward",
            strip_extmap: self.has("flags", "strip-extmap"),
            media: read.media.iter().zip(&written.media).map(|(theirs, ours)| self.media(theirs, ours)).collect(),
            ..SessionPlan::default()
        }
    }

    fn media(&self, theirs: &MediaDescription, ours: &MediaDescription) -> MediaPlan {
        let address = ours.connection.expect("an address").address;
        match (&ours.kind, ours.port) {
            (MediaKind::Message, _) => MediaPlan::Untouched,
            (_, 0) => MediaPlan::Rejected { address, protocol: ours.protocol.clone(), mid: ours.mid.clone() },
            _ => MediaPlan::Relayed(Box::new(self.relay(theirs, ours))),
        }
    }

    fn relay(&self, theirs: &MediaDescription, ours: &MediaDescription) -> RelayPlan {
        let ice = match ours.ice.is_offered() {
            true if self.ice_stays() && theirs.ice.is_offered() => IcePlan::Add(added(&theirs.ice, &ours.ice)),
            true => IcePlan::Replace(our_ice(ours, &ours.ice)),
            false => IcePlan::Remove,
        };
        RelayPlan {
            placement: self.placement(ours),
            protocol: ours.protocol.clone(),
            codecs: Some(ours.codecs.clone()),
            direction: ours.direction,
            crypto: if ice.passes() { Vec::new() } else { ours.crypto.clone() },
            crypto_padded: self.has("SDES", "pad"),
            dtls: ours
                .setup
                .zip(ours.fingerprint.clone())
                .filter(|_| !ice.passes())
                .map(|(setup, fingerprint)| DtlsPlan { setup, fingerprint, tls_id: None }),
            ptime_ms: ours.ptime_ms,
            ice,
            mid: ours.mid.clone(),
        }
    }

    fn placement(&self, ours: &MediaDescription) -> Placement {
        if self.has("ICE", "force-relay") {
            return Placement::Theirs;
        }
        let address = ours.connection.expect("an address").address;
        let rtcp = match (ours.rtcp_port, ours.rtcp_address) {
            (Some(port), Some(address)) => RtcpPlan::PortAndAddress(port, address),
            (Some(port), None) => RtcpPlan::Port(port),
            (None, _) => RtcpPlan::Unsaid,
        };
        Placement::Ours { address, port: ours.port, rtcp, rtcp_mux: ours.rtcp_mux }
    }
}

fn added(theirs: &IceDescription, ours: &IceDescription) -> Vec<Candidate> {
    ours.candidates.iter().filter(|candidate| !theirs.candidates.contains(candidate)).cloned().collect()
}

fn our_ice(media: &MediaDescription, ice: &IceDescription) -> OurIce {
    OurIce {
        ufrag: ice.ufrag.clone().expect("offered"),
        pwd: ice.pwd.clone().expect("offered"),
        trickle: media.attribute("ice-options") == Some("trickle"),
        candidates: ice.candidates.clone(),
        end_of_candidates: ice.end_of_candidates,
        remote_candidates: Vec::new(),
    }
}

/// Lines that 10.5 writes and we do not, for the reasons in the header of `sdp::write`.
fn without_known(case: &Case, text: &str) -> Vec<String> {
    let known: &[&str] = match case.title.as_str() {
        "refused lines" => &["a=candidate:1 1 UDP 5", "a=ice-ufrag:aaaa", "a=ice-pwd:aaaa", "a=end-of-candidates"],
        "other media" => &["a=mid:3", "a=end-of-candidates"],
        "answer to Chrome from a plain party" => &["a=end-of-candidates"],
        _ => &[],
    };
    let is_known = |line: &&str| known.iter().any(|start| line.starts_with(start));
    text.lines().filter(|line| !is_known(line)).map(str::to_owned).collect()
}

#[test]
fn texts_are_rewritten_as_rtpengine_does() {
    let (mut compared, mut differing) = (0, String::new());
    for case in cases(REWRITES).filter(|case| case.after.starts_with("v=0")) {
        let read = sdp::read(&case.before).expect("rtpengine read it");
        let written = sdp::read(&case.after).expect("rtpengine wrote it");
        let ours = sdp::write(&read, &case.plan(&read, &written)).expect("as many m-lines").replace("\r\n", "\n");
        if ours != case.after && without_known(&case, &ours) != without_known(&case, &case.after) {
            differing += &format!("=== {} {}\n{ours}--- rather than\n{}", case.title, case.options, case.after);
        }
        compared += 1;
    }
    assert!(differing.is_empty(), "{differing}");
    assert!(compared > 150, "only {compared} cases");
}

/// Lists that 10.5 changes further because it decides to transcode, and one that it breaks (no format left on the m-line).
fn is_known_to_differ(case: &Case) -> bool {
    const KNOWN: [(&str, &str); 9] = [
        ("eight", r#"{"strip":["telephone-event"]}"#),
        ("eight", r#"{"strip":["telephone-event/48000"]}"#),
        ("eight", r#"{"accept":["PCMA"]}"#),
        ("eight", r#"{"accept":["PCMA"],"strip":["all"]}"#),
        ("eight", r#"{"consume":["PCMU"]}"#),
        ("eight", r#"{"consume":["all"]}"#),
        // Two telephone events that come back are in another order; each belongs to another clock rate.
        ("eight", r#"{"offer":["opus","PCMA","telephone-event"],"strip":["all"]}"#),
        ("three", r#"{"strip":["PCMU","PCMA"]}"#),
        ("three", r#"{"mask":["PCMU"],"strip":["PCMA"]}"#),
    ];
    let options = |text| serde_json::from_str::<Value>(text).expect("JSON");
    KNOWN.into_iter().any(|(title, known)| title == case.title && options(known) == case.options)
}

#[test]
fn codec_options_leave_what_rtpengine_leaves() {
    for case in cases(CODECS) {
        let list = |key: &str| {
            let words = case.options[key].as_array().into_iter().flatten();
            words.map(|word| word.as_str().expect("a name").to_owned()).collect()
        };
        let options = Codecs {
            strip: list("strip"),
            offer: list("offer"),
            mask: list("mask"),
            except: list("except"),
            accept: list("accept"),
            consume: list("consume"),
            ..Codecs::default()
        };
        let read = sdp::read(&case.before).expect("rtpengine read it");
        let written = sdp::read(&case.after).expect("rtpengine wrote it");
        let ours: Vec<_> = read.media.iter().map(|media| sdp::codecs::offered(media, &options)).collect();
        let theirs: Vec<_> = written.media.iter().map(|media| media.codecs.clone()).collect();
        assert_eq!(ours == theirs, !is_known_to_differ(&case), "{} {}: {ours:#?}", case.title, case.options);
    }
}

/// What is taken by one and not by the other, and why.
fn verdict_differs(line: &str) -> bool {
    [
        // A second description in one text: 10.5 rewrites none of them, with another error.
        "v=0",
        "v=0|c=IN IP4 1.2.3.4|m=audio 5000 RTP/AVP 0|v=0",
    ]
    .contains(&line)
}

#[test]
fn texts_are_refused_where_rtpengine_refuses_them() {
    let head = "v=0\no=- 1545997027 1 IN IP4 198.51.100.40\ns=tester\nt=0 0\nc=IN IP4 198.51.100.4\n";
    let mut differing = Vec::new();
    for verdict in VERDICTS.lines() {
        let mut parts = verdict.splitn(3, '\t');
        let mut next = || parts.next().expect("three parts");
        let (expected, place, line) = (next(), next(), next());
        let text = match place {
            "S" => format!("{head}{line}\nm=audio 2000 RTP/AVP 0\n"),
            "M" => format!("{head}m=audio 2000 RTP/AVP 0\n{line}\n"),
            _ => line.replace('|', "\n") + "\n",
        };
        let ours = sdp::read(&text).map_or_else(|error| error.to_string(), |_| "ok".into());
        if ours != expected && !verdict_differs(line) {
            differing.push(format!("{verdict}: {ours}"));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}
