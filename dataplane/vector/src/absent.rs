//! Stands in for everything on processors other than x86-64: no value of these types exists there.

use crate::{Authenticated, LANES};

#[derive(Clone, Copy, Debug)]
pub enum Avx512 {}

impl Avx512 {
    pub fn detect() -> Option<Self> {
        None
    }
}

pub enum AesKey {}

impl AesKey {
    pub fn new(proof: Avx512, _key: &[u8]) -> Self {
        match proof {}
    }

    pub fn apply_key_stream(&self, _iv: [u8; 16], _data: &mut [u8]) {
        match *self {}
    }
}

pub enum GcmKey {}

impl GcmKey {
    pub fn new(proof: Avx512, _key: &[u8]) -> Self {
        match proof {}
    }

    pub fn seal(&self, _nonce: &[u8; 12], _associated: &[u8], _payload: &mut [u8]) -> [u8; 16] {
        match *self {}
    }

    pub fn open(&self, _nonce: &[u8; 12], _associated: &[u8], _payload: &mut [u8]) -> [u8; 16] {
        match *self {}
    }
}

pub fn tags(proof: Avx512, _packets: &[Authenticated<'_>], _tags: &mut [[u8; 20]; LANES]) {
    match proof {}
}
