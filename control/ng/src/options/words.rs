//! What the single words of an option's value mean.
//!
//! Input: one word; of a list each is given in its turn, and a bare flag gives the empty word. Output: fields of [`Options`].
//! A setter returns false for a word that it does not know. Words are the same in upper and lower case.

use super::types::*;
use super::{Options, Sdes};
use std::net::IpAddr;

/// Yes and no, as in `record call=on`. The bare flag means yes.
pub fn yes_or_no(word: &str) -> Option<bool> {
    match lower(word).as_str() {
        "" | "yes" | "on" | "true" | "1" => Some(true),
        "no" | "off" | "false" | "0" => Some(false),
        _ => None,
    }
}

pub fn lower(word: &str) -> String {
    word.to_ascii_lowercase().replace([' ', '_'], "-")
}

/// Sets a field if the word is known.
fn set<T, F: From<T>>(field: &mut F, value: Option<T>) -> bool {
    let known = value.is_some();
    if let Some(value) = value {
        *field = value.into();
    }
    known
}

pub fn all(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "" | "all" => Some(All::All),
        "none" => Some(All::None),
        "offer-answer" => Some(All::OfferAnswer),
        "except-offer-answer" => Some(All::ExceptOfferAnswer),
        "flows" => Some(All::Flows),
        _ => None,
    };
    set(&mut options.all, value)
}

pub fn address_family(options: &mut Options, word: &str) -> bool {
    set(&mut options.address_family, family(word))
}

fn family(word: &str) -> Option<Family> {
    match lower(word).as_str() {
        "ip4" | "inet" | "ipv4" => Some(Family::Ip4),
        "ip6" | "inet6" | "ipv6" => Some(Family::Ip6),
        _ => None,
    }
}

/// `["IP4", "192.0.2.1"]`: the family says nothing that the address does not say.
pub fn received_from(options: &mut Options, word: &str) -> bool {
    family(word).is_some() || set(&mut options.received_from, address(word))
}

pub fn media_address(options: &mut Options, word: &str) -> bool {
    set(&mut options.media_address, address(word))
}

pub fn xmlrpc_callback(options: &mut Options, word: &str) -> bool {
    set(&mut options.xmlrpc_callback, address(word))
}

/// An IPv6 address may come in brackets.
fn address(word: &str) -> Option<IpAddr> {
    word.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// `["priv", "pub"]`, or the key twice.
pub fn direction(options: &mut Options, word: &str) -> bool {
    let side = match options.from_interface {
        None => &mut options.from_interface,
        Some(_) => &mut options.to_interface,
    };
    *side = Some(word.to_owned());
    true
}

pub fn transport(options: &mut Options, word: &str) -> bool {
    let accept = lower(word) == "accept";
    options.transport_accept |= accept;
    accept || set(&mut options.transport, Transport::parse(word))
}

/// A transport by its parts, as Kamailio's flags name them: `SRTP`, `AVPF`, `DTLS`.
pub fn transport_part(options: &mut Options, change: fn(&mut Transport)) {
    change(options.transport.get_or_insert(Transport::RTP_AVP));
}

pub fn ice(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "remove" => Some(Ice::Remove),
        "force" => Some(Ice::Force),
        "default" => Some(Ice::Default),
        "optional" => Some(Ice::Optional),
        "force-relay" => Some(Ice::ForceRelay),
        _ => None,
    };
    set(&mut options.ice, value)
}

pub fn ice_lite(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "forward" | "offer" => Some(IceLite::Forward),
        "backward" | "backwards" | "reverse" => Some(IceLite::Backward),
        "both" => Some(IceLite::Both),
        "off" | "no" | "disable" => Some(IceLite::Off),
        _ => None,
    };
    set(&mut options.ice_lite, value)
}

/// As a bare flag, `DTLS` is a part of the transport.
pub fn dtls(options: &mut Options, word: &str) -> bool {
    match word.is_empty() {
        true => transport_part(options, |transport| (transport.secure, transport.dtls) = (true, true)),
        false => return set(&mut options.dtls, dtls_role(word)),
    }
    true
}

pub fn dtls_reverse(options: &mut Options, word: &str) -> bool {
    set(&mut options.dtls_reverse, dtls_role(word))
}

fn dtls_role(word: &str) -> Option<Dtls> {
    match lower(word).as_str() {
        "off" | "no" | "disable" => Some(Dtls::Off),
        "passive" => Some(Dtls::Passive),
        "active" => Some(Dtls::Active),
        _ => None,
    }
}

pub fn dtls_fingerprint(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "sha-1" | "sha1" => Some(FingerprintHash::Sha1),
        "sha-224" | "sha224" => Some(FingerprintHash::Sha224),
        "sha-256" | "sha256" => Some(FingerprintHash::Sha256),
        "sha-384" | "sha384" => Some(FingerprintHash::Sha384),
        "sha-512" | "sha512" => Some(FingerprintHash::Sha512),
        _ => None,
    };
    set(&mut options.dtls_fingerprint, value)
}

pub fn sdes(options: &mut Options, word: &str) -> bool {
    let sdes = &mut options.sdes;
    match lower(word).as_str() {
        "off" | "no" | "disable" => sdes.off = true,
        "on" | "yes" => sdes.off = false,
        "nonew" => sdes.no_new = true,
        "pad" => sdes.pad = true,
        "lifetime" => sdes.lifetime = true,
        "static" => sdes.fixed = true,
        "unencrypted-srtp" => sdes.unencrypted_srtp = Some(true),
        "encrypted-srtp" => sdes.unencrypted_srtp = Some(false),
        "unencrypted-srtcp" => sdes.unencrypted_srtcp = Some(true),
        "encrypted-srtcp" => sdes.unencrypted_srtcp = Some(false),
        "unauthenticated-srtp" => sdes.unauthenticated_srtp = Some(true),
        "authenticated-srtp" => sdes.unauthenticated_srtp = Some(false),
        _ => return sdes_suites(sdes, word),
    }
    true
}

/// `no-SUITE`, `only-SUITE`, `order:SUITE;SUITE;`, `offerer_pref:SUITE;SUITE;`.
fn sdes_suites(sdes: &mut Sdes, word: &str) -> bool {
    let with = |prefix: &str| {
        let (head, suites) = word.split_at_checked(prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(suites)
    };
    let list = |suites: &str| -> Vec<String> {
        suites.split(';').filter(|suite| !suite.is_empty()).map(|suite| suite.to_ascii_uppercase()).collect()
    };
    if let Some(suite) = with("no-") {
        sdes.no.push(suite.to_ascii_uppercase());
    } else if let Some(suite) = with("only-") {
        sdes.only.push(suite.to_ascii_uppercase());
    } else if let Some(suites) = with("order:") {
        sdes.order = list(suites);
    } else if let Some(suites) = with("offerer_pref:") {
        sdes.offerer_preference = list(suites);
    } else {
        return false;
    }
    true
}

pub fn osrtp(options: &mut Options, word: &str) -> bool {
    let osrtp = &mut options.osrtp;
    match lower(word).as_str() {
        "offer" | "offer-rfc" => osrtp.offer = true,
        "offer-legacy" => osrtp.offer_legacy = true,
        "accept" => (osrtp.accept_rfc, osrtp.accept_legacy) = (true, true),
        "accept-rfc" => osrtp.accept_rfc = true,
        "accept-legacy" => osrtp.accept_legacy = true,
        _ => return false,
    }
    true
}

pub fn rtcp_mux(options: &mut Options, word: &str) -> bool {
    let mux = &mut options.rtcp_mux;
    match lower(word).as_str() {
        "offer" => mux.offer = true,
        "require" => mux.require = true,
        "demux" => mux.demux = true,
        "accept" => mux.accept = true,
        "reject" => mux.reject = true,
        _ => return false,
    }
    true
}

pub fn replace(options: &mut Options, word: &str) -> bool {
    let replace = &mut options.replace;
    match lower(word).as_str() {
        "origin" => replace.origin = true,
        "origin-full" => replace.origin_full = true,
        "session-connection" => replace.session_connection = true,
        "sdp-version" => replace.sdp_version = true,
        "username" => replace.username = true,
        "session-name" => replace.session_name = true,
        "zero-address" => replace.zero_address = true,
        "force-increment-sdp-ver" | "force-increment-sdp-version" => replace.force_increment_sdp_version = true,
        _ => return false,
    }
    true
}

/// A codec with its parameters. `--` stands for `=`, which some clients cannot write.
pub fn codec(list: &mut Vec<String>, word: &str) -> bool {
    list.push(word.replace("--", "="));
    !word.is_empty()
}

pub fn endpoint_learning(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "off" | "no" | "disable" => Some(Learning::Off),
        "immediate" => Some(Learning::Immediate),
        "delayed" => Some(Learning::Delayed),
        "heuristic" => Some(Learning::Heuristic),
        _ => None,
    };
    set(&mut options.endpoint_learning, value)
}

pub fn t38(options: &mut Options, word: &str) -> bool {
    let t38 = &mut options.t38;
    match lower(word).as_str() {
        "decode" => t38.decode = true,
        "force" => t38.force = true,
        "stop" => t38.stop = true,
        "no-ecm" => t38.no_ecm = true,
        "no-v.17" | "no-v17" => t38.no_v17 = true,
        "no-v.27ter" | "no-v27ter" => t38.no_v27ter = true,
        "no-v.29" | "no-v29" => t38.no_v29 = true,
        "no-v.34" | "no-v34" => t38.no_v34 = true,
        "no-iaf" => t38.no_iaf = true,
        "fec" => t38.fec = true,
        _ => return false,
    }
    true
}

pub fn supports(options: &mut Options, word: &str) -> bool {
    let known = lower(word) == "load-limit";
    options.supports_load_limit |= known;
    known
}

pub fn sip_message_type(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "sip-request" | "request" => Some(SipMessageType::Request),
        "sip-reply" | "reply" | "sip-response" | "response" => Some(SipMessageType::Reply),
        _ => None,
    };
    set(&mut options.sip_message_type, value)
}

pub fn drop_traffic(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "start" => Some(true),
        "stop" => Some(false),
        _ => None,
    };
    set(&mut options.drop_traffic, value)
}

pub fn media_echo(options: &mut Options, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "blackhole" | "sinkhole" => Some(MediaEcho::Blackhole),
        "forward" => Some(MediaEcho::Forward),
        "backward" | "backwards" => Some(MediaEcho::Backwards),
        "both" => Some(MediaEcho::Both),
        _ => None,
    };
    set(&mut options.media_echo, value)
}

pub fn dtmf_security(field: &mut Option<DtmfSecurity>, word: &str) -> bool {
    let value = match lower(word).as_str() {
        "off" | "no" | "disable" => Some(DtmfSecurity::Off),
        "drop" => Some(DtmfSecurity::Drop),
        "silence" => Some(DtmfSecurity::Silence),
        "tone" => Some(DtmfSecurity::Tone),
        "random" => Some(DtmfSecurity::Random),
        "zero" => Some(DtmfSecurity::Zero),
        "dtmf" => Some(DtmfSecurity::Digit),
        _ => None,
    };
    set(field, value)
}

/// A number, or several with commas between.
pub fn frequencies(options: &mut Options, word: &str) -> bool {
    word.split(',').all(|number| {
        let frequency: Option<u32> = number.trim().parse().ok();
        options.dtmf.frequencies_hz.extend(frequency);
        frequency.is_some()
    })
}

pub fn dtmf_log_destination(options: &mut Options, word: &str) -> bool {
    set(&mut options.dtmf.log_destination, word.parse::<std::net::SocketAddr>().ok())
}

/// Kamailio's words for which Via header it is to take the branch from. The branch itself comes beside them.
pub fn via_branch(options: &mut Options, word: &str) -> bool {
    if !matches!(word, "" | "auto" | "auto-next" | "next" | "extra" | "1" | "2") {
        options.via_branch = Some(word.to_owned());
    }
    true
}

/// `play DTMF` pauses for milliseconds, `stop recording` just pauses.
pub fn pause(options: &mut Options, word: &str) -> bool {
    match (word.parse(), yes_or_no(word)) {
        (Ok(pause_ms), _) => options.playback.pause_ms = Some(pause_ms),
        (_, Some(pause)) => options.recording.pause = pause,
        _ => return false,
    }
    true
}

pub fn record_call(options: &mut Options, word: &str) -> bool {
    set(&mut options.recording.record, yes_or_no(word))
}

pub fn generate_rtcp(options: &mut Options, word: &str) -> bool {
    set(&mut options.generate_rtcp, yes_or_no(word))
}

/// What a browser needs, in one word.
pub fn webrtc(options: &mut Options) {
    options.transport = Some(Transport { secure: true, feedback: true, dtls: true });
    options.ice = Ice::Force;
    options.trickle_ice = true;
    options.rtcp_mux.offer = true;
    options.rtcp_mux.require = true;
    options.no_rtcp_attribute = true;
    options.sdes.off = true;
    options.generate_mid = true;
}
