//! HTTP/3 frames (RFC 9114 §7), decoded incrementally from a stream.

use super::varint;

/// The DATA frame type.
pub const DATA: u64 = 0x0;
/// The HEADERS frame type.
pub const HEADERS: u64 = 0x1;
/// The CANCEL_PUSH frame type.
pub const CANCEL_PUSH: u64 = 0x3;
/// The SETTINGS frame type.
pub const SETTINGS: u64 = 0x4;
/// The PUSH_PROMISE frame type.
pub const PUSH_PROMISE: u64 = 0x5;
/// The GOAWAY frame type.
pub const GOAWAY: u64 = 0x7;
/// The MAX_PUSH_ID frame type.
pub const MAX_PUSH_ID: u64 = 0xd;

/// The PRIORITY_UPDATE frame type for request streams (RFC 9218 §7.2).
pub const PRIORITY_UPDATE: u64 = 0xf_0700;
/// The PRIORITY_UPDATE frame type for pushes (RFC 9218 §7.2).
pub const PRIORITY_UPDATE_PUSH: u64 = 0xf_0701;

/// Returns whether the frame type is reserved because HTTP/2 used it. Such a frame is a connection error of type
/// H3_FRAME_UNEXPECTED (RFC 9114 §7.2.8).
pub const fn is_forbidden(kind: u64) -> bool {
    matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
}

/// The result of a decoding step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameEvent {
    /// All bytes were consumed, and more are needed.
    More,
    /// A frame begins. If its payload is empty, it is complete.
    Begin {
        /// The frame type.
        kind: u64,
        /// The length of the payload in bytes.
        len: u64,
    },
    /// Payload bytes of the current frame follow in the input, for the caller to consume.
    Payload {
        /// The number of payload bytes.
        len: usize,
        /// True if the frame ends with them.
        end: bool,
    },
}

/// A decoder that splits a stream of bytes into frames. It buffers no payload, only an incomplete header.
#[derive(Clone, Debug, Default)]
pub struct FrameReader {
    /// The received bytes of an incomplete header.
    head: [u8; 16],
    /// The number of bytes in `head`.
    have: u8,
    /// The number of payload bytes of the frame that have not arrived.
    left: u64,
}

impl FrameReader {
    /// Creates a decoder at the beginning of a stream.
    pub const fn new() -> Self {
        Self { head: [0; 16], have: 0, left: 0 }
    }

    /// Decodes `input`. Returns the number of framing bytes consumed, and the event after them. The payload bytes of a
    /// [`FrameEvent::Payload`] are not included in that number; the next call must begin behind them.
    pub fn step(&mut self, input: &[u8]) -> (usize, FrameEvent) {
        if self.left > 0 {
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            if len == 0 {
                return (0, FrameEvent::More);
            }
            self.left -= len as u64;
            return (0, FrameEvent::Payload { len, end: self.left == 0 });
        }
        if self.have == 0
            && let Some((kind, len, used)) = header(input)
        {
            self.left = len;
            return (used, FrameEvent::Begin { kind, len });
        }
        for (used, b) in input.iter().enumerate() {
            self.head[usize::from(self.have)] = *b;
            self.have += 1;
            // Two integers of at most 8 bytes each: after sixteen bytes the header is complete.
            if let Some((kind, len, _)) = header(&self.head[..usize::from(self.have)]) {
                self.have = 0;
                self.left = len;
                return (used + 1, FrameEvent::Begin { kind, len });
            }
        }
        (input.len(), FrameEvent::More)
    }

    /// Returns whether the last frame is complete, so that the stream may end here (RFC 9114 §7.1).
    pub const fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

/// Parses the header of a frame. Returns its type, the length of its payload, and its own length in bytes. `None` if it
/// is incomplete.
fn header(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, a) = varint::read(bytes)?;
    let (len, b) = varint::read(&bytes[a..])?;
    Some((kind, len, a + b))
}

/// Appends the header of a frame: its type `kind`, and the length of its payload, `len` bytes.
pub fn write_header(out: &mut Vec<u8>, kind: u64, len: u64) {
    varint::write(out, kind);
    varint::write(out, len);
}
