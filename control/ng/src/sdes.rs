//! SDES (RFC 4568): which suites are offered to a party, which one is taken from it.
//!
//! ```text
//!   a sender's lines ─┐
//!   suites of ours ───┼─ policy (`SDES` options) ──▶ lines for the other party ──▶ its answer ──▶ one pair of keys
//!   the pair in use ──┘
//! ```
//!
//! Input: lines as read, the options, the suite in use. Output: [`OurLine`]s to write; a [`KeyPair`] for the dataplane. Owns
//! nothing. Keys are always our own: rtpengine hands a sender's key through to the other party, here each party has
//! its own, under the tags that rtpengine would give.
//!
//! Not offered are what the dataplane does not do: AES-192, AES-256 with a short tag, F8 (obsolete) and the suites that do not encrypt.

use crate::keys::Draw;
use crate::options::Sdes;
use crate::sdp::CryptoLine;
use crosspoint_contract::{SdesKey, SrtpSuite};
use serde::{Deserialize, Serialize};

/// A suite that the dataplane does, in the order in which rtpengine prefers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suite {
    AeadAes256Gcm,
    AeadAes128Gcm,
    Aes256CmHmacSha1_80,
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
}

impl Suite {
    pub const OURS: [Suite; 5] = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::Aes256CmHmacSha1_80,
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
    ];

    /// As RFC 4568, 6188 and 7714 print it.
    pub fn name(self) -> &'static str {
        match self {
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    pub fn named(name: &str) -> Option<Suite> {
        Suite::OURS.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    pub fn srtp(self) -> SrtpSuite {
        match self {
            Suite::AeadAes256Gcm => SrtpSuite::AeadAes256Gcm,
            Suite::AeadAes128Gcm => SrtpSuite::AeadAes128Gcm,
            Suite::Aes256CmHmacSha1_80 => SrtpSuite::AesCm256HmacSha1_80,
            Suite::AesCm128HmacSha1_80 => SrtpSuite::AesCm128HmacSha1_80,
            Suite::AesCm128HmacSha1_32 => SrtpSuite::AesCm128HmacSha1_32,
        }
    }

    /// RFC 4568 §6.2, RFC 6188 §3, RFC 7714 §12.
    pub fn key_and_salt_bytes(self) -> usize {
        match self {
            Suite::AeadAes256Gcm => 32 + 12,
            Suite::AeadAes128Gcm => 16 + 12,
            Suite::Aes256CmHmacSha1_80 => 32 + 14,
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => 16 + 14,
        }
    }
}

/// The name of a suite in `query`.
pub fn suite_name(suite: SrtpSuite) -> &'static str {
    Suite::OURS.into_iter().find(|s| s.srtp() == suite).map_or("", Suite::name)
}

/// A line that we have written to a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OurLine {
    pub tag: u32,
    pub suite: Suite,
    pub key: SdesKey,
}

/// Both keys of a leg, and the tag under which its parties agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    pub tag: u32,
    pub suite: Suite,
    pub ours: SdesKey,
    pub theirs: SdesKey,
}

/// The lines of an offer to a party: the sender's under the sender's tags, or else the one in use, then the rest.
///
/// `kept` are those of the last offer to it: an unchanged suite keeps its key, so that a repeated offer changes nothing.
pub fn offer(
    sender: &[CryptoLine],
    options: &Sdes,
    in_use: Option<&KeyPair>,
    kept: &[OurLine],
    draw: &mut Draw,
) -> Vec<OurLine> {
    let mut lines: Vec<OurLine> = Vec::with_capacity(Suite::OURS.len());
    let mut add = |lines: &mut Vec<OurLine>, tag: u32, suite: Suite| {
        if lines.iter().any(|line| line.suite == suite || line.tag == tag) || !allowed(suite, options) {
            return;
        }
        let used = in_use.filter(|pair| pair.suite == suite).map(|pair| &pair.ours);
        let key = used.or_else(|| kept.iter().find(|line| line.suite == suite).map(|line| &line.key));
        lines.push(OurLine { tag, suite, key: key.cloned().unwrap_or_else(|| draw.sdes_key(suite)) });
    };
    for line in sender.iter().filter(|line| is_usable(line)) {
        if let Some(suite) = Suite::named(&line.suite) {
            add(&mut lines, line.tag, suite);
        }
    }
    if let Some(pair) = in_use.filter(|_| lines.is_empty()) {
        add(&mut lines, pair.tag, pair.suite);
    }
    if !options.no_new || lines.is_empty() {
        for suite in Suite::OURS {
            // RFC 4568 §9.1: tags are unique among the lines of one medium.
            let tag = lines.iter().map(|line| line.tag).max().unwrap_or(0) + 1;
            add(&mut lines, tag, suite);
        }
    }
    reorder(&mut lines, &options.order, |line| line.suite);
    lines
}

/// The policy flags: `only-SUITE` outranks `no-SUITE`.
fn allowed(suite: Suite, options: &Sdes) -> bool {
    let is_in = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(suite.name()));
    match options.only.is_empty() {
        true => !is_in(&options.no),
        false => is_in(&options.only),
    }
}

/// Moves the lines whose suites are named to the front, in the order of the names.
fn reorder<T>(lines: &mut [T], names: &[String], suite: impl Fn(&T) -> Suite) {
    if names.is_empty() {
        return;
    }
    lines.sort_by_key(|line| {
        names.iter().position(|name| name.eq_ignore_ascii_case(suite(line).name())).unwrap_or(names.len())
    });
}

/// Whether we are able to do as a line wants.
fn is_usable(line: &CryptoLine) -> bool {
    // RFC 4568 §6.3.2: a session parameter that is not understood excludes its line. WSH and KDR 0 change nothing here.
    let harmless = |parameter: &String| parameter.starts_with("WSH=") || parameter.starts_with("KDR=0");
    let suite = Suite::named(&line.suite);
    suite.is_some_and(|suite| suite.key_and_salt_bytes() == line.key_and_salt.len())
        && line.parameters.iter().all(harmless)
        && line.mki.is_none_or(|(_, bytes)| (1..=4).contains(&bytes))
}

/// What the answer to our offer settled: its line must repeat a tag and suite of ours (RFC 4568 §5.1.3).
pub fn answered(answer: &[CryptoLine], ours: &[OurLine], in_use: Option<&KeyPair>) -> Option<KeyPair> {
    let line = answer.iter().find(|line| is_usable(line))?;
    let suite = Suite::named(&line.suite)?;
    let same_suite = || ours.iter().filter(|our| our.suite == suite);
    let our = same_suite().find(|our| our.tag == line.tag).or_else(|| same_suite().next());
    let ours =
        our.map(|our| our.key.clone()).or_else(|| in_use.filter(|p| p.suite == suite).map(|p| p.ours.clone()))?;
    Some(KeyPair { tag: line.tag, suite, ours, theirs: their_key(line, suite) })
}

/// What we take from an offer: the suite that the other party settled on if it is there, else the first we do. Our key
/// stays as it was while the suite does.
pub fn accept(
    offer: &[CryptoLine],
    preferred: Option<Suite>,
    options: &Sdes,
    in_use: Option<&KeyPair>,
    draw: &mut Draw,
) -> Option<KeyPair> {
    let mut usable: Vec<(&CryptoLine, Suite)> = offer
        .iter()
        .filter(|line| is_usable(line))
        .filter_map(|line| Some((line, Suite::named(&line.suite)?)))
        .collect();
    usable.retain(|(_, suite)| allowed(*suite, options));
    reorder(&mut usable, &options.offerer_preference, |(_, suite)| *suite);
    let wanted = |suite: Suite| usable.iter().find(|(_, s)| *s == suite);
    let (line, suite) = in_use
        .and_then(|pair| wanted(pair.suite))
        .or_else(|| preferred.and_then(wanted))
        .or_else(|| usable.first())
        .copied()?;
    let kept = in_use.filter(|pair| pair.suite == suite).map(|pair| pair.ours.clone());
    let ours = kept.unwrap_or_else(|| draw.sdes_key(suite));
    Some(KeyPair { tag: line.tag, suite, ours, theirs: their_key(line, suite) })
}

fn their_key(line: &CryptoLine, suite: Suite) -> SdesKey {
    SdesKey { suite: suite.srtp(), key_and_salt: line.key_and_salt.clone(), mki: line.mki }
}

/// As the writer wants it.
pub fn crypto_line(tag: u32, suite: Suite, key: &SdesKey, lifetime: bool) -> CryptoLine {
    CryptoLine {
        tag,
        suite: suite.name().into(),
        key_and_salt: key.key_and_salt.clone(),
        lifetime: lifetime.then(|| "2^31".into()),
        mki: key.mki,
        parameters: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tag: u32, suite: Suite) -> CryptoLine {
        let key_and_salt = vec![tag as u8; suite.key_and_salt_bytes()];
        CryptoLine { tag, suite: suite.name().into(), key_and_salt, lifetime: None, mki: None, parameters: vec![] }
    }

    fn draw() -> Draw {
        Draw::seeded([1; 32])
    }

    fn tags(lines: &[OurLine]) -> Vec<(u32, Suite)> {
        lines.iter().map(|line| (line.tag, line.suite)).collect()
    }

    use Suite::{AeadAes256Gcm as Gcm256, AesCm128HmacSha1_32 as Cm32, AesCm128HmacSha1_80 as Cm80};

    #[test]
    fn from_plain_all_our_suites_are_offered_in_order_with_tags_from_one() {
        let lines = offer(&[], &Sdes::default(), None, &[], &mut draw());
        assert_eq!(tags(&lines), (1..).zip(Suite::OURS).collect::<Vec<_>>());
    }

    #[test]
    fn the_senders_suites_come_first_under_its_tags_with_keys_of_our_own() {
        let sender = [line(1, Cm80), line(7, Gcm256)];
        let lines = offer(&sender, &Sdes::default(), None, &[], &mut draw());
        assert_eq!(tags(&lines)[..3], [(1, Cm80), (7, Gcm256), (8, Suite::AeadAes128Gcm)]);
        assert_ne!(lines[0].key.key_and_salt, sender[0].key_and_salt);
    }

    #[test]
    fn the_policy_flags_choose_among_the_suites() {
        let offered = |options: Sdes| tags(&offer(&[line(3, Cm32)], &options, None, &[], &mut draw()));
        let only = Sdes { only: vec![Cm80.name().into()], ..Sdes::default() };
        assert_eq!(offered(only), [(1, Cm80)]);
        let no = Sdes { no: vec![Cm32.name().into()], ..Sdes::default() };
        assert!(offered(no).iter().all(|(_, suite)| *suite != Cm32));
        assert_eq!(offered(Sdes { no_new: true, ..Sdes::default() }), [(3, Cm32)]);
        let order = Sdes { order: vec![Cm80.name().into()], ..Sdes::default() };
        assert_eq!(offered(order)[0].1, Cm80);
    }

    #[test]
    fn a_repeated_offer_starts_with_the_line_in_use_and_its_key() {
        let first = offer(&[], &Sdes::default(), None, &[], &mut draw());
        let pair = answered(&[line(4, Cm80)], &first, None).unwrap();
        assert_eq!((pair.tag, &pair.ours), (4, &first[3].key));
        let second = offer(&[], &Sdes::default(), Some(&pair), &first, &mut draw());
        assert_eq!(tags(&second)[..2], [(4, Cm80), (5, Gcm256)]);
        assert_eq!(second[0].key, pair.ours);
    }

    #[test]
    fn an_answer_with_a_suite_that_was_not_offered_settles_nothing() {
        let only = Sdes { only: vec![Cm80.name().into()], ..Sdes::default() };
        let ours = offer(&[], &only, None, &[], &mut draw());
        assert_eq!(answered(&[line(1, Gcm256)], &ours, None), None);
        let mut short = line(1, Cm80);
        short.key_and_salt.pop();
        assert_eq!(answered(&[short], &ours, None), None);
    }

    #[test]
    fn the_suite_of_the_other_party_is_taken_if_it_was_offered() {
        let lines = [line(1, Cm80), line(2, Gcm256)];
        let taken = |preferred| accept(&lines, preferred, &Sdes::default(), None, &mut draw()).unwrap().tag;
        assert_eq!((taken(None), taken(Some(Gcm256)), taken(Some(Cm32))), (1, 2, 1));
    }

    #[test]
    fn our_key_stays_while_the_suite_does_and_theirs_follows_the_line() {
        let first = accept(&[line(1, Cm80)], None, &Sdes::default(), None, &mut draw()).unwrap();
        let mut other = Draw::seeded([9; 32]);
        let again = accept(&[line(5, Cm80)], None, &Sdes::default(), Some(&first), &mut other).unwrap();
        assert_eq!((&again.ours, again.tag), (&first.ours, 5));
        assert_ne!(again.theirs, first.theirs);
    }

    #[test]
    fn a_line_that_wants_no_encryption_is_not_taken() {
        let mut naked = line(1, Cm80);
        naked.parameters.push("UNENCRYPTED_SRTP".into());
        assert_eq!(accept(&[naked], None, &Sdes::default(), None, &mut draw()), None);
    }
}
