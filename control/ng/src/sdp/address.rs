//! Whether a description sends media where no party can be: to ourselves, to this host, to a group.
//!
//! A party that names such an address makes us send to whoever lives there: back into our own ports (a loop that never
//! ends), to services that trust this host, to every host of a link. Policy, and exceptions for tests on one host, belong
//! to the caller; this module only says what an address is.

use super::{Candidate, MediaDescription};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// Why an address is suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointing {
    /// A port of ours on an address of ours.
    Ourselves,
    Loopback,
    /// RFC 3927, RFC 4291 §2.5.6. Cloud providers answer with secrets there.
    LinkLocal,
    /// RFC 1112, RFC 4291 §2.7.
    Multicast,
    Broadcast,
}

impl std::fmt::Display for Pointing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Pointing::Ourselves => "in the port range of this relay, on an address of its own",
            Pointing::Loopback => "loopback, and no interface is",
            Pointing::LinkLocal => "link-local",
            Pointing::Multicast => "multicast",
            Pointing::Broadcast => "broadcast",
        })
    }
}

/// Our addresses and the ports on them that media is received on.
#[derive(Clone, Debug)]
pub struct OurPlaces<'a> {
    /// Those we listen on and those we advertise.
    pub addresses: &'a [IpAddr],
    pub ports: RangeInclusive<u16>,
}

/// What is suspicious about sending to `to`. The zero address is not: nothing is sent there.
pub fn pointing(to: SocketAddr, ours: &OurPlaces) -> Option<Pointing> {
    let address = to.ip().to_canonical();
    let (link_local, broadcast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), false),
    };
    match () {
        () if ours.ports.contains(&to.port()) && ours.addresses.contains(&address) => Some(Pointing::Ourselves),
        () if address.is_loopback() => Some(Pointing::Loopback),
        () if link_local => Some(Pointing::LinkLocal),
        () if address.is_multicast() => Some(Pointing::Multicast),
        () if broadcast => Some(Pointing::Broadcast),
        () => None,
    }
}

/// The first suspicious place that media, RTCP or checks would go to if the m-line was believed.
pub fn media_points(media: &MediaDescription, ours: &OurPlaces) -> Option<(SocketAddr, Pointing)> {
    media.destinations().find_map(|to| pointing(to, ours).map(|what| (to, what)))
}

impl MediaDescription {
    /// Where RTP goes, without ICE and before anything was learnt.
    pub fn rtp_destination(&self) -> Option<SocketAddr> {
        let connection = self.connection.filter(|connection| !connection.is_zero() && self.port != 0)?;
        Some(SocketAddr::new(connection.address, self.port))
    }

    /// Where RTCP goes: as `a=rtcp` says (RFC 3605), else to the next port (RFC 3550 §11), or with RTP (RFC 5761).
    pub fn rtcp_destination(&self) -> Option<SocketAddr> {
        let rtp = self.rtp_destination()?;
        if self.rtcp_mux {
            return Some(rtp);
        }
        let address = self.rtcp_address.filter(|address| !address.is_unspecified()).unwrap_or(rtp.ip());
        Some(SocketAddr::new(address, self.rtcp_port.or(rtp.port().checked_add(1))?))
    }

    fn destinations(&self) -> impl Iterator<Item = SocketAddr> {
        let candidates = self.ice.candidates.iter().map(|Candidate { address, .. }| *address);
        self.rtp_destination().into_iter().chain(self.rtcp_destination()).chain(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp;

    const ADDRESSES: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1))];

    fn ours() -> OurPlaces<'static> {
        OurPlaces { addresses: &ADDRESSES, ports: 30_000..=40_000 }
    }

    fn of(to: &str) -> Option<Pointing> {
        pointing(to.parse().expect("an address"), &ours())
    }

    #[test]
    fn what_no_party_can_receive_at_is_told_from_what_it_can() {
        assert_eq!(of("198.51.100.1:30000"), Some(Pointing::Ourselves));
        assert_eq!(of("[::ffff:198.51.100.1]:40000"), Some(Pointing::Ourselves), "the same in IPv6 dress");
        assert_eq!(of("198.51.100.1:5060"), None, "somebody else may live on our address");
        assert_eq!(of("127.8.0.1:9"), Some(Pointing::Loopback));
        assert_eq!(of("[::ffff:127.0.0.1]:9"), Some(Pointing::Loopback));
        assert_eq!(of("[::1]:9"), Some(Pointing::Loopback));
        assert_eq!(of("169.254.169.254:80"), Some(Pointing::LinkLocal));
        assert_eq!(of("[fe80::1]:9"), Some(Pointing::LinkLocal));
        assert_eq!(of("224.0.0.1:9"), Some(Pointing::Multicast));
        assert_eq!(of("[ff02::1]:9"), Some(Pointing::Multicast));
        assert_eq!(of("255.255.255.255:9"), Some(Pointing::Broadcast));
        assert_eq!(of("0.0.0.0:9"), None, "hold");
        assert_eq!(of("10.0.0.1:9"), None, "private networks are where SIP lives");
    }

    #[test]
    fn every_place_that_an_m_line_names_is_looked_at() {
        let line = |rest: &str| {
            let text = format!("v=0\nm=audio 2000 RTP/AVP 0\nc=IN IP4 192.0.2.1\n{rest}\n");
            media_points(&sdp::read(&text).expect("SDP").media[0], &ours()).map(|(_, what)| what)
        };
        assert_eq!(line("a=foo"), None);
        assert_eq!(line("a=rtcp:53 IN IP4 127.0.0.1"), Some(Pointing::Loopback));
        assert_eq!(line("a=candidate:1 1 udp 5 198.51.100.1 30001 typ host"), Some(Pointing::Ourselves));
    }

    #[test]
    fn rtcp_goes_where_the_party_says() {
        let rtcp = |port: u16, rest: &str| {
            let text = format!("v=0\nm=audio {port} RTP/AVP 0\nc=IN IP4 192.0.2.1\n{rest}\n");
            sdp::read(&text).expect("SDP").media[0].rtcp_destination().map(|to| to.to_string())
        };
        assert_eq!(rtcp(2000, "a=foo").as_deref(), Some("192.0.2.1:2001"));
        assert_eq!(rtcp(2000, "a=rtcp:9").as_deref(), Some("192.0.2.1:9"));
        assert_eq!(rtcp(2000, "a=rtcp:9 IN IP6 2001:db8::1").as_deref(), Some("[2001:db8::1]:9"));
        assert_eq!(rtcp(2000, "a=rtcp:9\na=rtcp-mux").as_deref(), Some("192.0.2.1:2000"));
        assert_eq!(rtcp(0, "a=foo"), None, "refused");
        assert_eq!(rtcp(65_535, "a=foo"), None, "there is no next port");
    }
}
