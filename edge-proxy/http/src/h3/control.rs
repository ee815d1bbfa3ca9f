//! The unidirectional streams of an HTTP/3 client: control, and the two of QPACK (RFC 9114 §6.2, RFC 9204 §4.2).

use super::frame::{self, FrameEvent, FrameReader};
use super::settings::Settings;
use super::{Code, ProtocolError, varint};
use crate::priority::Priority;

/// The stream type of the control stream.
pub const CONTROL: u64 = 0x0;
/// The stream type of a push stream, which only a server may open.
pub const PUSH: u64 = 0x1;
/// The stream type of the QPACK encoder stream.
pub const QPACK_ENCODER: u64 = 0x2;
/// The stream type of the QPACK decoder stream.
pub const QPACK_DECODER: u64 = 0x3;

/// The longest payload of SETTINGS or PRIORITY_UPDATE that is accepted, in bytes. A longer one is an error.
const MAX_PAYLOAD: u64 = 4096;

/// The highest number of priority updates that wait to be taken. For more, the oldest are dropped.
const MAX_PRIORITIES: usize = 64;

/// An incremental decoder for the HTTP/3 control stream that the client opens (RFC 9114 §6.2.1).
#[derive(Debug, Default)]
pub struct ControlStreamDecoder {
    /// The decoder of frames.
    frames: FrameReader,
    /// The type of the present frame.
    kind: u64,
    /// The received payload of the present frame, if its type is known.
    payload: Vec<u8>,
    /// The client's settings. `None` until they have arrived.
    settings: Option<Settings>,
    /// The identifier of the last GOAWAY. `None` before one.
    goaway: Option<u64>,
    /// The identifier of the last MAX_PUSH_ID. `None` before one.
    max_push: Option<u64>,
    /// The number of frames that have begun.
    count: u64,
    /// The priority updates that were not taken: stream identifier and priority.
    priorities: Vec<(u64, Priority)>,
}

impl ControlStreamDecoder {
    /// Creates a decoder for the bytes after the stream type.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the client's settings. `None` until its SETTINGS frame is complete.
    pub const fn settings(&self) -> Option<Settings> {
        self.settings
    }

    /// Returns the number of frames that have begun so far, for the caller to limit.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Removes and returns the priority updates of request streams (RFC 9218 §7.2), each as stream identifier and
    /// priority, in the order received. Only the last 64 are stored.
    pub fn take_priorities(&mut self) -> Vec<(u64, Priority)> {
        std::mem::take(&mut self.priorities)
    }

    /// Decodes the next bytes of the stream. All bytes are consumed.
    ///
    /// # Errors
    /// [`ProtocolError::Connection`] for a violation of RFC 9114 or RFC 9218, after which the decoder must not be used.
    pub fn feed(&mut self, mut input: &[u8]) -> Result<(), ProtocolError> {
        loop {
            let (used, step) = self.frames.step(input);
            input = &input[used..];
            match step {
                FrameEvent::More => return Ok(()),
                FrameEvent::Begin { kind, len } => {
                    self.begin(kind, len)?;
                    if len == 0 {
                        self.end()?;
                    }
                }
                FrameEvent::Payload { len, end } => {
                    if is_known(self.kind) {
                        self.payload.extend_from_slice(&input[..len]);
                    }
                    input = &input[len..];
                    if end {
                        self.end()?;
                    }
                }
            }
        }
    }

    /// Checks that a frame of this type and length may begin here, and counts it.
    ///
    /// # Errors
    /// [`ProtocolError::Connection`] if the first frame is not SETTINGS, SETTINGS is repeated, the type is not allowed
    /// on a control stream, or the payload is too long for its type.
    fn begin(&mut self, kind: u64, len: u64) -> Result<(), ProtocolError> {
        self.count += 1;
        self.kind = kind;
        self.payload.clear();
        // §6.2.1: SETTINGS come first, and (§7.2.4) only once.
        if self.settings.is_none() && kind != frame::SETTINGS {
            return Err(ProtocolError::Connection(Code::H3_MISSING_SETTINGS));
        }
        let unexpected = match kind {
            frame::SETTINGS => self.settings.is_some(),
            frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => true,
            other => frame::is_forbidden(other),
        };
        if unexpected {
            return Err(ProtocolError::Connection(Code::H3_FRAME_UNEXPECTED));
        }
        if matches!(kind, frame::SETTINGS | frame::PRIORITY_UPDATE) && len > MAX_PAYLOAD {
            return Err(ProtocolError::Connection(Code::H3_EXCESSIVE_LOAD));
        }
        if matches!(kind, frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH) && len > 8 {
            return Err(ProtocolError::Connection(Code::H3_FRAME_ERROR));
        }
        Ok(())
    }

    /// Applies a complete frame. Frames of unknown types have no effect.
    ///
    /// # Errors
    /// [`ProtocolError::Connection`] if its payload is invalid, for a push ID of GOAWAY that increases or of
    /// MAX_PUSH_ID that decreases, a priority of another stream than a request, and always for CANCEL_PUSH and the
    /// priority of a push.
    fn end(&mut self) -> Result<(), ProtocolError> {
        const ID: ProtocolError = ProtocolError::Connection(Code::H3_ID_ERROR);
        match self.kind {
            frame::SETTINGS => self.settings = Some(Settings::read(&self.payload)?),
            frame::GOAWAY => {
                // From a client it is a push ID, which may only decrease (§5.2).
                let id = self.single()?;
                if self.goaway.is_some_and(|last| id > last) {
                    return Err(ID);
                }
                self.goaway = Some(id);
            }
            frame::MAX_PUSH_ID => {
                let id = self.single()?;
                if self.max_push.is_some_and(|last| id < last) {
                    return Err(ID);
                }
                self.max_push = Some(id);
            }
            frame::CANCEL_PUSH => {
                // Nothing is ever pushed, so there is no push to cancel (§7.2.3).
                self.single()?;
                return Err(ID);
            }
            frame::PRIORITY_UPDATE => {
                let mut value = self.payload.as_slice();
                let id = varint::take(&mut value).ok_or(ProtocolError::Connection(Code::H3_FRAME_ERROR))?;
                // RFC 9218 §7.2: only streams that clients open in both directions have requests.
                if id & 3 != 0 {
                    return Err(ID);
                }
                if self.priorities.len() == MAX_PRIORITIES {
                    self.priorities.remove(0);
                }
                self.priorities.push((id, Priority::parse(value)));
            }
            // RFC 9218 §7.2: nothing was promised.
            frame::PRIORITY_UPDATE_PUSH => return Err(ID),
            _ => {}
        }
        Ok(())
    }

    /// Returns the integer that the payload consists of.
    ///
    /// # Errors
    /// H3_FRAME_ERROR if it is not exactly one integer.
    fn single(&self) -> Result<u64, ProtocolError> {
        match varint::read(&self.payload) {
            Some((id, len)) if len == self.payload.len() => Ok(id),
            _ => Err(ProtocolError::Connection(Code::H3_FRAME_ERROR)),
        }
    }
}

/// Returns whether the payload of frames of this type is stored.
const fn is_known(kind: u64) -> bool {
    matches!(
        kind,
        frame::SETTINGS | frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH | frame::PRIORITY_UPDATE
    )
}

/// Appends a GOAWAY frame: requests on the stream with this identifier and on later ones are not processed (RFC 9114
/// §5.2).
pub fn write_goaway(out: &mut Vec<u8>, id: u64) {
    let mut payload = Vec::with_capacity(8);
    varint::write(&mut payload, id);
    frame::write_header(out, frame::GOAWAY, payload.len() as u64);
    out.extend_from_slice(&payload);
}
