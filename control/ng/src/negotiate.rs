//! Offer and answer of a relay: what one party's description means for both sides of us.
//!
//! ```text
//!   offer from A:   A.heard ─▶ ports for A and B · what B is offered (profile, keys, ICE, rtcp-mux)
//!   answer from B:  B.heard ─▶ what was settled with B ─▶ what A is answered ─▶ the dataplane is told of both
//! ```
//!
//! Input: a description as read, the options of the request. Output: state of the call's media lines, orders for their legs. Owns nothing; the
//! text is [`crate::plan`]'s. The dataplane hears of a party when an answer has settled its keys: an offer that fails
//! leaves what runs as it is.
//!
//! RFC 3264, 4568 (SDES), 5761 (rtcp-mux), 5763 §5 (DTLS roles), 8643 (OSRTP), 8839 (ICE).

mod one_way;

pub use one_way::{flowing_codecs, publish, subscribe, subscription_answered};

use crate::call::{Call, Kit, Wanted, blank_media};
use crate::effect::{Level, Turn};
use crate::error::NgError;
use crate::identity::Dialogue;
use crate::limits::CANDIDATES_HEARD_MAX;
use crate::options::{Dtls, Family, Ice, IceLite, Options};
use crate::party::{Heard, Media, MuxVerdict, PartyId};
use crate::plan;
use crate::sdes;
use crate::sdp::{Codec, MediaDescription, Protocol, SessionDescription, Setup, codecs};
use crosspoint_contract::{Direction, DtlsRole, IceCredentials};
use std::net::{IpAddr, SocketAddr};

/// Ports are taken for both; the receiver's lines are decided.
pub fn offer(
    call: &mut Call,
    dialogue: Dialogue,
    description: &SessionDescription,
    options: &Options,
    kit: &mut Kit,
    turn: &mut Turn,
) -> Result<(), NgError> {
    prepare(call, [dialogue.from, dialogue.to], description, options, kit);
    // The roles of ICE are those of the first offer.
    call.parties[dialogue.to].was_offered |= !call.parties[dialogue.from].was_offered;
    note_ice_lite(call, dialogue, options);
    for (index, line) in description.media.iter().enumerate() {
        note_ice_restart(&mut call.parties[dialogue.from].media[index], line);
        hear(call, dialogue.from, index, line, options);
        call.parties[dialogue.to].media[index].direction = mirrored(call.parties[dialogue.from].media[index].direction);
        if !is_relayed(line) {
            close_line(call, dialogue, index, kit, turn);
            continue;
        }
        consider_offer(&mut call.parties[dialogue.from].media[index], line, options, kit);
        let is_known = call.parties[dialogue.to].media[index].heard.is_some();
        let wish = Wish::read(line, options, is_known);
        let receivers = &mut call.parties[dialogue.to].media[index];
        decide(receivers, &wish, options, kit);
        receivers.offered_types = codecs::selection(line, &options.codecs);
        open_both(call, dialogue, index, line, options, kit, turn)?;
    }
    Ok(())
}

/// The answerer's lines are settled, then the offerer's; the dataplane is told.
pub fn answer(
    call: &mut Call,
    dialogue: Dialogue,
    description: &SessionDescription,
    options: &Options,
    kit: &mut Kit,
    turn: &mut Turn,
) -> Result<(), NgError> {
    let told = call.parties[dialogue.from].interface;
    prepare(call, [dialogue.from, dialogue.to], description, options, kit);
    if call.parties[dialogue.from].legs().next().is_some() {
        // The answerer sends to where it was offered, whatever the request says by now.
        call.parties[dialogue.from].interface = told;
    }
    call.answered = true;
    // An answer may name a party that no offer went to.
    call.parties[dialogue.from].was_offered |= !call.parties[dialogue.to].was_offered;
    for (index, line) in description.media.iter().enumerate() {
        hear(call, dialogue.from, index, line, options);
        call.parties[dialogue.to].media[index].direction = mirrored(call.parties[dialogue.from].media[index].direction);
        if !is_relayed(line) {
            close_line(call, dialogue, index, kit, turn);
            continue;
        }
        follow_kind(&mut call.parties[dialogue.to].media[index], line);
        settle_answerer(&mut call.parties[dialogue.from].media[index], line);
        let answerer = &call.parties[dialogue.from].media[index];
        let settled = Settled {
            suite: answerer.keying.sdes.as_ref().map(|pair| pair.suite),
            mux: answerer.rtcp_mux.agreed,
            ice: credentials(line),
        };
        settle_offerer(&mut call.parties[dialogue.to].media[index], &settled, options, kit);
        open_both(call, dialogue, index, line, options, kit, turn)?;
    }
    Ok(())
}

/// An answerer may name formats that were kept from it, since others of its kind would offer them: they are none of the
/// answer, unless nothing else is.
pub fn hold_to_offer(call: &Call, answerer: PartyId, description: &mut SessionDescription) {
    for (line, media) in description.media.iter_mut().zip(&call.parties[answerer].media) {
        let Some(offered) = &media.offered_types else { continue };
        let was_offered = |codec: &Codec| offered.contains(&codec.payload_type);
        if line.codecs.iter().any(was_offered) {
            line.codecs.retain(was_offered);
        }
    }
}

/// Both parties are told to the dataplane, and who hears whom.
pub fn commit(call: &mut Call, dialogue: Dialogue, kit: &mut Kit, turn: &mut Turn) {
    for party in [dialogue.from, dialogue.to] {
        for index in 0..call.parties[party].media.len() {
            call.describe(party, index, kit, turn);
            note_unsettled(call, party, index, turn);
        }
    }
    call.forward(kit, turn);
}

fn note_unsettled(call: &Call, party: PartyId, index: usize, turn: &mut Turn) {
    let media = &call.parties[party].media[index];
    let (Some(local), Some(heard)) = (&media.local, &media.heard) else { return };
    if !local.described {
        let text = format!("no keys were agreed with {} for media {}: nothing is relayed", heard.rtp, index + 1);
        turn.note(Level::Warn, "keys_not_agreed", Some(&call.id), text);
    }
}

/// Every line of the description has a place on both sides; labels and interfaces are taken over. The first party is whose
/// description it is.
fn prepare(call: &mut Call, parties: [PartyId; 2], description: &SessionDescription, options: &Options, kit: &Kit) {
    for party in parties {
        for line in description.media.iter().skip(call.parties[party].media.len()) {
            call.parties[party].media.push(blank_media(&line.kind, &line.protocol, kit.settings));
        }
    }
    let [from, to] = parties;
    let position = |name: &str| kit.settings.interfaces.iter().position(|interface| interface.name == name);
    for (party, name) in [(to, &options.to_interface), (from, &options.from_interface)] {
        if let Some(index) = name.as_deref().and_then(position) {
            call.parties[party].interface = Some(index);
        }
    }
    if let Some(label) = &options.label {
        call.parties[from].label = Some(label.clone());
    }
    if let Some(tos) = options.tos.filter(|tos| *tos >= 0) {
        // What does not fit into the octet (RFC 2474 §3) asks for the default.
        call.tos = u8::try_from(tos).ok();
    }
    if let Some(drops) = options.drop_traffic {
        call.drops_traffic = drops;
    }
}

/// Whether we have a part in a line: it is not refused, and not `m=message`, which 10.5 passes too. What is not RTP is relayed
/// datagram by datagram.
pub fn is_relayed(line: &MediaDescription) -> bool {
    !line.is_untouched() && !line.is_rejected()
}

/// RFC 3264 §6, §8.2: a line of port zero is over on both sides.
fn close_line(call: &mut Call, dialogue: Dialogue, index: usize, kit: &mut Kit, turn: &mut Turn) {
    for party in [dialogue.from, dialogue.to] {
        call.close(party, index, kit, turn);
    }
}

/// What a line says, and what the request says about the packets of its sender.
fn hear(call: &mut Call, party: PartyId, index: usize, line: &MediaDescription, options: &Options) {
    let media = &mut call.parties[party].media[index];
    let (rtp, rtcp) = addresses(line, options);
    media.kind = line.kind.clone();
    media.mid.clone_from(&line.mid);
    media.direction = line.direction_wanted();
    media.treatment.unidirectional |= options.unidirectional;
    media.treatment.asymmetric = options.asymmetric && !options.symmetric;
    media.treatment.strict_source = options.strict_source;
    media.treatment.media_handover = options.media_handover;
    if let Some(learning) = options.endpoint_learning {
        media.treatment.learning = learning;
    }
    let advertised = line.connection.map_or(rtp.ip(), |connection| connection.address);
    media.heard = Some(Heard {
        rtp,
        rtcp,
        is_link: line.is_link,
        advertised,
        ice: credentials(line),
        ice_lite: line.ice.lite,
        candidates: line.ice.candidates.iter().take(CANDIDATES_HEARD_MAX).cloned().collect(),
        trickle: line.ice.is_trickle(),
        crypto: line.crypto.clone(),
        fingerprint: line.fingerprint.clone(),
        setup: line.setup,
        rtcp_mux: line.rtcp_mux,
        codecs: line.codecs.iter().map(without_parameters).collect(),
    });
}

fn credentials(line: &MediaDescription) -> Option<IceCredentials> {
    let (ufrag, pwd) = line.ice.ufrag.clone().zip(line.ice.pwd.clone())?;
    Some(IceCredentials { ufrag, pwd })
}

/// What one sends, the other receives.
fn mirrored(direction: Direction) -> Direction {
    Direction::new(direction.receives(), direction.sends())
}

/// What tells formats apart. Parameters pass from line to line and need no place here.
fn without_parameters(codec: &Codec) -> Codec {
    let (payload_type, clock_rate_hz, channels) = (codec.payload_type, codec.clock_rate_hz, codec.channels);
    Codec { payload_type, name: codec.name.clone(), clock_rate_hz, channels, fmtp: None, rtcp_fb: Vec::new() }
}

/// Where a line wants its packets. `SIP-source-address` puts the proxy's word above the description's.
fn addresses(line: &MediaDescription, options: &Options) -> (SocketAddr, SocketAddr) {
    let said = line.connection.map_or(IpAddr::from([0, 0, 0, 0]), |connection| connection.address);
    let override_by = options.received_from.filter(|_| options.trust_address == Some(false));
    let address = override_by.filter(|_| !said.is_unspecified()).unwrap_or(said);
    let rtp = SocketAddr::new(address, line.port);
    // RFC 3605 §2.1; without the attribute, the next port (RFC 3550 §11), also if multiplexing is not agreed on.
    let rtcp_port = line.rtcp_port.unwrap_or(line.port.wrapping_add(1));
    let rtcp_address = line.rtcp_address.filter(|_| override_by.is_none()).unwrap_or(address);
    (rtp, SocketAddr::new(rtcp_address, rtcp_port))
}

/// `ICE-lite` is about the direction of the offer; what it says holds until it says something else.
fn note_ice_lite(call: &mut Call, dialogue: Dialogue, options: &Options) {
    let Some(told) = options.ice_lite else { return };
    let (of_sender, of_receiver) = match told {
        IceLite::Off => (Some(false), Some(false)),
        IceLite::Both => (Some(true), Some(true)),
        IceLite::Forward => (None, Some(true)),
        IceLite::Backward => (Some(true), None),
    };
    for (party, lite) in [(dialogue.from, of_sender), (dialogue.to, of_receiver)] {
        for media in &mut call.parties[party].media {
            media.ice_lite = lite.or(media.ice_lite);
        }
    }
}

/// Candidates that a party trickled (RFC 8840 §4.4), for the lines that they name; those that have them anew.
pub fn trickle(call: &mut Call, party: PartyId, fragment: &SessionDescription) -> Vec<usize> {
    let medias = &mut call.parties[party].media;
    let mut changed = Vec::new();
    for (index, line) in fragment.media.iter().enumerate() {
        // RFC 8840 §9.2: by `mid`; without one, by place.
        let named = line.mid.as_ref().and_then(|mid| medias.iter().position(|media| media.mid.as_ref() == Some(mid)));
        let at = if line.mid.is_some() && medias.iter().any(|media| media.mid.is_some()) { named } else { Some(index) };
        let Some((at, heard)) = at.and_then(|at| Some((at, medias.get_mut(at)?.heard.as_mut()?))) else { continue };
        // RFC 8838 §10: candidates of another generation are none of this one.
        let is_same = line.ice.ufrag.is_none() || line.ice.ufrag.as_ref() == heard.ice.as_ref().map(|ice| &ice.ufrag);
        let before = heard.candidates.len();
        if is_same {
            let new = line.ice.candidates.iter().filter(|new| heard.candidates.iter().all(|known| known != *new));
            let new: Vec<_> = new.take(CANDIDATES_HEARD_MAX.saturating_sub(before)).cloned().collect();
            heard.candidates.extend(new);
        }
        if heard.candidates.len() > before {
            changed.push(at);
        }
    }
    changed
}

/// RFC 8839 §4.4.1.1.1: other credentials in an offer are a restart of ICE, and the answer has others too.
fn note_ice_restart(media: &mut Media, line: &MediaDescription) {
    let before = media.heard.as_ref().and_then(|heard| heard.ice.as_ref());
    let is_same = |ice: &IceCredentials| line.ice.ufrag.as_ref() == Some(&ice.ufrag);
    if before.is_some_and(|ice| line.ice.is_offered() && !is_same(ice)) {
        media.ice = None;
    }
}

/// Some agents answer a line that is not RTP with one that is: the answer counts.
fn follow_kind(offerers: &mut Media, answer: &MediaDescription) {
    if !offerers.protocol.is_rtp() {
        offerers.protocol = answer.protocol.clone();
        offerers.kind = answer.kind.clone();
    }
}

/// What of an offer is settled before anybody answers.
fn consider_offer(media: &mut Media, line: &MediaDescription, options: &Options, kit: &mut Kit) {
    media.protocol = line.protocol.clone();
    let mux = options.rtcp_mux;
    media.rtcp_mux.verdict = match () {
        () if !line.protocol.is_rtp() => MuxVerdict::No,
        () if !line.rtcp_mux || mux.reject => MuxVerdict::No,
        () if mux.accept || mux.demux => MuxVerdict::Yes,
        () => MuxVerdict::AsOther,
    };
    if media.rtcp_mux.verdict == MuxVerdict::Yes {
        media.rtcp_mux.agreed = true;
    }
    media.keying.dtls_off |= options.dtls_reverse == Some(Dtls::Off);
    let wants_passive = |dtls: Option<Dtls>| dtls == Some(Dtls::Passive);
    media.keying.dtls_passive =
        wants_passive(options.dtls) || wants_passive(options.dtls_reverse) || kit.settings.dtls_passive;
    media.keying.opportunistic = !line.protocol.is_secure() && !line.crypto.is_empty() && options.osrtp.accept_rfc;
    media.ptime_ms = plan::milliseconds(options.ptime_reverse_ms);
    // Where the parties' candidates stay, they check each other, and us under the credentials of the other.
    set_ice(media, line.ice.is_offered() && !options.reject_ice && !options.ice.joins(), kit);
}

/// Credentials of ours appear, stay or go.
fn set_ice(media: &mut Media, speaks: bool, kit: &mut Kit) {
    match speaks {
        true => _ = media.ice.get_or_insert_with(|| kit.draw.ice_credentials()),
        false => media.ice = None,
    }
}

/// What the receiver of an offer is to be offered, before its own history is looked at.
struct Wish {
    protocol: Protocol,
    /// Nothing: as it is.
    ice: Option<bool>,
    /// The sender's, where its candidates stay: a check that reaches us instead is answered in its name.
    theirs: Option<IceCredentials>,
    mux: bool,
    mux_required: bool,
    crypto: Vec<crate::sdp::CryptoLine>,
}

impl Wish {
    fn read(line: &MediaDescription, options: &Options, receiver_is_known: bool) -> Wish {
        let ice = match options.ice {
            // Who has been heard goes on as it is, whatever the other party does.
            Ice::Default if receiver_is_known => None,
            Ice::Default => Some(line.ice.is_offered()),
            Ice::Remove => Some(false),
            Ice::Force | Ice::ForceRelay | Ice::Optional => Some(true),
        };
        let (mux, is_rtp) = (options.rtcp_mux, line.protocol.is_rtp());
        let passed = line.rtcp_mux && !mux.demux;
        let told = options.transport.filter(|_| is_rtp);
        Wish {
            protocol: told.map_or_else(|| line.protocol.clone(), |told| Protocol::parse(told.name())),
            ice,
            theirs: credentials(line).filter(|_| options.ice.joins()),
            mux: is_rtp && (mux.offer || mux.require || passed),
            mux_required: is_rtp && mux.require,
            crypto: if is_rtp { line.crypto.clone() } else { Vec::new() },
        }
    }
}

/// The receiver's line as it will be offered.
fn decide(media: &mut Media, wish: &Wish, options: &Options, kit: &mut Kit) {
    media.protocol = wish.protocol.clone();
    decide_mux(media, wish);
    match wish.theirs.clone() {
        Some(credentials) => media.ice = Some(credentials),
        None => set_ice(media, wish.ice.unwrap_or(media.ice.is_some()), kit),
    }
    let keying = &mut media.keying;
    let secure = media.protocol.is_secure();
    // RFC 8643 §3.1: what the sender offers that way is passed on that way, unless a profile is asked for.
    let passed_on = options.transport.is_none() && !wish.crypto.is_empty();
    let is_rtp = media.protocol.is_rtp();
    keying.opportunistic = is_rtp && !secure && (options.osrtp.offer || options.osrtp.offer_legacy || passed_on);
    keying.dtls_off = options.dtls == Some(Dtls::Off);
    let offers_keys = secure || keying.opportunistic;
    let offers_sdes = offers_keys && !options.sdes.off;
    keying.offered = match offers_sdes {
        true => sdes::offer(&wish.crypto, &options.sdes, keying.sdes.as_ref(), &keying.offered, kit.draw),
        false => Vec::new(),
    };
    // While keys from SDP are in use, nothing else is offered.
    keying.dtls_offered = offers_keys && !keying.dtls_off && keying.sdes.is_none();
    keying.plain = !offers_keys;
}

/// What was agreed with the receiver before is offered again, whatever this offer and its options say: 10.5 does so, and a
/// party that multiplexes needs no other port. Where there is none, nothing else can be offered.
fn decide_mux(media: &mut Media, wish: &Wish) {
    let mux = &mut media.rtcp_mux;
    mux.agreed &= media.protocol.is_rtp();
    mux.offered = wish.mux || mux.agreed;
    mux.required = wish.mux_required || mux.agreed && media.local.as_ref().is_some_and(|local| local.rtcp.is_none());
}

/// Ports and legs for a line, on both sides.
fn open_both(
    call: &mut Call,
    dialogue: Dialogue,
    index: usize,
    line: &MediaDescription,
    options: &Options,
    kit: &mut Kit,
    turn: &mut Turn,
) -> Result<(), NgError> {
    let senders_family = line.connection.is_some_and(|connection| connection.address.is_ipv6());
    let asked_for = options.address_family.map(|family| family == Family::Ip6);
    let stays = options.port_latching == Some(true);
    let mut side = |party: PartyId, other: PartyId, asked_for: Option<bool>| {
        let other = call.parties[other].media[index].heard.as_ref().map(|heard| heard.rtp);
        // Nobody is at 0.0.0.0: a party on hold has not moved.
        let other = other.filter(|address| !address.ip().is_unspecified());
        let place = Place { asked_for, fallback: senders_family, other, stays };
        open(call, party, index, place, kit, turn)
    };
    side(dialogue.to, dialogue.from, asked_for)?;
    side(dialogue.from, dialogue.to, None)
}

/// Where a line's ports are to be.
struct Place {
    /// The family that the request names.
    asked_for: Option<bool>,
    /// That of whoever calls.
    fallback: bool,
    other: Option<SocketAddr>,
    stays: bool,
}

/// A party that has said where it is, is there; the family of another is asked for, or that of whoever calls it.
fn open(
    call: &mut Call,
    party: PartyId,
    index: usize,
    place: Place,
    kit: &mut Kit,
    turn: &mut Turn,
) -> Result<(), NgError> {
    let media = &call.parties[party].media[index];
    let said = media.heard.as_ref().map(|heard| heard.rtp.is_ipv6());
    let used = || media.local.as_ref().map(|local| local.address.is_ipv6());
    // With ICE its peer finds its way to the ports that it was told.
    let told = used().filter(|_| media.ice.is_some());
    let wanted = Wanted {
        interface: call.parties[party].interface,
        is_ipv6: place.asked_for.or(told).or(said).or_else(used).unwrap_or(place.fallback),
        other: place.other,
        stays: place.stays,
        has_rtcp: has_rtcp(media),
        ice: media.ice.clone(),
    };
    call.open(party, index, &wanted, kit, turn).ok_or(NgError::OutOfPorts)
}

/// A line that is not RTP keeps what ports it has: it may be RTP again with the next offer.
fn has_rtcp(media: &Media) -> bool {
    match (media.protocol.is_rtp(), &media.local) {
        (false, Some(local)) => local.rtcp.is_some(),
        (false, None) => true,
        (true, _) => !media.rtcp_mux.required && !media.rtcp_mux.agreed,
    }
}

/// What an answer settled with whoever gave it.
fn settle_answerer(media: &mut Media, line: &MediaDescription) {
    let keying = &mut media.keying;
    let was_plain = keying.plain || keying.opportunistic;
    media.protocol = line.protocol.clone();
    // Who says so without having been asked does so all the same.
    media.rtcp_mux.agreed = line.rtcp_mux && line.protocol.is_rtp();
    keying.plain = false;
    if line.ice.ufrag.is_none() {
        media.ice = None;
    }
    if keying.dtls_offered && line.fingerprint.is_some() && line.protocol.is_rtp() {
        // RFC 5763 §5: the answerer says active or passive; we are the other.
        keying.dtls = Some(match line.setup {
            Some(Setup::Passive) => DtlsRole::Client,
            _ => DtlsRole::Server,
        });
        keying.sdes = None;
        return;
    }
    keying.dtls = None;
    keying.sdes = sdes::answered(&line.crypto, &keying.offered, keying.sdes.as_ref());
    keying.plain = keying.sdes.is_none() && was_plain && !line.protocol.is_secure();
}

/// What was settled with the answerer.
struct Settled {
    suite: Option<sdes::Suite>,
    mux: bool,
    ice: Option<IceCredentials>,
}

/// What the offerer is answered, now that the other side is known.
fn settle_offerer(media: &mut Media, other: &Settled, options: &Options, kit: &mut Kit) {
    if media.heard.is_none() {
        return;
    }
    media.rtcp_mux.agreed = match media.rtcp_mux.verdict {
        MuxVerdict::No => false,
        MuxVerdict::Yes => true,
        MuxVerdict::AsOther => other.mux,
    };
    match options.ice {
        Ice::Remove => media.ice = None,
        Ice::ForceRelay | Ice::Optional => media.ice = other.ice.clone(),
        Ice::Force => set_ice(media, true, kit),
        Ice::Default => {}
    }
    let Some(heard) = &media.heard else { return };
    // The profile of an answer may be told, as far as that does not change whether there are keys.
    let may_be_told = |secure: bool| media.protocol.is_rtp() && secure == media.protocol.is_secure();
    let told = options.transport.filter(|told| may_be_told(told.secure));
    if let Some(told) = told {
        media.protocol = Protocol::parse(told.name());
    }
    let keying = &mut media.keying;
    let accepts = options.osrtp.accept_rfc || other.suite.is_some();
    let is_rtp = media.protocol.is_rtp();
    let opportunistic = is_rtp && (keying.opportunistic || (accepts && !heard.crypto.is_empty()));
    let secure = media.protocol.is_secure();
    keying.plain = !secure && !opportunistic;
    if keying.plain {
        (keying.dtls, keying.sdes) = (None, None);
        return;
    }
    // Without DTLS, a profile that knows no other keys would be left with none.
    let off = (keying.dtls_off || options.dtls == Some(Dtls::Off)) && !media.protocol.is_dtls();
    if secure && heard.fingerprint.is_some() && !off {
        let passive = keying.dtls_passive || options.dtls == Some(Dtls::Passive);
        keying.dtls = Some(role_towards_offerer(heard.setup, keying.dtls, passive));
        keying.sdes = None;
        return;
    }
    keying.dtls = None;
    keying.sdes = match options.sdes.off {
        true => None,
        false => sdes::accept(&heard.crypto, other.suite, &options.sdes, keying.sdes.as_ref(), kit.draw),
    };
}

/// RFC 5763 §5: who offers `actpass` leaves the choice to us; RFC 8842 §5.3: what was chosen before stays.
fn role_towards_offerer(setup: Option<Setup>, before: Option<DtlsRole>, passive: bool) -> DtlsRole {
    match setup {
        Some(Setup::Active) => DtlsRole::Server,
        Some(Setup::Passive) => DtlsRole::Client,
        _ => before.unwrap_or(if passive { DtlsRole::Server } else { DtlsRole::Client }),
    }
}
