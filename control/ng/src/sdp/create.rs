//! A description that nobody wrote before us: the answer to `publish`, the offer of `subscribe request` to several parties.
//!
//! Same plan and same writer as for a rewritten one; here the description beneath it is made of what the call knows.

use super::{
    Connection, Line, MediaDescription, MediaKind, MediaPlan, Origin, Placement, SdpError, SessionDescription,
    SessionPlan, write,
};
use std::net::IpAddr;

/// The lines before the first m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Of `o=`, twice: session and version (RFC 8866 §5.2).
    pub session_id: u64,
    pub address: IpAddr,
    /// `s=`. Clients look for the name of the software here.
    pub name: String,
    /// One for each m-line of the plan.
    pub media: Vec<NewMedia>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMedia {
    pub kind: MediaKind,
    /// `a=label` (RFC 4574), by which a recorder tells the parties apart (RFC 7866 §7.1.1).
    pub label: Option<String>,
}

/// # Errors
/// [`SdpError::Unwritable`] when an m-line has no plan, or one that is not of our making.
pub fn create(new: &NewSession, plan: &SessionPlan) -> Result<String, SdpError> {
    let media = new.media.iter().zip(&plan.media).map(|(media, of)| blank(media, of)).collect::<Option<Vec<_>>>();
    let origin = origin(new);
    let Origin { username, session_id, version, family, address } = &origin;
    let lines = vec![
        line(b'v', "0"),
        line(b'o', &format!("{username} {session_id} {version} IN {family} {address}")),
        line(b's', &new.name),
        line(b't', "0 0"),
    ];
    let media = media.filter(|media| media.len() == new.media.len()).ok_or(SdpError::Unwritable)?;
    write(&SessionDescription { lines, origin: Some(origin), media, ..SessionDescription::default() }, plan)
}

fn origin(new: &NewSession) -> Origin {
    let session_id = new.session_id.to_string();
    let family = if new.address.is_ipv4() { "IP4" } else { "IP6" }.into();
    Origin { username: "-".into(), version: session_id.clone(), session_id, family, address: new.address.to_string() }
}

/// An m-line that says nothing but its label yet.
fn blank(new: &NewMedia, plan: &MediaPlan) -> Option<MediaDescription> {
    let (address, protocol) = match plan {
        MediaPlan::Rejected { address, protocol, .. } => (*address, protocol),
        MediaPlan::Relayed(relay) => match relay.placement {
            Placement::Ours { address, .. } => (address, &relay.protocol),
            Placement::Theirs => return None,
        },
        MediaPlan::Untouched => return None,
    };
    let label = new.label.iter().map(|label| line(b'a', &format!("label:{label}")));
    Some(MediaDescription {
        connection: Some(Connection { address }),
        has_connection: true,
        lines: std::iter::once(line(b'c', "")).chain(label).collect(),
        ..MediaDescription::new(new.kind.clone(), 0, protocol.clone())
    })
}

fn line(letter: u8, value: &str) -> Line {
    Line { letter, value: value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{IcePlan, Protocol, RelayPlan, RtcpPlan, static_codec};
    use crosspoint_contract::Direction;

    #[test]
    fn a_new_description_has_the_lines_of_rtpengines() {
        let address: IpAddr = "127.0.0.1".parse().expect("an address");
        let relay = RelayPlan {
            placement: Placement::Ours { address, port: 45616, rtcp: RtcpPlan::Port(45617), rtcp_mux: false },
            protocol: Protocol::RtpAvp,
            codecs: Some(vec![static_codec(8)]),
            direction: Some(Direction::SendOnly),
            crypto: Vec::new(),
            crypto_padded: false,
            dtls: None,
            ptime_ms: None,
            ice: IcePlan::Remove,
            mid: None,
        };
        let media = vec![NewMedia { kind: MediaKind::Audio, label: Some("1".into()) }];
        let new = NewSession { session_id: 7_711, address, name: "rtpengine-10-5-3-5".into(), media };
        let plan = SessionPlan { media: vec![MediaPlan::Relayed(Box::new(relay))], ..SessionPlan::default() };
        let lines = "v=0|o=- 7711 7711 IN IP4 127.0.0.1|s=rtpengine-10-5-3-5|t=0 0|m=audio 45616 RTP/AVP 8|c=IN IP4 127.0.0.1|\
            a=label:1|a=rtpmap:8 PCMA/8000|a=sendonly|a=rtcp:45617|";
        assert_eq!(create(&new, &plan).as_deref(), Ok(lines.replace('|', "\r\n").as_str()));
        assert_eq!(create(&new, &SessionPlan::default()), Err(SdpError::Unwritable));
    }
}
