//! The frames of HTTP/3 (RFC 9114 §7), read from a stream as it comes.

use super::varint;

/// DATA.
pub const DATA: u64 = 0x0;
/// HEADERS.
pub const HEADERS: u64 = 0x1;
/// CANCEL_PUSH.
pub const CANCEL_PUSH: u64 = 0x3;
/// SETTINGS.
pub const SETTINGS: u64 = 0x4;
/// PUSH_PROMISE.
pub const PUSH_PROMISE: u64 = 0x5;
/// GOAWAY.
pub const GOAWAY: u64 = 0x7;
/// MAX_PUSH_ID.
pub const MAX_PUSH_ID: u64 = 0xd;

/// Whether this type is reserved because HTTP/2 used it: such a frame is an error wherever it stands (§7.2.8).
pub const fn is_forbidden(kind: u64) -> bool {
    matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
}

/// What the next bytes of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet: all bytes were taken and more are needed.
    More,
    /// A frame of this type begins, with so many bytes of payload to follow. If that is none, it is over already.
    Begin {
        /// Its type.
        kind: u64,
        /// The length of its payload.
        len: u64,
    },
    /// So many bytes are payload of the frame that began.
    Payload {
        /// How many.
        len: usize,
        /// Whether the frame ends with them.
        end: bool,
    },
}

/// Splits a stream of bytes into frames. It holds no payload, only a header that is not whole yet.
#[derive(Clone, Debug, Default)]
pub struct FrameReader {
    head: [u8; 16],
    have: u8,
    left: u64,
}

impl FrameReader {
    /// At the beginning of a stream.
    pub const fn new() -> Self {
        Self { head: [0; 16], have: 0, left: 0 }
    }

    /// Looks at `input`. Returns how many bytes of it are framing and done with, and what comes after them; the bytes
    /// of a [`Step::Payload`] are not among the first, and are the caller's.
    pub fn step(&mut self, input: &[u8]) -> (usize, Step) {
        if self.left > 0 {
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            if len == 0 {
                return (0, Step::More);
            }
            self.left -= len as u64;
            return (0, Step::Payload { len, end: self.left == 0 });
        }
        if self.have == 0
            && let Some((kind, len, used)) = header(input)
        {
            self.left = len;
            return (used, Step::Begin { kind, len });
        }
        for (used, b) in input.iter().enumerate() {
            self.head[usize::from(self.have)] = *b;
            self.have += 1;
            // Two integers of at most 8 bytes each: at the sixteenth byte at the latest the header is whole.
            if let Some((kind, len, _)) = header(&self.head[..usize::from(self.have)]) {
                self.have = 0;
                self.left = len;
                return (used + 1, Step::Begin { kind, len });
            }
        }
        (input.len(), Step::More)
    }

    /// Whether the stream may end here: not inside a frame (RFC 9114 §7.1).
    pub const fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

fn header(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, a) = varint::read(bytes)?;
    let (len, b) = varint::read(&bytes[a..])?;
    Some((kind, len, a + b))
}

/// Appends the header of a frame.
pub fn write_header(out: &mut Vec<u8>, kind: u64, len: u64) {
    varint::write(out, kind);
    varint::write(out, len);
}
