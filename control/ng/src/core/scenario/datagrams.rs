//! Lines that are not RTP: fax over UDPTL, floor control, whatever else runs over UDP.

use super::*;
use crosspoint_contract::Security;

fn fax(address: &str, port: u16) -> String {
    with_lines(address, &[&format!("m=image {port} udptl t38"), "a=T38FaxVersion:0", "a=T38FaxUdpEC:t38UDPRedundancy"])
}

#[test]
fn fax_passes_between_the_parties_by_our_ports() {
    let mut world = World::new();
    let offered = sdp(&world.offer("c1", "f", &fax("198.51.100.10", 4000), &[("transport-protocol", "RTP/SAVP")]));
    assert_eq!(
        offered.lines().skip(5).collect::<Vec<_>>(),
        [
            &format!("m=image {} udptl t38", port(&offered)),
            "a=T38FaxVersion:0",
            "a=T38FaxUdpEC:t38UDPRedundancy",
            "a=sendrecv",
        ]
    );
    let answered = sdp(&world.answer("c1", "f", "t", &fax("203.0.113.20", 5000), &[]));
    assert_ne!(port(&answered), port(&offered));
    let described = world.described();
    let said: Vec<_> = described.iter().map(|(_, remote)| (remote.security.clone(), remote.rtp)).collect();
    assert_eq!(said, [(Security::Opaque, at("203.0.113.20:5000")), (Security::Opaque, at("198.51.100.10:4000"))]);
}

#[test]
fn a_call_goes_from_speech_to_fax_and_back_on_the_same_legs() {
    for (secure, more) in [(false, &[][..]), (true, &[("transport-protocol", "RTP/SAVP")])] {
        let mut world = World::new();
        let speak = |world: &mut World| {
            let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), more));
            let key = lines(&offered, "a=crypto:1 ").first().map(|line| format!("{line}\r\n")).unwrap_or_default();
            let answer = audio("203.0.113.20", 5000).replace("RTP/AVP", if secure { "RTP/SAVP" } else { "RTP/AVP" });
            let answered = world.answer("c1", "f", "t", &(answer + &key), &[]);
            (port(&offered), port(&sdp(&answered)))
        };
        let spoken = speak(&mut world);
        let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
        world.ordered();
        let offered = port(&sdp(&world.offer("c1", "f", &fax("198.51.100.10", 4000), more)));
        let answered = port(&sdp(&world.answer("c1", "f", "t", &fax("203.0.113.20", 5000), &[])));
        assert_eq!((offered, answered), spoken);
        let described = world.described();
        assert!(described.iter().all(|(_, remote)| remote.security == Security::Opaque), "{described:?}");
        assert_eq!(speak(&mut world), spoken);
        let described = world.described();
        assert_eq!(described.len(), 2);
        let is_keyed = |security: &Security| matches!(security, Security::Sdes { .. });
        assert_eq!(described.iter().any(|(_, remote)| is_keyed(&remote.security)), secure);
        assert!(described.iter().all(|(_, remote)| remote.security != Security::Opaque));
        assert_eq!(world.dataplane.legs.keys().copied().collect::<Vec<_>>(), legs);
    }
}

#[test]
fn a_line_of_fax_beside_one_of_speech_that_ends() {
    let mut world = World::new();
    world.plain_call("c1");
    let both =
        |address: &str| with_lines(address, &["m=audio 0 RTP/AVP 0", "m=image 4004 udptl t38", "a=T38FaxVersion:0"]);
    let offered = sdp(&world.offer("c1", "f", &both("198.51.100.10"), &[]));
    assert!(lines(&offered, "m=audio")[0].starts_with("m=audio 0 ") && !offered.contains("m=image 0 "));
    world.answer("c1", "f", "t", &both("203.0.113.20"), &[]);
    assert_eq!(world.dataplane.legs.len(), 2);
}

#[test]
fn ice_is_spoken_on_a_line_of_datagrams_with_one_component_and_without_multiplexing() {
    let mut world = World::new();
    let caller = with_lines("198.51.100.10", &["m=application 4000 UDP/BFCP *", "a=rtcp-mux", "a=ptime:20"]);
    let more = [("ICE", "force"), ("flags", "rtcp-mux-require generate-mid")];
    let offered = sdp(&world.offer("c1", "f", &caller, &more));
    assert_eq!(lines(&offered, "a=candidate:").len(), 1);
    assert_eq!(lines(&offered, "a=rtcp"), [""; 0]);
    assert_eq!(lines(&offered, "a=ptime"), [""; 0]);
    assert!(offered.contains("UDP/BFCP *"));
}

#[test]
fn a_line_of_fax_that_points_at_our_own_ports_is_refused() {
    let mut world = World::new();
    let (offered, _) = world.plain_call("c1");
    let reply = world.offer("c2", "f", &fax("192.0.2.1", port(&offered)), &[]);
    assert!(error(&reply).starts_with("Media address not allowed"));
}

#[test]
fn fax_answered_by_speech_leaves_no_leg_that_takes_one_for_the_other() {
    let mut world = World::new();
    world.offer("c1", "f", &fax("198.51.100.10", 4000), &[]);
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    let kinds: Vec<_> = world.described().into_iter().map(|(_, remote)| remote.security).collect();
    assert_eq!(kinds, [Security::Plain, Security::Plain], "the answer counts");
    world.offer("c2", "f", &audio("198.51.100.10", 4000), &[]);
    world.answer("c2", "f", "t", &fax("203.0.113.20", 5000), &[]);
    let kinds: Vec<_> = world.described().into_iter().map(|(_, remote)| remote.security).collect();
    assert_eq!(kinds, [Security::Opaque, Security::Plain], "nobody translates, and the dataplane passes nothing");
}
