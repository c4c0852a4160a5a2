//! What the log says of calls and requests.

use super::*;
use crate::effect::Level;

fn said<'a>(world: &'a World, kind: &str) -> Vec<&'a Note> {
    world.notes.iter().filter(|note| note.kind == kind).collect()
}

#[test]
fn call_that_ends_leaves_one_line_with_its_length_and_each_side() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "f"), ("delete-delay", "0")]);
    let ended = said(&world, "call_ended");
    assert_eq!(ended.len(), 1, "{:?}", world.notes);
    let Note { level, call, text, .. } = ended[0];
    assert_eq!((*level, call.as_deref()), (Level::Info, Some("c1")));
    assert!(text.starts_with("after ") && text.contains("audio of 'f'") && text.contains("audio of 't'"), "{text}");
    assert_eq!(text.matches(" packets, ").count(), 2, "{text}");
}

#[test]
fn nonsense_is_logged_with_its_sender_and_how_it_begins() {
    let mut world = World::new();
    world.send_bytes(b"nonsense");
    world.send_bytes(b"c d7:comm");
    let said = said(&world, "message_malformed");
    let texts: Vec<&str> = said.iter().map(|note| note.text.as_str()).collect();
    let peer = world.peer.address;
    assert_eq!(texts[0], format!("no cookie, from {peer}: 8 bytes that begin \"nonsense\""));
    assert!(texts[1].starts_with("Could not decode bencode dictionary, from "), "{texts:?}");
    assert!(said.iter().all(|note| note.level == Level::Warn));
}

#[test]
fn refusal_is_logged_with_what_was_wrong() {
    let mut world = World::new();
    world.offer("c1", "f", "v=0\r\nnonsense\r\n", &[]);
    world.offer("c2", "f", &audio("169.254.0.1", 4000), &[]);
    let texts: Vec<&str> = said(&world, "request_refused").iter().map(|note| note.text.as_str()).collect();
    assert!(texts[0].ends_with("Failed to parse SDP (line 2: \"nonsense\")"), "{texts:?}");
    assert!(texts[1].ends_with("(169.254.0.1:4000 is link-local)"), "{texts:?}");
}

#[test]
fn limit_is_a_warning() {
    let mut world = World::new();
    world.core.settings.sessions_max = Some(0);
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    assert_eq!(said(&world, "limit_reached")[0].level, Level::Warn);
}

#[test]
fn interface_that_is_not_there_is_warned_of_and_named_with_those_that_are() {
    let mut world = World::new();
    let sdp = audio("198.51.100.10", 4000);
    world.ask_with("offer", &[("call-id", "c1"), ("from-tag", "f"), ("sdp", &sdp)], &[("direction", &["pbu", "pbu"])]);
    assert!(said(&world, "interface_unknown")[0].text.contains("\"pbu\""), "{:?}", world.notes);
    world.offer("c2", "f", &sdp, &[("address-family", "IP6")]);
    assert_eq!(said(&world, "address_family_unavailable").len(), 1);
}

#[test]
fn lines_that_nobody_reads_are_not_made() {
    let mut world = World::new();
    world.core.settings.log = Level::Warn;
    world.plain_call("c1");
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "f"), ("delete-delay", "0")]);
    assert_eq!(world.notes, []);
}
