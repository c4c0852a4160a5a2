//! A hash map of fixed size from an address or a username fragment to a leg's slot.
//!
//! Input: keys that peers influence. Output: the slot, in one or two cache lines. Owns its table, which is allocated
//! once; inserting never allocates and is refused when the table is seven eighths full. The hash is seeded at random,
//! so that peers cannot choose colliding keys. Does not iterate.
//!
//! Open addressing with linear probing; removal shifts the following entries back, so there are no tombstones and a
//! table that has seen a day of churn is as fast as a new one.

use crate::io::Remote;
use std::hash::{Hash, Hasher};

/// What a key must be able to do: be compared, and be spread over 64 bits.
pub trait Key: Copy + Eq {
    fn fold(&self, seed: u64) -> u64;
}

impl Key for Remote {
    #[inline]
    fn fold(&self, seed: u64) -> u64 {
        let mut hasher = Fold(seed);
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// A username fragment of exactly eight characters, which all of ours are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UfragKey([u8; 8]);

impl UfragKey {
    /// Nothing for a fragment that cannot be ours.
    pub fn new(ufrag: &str) -> Option<Self> {
        ufrag.as_bytes().try_into().ok().map(UfragKey)
    }
}

impl Key for UfragKey {
    #[inline]
    fn fold(&self, seed: u64) -> u64 {
        multiply_fold(u64::from_le_bytes(self.0) ^ seed, 0x9E37_79B9_7F4A_7C15)
    }
}

/// Both halves of the 128-bit product: each input bit reaches each output bit.
#[inline]
fn multiply_fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// Multiplies each word in; a [`Hasher`] of three multiplications for an address.
struct Fold(u64);

impl Hasher for Fold {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for &byte in rest {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = multiply_fold(self.0 ^ word, 0x9E37_79B9_7F4A_7C15);
    }

    /// A port is one word, not two bytes.
    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    /// The constant length of an array: nothing to tell apart.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy)]
struct Entry<K> {
    key: K,
    slot: u32,
}

pub struct FlatMap<K> {
    entries: Box<[Option<Entry<K>>]>,
    seed: u64,
    len: usize,
    len_max: usize,
}

impl<K: Key> FlatMap<K> {
    /// A table that takes at least `keys_max` keys.
    pub fn new(keys_max: usize, seed: u64) -> Self {
        let size = (keys_max * 8 / 7 + 8).next_power_of_two();
        FlatMap { entries: vec![None; size].into_boxed_slice(), seed, len: 0, len_max: size / 8 * 7 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn get(&self, key: K) -> Option<u32> {
        self.entries[self.find(key)].map(|entry| entry.slot)
    }

    /// Sets or replaces; false when the key is new and the table is full.
    pub fn insert(&mut self, key: K, slot: u32) -> bool {
        let at = self.find(key);
        if self.entries[at].is_none() {
            if self.len == self.len_max {
                return false;
            }
            self.len += 1;
        }
        self.entries[at] = Some(Entry { key, slot });
        true
    }

    /// Removes the key if it still points to `slot`: a newer owner keeps it.
    pub fn remove(&mut self, key: K, slot: u32) {
        let at = self.find(key);
        if self.entries[at].is_some_and(|entry| entry.slot == slot) {
            self.len -= 1;
            self.close_gap(at);
        }
    }

    /// Where the key is, or where it would be put.
    #[inline]
    fn find(&self, key: K) -> usize {
        let mut at = self.home(key);
        while let Some(entry) = &self.entries[at]
            && entry.key != key
        {
            at = self.next(at);
        }
        at
    }

    /// Moves back each following entry that may live nearer to its home.
    fn close_gap(&mut self, mut gap: usize) {
        let mut at = self.next(gap);
        while let Some(entry) = self.entries[at] {
            let home = self.home(entry.key);
            if self.distance(home, at) >= self.distance(gap, at) {
                self.entries[gap] = Some(entry);
                gap = at;
            }
            at = self.next(at);
        }
        self.entries[gap] = None;
    }

    #[inline]
    fn home(&self, key: K) -> usize {
        key.fold(self.seed) as usize & (self.entries.len() - 1)
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.entries.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.entries.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::net::SocketAddr;

    fn addr(n: u16) -> Remote {
        Remote::from(SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], n)))
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_map_through_any_churn(
            steps in proptest::collection::vec((any::<bool>(), 0..48u16, 0..4u32), 0..400)
        ) {
            let mut map = FlatMap::new(48, 7);
            let mut oracle = HashMap::new();
            for (insert, n, slot) in steps {
                if insert {
                    prop_assert!(map.insert(addr(n), slot));
                    oracle.insert(n, slot);
                } else {
                    map.remove(addr(n), slot);
                    if oracle.get(&n) == Some(&slot) {
                        oracle.remove(&n);
                    }
                }
                prop_assert_eq!(map.len(), oracle.len());
                for n in 0..48 {
                    prop_assert_eq!(map.get(addr(n)), oracle.get(&n).copied());
                }
            }
        }
    }

    #[test]
    fn a_full_map_refuses_new_keys_and_keeps_the_old() {
        let mut map = FlatMap::new(1, 1);
        let taken = (0..100).filter(|&n| map.insert(addr(n), 5)).count();
        assert_eq!(taken, map.len());
        assert!(taken < 100);
        assert!(map.insert(addr(0), 6), "replacing needs no room");
        assert_eq!(map.get(addr(0)), Some(6));
    }
}
