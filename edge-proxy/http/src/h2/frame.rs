//! Frame layout (RFC 9113 §4.1, §6).

/// The DATA frame: content.
pub const DATA: u8 = 0;
/// The HEADERS frame: the beginning of a field section.
pub const HEADERS: u8 = 1;
/// The PRIORITY frame, which is deprecated.
pub const PRIORITY: u8 = 2;
/// The RST_STREAM frame: aborts a stream.
pub const RST_STREAM: u8 = 3;
/// The SETTINGS frame: parameters of the connection.
pub const SETTINGS: u8 = 4;
/// The PUSH_PROMISE frame, which a client must not send.
pub const PUSH_PROMISE: u8 = 5;
/// The PING frame: tests whether the peer is alive.
pub const PING: u8 = 6;
/// The GOAWAY frame: no further streams are accepted.
pub const GOAWAY: u8 = 7;
/// The WINDOW_UPDATE frame: allows the peer to send more.
pub const WINDOW_UPDATE: u8 = 8;
/// The CONTINUATION frame: more of a field section.
pub const CONTINUATION: u8 = 9;
/// The PRIORITY_UPDATE frame: the priority of a response changes (RFC 9218 §7.1).
pub const PRIORITY_UPDATE: u8 = 0x10;

/// Flag of DATA and HEADERS: the sender ends the stream with this frame.
pub const END_STREAM: u8 = 0x1;
/// Flag of SETTINGS and PING: an acknowledgement.
pub const ACK: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION: the field section ends here.
pub const END_HEADERS: u8 = 0x4;
/// Flag of DATA and HEADERS: the payload begins with the length of the padding at its end.
pub const PADDED: u8 = 0x8;
/// Flag of HEADERS: priority fields precede the field section.
pub const PRIORITIZED: u8 = 0x20;

/// The connection preface of a client (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The initial and smallest value of SETTINGS_MAX_FRAME_SIZE in bytes (RFC 9113 §6.5.2).
pub const MAX_PAYLOAD: u32 = 16_384;

/// The identifiers of settings that are read or sent (RFC 9113 §6.5.2, RFC 8441 §3).
pub mod setting {
    /// SETTINGS_ENABLE_PUSH: 1 if server push is allowed, 0 if not.
    pub const ENABLE_PUSH: u16 = 2;
    /// SETTINGS_MAX_CONCURRENT_STREAMS: the highest number of concurrent streams that the receiver may open.
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    /// SETTINGS_INITIAL_WINDOW_SIZE: the initial flow-control window of each stream for what the receiver sends, in
    /// bytes.
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// SETTINGS_MAX_FRAME_SIZE: the largest payload of a frame that the sender accepts, in bytes.
    pub const MAX_FRAME_SIZE: u16 = 5;
    /// SETTINGS_MAX_HEADER_LIST_SIZE: the largest field section that the sender accepts, in bytes: names, values and 32
    /// per field.
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL: 1 if extended CONNECT is supported (RFC 8441).
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The payload length, below 2^24.
    pub length: u32,
    /// The frame type, such as [`HEADERS`].
    pub kind: u8,
    /// The flags, whose meaning depends on the type.
    pub flags: u8,
    /// The stream identifier, below 2^31. 0 stands for the connection.
    pub stream: u32,
}

impl FrameHeader {
    /// The length of a frame header on the wire, in bytes.
    pub const LEN: usize = 9;

    /// Parses the frame header at the front of `bytes`. `None` if it is incomplete. The reserved bit is ignored (RFC
    /// 9113 §4.1).
    ///
    /// ```
    /// use edge_http::h2::frame::{FrameHeader, PING};
    ///
    /// let header = FrameHeader::read(&[0, 0, 8, 6, 0, 0, 0, 0, 0]).unwrap();
    /// assert_eq!(header, FrameHeader { length: 8, kind: PING, flags: 0, stream: 0 });
    /// assert_eq!(FrameHeader::read(&[0, 0, 8]), None);
    /// ```
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, id @ ..] = *bytes.first_chunk::<9>()?;
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes(id) & 0x7fff_ffff,
        })
    }

    /// Appends the frame header.
    pub fn write(self, out: &mut Vec<u8>) {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.kind, self.flags, d, e, f, g]);
    }

    /// Returns whether this flag is set.
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame. The payload must not exceed the peer's SETTINGS_MAX_FRAME_SIZE.
pub fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    FrameHeader { length: payload.len() as u32, kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

/// Returns the payload without its padding (RFC 9113 §6.1). `None` if the padding exceeds the payload, which is a
/// PROTOCOL_ERROR.
pub fn unpad(header: FrameHeader, payload: &[u8]) -> Option<&[u8]> {
    if !header.has(PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

/// Iterates over the identifiers and values in a SETTINGS payload. The caller must check that the length is a multiple
/// of six; an incomplete pair at the end is ignored.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload
        .as_chunks::<6>()
        .0
        .iter()
        .map(|[a, b, c, d, e, f]| (u16::from_be_bytes([*a, *b]), u32::from_be_bytes([*c, *d, *e, *f])))
}

/// Returns the first four bytes of a payload as a big-endian integer. 0 if the payload is shorter.
pub fn word(payload: &[u8]) -> u32 {
    payload.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
