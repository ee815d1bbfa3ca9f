//! QUIC's variable-length integers (RFC 9000 §16).

/// The largest value that can be written.
pub const MAX: u64 = (1 << 62) - 1;

/// Reads one from the front: the value, and how many bytes it took. `None` if it is not there whole.
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1usize << (first >> 6);
    let rest = bytes.get(1..len)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, b| value << 8 | u64::from(*b));
    Some((value, len))
}

/// Reads one and moves on.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, len) = read(bytes)?;
    *bytes = &bytes[len..];
    Some(value)
}

/// Appends `value` in as few bytes as it needs. Values above [`MAX`] cannot be written and are cut off.
pub fn write(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX);
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value & MAX | 3 << 62).to_be_bytes()),
    }
}
