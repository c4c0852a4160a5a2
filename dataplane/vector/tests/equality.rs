//! Every function against a kept library, over lengths around each border. Where the processor has no AVX-512 the tests say so
//! and pass: there is nothing to compare.

use aes::cipher::{KeyIvInit, StreamCipher};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use crosspoint_vector::{AesKey, Authenticated, Avx512, GcmKey, HmacStates, LANES, tags};
use hmac::{Hmac, KeyInit, Mac};
use proptest::collection::vec;
use proptest::prelude::*;
use sha1::Sha1;

fn processor() -> Option<Avx512> {
    let proof = Avx512::detect();
    if proof.is_none() {
        eprintln!("no AVX-512 with VAES and VPCLMULQDQ here: nothing to compare");
    }
    proof
}

fn counter_mode_of_rustcrypto(key: &[u8], iv: [u8; 16], data: &mut [u8]) {
    match key.len() {
        16 => ctr::Ctr32BE::<aes::Aes128>::new(key.try_into().unwrap(), &iv.into()).apply_keystream(data),
        _ => ctr::Ctr32BE::<aes::Aes256>::new(key.try_into().unwrap(), &iv.into()).apply_keystream(data),
    }
}

fn key_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 16), vec(any::<u8>(), 32)]
}

/// Short packets often, long ones now and then.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..300), 1 => vec(any::<u8>(), 0..5000)]
}

fn seal_of_aws_lc(key: &[u8], nonce: [u8; 12], associated: &[u8], payload: &mut [u8]) -> [u8; 16] {
    let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(associated), payload).unwrap();
    tag.as_ref().try_into().unwrap()
}

/// The states behind the pads, by the library's compression function.
fn states(key: &[u8; 20]) -> HmacStates {
    let state = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        let mut state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
        sha1::block_api::compress(&mut state, &[block]);
        state
    };
    HmacStates { inner: state(0x36), outer: state(0x5c) }
}

proptest! {
    #[test]
    fn key_stream_is_that_of_rustcrypto(key in key_bytes(), iv: [u8; 16], data in message()) {
        let Some(proof) = processor() else { return Ok(()) };
        let (mut ours, mut theirs) = (data.clone(), data);
        AesKey::new(proof, &key).apply_key_stream(iv, &mut ours);
        counter_mode_of_rustcrypto(&key, iv, &mut theirs);
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn gcm_seals_and_opens_as_aws_lc(key in key_bytes(), nonce: [u8; 12], associated in message(), payload in message()) {
        let Some(proof) = processor() else { return Ok(()) };
        let gcm = GcmKey::new(proof, &key);
        let (mut ours, mut theirs) = (payload.clone(), payload.clone());
        let tag = gcm.seal(&nonce, &associated, &mut ours);
        let expected = seal_of_aws_lc(&key, nonce, &associated, &mut theirs);
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(tag, expected);
        prop_assert_eq!(gcm.open(&nonce, &associated, &mut ours), expected);
        prop_assert_eq!(ours, payload);
    }

    #[test]
    fn tags_are_those_of_rustcrypto(packets in vec((any::<[u8; 20]>(), message(), 0..=4usize), 0..=LANES)) {
        let Some(proof) = processor() else { return Ok(()) };
        let keys: Vec<_> = packets.iter().map(|(key, ..)| states(key)).collect();
        let trailer = [1, 2, 3, 4];
        let lanes: Vec<_> = packets
            .iter()
            .zip(&keys)
            .map(|((_, message, n), states)| Authenticated { states, message, trailer: &trailer[..*n] })
            .collect();
        let mut ours = [[0; 20]; LANES];
        tags(proof, &lanes, &mut ours);
        for ((key, message, n), ours) in packets.iter().zip(ours) {
            let mut hmac = Hmac::<Sha1>::new_from_slice(key).unwrap();
            hmac.update(message);
            hmac.update(&trailer[..*n]);
            let expected: [u8; 20] = hmac.finalize().into_bytes().into();
            prop_assert_eq!(ours, expected);
        }
    }
}

/// Each count of blocks that can begin, fill or cross a window of the hash, with and without a part of a block.
#[test]
fn gcm_agrees_at_every_length() {
    let Some(proof) = processor() else { return };
    let key = [7; 16];
    let gcm = GcmKey::new(proof, &key);
    for associated in (0..=80).chain([252, 256, 260, 272, 320, 512, 520]) {
        for payload in 0..=600 {
            let (associated, mut ours) = (vec![3; associated], vec![5; payload]);
            let mut theirs = ours.clone();
            let tag = gcm.seal(&[9; 12], &associated, &mut ours);
            let expected = seal_of_aws_lc(&key, [9; 12], &associated, &mut theirs);
            assert!(tag == expected && ours == theirs, "{} associated, {payload} of payload", associated.len());
        }
    }
}

#[test]
fn tags_agree_at_every_length() {
    let Some(proof) = processor() else { return };
    let states = states(&[7; 20]);
    for len in 0..400 {
        let message = vec![5; len];
        let mut ours = [[0; 20]; LANES];
        tags(proof, &[Authenticated { states: &states, message: &message, trailer: &[0; 4] }; 3], &mut ours);
        let mut hmac = Hmac::<Sha1>::new_from_slice(&[7; 20]).unwrap();
        hmac.update(&message);
        hmac.update(&[0; 4]);
        let expected: [u8; 20] = hmac.finalize().into_bytes().into();
        assert_eq!(ours[..3], [expected; 3], "{len} bytes");
    }
}
