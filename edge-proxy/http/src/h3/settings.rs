//! The SETTINGS frame (RFC 9114 §7.2.4).

use super::{Code, ProtocolError, frame, varint};

/// The identifier of SETTINGS_QPACK_MAX_TABLE_CAPACITY (RFC 9204 §5).
const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
/// The identifier of SETTINGS_MAX_FIELD_SECTION_SIZE (RFC 9114 §7.2.4.1).
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
/// The identifier of SETTINGS_QPACK_BLOCKED_STREAMS (RFC 9204 §5).
const QPACK_BLOCKED_STREAMS: u64 = 0x7;
/// The identifier of SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 §3).
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
/// The identifier of SETTINGS_H3_DATAGRAM (RFC 9297 §2.1.1).
const H3_DATAGRAM: u64 = 0x33;

/// The settings of an HTTP/3 peer. The defaults are those of RFC 9114 and RFC 9204.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The largest field section that the peer accepts, in bytes as RFC 9114 §4.2.2 counts them. `None` means no limit.
    pub max_field_section_size: Option<u64>,
    /// The capacity of the dynamic table that the peer's decoder permits, in bytes. Default: 0.
    pub qpack_max_table_capacity: u64,
    /// The highest number of streams that may be blocked at the peer's decoder. Default: 0.
    pub qpack_blocked_streams: u64,
    /// True if the peer supports extended CONNECT (RFC 9220).
    pub enable_connect_protocol: bool,
}

impl Settings {
    /// Parses the payload of a SETTINGS frame. Unknown settings are ignored.
    ///
    /// # Errors
    /// A connection error: H3_SETTINGS_ERROR for a repeated, reserved or invalid setting, H3_FRAME_ERROR for a
    /// truncated payload.
    pub fn read(mut payload: &[u8]) -> Result<Self, ProtocolError> {
        const WRONG: ProtocolError = ProtocolError::Connection(Code::H3_SETTINGS_ERROR);
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let mut next =
                || varint::take(&mut payload).ok_or(ProtocolError::Connection(Code::H3_FRAME_ERROR));
            let (id, value) = (next()?, next()?);
            if seen.contains(&id) {
                return Err(WRONG);
            }
            seen.push(id);
            match id {
                QPACK_MAX_TABLE_CAPACITY => settings.qpack_max_table_capacity = value,
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = Some(value),
                QPACK_BLOCKED_STREAMS => settings.qpack_blocked_streams = value,
                ENABLE_CONNECT_PROTOCOL | H3_DATAGRAM if value > 1 => return Err(WRONG),
                ENABLE_CONNECT_PROTOCOL => settings.enable_connect_protocol = value == 1,
                // Settings of HTTP/2 without a meaning here are reserved (§7.2.4.1).
                0x0 | 0x2..=0x5 => return Err(WRONG),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Appends a SETTINGS frame with these settings. Those of extended CONNECT and of the section size are omitted if
    /// they have their defaults.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(24);
        let mut put = |id, value| {
            varint::write(&mut payload, id);
            varint::write(&mut payload, value);
        };
        put(QPACK_MAX_TABLE_CAPACITY, self.qpack_max_table_capacity);
        put(QPACK_BLOCKED_STREAMS, self.qpack_blocked_streams);
        if let Some(size) = self.max_field_section_size {
            put(MAX_FIELD_SECTION_SIZE, size);
        }
        if self.enable_connect_protocol {
            put(ENABLE_CONNECT_PROTOCOL, 1);
        }
        frame::write_header(out, frame::SETTINGS, payload.len() as u64);
        out.extend_from_slice(&payload);
    }
}
