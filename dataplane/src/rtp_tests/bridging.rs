//! A leg with ports of its own that is an end, bridged with a WebRTC leg: own SSRCs, mapped payload types, own reports.

use super::handshake::dtls;
use super::party::Party;
use super::*;
use crosspoint_contract::{BridgeId, Directions, DtlsRole, PerMedium, RemoteDescription, SrtpSuite};
use crosspoint_wire::dtls::Role;
use crosspoint_wire::rtp::RtpHeader;

const BROWSER: LegId = LegId(50);

/// A browser on the shared port that knows G.711 by an unusual number.
fn browser(stand: &mut Stand) -> Party {
    let identity = Identity::generate().expect("a certificate");
    let opened = stand.ask(Command::OpenLeg { leg: BROWSER, call: CALL, transport: TransportRequest::WebRtc });
    let Ok(Done::Opened(local)) = opened else { panic!("{opened:?}") };
    assert_eq!(local.fingerprint, stand.fingerprint);
    let Security::Dtls { our_role, .. } = dtls(&identity, DtlsRole::Server) else { unreachable!("by its name") };
    stand.done(Command::SetRemote {
        leg: BROWSER,
        remote: RemoteDescription {
            ice: local.ice.clone(),
            fingerprint: Fingerprint { sha256: identity.sha256() },
            our_dtls_role: our_role,
            formats: vec![Format { payload_type: 120, ..PCMU }, Format { payload_type: 121, ..DIGITS }],
            directions: Directions::default(),
            mid_extensions: PerMedium::default(),
        },
    });
    let mut browser = Party::bob().with(|party| (party.leg, party.addr) = (BROWSER, addr("198.51.100.200:50000")));
    assert!(stand.check(None, browser.addr, &local.ice));
    let keys = stand.shake_hands(None, browser.addr, &identity, Role::Client).expect("keys");
    browser.take_keys(&keys);
    browser.payload_type = 120;
    browser
}

fn heard(stand: &mut Stand, party: &mut Party) -> Vec<(RtpHeader, Vec<u8>)> {
    let sent: Vec<_> = stand.sent.drain(..).collect();
    let (there, others) = sent.into_iter().partition(|datagram| SocketAddr::from(datagram.remote) == party.addr);
    stand.sent = others;
    let there: VecDeque<Datagram> = there;
    let packets = there.into_iter().filter_map(|datagram| party.open_rtp(datagram.bytes));
    packets.map(|packet| (RtpHeader::parse(&packet).expect("RTP"), packet[12..].to_vec())).collect()
}

#[test]
fn phone_and_browser_talk_with_mapped_formats_and_streams_of_our_own() {
    for phone in [Party::alice(), Party::alice().sdes(SrtpSuite::AesCm128HmacSha1_80, 1, None)] {
        let mut stand = Stand::new();
        let mut browser = browser(&mut stand);
        let mut phone = phone.with(|party| party.request.relaying = Relaying::Endpoint);
        stand.admit(&phone);
        stand.done(Command::Bridge { bridge: BridgeId(1), legs: [phone.leg, browser.leg] });

        stand.speak(&mut phone);
        let [(header, payload)] = &heard(&mut stand, &mut browser)[..] else { panic!("one packet") };
        assert_eq!((header.payload_type, payload), (120, &phone.payload));
        assert_ne!(header.ssrc, phone.ssrc);

        let packet = browser.next_packet();
        let packet = browser.protect(&packet);
        stand.net.inject(browser.addr, &packet);
        stand.turn();
        let [(header, payload)] = &heard(&mut stand, &mut phone)[..] else { panic!("one packet") };
        assert_eq!((header.payload_type, payload), (0, &browser.payload));
        assert_ne!(header.ssrc, browser.ssrc);

        stand.pass(Nanos::from_secs(4));
        let reports = stand.sent_to(phone.rtcp_addr());
        assert!(!reports.is_empty(), "we report on our own");
        assert!(reports.iter().all(|(from, _)| *from == phone.our_rtcp()));
        stand.done(Command::SendDigits { leg: phone.leg, digits: "5".into() });
        stand.pass(Nanos::from_millis(300));
        let events = heard(&mut stand, &mut phone);
        assert!(events.iter().all(|(header, _)| header.payload_type == 101) && events.len() > 3);
    }
}

#[test]
fn end_with_own_ports_learns_like_any_other_and_says_goodbye_from_its_port() {
    let mut stand = Stand::new();
    let mut browser = browser(&mut stand);
    let mut phone = Party::alice().with(|party| party.request.relaying = Relaying::Endpoint);
    stand.admit(&phone);
    stand.done(Command::Bridge { bridge: BridgeId(1), legs: [phone.leg, browser.leg] });
    stand.speak_from(&mut phone, addr("198.51.100.1:4999"));
    assert_eq!(heard(&mut stand, &mut browser).len(), 1);
    phone.addr = addr("198.51.100.1:4999");
    let packet = browser.next_packet();
    let packet = browser.protect(&packet);
    stand.net.inject(browser.addr, &packet);
    stand.turn();
    assert_eq!(heard(&mut stand, &mut phone).len(), 1);
    stand.sent_to(phone.rtcp_addr());
    stand.done(Command::CloseLeg { leg: phone.leg });
    let goodbye = stand.sent_to(phone.rtcp_addr());
    assert!(matches!(&goodbye[..], [(from, bytes)] if *from == phone.our_rtcp() && bytes.contains(&203)));
}
