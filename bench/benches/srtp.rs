//! SRTP per packet and suite, ours beside `webrtc-srtp` 0.17.2, on a 172-byte packet and one core.
//!
//! Reading the output: `protect/aes_cm_128_hmac_sha1_80/crosspoint` against `…/webrtc-srtp` of the same run. Ours works in
//! place on a copy of the packet (the copy is inside the measured time, as it would be inside the peer's too).
//! Unprotecting needs a packet that was not seen before, so packets are protected ahead, outside the measured time.
//! `…/crosspoint-portable` is the engine without wide vectors. `protect-batch` and `unprotect-batch` are a packet's share of 64
//! packets of 64 keys, in rounds of sixteen as the relay works.

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crosspoint_bench::inputs::{BUFFER_BYTES, master_key, rtp_packet};
use crosspoint_wire::srtp::{Engine, LANES, MasterKey, SrtpReceiver, SrtpSender, Suite, tags};
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

type Detect = fn() -> Engine;

/// Asked when the bench runs, for the processor it runs on.
const ENGINES: [(Detect, &str); 2] = [(Engine::detect, "crosspoint"), (|| Engine::Portable, "crosspoint-portable")];

const SSRC: u32 = 0xC0FFEE;

/// Packets that a worker takes from the kernel at once.
const BATCH: usize = 64;

fn peer(key: &MasterKey, profile: ProtectionProfile) -> Context {
    Context::new(key.key(), key.salt(), profile, None, None).expect("lengths are the profile's own")
}

fn protect(c: &mut Criterion) {
    let mut group = c.benchmark_group("protect");
    group.throughput(Throughput::Elements(1));
    for (name, suite, profile) in SUITES {
        let key = master_key(suite);
        for (engine, label) in ENGINES {
            group.bench_function(BenchmarkId::new(name, label), |b| {
                let mut sender = SrtpSender::with_engine(&key, engine());
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
        }
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
        for (engine, label) in ENGINES {
            group.bench_function(BenchmarkId::new(name, label), |b| {
                let mut source = Source::new(&key);
                let mut receiver = SrtpReceiver::with_engine(&key, engine());
                b.iter_batched_ref(
                    || source.next(),
                    |packet| black_box(receiver.unprotect_rtp(packet).expect("authentic and new")),
                    BatchSize::SmallInput,
                );
            });
        }
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

/// One packet under each of 64 keys.
struct Batch {
    senders: Vec<SrtpSender>,
    receivers: Vec<SrtpReceiver>,
    buffers: Vec<[u8; BUFFER_BYTES]>,
    sequence_number: u16,
}

impl Batch {
    fn new(suite: Suite, engine: Engine) -> Self {
        let key = |n: usize| {
            let key: Vec<u8> = (0..suite.key_bytes()).map(|byte| (byte ^ n) as u8).collect();
            MasterKey::new(suite, &key, &[7; 14][..suite.salt_bytes()]).expect("lengths are the suite's own")
        };
        Batch {
            senders: (0..BATCH).map(|n| SrtpSender::with_engine(&key(n), engine)).collect(),
            receivers: (0..BATCH).map(|n| SrtpReceiver::with_engine(&key(n), engine)).collect(),
            buffers: vec![[0; BUFFER_BYTES]; BATCH],
            sequence_number: 0,
        }
    }

    fn fill(&mut self) {
        for buffer in &mut self.buffers {
            let packet = rtp_packet(self.sequence_number, SSRC);
            buffer[..packet.len()].copy_from_slice(&packet);
        }
        self.sequence_number = self.sequence_number.wrapping_add(1);
    }

    fn protect(&mut self, len: usize, engine: Engine, separate_tag: bool) -> usize {
        if !separate_tag {
            let packets = self.senders.iter_mut().zip(&mut self.buffers);
            return packets.map(|(sender, buffer)| sender.protect_rtp(buffer, len).expect("protects")).sum();
        }
        let mut sum = 0;
        for (senders, buffers) in self.senders.chunks_mut(LANES).zip(self.buffers.chunks_mut(LANES)) {
            let sealings: [_; LANES] =
                std::array::from_fn(|n| senders[n].begin_rtp(&mut buffers[n], len).expect("encrypts"));
            let covered: [_; LANES] =
                std::array::from_fn(|n| senders[n].authenticated(&sealings[n], &buffers[n]).expect("a tag apart"));
            let mut round = [[0; 20]; LANES];
            tags(engine, &covered, &mut round);
            for (n, tag) in round.iter().enumerate() {
                sum += senders[n].finish_rtp(&sealings[n], tag, &mut buffers[n]).expect("protects");
            }
        }
        sum
    }

    fn unprotect(&mut self, len: usize, engine: Engine, separate_tag: bool) -> usize {
        if !separate_tag {
            let packets = self.receivers.iter_mut().zip(&mut self.buffers);
            return packets.map(|(receiver, buffer)| receiver.unprotect_rtp(&mut buffer[..len]).expect("new")).sum();
        }
        let mut sum = 0;
        for (receivers, buffers) in self.receivers.chunks_mut(LANES).zip(self.buffers.chunks_mut(LANES)) {
            let openings: [_; LANES] =
                std::array::from_fn(|n| receivers[n].begin_rtp(&mut buffers[n][..len]).expect("new"));
            let covered: [_; LANES] =
                std::array::from_fn(|n| receivers[n].authenticated(&openings[n], &buffers[n]).expect("a tag apart"));
            let mut round = [[0; 20]; LANES];
            tags(engine, &covered, &mut round);
            for (n, tag) in round.iter().enumerate() {
                sum += receivers[n].finish_rtp(&openings[n], tag, &mut buffers[n][..len]).expect("authentic");
            }
        }
        sum
    }
}

fn batch(c: &mut Criterion) {
    let len = rtp_packet(0, SSRC).len();
    for (name, suite, _) in SUITES {
        for (engine, label) in ENGINES {
            let (engine, apart) = (engine(), suite.has_separate_tag());
            let mut group = c.benchmark_group("protect-batch");
            group.throughput(Throughput::Elements(BATCH as u64));
            group.bench_function(BenchmarkId::new(name, label), |b| {
                let mut batch = Batch::new(suite, engine);
                b.iter(|| {
                    batch.fill();
                    black_box(batch.protect(len, engine, apart))
                });
            });
            group.finish();
            let mut group = c.benchmark_group("unprotect-batch");
            group.throughput(Throughput::Elements(BATCH as u64));
            group.bench_function(BenchmarkId::new(name, label), |b| {
                let mut batch = Batch::new(suite, engine);
                b.iter_custom(|iterations| {
                    let mut spent = std::time::Duration::ZERO;
                    for _ in 0..iterations {
                        batch.fill();
                        let sealed = batch.protect(len, engine, apart) / BATCH;
                        let start = std::time::Instant::now();
                        black_box(batch.unprotect(sealed, engine, apart));
                        spent += start.elapsed();
                    }
                    spent
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, protect, unprotect, batch);
criterion_main!(benches);
