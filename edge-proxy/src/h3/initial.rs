//! The first packets of a QUIC connection, as far as the ClientHello in them (RFC 9000 §12, §17.2, §19.6).
//!
//! Whether a stranger is answered at all depends on the name it asks for, and that is inside packets that anyone who
//! sees them can decrypt. So they are read here, with no state but the bytes of the ClientHello.

use super::client_hello::MalformedHello;
use super::varint;

/// QUIC version 1.
pub const VERSION_1: u32 = 1;

/// A client's first flight may not come in smaller datagrams (RFC 9000 §14.1).
pub const MIN_DATAGRAM: usize = 1200;

/// The types of packets with a long header in version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongKind {
    /// Initial.
    Initial,
    /// 0-RTT.
    ZeroRtt,
    /// Handshake.
    Handshake,
    /// Retry, which only a server sends.
    Retry,
}

/// The part of a long header that is not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// The version of QUIC.
    pub version: u32,
    /// The type; only meaningful in version 1.
    pub kind: LongKind,
    /// The connection id that it is for.
    pub destination: &'a [u8],
    /// The connection id that it is from.
    pub source: &'a [u8],
    /// Where what follows the connection ids begins.
    rest_at: usize,
}

/// Reads the long header at the front of a datagram. `None` if there is none.
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
        0 => LongKind::Initial,
        1 => LongKind::ZeroRtt,
        2 => LongKind::Handshake,
        _ => LongKind::Retry,
    };
    Some(LongHeader { version, kind, destination, source, rest_at: at + 1 + source_len })
}

impl LongHeader<'_> {
    /// For an Initial, 0-RTT or Handshake packet of version 1: where the protected packet number is, and where the packet
    /// ends. `None` if the packet is not whole.
    pub fn extent(&self, datagram: &[u8]) -> Option<(usize, usize)> {
        let mut rest = datagram.get(self.rest_at..)?;
        match self.kind {
            LongKind::Initial => {
                let token = usize::try_from(varint::take(&mut rest)?).ok()?;
                rest = rest.get(token..)?;
            }
            LongKind::ZeroRtt | LongKind::Handshake => {}
            LongKind::Retry => return None,
        }
        let len = usize::try_from(varint::take(&mut rest)?).ok()?;
        if len > rest.len() {
            return None;
        }
        let number_at = datagram.len() - rest.len();
        Some((number_at, number_at + len))
    }
}

/// The bytes of a handshake message, put together from CRYPTO frames in any order.
#[derive(Clone, Debug, Default)]
pub struct CryptoBuffer {
    bytes: Vec<u8>,
    /// The parts that are there: sorted, apart from each other, not empty.
    parts: Vec<(usize, usize)>,
}

impl CryptoBuffer {
    /// No ClientHello in the wild is half as long, post-quantum shares included.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Clients shuffle their frames on purpose, but into some ten of them.
    pub const MAX_PARTS: usize = 64;

    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), parts: Vec::new() }
    }

    /// Takes the CRYPTO frames of a decrypted Initial packet. Anything but what a client's Initial may have is an error
    /// (RFC 9000 §12.4).
    pub fn take_frames(&mut self, mut payload: &[u8]) -> Result<(), MalformedHello> {
        while let Some((kind, rest)) = payload.split_first() {
            payload = rest;
            match kind {
                // PADDING, PING
                0x00 | 0x01 => {}
                // ACK, with the counts of ECN or without
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
                // CONNECTION_CLOSE: there is nothing left to answer. The rest is not allowed here.
                _ => return Err(MalformedHello),
            }
        }
        Ok(())
    }

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
        // Two versions of one byte would be two ClientHellos: one for this reader and one for the next.
        let changed = |part: &(usize, usize)| {
            let (from, to) = (part.0.max(start), part.1.min(end));
            from < to && self.bytes[from..to] != data[from - start..to - start]
        };
        if self.parts.iter().any(changed) {
            return Err(MalformedHello);
        }
        self.bytes[start..end].copy_from_slice(data);
        // The parts that touch this one become one with it.
        let from = self.parts.partition_point(|part| part.1 < start);
        let to = self.parts.partition_point(|part| part.0 <= end);
        let joined = self.parts[from..to]
            .iter()
            .fold((start, end), |all, part| (all.0.min(part.0), all.1.max(part.1)));
        self.parts.splice(from..to, [joined]);
        if self.parts.len() > Self::MAX_PARTS { Err(MalformedHello) } else { Ok(()) }
    }

    /// What is there from the beginning without a gap.
    pub fn contiguous(&self) -> &[u8] {
        match self.parts.first() {
            Some((0, end)) => &self.bytes[..*end],
            _ => &[],
        }
    }
}
