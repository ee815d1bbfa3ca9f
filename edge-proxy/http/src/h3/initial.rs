//! A parser for the first packets of a QUIC connection, up to the ClientHello (RFC 9000 §12, §17.2, §19.6).
//!
//! Whether an unknown client gets a response depends on its server name, which is in packets that any observer can
//! decrypt. They are therefore parsed here, with no state except the bytes of the ClientHello.

use super::client_hello::MalformedHello;
use super::varint;

/// QUIC version 1.
pub const VERSION_1: u32 = 1;

/// The smallest datagram allowed in a client's first flight (RFC 9000 §14.1).
pub const MIN_DATAGRAM: usize = 1200;

/// The type of a long-header packet in QUIC version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongPacketType {
    /// An Initial packet.
    Initial,
    /// A 0-RTT packet.
    ZeroRtt,
    /// A Handshake packet.
    Handshake,
    /// A Retry packet, which only a server sends.
    Retry,
}

/// The unprotected part of a long packet header (RFC 9000 §17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// The QUIC version.
    pub version: u32,
    /// The packet type. Meaningful only in version 1.
    pub kind: LongPacketType,
    /// The destination connection ID.
    pub destination: &'a [u8],
    /// The source connection ID.
    pub source: &'a [u8],
    /// The offset of the bytes after the connection IDs.
    rest_at: usize,
}

/// Parses the long header at the beginning of a datagram. `None` if it is a short header, incomplete, or has a
/// connection ID of more than 20 bytes in version 1.
pub fn long_header(datagram: &[u8]) -> Option<LongHeader<'_>> {
    let first = *datagram.first()?;
    if first & 0x80 == 0 {
        return None;
    }
    let version = u32::from_be_bytes(*datagram.get(1..)?.first_chunk()?);
    let destination_len = usize::from(*datagram.get(5)?);
    let destination = datagram.get(6..6 + destination_len)?;
    let at = 6 + destination_len;
    let source_len = usize::from(*datagram.get(at)?);
    let source = datagram.get(at + 1..at + 1 + source_len)?;
    // §17.2: at most 20 bytes in version 1.
    if version == VERSION_1 && (destination_len > 20 || source_len > 20) {
        return None;
    }
    let kind = match first >> 4 & 3 {
        0 => LongPacketType::Initial,
        1 => LongPacketType::ZeroRtt,
        2 => LongPacketType::Handshake,
        _ => LongPacketType::Retry,
    };
    Some(LongHeader { version, kind, destination, source, rest_at: at + 1 + source_len })
}

impl LongHeader<'_> {
    /// Returns the offset of the protected packet number and that of the packet's end, for an Initial, 0-RTT or
    /// Handshake packet of version 1. `datagram` must be the one that the header was parsed from. `None` for a Retry
    /// packet, and for one that is incomplete.
    pub fn extent(&self, datagram: &[u8]) -> Option<(usize, usize)> {
        let mut rest = datagram.get(self.rest_at..)?;
        match self.kind {
            LongPacketType::Initial => {
                let token = usize::try_from(varint::take(&mut rest)?).ok()?;
                rest = rest.get(token..)?;
            }
            LongPacketType::ZeroRtt | LongPacketType::Handshake => {}
            LongPacketType::Retry => return None,
        }
        let len = usize::try_from(varint::take(&mut rest)?).ok()?;
        if len > rest.len() {
            return None;
        }
        let number_at = datagram.len() - rest.len();
        Some((number_at, number_at + len))
    }
}

/// A buffer that reassembles a handshake message from CRYPTO frames, which arrive in any order.
#[derive(Clone, Debug, Default)]
pub struct CryptoBuffer {
    /// The message from its beginning. Ranges that are not in `parts` are unspecified.
    bytes: Vec<u8>,
    /// The received ranges: sorted, disjoint, not empty.
    parts: Vec<(usize, usize)>,
}

impl CryptoBuffer {
    /// The longest message that is accepted, in bytes. ClientHellos with post-quantum key shares are less than half as
    /// long.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// The highest number of separate ranges. Clients shuffle their CRYPTO frames into about ten.
    pub const MAX_PARTS: usize = 64;

    /// Creates an empty buffer.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), parts: Vec::new() }
    }

    /// Adds the CRYPTO frames of a decrypted Initial packet.
    ///
    /// # Errors
    /// [`MalformedHello`] for frames that a client's Initial must not contain (RFC 9000 §12.4), overlapping ranges with
    /// different content, and messages above [`MAX_BYTES`](Self::MAX_BYTES) or [`MAX_PARTS`](Self::MAX_PARTS).
    pub fn take_frames(&mut self, mut payload: &[u8]) -> Result<(), MalformedHello> {
        while let Some((kind, rest)) = payload.split_first() {
            payload = rest;
            match kind {
                // PADDING and PING
                0x00 | 0x01 => {}
                // ACK, with or without ECN counts
                0x02 | 0x03 => {
                    let mut next = || varint::take(&mut payload).ok_or(MalformedHello);
                    next()?;
                    next()?;
                    let ranges = next()?;
                    next()?;
                    for _ in 0..ranges {
                        next()?;
                        next()?;
                    }
                    if *kind == 0x03 {
                        next()?;
                        next()?;
                        next()?;
                    }
                }
                // CRYPTO
                0x06 => {
                    let offset = varint::take(&mut payload).ok_or(MalformedHello)?;
                    let len = varint::take(&mut payload).ok_or(MalformedHello)?;
                    let len = usize::try_from(len).map_err(|_| MalformedHello)?;
                    let (data, rest) = payload.split_at_checked(len).ok_or(MalformedHello)?;
                    payload = rest;
                    self.insert(offset, data)?;
                }
                // After CONNECTION_CLOSE no response is needed; other frames are not allowed here.
                _ => return Err(MalformedHello),
            }
        }
        Ok(())
    }

    /// Stores the bytes of a CRYPTO frame.
    ///
    /// # Errors
    /// [`MalformedHello`] if they differ from bytes that were received for the same range, or a limit is exceeded.
    fn insert(&mut self, offset: u64, data: &[u8]) -> Result<(), MalformedHello> {
        let start = usize::try_from(offset).map_err(|_| MalformedHello)?;
        let end =
            start.checked_add(data.len()).filter(|end| *end <= Self::MAX_BYTES).ok_or(MalformedHello)?;
        if data.is_empty() {
            return Ok(());
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        // Different bytes for one offset would be two ClientHellos: one for this parser and one for the next.
        let changed = |part: &(usize, usize)| {
            let (from, to) = (part.0.max(start), part.1.min(end));
            from < to && self.bytes[from..to] != data[from - start..to - start]
        };
        if self.parts.iter().any(changed) {
            return Err(MalformedHello);
        }
        self.bytes[start..end].copy_from_slice(data);
        // Ranges that touch this one are merged with it.
        let from = self.parts.partition_point(|part| part.1 < start);
        let to = self.parts.partition_point(|part| part.0 <= end);
        let joined = self.parts[from..to]
            .iter()
            .fold((start, end), |all, part| (all.0.min(part.0), all.1.max(part.1)));
        self.parts.splice(from..to, [joined]);
        if self.parts.len() > Self::MAX_PARTS { Err(MalformedHello) } else { Ok(()) }
    }

    /// Iterates over the received ranges of the message, in ascending order.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|(start, end)| &self.bytes[*start..*end])
    }

    /// Returns the bytes from the beginning up to the first gap.
    pub fn contiguous(&self) -> &[u8] {
        match self.parts.first() {
            Some((0, end)) => &self.bytes[..*end],
            _ => &[],
        }
    }
}
