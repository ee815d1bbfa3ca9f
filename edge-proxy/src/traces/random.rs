//! Random numbers for identifiers: fast, different for every worker, and not cryptographically secure.

use std::cell::Cell;

/// A generator of random numbers: xoshiro256++ (Blackman and Vigna, 2019).
pub(super) struct Random(Cell<[u64; 4]>);

impl Random {
    /// Creates a generator with a seed from the system. If the system has none, the sequence is the same at every
    /// start.
    pub(super) fn new() -> Self {
        let mut seed = [0; 32];
        // Without randomness the identifiers repeat those of an earlier start, which is only confusing.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        let mut words = seed
            .chunks_exact(8)
            .map(|word| word.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte)));
        Self(Cell::new(std::array::from_fn(|at| words.next().unwrap_or_default() | u64::from(at == 0))))
    }

    /// Returns the next 64 random bits.
    pub(super) fn next(&self) -> u64 {
        let mut state = self.0.get();
        let next = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        self.0.set(state);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_published_sequence() {
        let random = Random(std::cell::Cell::new([1, 2, 3, 4]));
        let numbers: [u64; 4] = std::array::from_fn(|_| random.next());
        assert_eq!(numbers, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
        assert_ne!(Random::new().next(), Random::new().next());
    }
}
