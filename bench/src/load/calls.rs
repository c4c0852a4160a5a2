//! Calls at a relay, set up over ng: who sends where, and under which keys.
//!
//! Input: an ng client and the plan. Output: two [`Leg`]s a call. Owns nothing; the calls end with [`release`].

use crate::load::address;
use crate::load::plan::{Plan, sdes_name};
use crate::target::ng::{Client, Reply};
use anyhow::{Context, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use crosspoint_wire::srtp::{MasterKey, Suite};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::net::SocketAddrV4;

/// One side of a call, as its party sees it.
pub struct Leg {
    /// Where the relay takes this party's packets.
    pub relay: SocketAddrV4,
    /// Without keys it is plain RTP.
    pub keys: Option<LegKeys>,
}

/// SDES (RFC 4568 §6.1): each side names the key that it seals with.
pub struct LegKeys {
    pub ours: MasterKey,
    pub relays: MasterKey,
}

/// Sets up all calls of the plan, with parties that hear on `port`. `each` is told after every call.
pub fn establish(
    client: &mut Client,
    plan: &Plan,
    port: u16,
    mut each: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Leg>> {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut legs = Vec::with_capacity(2 * plan.calls);
    for call in 0..plan.calls {
        let sides = establish_one(client, plan, port, call, &mut random)
            .with_context(|| format!("call {call} of {} could not be set up", plan.calls))?;
        legs.extend(sides);
        each()?;
    }
    Ok(legs)
}

pub fn release(client: &mut Client, calls: usize) {
    for call in 0..calls {
        // A relay that is gone has no calls left.
        if client.delete(&call_id(call)).is_err() {
            return;
        }
    }
}

fn call_id(call: usize) -> String {
    format!("bench-{}-{call}", std::process::id())
}

fn establish_one(
    client: &mut Client,
    plan: &Plan,
    port: u16,
    call: usize,
    random: &mut ChaCha8Rng,
) -> anyhow::Result<[Leg; 2]> {
    let [caller, callee] = [2 * call, 2 * call + 1];
    let own = [caller, callee].map(|endpoint| plan.security.of_endpoint(endpoint).map(|suite| new_key(suite, random)));
    let id = call_id(call);
    let protocol = |endpoint| if plan.security.of_endpoint(endpoint).is_some() { "RTP/SAVP" } else { "RTP/AVP" };
    let describe = |endpoint, key: &Option<MasterKey>, tag| {
        let crypto = key.as_ref().map(|key| crypto_line(key, tag)).unwrap_or_default();
        let address = address::of_party(endpoint);
        format!(
            "v=0\r\no=- {endpoint} 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} {} 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n{crypto}",
            protocol(endpoint)
        )
    };
    let protocol_of_callee = [("transport-protocol", protocol(callee))];
    // Else a relay may take a callee that never speaks for one that is not there.
    let one_way = [("flags", "unidirectional")];
    let options = [&protocol_of_callee[..], &one_way[..usize::from(plan.one_way)]].concat();
    let offer = client.offer(&id, &describe(caller, &own[0], 1), &options)?;
    let offered = Described::read(&offer, plan.security.of_endpoint(callee)).context("in the offer to the callee")?;
    let answer = client.answer(&id, &describe(callee, &own[1], offered.tag))?;
    let answered =
        Described::read(&answer, plan.security.of_endpoint(caller)).context("in the answer to the caller")?;
    let [ours_a, ours_b] = own;
    Ok([answered.leg(ours_a), offered.leg(ours_b)])
}

fn new_key(suite: Suite, random: &mut ChaCha8Rng) -> MasterKey {
    let mut bytes = [0; 64];
    random.fill_bytes(&mut bytes);
    let (key, salt) = bytes[..suite.key_bytes() + suite.salt_bytes()].split_at(suite.key_bytes());
    MasterKey::new(suite, key, salt).expect("lengths are the suite's own")
}

fn crypto_line(key: &MasterKey, tag: u32) -> String {
    let inline = base64::engine::general_purpose::STANDARD.encode([key.key(), key.salt()].concat());
    format!("a=crypto:{tag} {} inline:{inline}\r\n", sdes_name(key.suite()))
}

/// What the relay says of itself in an SDP.
struct Described {
    relay: SocketAddrV4,
    tag: u32,
    key: Option<MasterKey>,
}

impl Described {
    fn read(reply: &Reply, suite: Option<Suite>) -> anyhow::Result<Described> {
        let sdp = reply.sdp().context("the reply has no SDP")?;
        let line = |prefix: &str| sdp.lines().find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
        let address = line("c=IN IP4 ").context("the SDP has no `c=IN IP4` line")?;
        let media = line("m=audio ").context("the SDP has no `m=audio` line")?;
        let port = media.split(' ').next().unwrap_or_default();
        let relay = format!("{}:{port}", address.trim()).parse().with_context(|| format!("{address}:{port}"))?;
        let Some(suite) = suite else { return Ok(Described { relay, tag: 0, key: None }) };
        let Some((tag, key)) = sdp.lines().find_map(|line| read_crypto(line, suite)) else {
            bail!("the relay offers no {}; its SDP:\n{sdp}", sdes_name(suite));
        };
        Ok(Described { relay, tag, key: Some(key) })
    }

    fn leg(self, ours: Option<MasterKey>) -> Leg {
        let keys = ours.zip(self.key).map(|(ours, relays)| LegKeys { ours, relays });
        Leg { relay: self.relay, keys }
    }
}

/// `a=crypto:TAG SUITE inline:KEY[|LIFETIME…]` (RFC 4568 §9.1), if it is of this suite.
fn read_crypto(line: &str, suite: Suite) -> Option<(u32, MasterKey)> {
    let mut words = line.trim().strip_prefix("a=crypto:")?.split(' ');
    let tag = words.next()?.parse().ok()?;
    (words.next()? == sdes_name(suite)).then_some(())?;
    let inline = words.next()?.strip_prefix("inline:")?.split('|').next()?;
    let bytes = STANDARD_NO_PAD.decode(inline.trim_end_matches('=')).ok()?;
    let (key, salt) = bytes.split_at_checked(suite.key_bytes())?;
    Some((tag, MasterKey::new(suite, key, salt)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_the_line_that_it_was_written_to() {
        let key = new_key(Suite::AesCm128HmacSha1_80, &mut ChaCha8Rng::seed_from_u64(3));
        let line = crypto_line(&key, 4);
        let (tag, read) = read_crypto(&line, Suite::AesCm128HmacSha1_80).expect("readable");
        assert_eq!((tag, read.key(), read.salt()), (4, key.key(), key.salt()));
        assert!(read_crypto(&line, Suite::AeadAes128Gcm).is_none(), "another suite");
        let with_lifetime = line.trim().to_owned() + "|2^31|1:1";
        assert!(read_crypto(&with_lifetime, Suite::AesCm128HmacSha1_80).is_some());
    }
}
