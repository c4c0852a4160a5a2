//! The `o=` and `s=` lines that one receiver sees over time, where parties behind us change (`replace: username,
//! session-name, sdp-version`).
//!
//! RFC 3264 §8: a new description is either equal to the one before or has a version that is higher by one. Behind a relay
//! the descriptions of two parties, or of one that starts anew, reach the same receiver; this keeps their story straight,
//! as rtpengine 10.5 does. One for each receiver; owns what it was told, no description.

use super::{SdpError, SessionDescription, SessionPlan, write};
use crate::options::Replace;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a receiver was told. `default()`: nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuity {
    username: Option<String>,
    name: Option<String>,
    version: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    version: u64,
    /// Of all the text but the version.
    digest: u64,
}

impl Continuity {
    /// As [`write()`], with what `replace` names as the receiver knows it: the first username and session name it was told,
    /// and a version that rises by one whenever the text differs from the last.
    pub fn write(
        &mut self,
        description: &SessionDescription,
        mut plan: SessionPlan,
        replace: Replace,
    ) -> Result<String, SdpError> {
        let Some(origin) = &description.origin else { return write(description, &plan) };
        if replace.username {
            plan.origin.username = Some(self.username.get_or_insert_with(|| origin.username.clone()).clone());
        }
        if let (true, Some(name)) = (replace.session_name, &description.name) {
            plan.name = Some(self.name.get_or_insert_with(|| name.clone()).clone());
        }
        if replace.sdp_version {
            plan.origin.version = Some("0".into());
            let digest = digest(&write(description, &plan)?);
            let version = self.next_version(digest, replace.force_increment_sdp_version, &origin.version);
            plan.origin.version = Some(version.to_string());
        }
        write(description, &plan)
    }

    fn next_version(&mut self, digest: u64, always: bool, said: &str) -> u64 {
        let version = match self.version {
            None => said.parse().unwrap_or(0),
            Some(told) if told.digest == digest && !always => told.version,
            Some(told) => told.version.saturating_add(1),
        };
        self.version = Some(Told { version, digest });
        version
    }
}

/// Equal texts have equal digests within one process, which is all that is asked of it.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{self, MediaPlan};

    /// The first three lines of what the receiver sees of a party's description.
    fn told(continuity: &mut Continuity, replace: Replace, origin: &str, name: &str, format: u8) -> String {
        let text =
            format!("v=0\no={origin} IN IP4 192.0.2.1\ns={name}\nc=IN IP4 192.0.2.1\nm=audio 2 RTP/AVP {format}\n");
        let description = sdp::read(&text).expect("SDP");
        let plan = SessionPlan { media: vec![MediaPlan::Untouched], ..SessionPlan::default() };
        let text = continuity.write(&description, plan, replace).expect("a plan for each m-line");
        text.lines().skip(1).take(2).collect::<Vec<_>>().join(" ").replace(" IN IP4 192.0.2.1", "")
    }

    #[test]
    fn a_version_rises_by_one_when_the_text_changes() {
        let (mut continuity, replace) = (Continuity::default(), Replace { sdp_version: true, ..Replace::default() });
        let mut told = |origin: &str, format| told(&mut continuity, replace, origin, "s", format);
        assert_eq!(told("bob 7 1", 0), "o=bob 7 1 s=s");
        assert_eq!(told("bob 7 1", 0), "o=bob 7 1 s=s");
        assert_eq!(told("bob 7 5", 0), "o=bob 7 1 s=s", "nothing else changed");
        assert_eq!(told("bob 7 3", 8), "o=bob 7 2 s=s");
        assert_eq!(told("bob 7 x", 0), "o=bob 7 3 s=s");
        assert_eq!(told("eve 7 1", 0), "o=eve 7 4 s=s");
    }

    #[test]
    fn names_stay_as_they_were_first_told() {
        let (mut continuity, replace) =
            (Continuity::default(), Replace { username: true, session_name: true, ..Replace::default() });
        let mut told = |origin: &str, name: &str| told(&mut continuity, replace, origin, name, 0);
        assert_eq!(told("bob 7 1", "x"), "o=bob 7 1 s=x");
        assert_eq!(told("eve 8 2", "y"), "o=bob 8 2 s=x");
    }

    #[test]
    fn what_is_not_to_be_replaced_passes() {
        let mut continuity = Continuity::default();
        assert_eq!(told(&mut continuity, Replace::default(), "bob 7 1", "x", 0), "o=bob 7 1 s=x");
        assert_eq!(told(&mut continuity, Replace::default(), "eve 8 9", "y", 8), "o=eve 8 9 s=y");
        assert_eq!(continuity, Continuity::default());
    }
}
