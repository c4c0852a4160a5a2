//! SRTP per packet and suite, ours beside `webrtc-srtp` 0.17.2, on a 172-byte packet and one core.
//!
//! Reading the output: `protect/aes_cm_128_hmac_sha1_80/crosspoint` against `…/webrtc-srtp` of the same run. Ours works in
//! place on a copy of the packet (the copy is inside the measured time, as it would be inside the peer's too).
//! Unprotecting needs a packet that was not seen before, so packets are protected ahead, outside the measured time.

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crosspoint_bench::inputs::{BUFFER_BYTES, master_key, rtp_packet};
use crosspoint_wire::srtp::{MasterKey, SrtpReceiver, SrtpSender, Suite};
use std::hint::black_box;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const SUITES: [(&str, Suite, Option<ProtectionProfile>); 5] = [
    ("aes_cm_128_hmac_sha1_80", Suite::AesCm128HmacSha1_80, Some(ProtectionProfile::Aes128CmHmacSha1_80)),
    ("aes_cm_128_hmac_sha1_32", Suite::AesCm128HmacSha1_32, Some(ProtectionProfile::Aes128CmHmacSha1_32)),
    ("aes_cm_256_hmac_sha1_80", Suite::AesCm256HmacSha1_80, None),
    ("aead_aes_128_gcm", Suite::AeadAes128Gcm, Some(ProtectionProfile::AeadAes128Gcm)),
    ("aead_aes_256_gcm", Suite::AeadAes256Gcm, Some(ProtectionProfile::AeadAes256Gcm)),
];

const SSRC: u32 = 0xC0FFEE;

fn peer(key: &MasterKey, profile: ProtectionProfile) -> Context {
    Context::new(key.key(), key.salt(), profile, None, None).expect("lengths are the profile's own")
}

fn protect(c: &mut Criterion) {
    let mut group = c.benchmark_group("protect");
    group.throughput(Throughput::Elements(1));
    for (name, suite, profile) in SUITES {
        let key = master_key(suite);
        group.bench_function(BenchmarkId::new(name, "crosspoint"), |b| {
            let mut sender = SrtpSender::new(&key);
            let mut buffer = [0; BUFFER_BYTES];
            let mut sequence_number = 0;
            let template = rtp_packet(0, SSRC);
            b.iter(|| {
                buffer[..template.len()].copy_from_slice(&template);
                buffer[2..4].copy_from_slice(&u16::to_be_bytes(sequence_number));
                sequence_number = sequence_number.wrapping_add(1);
                black_box(sender.protect_rtp(&mut buffer, template.len()).expect("protects"))
            });
        });
        let Some(profile) = profile else { continue };
        group.bench_function(BenchmarkId::new(name, "webrtc-srtp"), |b| {
            let mut context = peer(&key, profile);
            let mut packet = rtp_packet(0, SSRC);
            let mut sequence_number = 0;
            b.iter(|| {
                packet[2..4].copy_from_slice(&u16::to_be_bytes(sequence_number));
                sequence_number = sequence_number.wrapping_add(1);
                black_box(context.encrypt_rtp(&packet).expect("protects"))
            });
        });
    }
    group.finish();
}

/// Protected packets with ever new indices, made outside the measured time.
struct Source {
    sender: SrtpSender,
    sequence_number: u16,
}

impl Source {
    fn new(key: &MasterKey) -> Self {
        Source { sender: SrtpSender::new(key), sequence_number: 0 }
    }

    fn next(&mut self) -> BytesMut {
        let mut packet = rtp_packet(self.sequence_number, SSRC);
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let length = packet.len();
        packet.resize(BUFFER_BYTES, 0);
        let length = self.sender.protect_rtp(&mut packet, length).expect("protects");
        packet.truncate(length);
        BytesMut::from(Bytes::from(packet))
    }
}

fn unprotect(c: &mut Criterion) {
    let mut group = c.benchmark_group("unprotect");
    group.throughput(Throughput::Elements(1));
    for (name, suite, profile) in SUITES {
        let key = master_key(suite);
        group.bench_function(BenchmarkId::new(name, "crosspoint"), |b| {
            let mut source = Source::new(&key);
            let mut receiver = SrtpReceiver::new(&key);
            b.iter_batched_ref(
                || source.next(),
                |packet| black_box(receiver.unprotect_rtp(packet).expect("authentic and new")),
                BatchSize::SmallInput,
            );
        });
        let Some(profile) = profile else { continue };
        group.bench_function(BenchmarkId::new(name, "webrtc-srtp"), |b| {
            let mut source = Source::new(&key);
            let mut context = peer(&key, profile);
            b.iter_batched_ref(
                || source.next(),
                |packet| black_box(context.decrypt_rtp(packet).expect("authentic and new")),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, protect, unprotect);
criterion_main!(benches);
