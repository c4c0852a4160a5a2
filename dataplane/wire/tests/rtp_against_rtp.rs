//! The RTP header of this crate against the `rtp` crate, and header extensions rewritten in place.

use ::rtp::header::{Extension, Header};
use ::rtp::packet::Packet;
use crosspoint_wire::rtp::{self, RtpHeader};
use proptest::prelude::*;
use webrtc_util::marshal::{Marshal, Unmarshal};

fn header() -> impl Strategy<Value = Header> {
    let elements = prop::collection::btree_map(1u8..15, prop::collection::vec(any::<u8>(), 1..17), 0..5);
    let two_byte = prop::collection::btree_map(1u8..=255, prop::collection::vec(any::<u8>(), 0..40), 0..5);
    let extension = prop_oneof![
        Just((false, 0u16, Default::default())),
        elements.prop_map(|elements| (true, 0xBEDE, elements)),
        two_byte.prop_map(|elements| (true, 0x1000, elements)),
    ];
    (
        any::<bool>(),
        0u8..128,
        any::<u16>(),
        any::<u32>(),
        any::<u32>(),
        prop::collection::vec(any::<u32>(), 0..16),
        extension,
    )
        .prop_map(
            |(marker, payload_type, sequence_number, timestamp, ssrc, csrc, (extension, profile, elements))| Header {
                version: 2,
                padding: false,
                extension,
                marker,
                payload_type,
                sequence_number,
                timestamp,
                ssrc,
                csrc,
                extension_profile: profile,
                extensions: elements
                    .into_iter()
                    .map(|(id, payload)| Extension { id, payload: payload.into() })
                    .collect(),
                extensions_padding: 0,
            },
        )
}

fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let header = RtpHeader::parse(packet).unwrap();
    let mut cursor = header.extensions(packet);
    std::iter::from_fn(|| cursor.next(packet)).map(|e| (e.id, packet[e.value].to_vec())).collect()
}

proptest! {
    #[test]
    fn what_the_other_crate_writes_is_read(header in header(), payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let packet = Packet { header, payload: payload.into() };
        let raw = packet.marshal().unwrap();
        let ours = RtpHeader::parse(&raw).unwrap();
        prop_assert_eq!(ours.marker, packet.header.marker);
        prop_assert_eq!(ours.payload_type, packet.header.payload_type);
        prop_assert_eq!(ours.sequence_number, packet.header.sequence_number);
        prop_assert_eq!(ours.timestamp, packet.header.timestamp);
        prop_assert_eq!(ours.ssrc, packet.header.ssrc);
        prop_assert_eq!(usize::from(ours.csrc_count), packet.header.csrc.len());
        prop_assert_eq!(ours.has_extension, packet.header.extension);
        prop_assert_eq!(ours.payload(&raw), &packet.payload[..]);
        let theirs: Vec<_> = packet.header.extensions.iter().map(|e| (e.id, e.payload.to_vec())).collect();
        prop_assert_eq!(elements(&raw), theirs);
    }

    #[test]
    fn what_is_rewritten_in_place_is_read_by_the_other_crate(
        header in header(), payload_type in 0u8..128, marker: bool, sequence_number: u16, timestamp: u32, ssrc: u32,
    ) {
        let packet = Packet { header, payload: vec![1, 2, 3].into() };
        let mut raw = packet.marshal().unwrap().to_vec();
        rtp::set_payload_type(&mut raw, payload_type);
        rtp::set_marker(&mut raw, marker);
        rtp::set_sequence_number(&mut raw, sequence_number);
        rtp::set_timestamp(&mut raw, timestamp);
        rtp::set_ssrc(&mut raw, ssrc);
        let expected = Header { payload_type, marker, sequence_number, timestamp, ssrc, ..packet.header };
        let theirs = Packet::unmarshal(&mut &raw[..]).unwrap();
        prop_assert_eq!(theirs.header.marshal().unwrap(), expected.marshal().unwrap());
        prop_assert_eq!(theirs.payload, packet.payload);
    }

    #[test]
    fn both_refuse_or_both_read_the_same(raw in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut raw = raw;
        // Versions other than 2 we refuse and they do not; padding they leave to the payload.
        if let Some(first) = raw.first_mut() {
            *first = 0x80 | (*first & 0x1f);
        }
        let theirs = Header::unmarshal(&mut &raw[..]);
        if let Ok(ours) = RtpHeader::parse(&raw) {
            if let Ok(theirs) = theirs {
                prop_assert_eq!((ours.ssrc, ours.timestamp), (theirs.ssrc, theirs.timestamp));
            }
        } else {
            prop_assert!(theirs.is_err());
        }
    }
}

#[test]
fn a_written_header_is_read_back() {
    let header = RtpHeader::new(101, true, 7, 960, 42);
    let mut packet = [0xff; 16];
    assert_eq!(header.write(&mut packet), Some(12));
    let expected = RtpHeader { payload_len: 4, ..header };
    assert_eq!(RtpHeader::parse(&packet), Ok(expected));
    assert_eq!(header.write(&mut packet[..11]), None);
}

#[test]
fn padding_is_not_payload() {
    let mut packet = [0; 20];
    RtpHeader::new(0, false, 1, 2, 3).write(&mut packet);
    packet[0] |= 0x20;
    packet[19] = 5;
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!((header.payload_len, header.padding_len), (3, 5));
    for count in [0, 9] {
        packet[19] = count;
        assert_eq!(RtpHeader::parse(&packet), Err(rtp::RtpError::Padding));
    }
}

#[test]
fn elements_are_renamed_and_erased_in_place() {
    let mut packet = [0; 28];
    RtpHeader::new(0, false, 1, 2, 3).write(&mut packet);
    packet[0] |= 0x10;
    packet[12..28].copy_from_slice(&[0xbe, 0xde, 0, 3, 0x10, 0xaa, 0x22, 1, 2, 3, 0, 0, 0x30, 0xbb, 0, 0]);
    assert_eq!(elements(&packet), [(1, vec![0xaa]), (2, vec![1, 2, 3]), (3, vec![0xbb])]);

    let mut cursor = RtpHeader::parse(&packet).unwrap().extensions(&packet);
    cursor.next(&packet).unwrap().set_id(&mut packet, 9);
    cursor.next(&packet).unwrap().erase(&mut packet);
    cursor.next(&packet).unwrap().set_id(&mut packet, 200);
    assert_eq!(elements(&packet), [(9, vec![0xaa])], "an id too large for the form erases");
}
