//! The checksum CRC32C (Castagnoli), as in RFC 9260 appendix A. Headers are short, so one bit at a time is fast enough.

/// Returns the checksum of the concatenated parts.
pub(super) fn of(parts: &[&[u8]]) -> u32 {
    let mut sum = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value() {
        assert_eq!(super::of(&[b"12345", b"", b"6789"]), 0xe306_9283);
        assert_eq!(super::of(&[&[0; 32]]), 0x8a91_36aa); // RFC 3720 B.4
    }
}
