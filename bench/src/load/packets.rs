//! The packets of all flows: made before they are needed, checked by sample when they come back.
//!
//! Input: the plan and the legs of its calls. Output: bytes to send, one packet at a time, and a verdict on what arrived. Owns
//! the numbering of each flow and the keys of both ends.
//!
//! Plain packets are a template with a new header. SRTP packets are sealed before the run and lie in memory in the order in
//! which they leave, so that the generator's cryptography is neither measured nor limits the rate. Each is sent
//! once, since a relay rightly drops replays; so a run needs room for all of them, and too long a run is refused.

use crate::load::address;
use crate::load::calls::Leg;
use crate::load::plan::{MARK_BYTES, Plan, RTP_HEADER_BYTES};
use crate::load::schedule::Schedule;
use crate::load::socket::{BATCH_PACKETS, Route};
use anyhow::bail;
use crosspoint_wire::srtp::{OVERHEAD_BYTES_MAX, SrtpReceiver, SrtpSender};

/// SSRCs of ours: this, plus the number of the flow.
const SSRC_BASE: u32 = 0x4350_0000;

/// G.711 A-law (RFC 3551 §6), 160 samples a packet.
const PAYLOAD_TYPE: u8 = 8;
const SAMPLES: u32 = 160;

/// The first packet, not far from a wrap of the 16-bit number (RFC 3711 §3.3.1: below 2^15, so that no roll-over
/// is ambiguous if the first packets are lost).
const FIRST_NUMBER: u64 = 1000;

struct Flow {
    endpoint: usize,
    /// Number of the next packet.
    next: u64,
    seals: Option<SrtpSender>,
    opens: Option<SrtpReceiver>,
}

pub struct Packets {
    flows: Vec<Flow>,
    routes: Vec<Route>,
    plain_bytes: usize,
    /// A plain packet of each flow, one after another.
    templates: Vec<u8>,
    scratch: Vec<u8>,
    /// Empty when nothing is sealed.
    prepared: Vec<u8>,
    /// By flow.
    lengths: Vec<usize>,
    stride: usize,
    memory_bytes_max: u64,
}

impl Packets {
    /// `legs`: two for each call, the caller's first.
    pub fn new(plan: &Plan, legs: &[Leg], memory_bytes_max: u64) -> Packets {
        let plain_bytes = plan.packet_bytes();
        let mut packets = Packets {
            flows: Vec::with_capacity(plan.flows()),
            routes: Vec::with_capacity(plan.flows()),
            plain_bytes,
            templates: Vec::with_capacity(plan.flows() * plain_bytes),
            scratch: vec![0; BATCH_PACKETS * plain_bytes],
            prepared: Vec::new(),
            lengths: Vec::new(),
            stride: plain_bytes + OVERHEAD_BYTES_MAX,
            memory_bytes_max,
        };
        for number in 0..plan.flows() {
            let endpoint = plan.endpoint_of(number);
            let (leg, other) = (&legs[endpoint], &legs[endpoint ^ 1]);
            let seals = leg.keys.as_ref().map(|keys| SrtpSender::new(&keys.ours));
            let opens = other.keys.as_ref().map(|keys| SrtpReceiver::new(&keys.relays));
            packets.lengths.push(plain_bytes + leg.keys.as_ref().map_or(0, |keys| keys.ours.suite().rtp_tag_bytes()));
            packets.flows.push(Flow { endpoint, next: FIRST_NUMBER, seals, opens });
            packets.routes.push(Route::new(address::of_party(endpoint), leg.relay));
            packets.templates.extend(template(number, plain_bytes));
        }
        packets
    }

    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub fn endpoint(&self, flow: usize) -> usize {
        self.flows[flow].endpoint
    }

    /// Number of the next packet of each flow.
    pub fn firsts(&self) -> Vec<u64> {
        self.flows.iter().map(|flow| flow.next).collect()
    }

    /// Makes what `rounds` rounds need. After this, packets are taken by round and place in the order.
    pub fn prepare(&mut self, schedule: &Schedule, rounds: u64) -> anyhow::Result<()> {
        self.prepared.clear();
        if self.flows.iter().all(|flow| flow.seals.is_none()) {
            return Ok(());
        }
        let count = rounds * self.flows.len() as u64;
        self.refuse_too_many(count)?;
        self.prepared.resize(count as usize * self.stride, 0);
        let mut slots = self.prepared.chunks_exact_mut(self.stride);
        for round in 0..rounds {
            for &flow in schedule.order() {
                let slot = slots.next().expect("as many slots as packets");
                let flow = flow as usize;
                let plain = &self.templates[flow * self.plain_bytes..][..self.plain_bytes];
                slot[..self.plain_bytes].copy_from_slice(plain);
                let state = &mut self.flows[flow];
                number_packet(&mut slot[..self.plain_bytes], state.next + round);
                if let Some(seals) = &mut state.seals
                    && seals.protect_rtp(slot, self.plain_bytes).is_err()
                {
                    bail!("sealing failed: a run may send 2^48 packets with one key (RFC 3711 §9.2)");
                }
            }
        }
        Ok(())
    }

    fn refuse_too_many(&self, packets: u64) -> anyhow::Result<()> {
        let bytes = packets * self.stride as u64;
        if bytes > self.memory_bytes_max {
            let fit = self.memory_bytes_max / self.stride as u64;
            bail!(
                "SRTP packets are prepared before the run: {packets} of {} bytes need {} MiB, and {} MiB are allowed. \
                 A shorter run, a lower rate, or --prepare-mib-max makes it fit; {fit} packets do now",
                self.stride,
                bytes >> 20,
                self.memory_bytes_max >> 20,
            );
        }
        Ok(())
    }

    /// The packet at `place` of `round`. `slot`, below [`BATCH_PACKETS`], must differ between packets of one batch.
    #[inline]
    pub fn packet(&mut self, round: u64, place: usize, flow: usize, slot: usize) -> &[u8] {
        if !self.prepared.is_empty() {
            let at = (round as usize * self.flows.len() + place) * self.stride;
            return &self.prepared[at..at + self.lengths[flow]];
        }
        let plain = &self.templates[flow * self.plain_bytes..][..self.plain_bytes];
        let packet = &mut self.scratch[slot * self.plain_bytes..][..self.plain_bytes];
        packet.copy_from_slice(plain);
        number_packet(packet, self.flows[flow].next + round);
        packet
    }

    /// After a run of so many rounds: their numbers are used up.
    pub fn used(&mut self, rounds: u64) {
        self.flows.iter_mut().for_each(|flow| flow.next += rounds);
    }

    /// The flow of a packet, by its SSRC.
    #[inline]
    pub fn flow_of(&self, packet: &[u8]) -> Option<(usize, u16)> {
        let ssrc = u32::from_be_bytes(packet.get(8..12)?.try_into().ok()?);
        let flow = ssrc.wrapping_sub(SSRC_BASE) as usize;
        // RFC 3550 §5.1: version 2.
        let is_ours = packet[0] >> 6 == 2 && flow < self.flows.len();
        is_ours.then(|| (flow, u16::from_be_bytes([packet[2], packet[3]])))
    }

    /// Whether packet `number` of the flow arrived as its receiver should get it: authentic where its leg is secured, and
    /// with the payload it left with.
    pub fn is_intact(&mut self, flow: usize, number: u64, packet: &[u8]) -> bool {
        let state = &mut self.flows[flow];
        let mut copy = packet.to_vec();
        if let Some(opens) = &mut state.opens {
            match opens.unprotect_rtp(&mut copy) {
                Ok(bytes) => copy.truncate(bytes),
                Err(_) => return false,
            }
        }
        let mut expected = self.templates[flow * self.plain_bytes..][..self.plain_bytes].to_vec();
        number_packet(&mut expected, number);
        copy.len() == expected.len() && copy[RTP_HEADER_BYTES..] == expected[RTP_HEADER_BYTES..]
    }
}

fn template(flow: usize, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x80, PAYLOAD_TYPE, 0, 0, 0, 0, 0, 0];
    packet.extend((SSRC_BASE + flow as u32).to_be_bytes());
    packet.extend((flow as u32).to_be_bytes());
    packet.extend((packet.len()..bytes).map(|at| (at ^ flow) as u8));
    packet.truncate(bytes);
    packet
}

/// RFC 3550 §5.1: sequence number and timestamp. The payload's mark says the number in full, if there is room.
#[inline]
fn number_packet(packet: &mut [u8], number: u64) {
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(number as u32).wrapping_mul(SAMPLES).to_be_bytes());
    if let Some(mark) = packet.get_mut(RTP_HEADER_BYTES + 4..RTP_HEADER_BYTES + MARK_BYTES) {
        mark.copy_from_slice(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::calls::LegKeys;
    use crate::load::plan::{Impair, Security};
    use crosspoint_wire::srtp::{MasterKey, Suite};

    fn plan() -> Plan {
        let security = Security { legs: [Some(Suite::AeadAes128Gcm), None] };
        Plan { calls: 2, one_way: false, payload_bytes: 160, security, impair: Impair::default(), seed: 1 }
    }

    fn key() -> MasterKey {
        MasterKey::new(Suite::AeadAes128Gcm, &[7; 16], &[9; 12]).expect("the suite's lengths")
    }

    fn legs() -> Vec<Leg> {
        let relay = "127.0.0.1:9".parse().expect("an address");
        let secured = || Leg { relay, keys: Some(LegKeys { ours: key(), relays: key() }) };
        vec![secured(), Leg { relay, keys: None }, secured(), Leg { relay, keys: None }]
    }

    #[test]
    fn a_sealed_packet_opens_to_what_its_flow_sends_and_a_changed_one_does_not() {
        let mut packets = Packets::new(&plan(), &legs(), 1 << 20);
        let schedule = Schedule::new(4, 1000.0, 1);
        packets.prepare(&schedule, 3).expect("fits");
        let place = schedule.order().iter().position(|flow| *flow == 2).expect("in the order");
        let mut sealed = packets.packet(2, place, 2, 0).to_vec();
        assert_eq!(sealed.len(), 12 + 160 + 16);
        assert_eq!(packets.flow_of(&sealed), Some((2, 1002)));
        let mut receiver = SrtpReceiver::new(&key());
        let bytes = receiver.unprotect_rtp(&mut sealed).expect("authentic");
        // Flow 2 is heard on a plain leg.
        assert!(packets.is_intact(2, 1002, &sealed[..bytes]));
        sealed[50] ^= 1;
        assert!(!packets.is_intact(2, 1002, &sealed[..bytes]));
    }

    #[test]
    fn a_run_that_does_not_fit_into_memory_is_refused_with_what_would_fit() {
        let mut packets = Packets::new(&plan(), &legs(), 10_000);
        let refused = packets.prepare(&Schedule::new(4, 1000.0, 1), 1000).expect_err("too many");
        assert!(refused.to_string().contains("--prepare-mib-max"), "{refused}");
    }

    #[test]
    fn packets_of_one_batch_do_not_share_memory() {
        let plain = Plan { security: Security::default(), ..plan() };
        let legs: Vec<Leg> = legs().into_iter().map(|leg| Leg { keys: None, ..leg }).collect();
        let mut packets = Packets::new(&plain, &legs, 0);
        packets.prepare(&Schedule::new(4, 1000.0, 1), 1000).expect("plain packets need no room");
        let first = packets.packet(0, 0, 1, 0).as_ptr();
        let second = packets.packet(1, 0, 1, 1).to_vec();
        assert_ne!(first, packets.packet(1, 0, 1, 1).as_ptr());
        assert_eq!(packets.flow_of(&second), Some((1, 1001)));
        assert!(packets.is_intact(1, 1001, &second));
    }
}
