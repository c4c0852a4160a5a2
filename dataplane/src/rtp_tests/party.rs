//! A party of a call: its address, its keys, its stream.

use super::{addr, remote, request};
use crate::suites::wire_suite;
use crosspoint_contract::{LegId, RtpRemote, RtpRequest, SdesKey, Security, SrtpSuite};
use crosspoint_wire::classify::{Kind, classify};
use crosspoint_wire::rtp::RtpHeader;
use crosspoint_wire::srtp::{MasterKey, Mki, SrtpReceiver, SrtpSender};
use std::net::SocketAddr;

pub struct Party {
    pub leg: LegId,
    pub addr: SocketAddr,
    pub request: RtpRequest,
    pub remote: RtpRemote,
    pub ssrc: u32,
    pub sequence_number: u16,
    pub payload_type: u8,
    pub payload: Vec<u8>,
    pub sender: Option<SrtpSender>,
    pub receiver: Option<SrtpReceiver>,
}

impl Party {
    fn new(leg: u64, ours: &str, theirs: &str) -> Self {
        Party {
            leg: LegId(leg),
            addr: addr(theirs),
            request: request(addr(ours)),
            remote: remote(addr(theirs)),
            ssrc: 0xA000 + leg as u32,
            sequence_number: 100,
            payload_type: 0,
            payload: b"twenty milliseconds of sound".to_vec(),
            sender: None,
            receiver: None,
        }
    }

    pub fn alice() -> Self {
        Self::new(1, "192.0.2.1:40000", "198.51.100.1:4000")
    }

    pub fn bob() -> Self {
        Self::new(2, "192.0.2.1:40010", "203.0.113.2:5000")
    }

    /// One that listens.
    pub fn subscriber(n: u64) -> Self {
        Self::new(10 + n, &format!("192.0.2.1:{}", 41_000 + 10 * n), &format!("203.0.113.200:{}", 6000 + 10 * n))
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// RTCP shares the port of RTP, on both sides.
    pub fn muxed(self) -> Self {
        self.with(|party| party.request.rtcp = None).muxing()
    }

    /// The same, but we have a port for RTCP: we did not know when we opened the leg.
    pub fn muxing(self) -> Self {
        self.with(|party| (party.remote.rtcp, party.remote.rtcp_mux) = (None, true))
    }

    pub fn rtcp_addr(&self) -> SocketAddr {
        self.remote.rtcp.unwrap_or(self.addr)
    }

    /// Where its RTCP comes to.
    pub fn our_rtcp(&self) -> SocketAddr {
        self.request.rtcp.unwrap_or(self.request.rtp)
    }

    /// Keys from SDP: `seed` tells one pair from another.
    pub fn sdes(mut self, suite: SrtpSuite, seed: u8, mki: Option<(u32, u8)>) -> Self {
        self.rekey(suite, seed, mki);
        self
    }

    pub fn rekey(&mut self, suite: SrtpSuite, seed: u8, mki: Option<(u32, u8)>) {
        let (receive, send) = (sdes_key(suite, seed, mki), sdes_key(suite, seed + 100, mki));
        let named = mki.and_then(|(value, len)| Mki::new(value, len.into()));
        self.sender = Some(SrtpSender::new(&master(&receive)).with_mki(named));
        self.receiver = Some(SrtpReceiver::new(&master(&send)).with_mki(named));
        self.remote.security = Security::Sdes { receive, send };
    }

    /// The next packet of its stream, in the clear.
    pub fn next_packet(&mut self) -> Vec<u8> {
        let timestamp = u32::from(self.sequence_number).wrapping_mul(160);
        let header = RtpHeader::new(self.payload_type, false, self.sequence_number, timestamp, self.ssrc);
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let mut packet = vec![0; 12];
        header.write(&mut packet).expect("room");
        packet.extend(&self.payload);
        packet
    }

    pub fn protect(&mut self, clear: &[u8]) -> Vec<u8> {
        let Some(sender) = &mut self.sender else { return clear.to_vec() };
        let mut packet = [clear, &[0; 64]].concat();
        let len = sender.protect_rtp(&mut packet, clear.len()).expect("protects");
        packet.truncate(len);
        packet
    }

    pub fn protect_rtcp(&mut self, clear: &[u8]) -> Vec<u8> {
        let Some(sender) = &mut self.sender else { return clear.to_vec() };
        let mut packet = [clear, &[0; 64]].concat();
        let len = sender.protect_rtcp(&mut packet, clear.len()).expect("protects");
        packet.truncate(len);
        packet
    }

    /// The packet in the clear, if it is RTP.
    pub fn open_rtp(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        if classify(&packet) != Kind::Rtp {
            return None;
        }
        if let Some(receiver) = &mut self.receiver {
            let len = receiver.unprotect_rtp(&mut packet).expect("authentic");
            packet.truncate(len);
        }
        Some(packet)
    }

    pub fn open_rtcp(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        if classify(&packet) != Kind::Rtcp {
            return None;
        }
        if let Some(receiver) = &mut self.receiver {
            let len = receiver.unprotect_rtcp(&mut packet).expect("authentic");
            packet.truncate(len);
        }
        Some(packet)
    }
}

pub fn sdes_key(suite: SrtpSuite, seed: u8, mki: Option<(u32, u8)>) -> SdesKey {
    let wire = wire_suite(suite);
    SdesKey { suite, key_and_salt: vec![seed; wire.key_bytes() + wire.salt_bytes()], mki }
}

pub fn master(key: &SdesKey) -> MasterKey {
    let suite = wire_suite(key.suite);
    let (master, salt) = key.key_and_salt.split_at(suite.key_bytes());
    MasterKey::new(suite, master, salt).expect("right lengths")
}
