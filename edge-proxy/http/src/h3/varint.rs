//! QUIC's variable-length integers (RFC 9000 §16).

/// The largest value that can be encoded: 2^62 - 1.
pub const MAX: u64 = (1 << 62) - 1;

/// Parses the integer at the beginning of `bytes`. Returns its value and its length in bytes. `None` if it is
/// incomplete.
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1usize << (first >> 6);
    let rest = bytes.get(1..len)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, b| value << 8 | u64::from(*b));
    Some((value, len))
}

/// Parses the integer at the beginning of `bytes` and advances past it. `None` if it is incomplete.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, len) = read(bytes)?;
    *bytes = &bytes[len..];
    Some(value)
}

/// Appends `value` in its shortest encoding. `value` must not exceed [`MAX`].
pub fn write(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX);
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value & MAX | 3 << 62).to_be_bytes()),
    }
}
