//! What every datagram meets before its leg is known: classification, the RTP header, a STUN check; and the frames
//! between the planes.

use criterion::{Criterion, criterion_group, criterion_main};
use crosspoint_bench::inputs::rtp_packet;
use crosspoint_contract::{Command, CommandId, FrameReader, LegId, Order, ToDataplane, frame};
use crosspoint_wire::classify::classify;
use crosspoint_wire::rtp::RtpHeader;
use crosspoint_wire::stun;
use std::hint::black_box;

/// RFC 5769 §2.1, a binding request as an ICE agent sends it.
const BINDING_REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\
\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn parsers(c: &mut Criterion) {
    let packet = rtp_packet(7, 0xC0FFEE);
    c.bench_function("classify", |b| b.iter(|| black_box(classify(black_box(&packet)))));
    c.bench_function("rtp_header", |b| b.iter(|| black_box(RtpHeader::parse(black_box(&packet)).expect("valid"))));
    c.bench_function("stun_check_parse_and_verify", |b| {
        b.iter(|| {
            let message = stun::Message::parse(black_box(BINDING_REQUEST)).expect("valid");
            assert!(message.verify_integrity(PASSWORD));
            black_box(message.username())
        });
    });
}

fn frames(c: &mut Criterion) {
    let order = ToDataplane::Order(Order { id: CommandId(7), command: Command::ReadLeg { leg: LegId(9) } });
    let mut bytes = Vec::new();
    c.bench_function("contract_frame_round_trip", |b| {
        b.iter(|| {
            bytes.clear();
            frame::encode(&order, &mut bytes);
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            black_box(reader.next::<ToDataplane>().expect("well-formed"))
        });
    });
}

criterion_group!(benches, parsers, frames);
criterion_main!(benches);
