//! A map whose keys are host names.
//!
//! Only the configuration adds keys. A client can look names up, but cannot slow lookups down, so a short hash without
//! cryptographic strength suffices. Tenants of the operator may choose names that are configured: the seed of the hash
//! is therefore random for each process, so that colliding names cannot be chosen in advance.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// A map by normalized host name, whose keys are those of the configuration.
pub(super) type HostMap<V> = HashMap<String, V, HostHasherBuilder>;

/// An odd factor with bits in all bytes: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The seed of the process.
static SEED: LazyLock<HostHasher> = LazyLock::new(|| {
    let random = RandomState::new();
    // An even factor would lose a bit.
    HostHasher { hash: random.hash_one(0), factor: (random.hash_one(1) ^ FACTOR) | 1 }
});

/// Creates hashers that begin with the seed of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostHasherBuilder(HostHasher);

impl Default for HostHasherBuilder {
    fn default() -> Self {
        Self(*SEED)
    }
}

impl BuildHasher for HostHasherBuilder {
    type Hasher = HostHasher;

    #[inline]
    fn build_hasher(&self) -> HostHasher {
        self.0
    }
}

/// A multiplicative hash of words of eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostHasher {
    /// The hash of the words so far.
    hash: u64,
    /// The odd, random factor.
    factor: u64,
}

impl HostHasher {
    /// Adds a word to the hash: both halves of the product depend on it.
    #[inline]
    const fn add(&mut self, word: u64) {
        let product = (self.hash ^ word) as u128 * self.factor as u128;
        self.hash = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for HostHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if let Some(last) = bytes.last_chunk() {
            // Overlaps the word before it.
            self.add(u64::from_le_bytes(*last));
        } else {
            let word = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.add(word);
        }
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        // Follows each name. Behind the bytes of a single one it separates nothing but lengths.
        self.add(u64::from(byte));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Ten thousand names, as those of a provider, have hashes that spread like random ones in the bits that the map
    /// uses.
    #[test]
    fn names_spread() {
        let names = (0..10_000).map(|n| format!("customer-{n}.apps.example.org"));
        let hash = HostHasherBuilder::default();
        let hashes: Vec<u64> = names.map(|name| hash.hash_one(name.as_str())).collect();
        let distinct =
            |bits: fn(u64) -> u64| hashes.iter().map(|hash| bits(*hash)).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|hash| hash), 10_000);
        // Of 16,384 places, 10,000 random hashes take about 7,480.
        assert!(distinct(|hash| hash & 0x3fff) > 7_200, "{}", distinct(|hash| hash & 0x3fff));
        assert_eq!(distinct(|hash| hash >> 57), 128);
    }

    #[test]
    fn names_of_any_length_are_found() {
        let names = (0..40).map(|length| "abcdefghij".repeat(4)[..length].to_owned());
        let map: HostMap<usize> = names.clone().zip(0..).collect();
        assert!(names.zip(0..).all(|(name, at)| map.get(name.as_str()) == Some(&at)));
        assert_eq!(map.get("abd"), None);
    }
}
