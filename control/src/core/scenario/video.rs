//! Video: which way it flows, at first and after re-offers by either side, while the voice goes on.
//!
//! ```text
//!   alice ──offer──▶ bridge ──the same directions──▶ bob
//!   alice ◀──what bob left of them── bridge ◀──answer── bob
//! ```

use super::*;
use crate::core::directions::video_only;
use crate::core::input::SessionId;
use crate::core::sdp::{self, mirrored};
use crosspoint_contract::{Direction, Directions, Medium};

const ALL: [Direction; 4] = [Direction::SendReceive, Direction::SendOnly, Direction::ReceiveOnly, Direction::Inactive];

pub(super) fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::SendReceive => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::ReceiveOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

/// A description with one more line, as Chromium writes it.
pub(super) fn with_video(sdp: &str, direction: Direction) -> String {
    let video = format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtcp-mux\r\na={}\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\n\
         a=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
         a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
        word(direction)
    );
    sdp.replace("BUNDLE 0", "BUNDLE 0 1") + &video
}

/// What a description of ours says of both media.
pub(super) fn directions(payload: &Value) -> Directions {
    sdp::read(&text(payload, "sdp")).expect("our own words are readable").directions()
}

impl World {
    /// A registered client that answers offers within a call.
    pub(super) fn offerable(&mut self, identity: &str) -> SessionId {
        let session = self.open();
        self.say(session, "listen", json!({ "token": token(identity), "reconnectTimeout": 20, "reinvite": true }));
        self.say(session, "register", json!({ "media": { "audio": true } }));
        assert_eq!(self.kinds(session), ["connected", "ready"]);
        session
    }

    /// alice calls bob with these words about video, bob answers with those; what each was told.
    pub(super) fn video_call(
        &mut self,
        [alice, bob]: [SessionId; 2],
        [offer, answer]: [Direction; 2],
    ) -> (Talk, [Directions; 2]) {
        let mut invite = invite("bob");
        invite["sdp"] = json!(with_video(&offer_sdp("alic"), offer));
        self.say(alice, "invite", invite);
        let rung = self.only(bob, "invite");
        let bob_sid = text(&rung, "callsid");
        self.say(bob, "answer", json!({ "callsid": bob_sid, "sdp": with_video(&answer_sdp("bobb"), answer) }));
        let answered = self.only(alice, "answer");
        let talk = Talk {
            alice,
            bob,
            alice_sid: text(&answered, "callsid"),
            bob_sid,
            alice_token: text(&answered, "reconnect"),
            bob_token: text(&rung, "reconnect"),
        };
        (talk, [directions(&rung), directions(&answered)])
    }

    /// A party describes itself anew, or answers.
    pub(super) fn describe(&mut self, talk: &Talk, by_alice: bool, kind: &str, audio: Direction, video: Direction) {
        let (who, sid, ufrag, byte) = party(talk, by_alice);
        let setup = if kind == "answer" { "active" } else { "actpass" };
        let sdp = with_video(&sdp(ufrag, byte, setup, word(audio)), video);
        self.say(who, kind, json!({ "callsid": sid, "sdp": sdp }));
    }

    /// What the dataplane may do with a party's media.
    pub(super) fn allowed(&self, talk: &Talk, alice: bool) -> Directions {
        let leg = self.core.sids[party(talk, alice).1];
        self.dataplane.legs[&leg].2.as_ref().expect("described").directions
    }
}

pub(super) fn party(talk: &Talk, alice: bool) -> (SessionId, &String, &'static str, &'static str) {
    if alice { (talk.alice, &talk.alice_sid, "alic", "AA") } else { (talk.bob, &talk.bob_sid, "bobb", "BB") }
}

#[test]
fn directions_of_the_first_offer_and_answer_reach_the_other_party_and_the_dataplane() {
    use Direction::{Inactive, ReceiveOnly, SendOnly, SendReceive};
    for (offer, answers) in [
        (SendReceive, &[SendReceive, SendOnly, ReceiveOnly, Inactive][..]),
        (SendOnly, &[ReceiveOnly, Inactive]),
        (ReceiveOnly, &[SendOnly, Inactive]),
        (Inactive, &[Inactive]),
    ] {
        for &answer in answers {
            let mut world = World::new();
            let clients = [world.client("alice"), world.client("bob")];
            let (talk, [bob_told, alice_told]) = world.video_call(clients, [offer, answer]);
            assert_eq!(bob_told, video_only(offer));
            assert_eq!(alice_told, video_only(answer), "{answer:?} to {offer:?}");
            assert_eq!(world.allowed(&talk, true), video_only(mirrored(offer)));
            assert_eq!(world.allowed(&talk, false), video_only(mirrored(answer)));
        }
    }
}

#[test]
fn a_new_direction_of_video_is_offered_to_the_other_party_and_the_old_one_again() {
    for by_alice in [true, false] {
        for video in ALL {
            let mut world = World::new();
            let clients = [world.offerable("alice"), world.offerable("bob")];
            let (talk, _) = world.video_call(clients, [Direction::SendReceive; 2]);
            let (who, other) = (party(&talk, by_alice).0, party(&talk, !by_alice).0);
            let mut last = Direction::SendReceive;
            for video in [video, Direction::SendReceive] {
                world.describe(&talk, by_alice, "reinvite", Direction::SendReceive, video);
                assert_eq!(directions(&world.only(who, "answer")), video_only(mirrored(video)));
                assert_eq!(world.allowed(&talk, by_alice), video_only(mirrored(video)));
                if video != last {
                    let offer = world.only(other, "reinvite");
                    assert_eq!(directions(&offer), video_only(video));
                    world.describe(&talk, !by_alice, "answer", Direction::SendReceive, mirrored(video));
                    assert_eq!(world.allowed(&talk, !by_alice), video_only(video));
                }
                assert!(world.kinds(who).is_empty() && world.kinds(other).is_empty(), "nothing else is to be said");
                last = video;
            }
        }
    }
}

#[test]
fn a_held_voice_is_told_to_the_other_party_and_leaves_the_pictures_alone() {
    let mut world = World::new();
    let clients = [world.offerable("alice"), world.offerable("bob")];
    let (talk, _) = world.video_call(clients, [Direction::SendReceive; 2]);
    world.describe(&talk, true, "reinvite", Direction::SendOnly, Direction::SendReceive);
    world.only(talk.alice, "answer");
    let held = Directions { audio: Direction::SendOnly, video: Direction::SendReceive };
    assert_eq!(directions(&world.only(talk.bob, "reinvite")), held);
    assert_eq!(world.allowed(&talk, true), Directions { audio: Direction::ReceiveOnly, video: Direction::SendReceive });
}

#[test]
fn a_party_that_declines_what_is_offered_again_is_believed() {
    let mut world = World::new();
    let clients = [world.offerable("alice"), world.offerable("bob")];
    let (talk, _) = world.video_call(clients, [Direction::Inactive; 2]);
    world.describe(&talk, true, "reinvite", Direction::SendReceive, Direction::SendReceive);
    assert_eq!(directions(&world.only(talk.alice, "answer")), video_only(Direction::SendReceive));
    assert_eq!(directions(&world.only(talk.bob, "reinvite")), video_only(Direction::SendReceive));
    world.describe(&talk, false, "answer", Direction::SendReceive, Direction::ReceiveOnly);
    let offer = world.only(talk.alice, "reinvite");
    assert_eq!(directions(&offer), video_only(Direction::ReceiveOnly), "bob has no camera");
    world.describe(&talk, true, "answer", Direction::SendReceive, Direction::SendOnly);
    assert!(world.kinds(talk.alice).is_empty() && world.kinds(talk.bob).is_empty());
}

#[test]
fn an_offer_that_crosses_one_of_ours_is_answered_and_ours_is_forgotten() {
    let mut world = World::new();
    let clients = [world.offerable("alice"), world.offerable("bob")];
    let (talk, _) = world.video_call(clients, [Direction::SendReceive; 2]);
    world.describe(&talk, true, "reinvite", Direction::SendReceive, Direction::ReceiveOnly);
    world.only(talk.alice, "answer");
    world.only(talk.bob, "reinvite");
    world.describe(&talk, false, "reinvite", Direction::SendReceive, Direction::ReceiveOnly);
    let answer = world.only(talk.bob, "answer");
    assert_eq!(directions(&answer), video_only(Direction::Inactive), "neither sends");
    let offer = world.only(talk.alice, "reinvite");
    assert_eq!(directions(&offer), video_only(Direction::Inactive));
    world.describe(&talk, false, "answer", Direction::SendReceive, Direction::Inactive);
    assert_eq!(code(&world.only(talk.bob, "error")), Some(31400), "it answers nothing that is open");
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn a_client_that_takes_no_offers_gets_none_and_its_voice_is_never_stopped() {
    let mut world = World::new();
    let clients = [world.offerable("alice"), world.client("bob")];
    let (talk, _) = world.video_call(clients, [Direction::SendReceive; 2]);
    world.describe(&talk, true, "reinvite", Direction::Inactive, Direction::Inactive);
    assert!(world.kinds(talk.bob).is_empty());
    world.describe(&talk, false, "reinvite", Direction::SendReceive, Direction::SendReceive);
    let answer = world.only(talk.bob, "answer");
    assert_eq!(directions(&answer), video_only(Direction::Inactive));
}

#[test]
fn an_answer_from_another_peer_connection_is_refused_and_the_client_asked_no_more() {
    let mut world = World::new();
    let clients = [world.offerable("alice"), world.offerable("bob")];
    let (talk, _) = world.video_call(clients, [Direction::SendReceive; 2]);
    world.describe(&talk, true, "reinvite", Direction::SendReceive, Direction::Inactive);
    world.only(talk.bob, "reinvite");
    let foreign = with_video(&sdp("else", "CC", "active", "sendrecv"), Direction::Inactive);
    world.say(talk.bob, "answer", json!({ "callsid": talk.bob_sid, "sdp": foreign }));
    assert_eq!(world.kinds(talk.bob), ["error"]);
    assert_eq!(world.allowed(&talk, false), video_only(Direction::SendReceive));
}

#[test]
fn control_restarted_in_a_video_call_still_knows_who_does_what() {
    let mut world = World::new();
    let clients = [world.offerable("alice"), world.offerable("bob")];
    let (talk, _) = world.video_call(clients, [Direction::SendReceive, Direction::ReceiveOnly]);
    world.restart_control();
    let alice = world.offerable("alice");
    let offer = with_video(&sdp("alic", "AA", "actpass", "sendrecv"), Direction::SendReceive);
    world.say(
        alice,
        "invite",
        json!({ "callsid": talk.alice_sid, "sdp": offer, "reconnect": talk.alice_token, "twilio": {} }),
    );
    assert_eq!(directions(&world.only(alice, "answer")), video_only(Direction::ReceiveOnly));
}

#[test]
fn feedback_and_retransmission_that_we_do_not_serve_are_in_nothing_we_write() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    let mut invite = invite("bob");
    invite["sdp"] = json!(with_video(&offer_sdp("alic"), Direction::SendReceive));
    world.say(alice, "invite", invite);
    let rung = world.only(bob, "invite");
    let answer = with_video(&answer_sdp("bobb"), Direction::SendReceive);
    world.say(bob, "answer", json!({ "callsid": text(&rung, "callsid"), "sdp": answer }));
    for written in [text(&rung, "sdp"), text(&world.only(alice, "answer"), "sdp")] {
        let feedback: Vec<_> = written.lines().filter(|line| line.starts_with("a=rtcp-fb")).collect();
        assert_eq!(feedback, ["a=rtcp-fb:96 nack pli"]);
        assert!(!written.contains("transport-wide-cc") && !written.contains("rtx") && !written.contains("remb"));
    }
    let mids = |medium| {
        let remotes = world.dataplane.legs.values().filter_map(move |(_, _, remote)| remote.as_ref());
        remotes.map(|remote| remote.mid_extensions.of(medium).clone()).collect::<Vec<_>>()
    };
    assert_eq!(mids(Medium::Audio), vec![Some((4, "0".to_owned())); 2]);
    assert_eq!(mids(Medium::Video), vec![Some((4, "1".to_owned())); 2]);
}
