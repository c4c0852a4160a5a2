//! Calls that succeed, and what passes within them.

use super::*;
use crate::core::sdp::{self, Setup};
use crosspoint_contract::{Codec, DtlsRole, Medium};

#[test]
fn invite_answer_hangup_makes_one_call_and_one_record() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "client:bob");
    let ringing = world.only(alice, "ringing");
    let invite = world.only(bob, "invite");
    assert!(text(&ringing, "callsid").starts_with("CA"));
    assert_eq!(text(&invite["parameters"], "From"), "client:alice");
    assert_eq!(text(&invite["parameters"], "To"), "client:bob");
    assert_eq!(text(&invite["parameters"], "CallSid"), text(&invite, "callsid"));
    assert_eq!(text(&invite["parameters"], "AccountSid"), ACCOUNT);
    assert_eq!(text(&invite["parameters"], "Params"), "color=light%20blue");
    world.pass(500);
    let bob_sid = text(&invite, "callsid");
    world.say(bob, "answer", json!({ "callsid": bob_sid, "sdp": answer_sdp("bobb") }));
    let answer = world.only(alice, "answer");
    assert_eq!(text(&answer, "callsid"), text(&ringing, "callsid"));
    assert_eq!(world.dataplane.bridges.len(), 1);
    world.pass(5_000);
    world.say(alice, "hangup", json!({ "callsid": text(&answer, "callsid") }));
    let hangup = world.only(bob, "hangup");
    assert_eq!((text(&hangup, "callsid"), code(&hangup)), (bob_sid, None));
    let record = world.record();
    assert_eq!((record.end_reason.as_str(), record.ended_by.as_str()), ("completed", "caller"));
    assert_eq!(record.path, ["M2 client>local>client"]);
    assert_eq!(record.ended_unix_ms - record.answered_unix_ms.expect("answered"), 5_000);
    assert_eq!(record.legs.len(), 2);
    assert!(record.legs.iter().all(|leg| leg.codec.as_deref() == Some("opus")));
    assert!(record.legs.iter().all(|leg| leg.report.as_ref().is_some_and(|r| r.packets_sent == 42)));
    world.assert_clean();
}

#[test]
fn the_two_exchanges_of_a_call_are_independent() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "bob");
    let invite = world.only(bob, "invite");
    let offer = sdp::read(&text(&invite, "sdp")).expect("our offer is readable");
    assert_eq!(offer.setup, Setup::ActPass);
    assert!(text(&invite, "sdp").contains("a=ice-lite"));
    world.say(bob, "answer", json!({ "callsid": text(&invite, "callsid"), "sdp": answer_sdp("bobb") }));
    let answer = sdp::read(&text(&world.only(alice, "answer"), "sdp")).expect("our answer is readable");
    assert_eq!(answer.setup, Setup::Passive);
    assert_ne!(answer.ice, offer.ice);
    let remotes: Vec<_> = world.dataplane.legs.values().filter_map(|(_, _, remote)| remote.clone()).collect();
    assert_eq!(remotes.len(), 2);
    assert!(remotes.iter().all(|remote| remote.our_dtls_role == DtlsRole::Server));
    assert!(remotes.iter().all(|remote| remote.mid_extensions.audio == Some((4, "0".into()))));
}

#[test]
fn caller_is_answered_only_what_the_callee_took() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "bob");
    let callsid = text(&world.only(bob, "invite"), "callsid");
    let g711 = answer_sdp("bobb").replace("111 63 9 0 8 13 110 126", "8 126");
    world.say(bob, "answer", json!({ "callsid": callsid, "sdp": g711 }));
    let answer = sdp::read(&text(&world.only(alice, "answer"), "sdp")).expect("readable");
    let line = answer.line(Medium::Audio).expect("audio");
    let codecs: Vec<_> = line.formats.iter().map(|f| (f.format.payload_type, f.format.codec)).collect();
    assert_eq!(codecs, [(8, Codec::Pcma), (126, Codec::TelephoneEvent)]);
}

#[test]
fn three_instances_ring_the_first_answer_wins_and_the_others_are_cancelled() {
    let mut world = World::new();
    let alice = world.client("alice");
    let bobs = [world.client("bob"), world.client("bob"), world.client("bob")];
    world.call(alice, "client:bob");
    assert_eq!(world.kinds(alice), ["ringing"]);
    let sids = bobs.map(|bob| text(&world.only(bob, "invite"), "callsid"));
    world.say(bobs[1], "answer", json!({ "callsid": sids[1], "sdp": answer_sdp("bobb") }));
    let cancel = world.only(bobs[0], "cancel");
    assert_eq!((text(&cancel, "callsid"), text(&cancel, "reason")), (sids[0].clone(), "answered_elsewhere".to_owned()));
    assert_eq!(text(&world.only(bobs[2], "cancel"), "callsid"), sids[2]);
    assert!(world.kinds(bobs[1]).is_empty());
    assert_eq!(world.kinds(alice), ["answer"]);
    assert_eq!(world.dataplane.legs.len(), 2);
    // The race: a second answer crosses the cancel on the wire.
    world.say(bobs[0], "answer", json!({ "callsid": sids[0], "sdp": answer_sdp("late") }));
    assert_eq!(code(&world.only(bobs[0], "hangup")), Some(31404));
    assert_eq!(world.core.gauges().calls_answered, 1);
    assert!(world.kinds(alice).is_empty());
}

#[test]
fn digits_go_to_the_other_leg() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.say(talk.alice, "dtmf", json!({ "callsid": talk.alice_sid, "dtmf": "12w#" }));
    let bob_leg = world.core.sids[&talk.bob_sid];
    assert_eq!(world.dataplane.digits, [(bob_leg, "12w#".to_owned())]);
    world.say(talk.alice, "dtmf", json!({ "callsid": talk.alice_sid, "dtmf": "hello" }));
    assert_eq!(code(&world.only(talk.alice, "error")), Some(31100));
}

#[test]
fn message_reaches_the_other_party_under_its_own_callsid_and_is_acknowledged() {
    let mut world = World::new();
    let talk = world.connected_call();
    let message = json!({ "callsid": talk.bob_sid, "content": { "hello": 1 }, "contenttype": "application/json",
                          "messagetype": "user-defined-message", "voiceeventsid": "KX1" });
    world.say(talk.bob, "message", message.clone());
    let mut expected = message;
    expected["callsid"] = json!(talk.alice_sid);
    assert_eq!(world.only(talk.alice, "message"), expected);
    let ack = world.only(talk.bob, "ack");
    assert_eq!(ack, json!({ "acktype": "message", "callsid": talk.bob_sid, "voiceeventsid": "KX1" }));
}

#[test]
fn video_of_both_is_forwarded_and_refused_as_a_line_when_one_has_none() {
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtcp-mux\r\na=sendrecv\r\n\
                 a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";
    let with_video = |sdp: String| sdp.replace("BUNDLE 0", "BUNDLE 0 1") + video;
    for bob_takes_it in [true, false] {
        let mut world = World::new();
        let (alice, bob) = (world.client("alice"), world.client("bob"));
        let mut invite = invite("bob");
        invite["sdp"] = json!(with_video(offer_sdp("alic")));
        world.say(alice, "invite", invite);
        let invited = world.only(bob, "invite");
        let lines = sdp::read(&text(&invited, "sdp")).expect("readable").lines;
        assert_eq!(lines.iter().map(|l| l.kind.as_str()).collect::<Vec<_>>(), ["audio", "video"]);
        let answer = if bob_takes_it { with_video(answer_sdp("bobb")) } else { answer_sdp("bobb") };
        world.say(bob, "answer", json!({ "callsid": text(&invited, "callsid"), "sdp": answer }));
        let answered = text(&world.only(alice, "answer"), "sdp");
        let lines = sdp::read(&answered).expect("readable").lines;
        assert_eq!(lines.len(), 2, "as many lines as were offered: {answered}");
        assert_eq!(lines[1].medium, bob_takes_it.then_some(Medium::Video));
        assert_eq!(answered.contains("m=video 0 "), !bob_takes_it, "{answered}");
    }
}

#[test]
fn a_new_token_on_the_same_socket_keeps_calls_and_registration() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.say(talk.bob, "listen", json!({ "token": token("bob"), "reconnectTimeout": 20 }));
    assert_eq!(world.kinds(talk.bob), ["connected"]);
    assert_eq!((world.core.gauges().registrations, world.core.gauges().calls_answered), (2, 1));
}

#[test]
fn connected_tells_region_gateway_identity_and_the_seconds_left() {
    let mut world = World::new();
    let session = world.listen(&token("alice"));
    let connected = world.only(session, "connected");
    assert_eq!((text(&connected, "region"), text(&connected, "gateway")), ("local".into(), "local".into()));
    assert_eq!(connected["token"], json!({ "identity": "alice", "ttl": 3600 }));
}
