//! Text from anywhere against everything that reads a client's words: none panics, and nothing is believed unproven.
//!
//! Runs in the ordinary tests over the committed corpus (`__fuzz__`) and random inputs;
//! `cargo bolero test --package crosspoint-control core::fuzz::NAME` goes on from there.

use super::bridge_token::{BridgeToken, Sealer};
use super::limits::{Limits, NAME_BYTES_MAX};
use super::message::FromClient;
use super::scenario::{ACCOUNT, START_UNIX_MS, World, keys, offer_sdp, token};
use super::sdp::{self, Ours};
use super::{input::Input, token};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use crosspoint_contract::{Directions, DtlsRole, Fingerprint, IceCredentials, LocalDescription, WorkerId};
use serde_json::json;

/// Frames as the parser sees them, and as a core with a call in progress does.
#[test]
fn signaling_frames() {
    bolero::check!(name = "signaling_frames").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Err((_, Some(callsid))) = FromClient::parse(&text) {
            assert!(callsid.len() <= NAME_BYTES_MAX, "it is echoed");
        }
        let mut world = World::new();
        let talk = world.connected_call();
        world.input(Input::SessionFrame { session: talk.alice, text: text.into_owned() });
        world.input(Input::ShutDown);
        world.assert_clean();
    });
}

/// Frames that each make sense, in an order that need not.
#[test]
fn frame_sequences() {
    let kinds = ["listen", "register", "invite", "answer", "reinvite", "dtmf", "hangup", "reject", "message", "x"];
    bolero::check!(name = "frame_sequences").with_type::<Vec<(u8, u8, u8)>>().for_each(|steps| {
        let mut world = World::new();
        let talk = world.connected_call();
        for (kind, who, what) in steps.iter().take(40) {
            let session = if who % 2 == 0 { talk.alice } else { talk.bob };
            let sid = [&talk.alice_sid, &talk.bob_sid, "TJS1", "CA0"][usize::from(what % 4)].to_owned();
            let payload = json!({ "callsid": sid, "sdp": offer_sdp(&format!("uf{what:03}")), "dtmf": "1", "content": "x",
                "token": token("alice"), "media": { "audio": what % 2 == 0 }, "twilio": { "params": "To=bob" },
                "reconnect": if what % 3 == 0 { Some(&talk.alice_token) } else { None } });
            world.say(session, kinds[usize::from(*kind) % kinds.len()], payload);
            world.pass(u64::from(*what) * 10);
        }
        world.input(Input::ShutDown);
        world.assert_clean();
    });
}

/// What is read can be answered, and our answer is readable.
#[test]
fn session_descriptions() {
    let ice = IceCredentials { ufrag: "ours".into(), pwd: "our-password-of-two-and-twenty".into() };
    let local = LocalDescription {
        ice,
        fingerprint: Fingerprint { sha256: [9; 32] },
        candidates: vec!["127.0.0.1:20000".parse().expect("an address")],
        ssrc: 1,
        video_ssrc: 2,
        cname: "cname".into(),
        worker: WorkerId(0),
        place: 0,
    };
    bolero::check!(name = "session_descriptions").for_each(|bytes: &[u8]| {
        let Ok(offer) = sdp::read(&String::from_utf8_lossy(bytes)) else { return };
        let Some(pair) = sdp::agree(&offer, &offer, true) else { return };
        let ours = Ours { local: &local, session_id: 1, version: 1 };
        let answer = sdp::write_answer(ours, &offer, &pair.caller, DtlsRole::Server, Directions::default());
        let answer = sdp::read(&answer).unwrap_or_else(|refusal| panic!("{refusal}: {answer}"));
        assert_eq!(answer.lines.len(), offer.lines.len(), "RFC 3264 §6: as many lines as were offered");
    });
}

/// Only what the corpus holds signed is believed.
#[test]
fn access_tokens() {
    let (keys, limits) = (keys(), Limits::default());
    bolero::check!(name = "access_tokens").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for text in [text.to_string(), format!("{0}.{0}.{0}", B64.encode(bytes))] {
            if let Ok(grant) = token::verify(&text, &keys, &limits, START_UNIX_MS) {
                assert_eq!((grant.identity.as_str(), grant.account_sid.as_str()), ("alice", ACCOUNT));
            }
        }
    });
}

#[test]
fn bridge_tokens() {
    let sealer = Sealer::new([7; 32]);
    bolero::check!(name = "bridge_tokens").for_each(|bytes: &[u8]| {
        for text in [String::from_utf8_lossy(bytes).into_owned(), B64.encode(bytes)] {
            if let Ok(token) = sealer.open(&text, 0) {
                assert_eq!(token, sealed());
            }
        }
    });
}

/// The token in the corpus.
fn sealed() -> BridgeToken {
    BridgeToken {
        call_sid: "CA00000000000000000000000000000001".into(),
        node: "node1".into(),
        account_sid: ACCOUNT.into(),
        identity: "alice".into(),
        expires_unix_ms: u64::MAX,
    }
}

macro_rules! corpus {
    ($($name:literal),+) => {
        [$(($name, include_str!(concat!("__fuzz__/", $name)))),+]
    };
}

/// Without these the replay would exercise refusals only.
#[test]
fn each_corpus_holds_what_is_accepted_and_what_is_not() {
    let (keys, limits, sealer) = (keys(), Limits::default(), Sealer::new([7; 32]));
    let is_accepted = |name: &str, text: &str| match name.split_once('/').expect("in a directory").0 {
        "signaling_frames" => FromClient::parse(text).is_ok(),
        "session_descriptions" => sdp::read(text).is_ok(),
        "access_tokens" => token::verify(text, &keys, &limits, START_UNIX_MS).is_ok(),
        _ => sealer.open(text, 0) == Ok(sealed()),
    };
    for (name, text) in corpus![
        "signaling_frames/corpus/listen.json",
        "signaling_frames/corpus/invite.json",
        "signaling_frames/corpus/message.json",
        "session_descriptions/corpus/audio.sdp",
        "session_descriptions/corpus/audio_video.sdp",
        "session_descriptions/corpus/audio_answer_on_hold.sdp",
        "access_tokens/corpus/good.jwt",
        "access_tokens/corpus/good_limited.jwt",
        "access_tokens/corpus/good_fraction_of_a_second.jwt",
        "bridge_tokens/corpus/sealed.txt"
    ] {
        assert!(is_accepted(name, text), "{name}");
    }
    for (name, text) in corpus![
        "signaling_frames/corpus/deep.json",
        "signaling_frames/corpus/callsid_long.json",
        "session_descriptions/corpus/digest_sha1.sdp",
        "session_descriptions/corpus/cut_in_the_first_line.sdp",
        "access_tokens/corpus/algorithm_none.jwt",
        "access_tokens/corpus/limit_unknown.jwt",
        "bridge_tokens/corpus/cut_in_the_tag.txt",
        "bridge_tokens/corpus/other_key.txt"
    ] {
        assert!(!is_accepted(name, text), "{name}");
    }
}
