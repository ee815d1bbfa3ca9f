//! The instructions on a peer's encoder and decoder streams (RFC 9204 §4.3, §4.4) that are valid without a dynamic
//! table.

use super::super::{Code, ProtocolError};
use crate::prefixed::integer;

/// A decoder for the encoder stream of a peer. Setting the capacity of the dynamic table to 0 is the only valid
/// instruction, since no dynamic table is offered.
#[derive(Debug, Default)]
pub struct EncoderStream {
    /// The bytes of an incomplete instruction.
    partial: Vec<u8>,
}

impl EncoderStream {
    /// Creates a decoder for the bytes after the stream type.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes the next bytes of the stream. All bytes are consumed.
    ///
    /// # Errors
    /// [`ProtocolError::Connection`] with QPACK_ENCODER_STREAM_ERROR for an instruction that is not valid.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        const WRONG: ProtocolError = ProtocolError::Connection(Code::QPACK_ENCODER_STREAM_ERROR);
        instructions(&mut self.partial, input, WRONG, |first| {
            // Set Dynamic Table Capacity, with 0 as the only allowed value. An insertion or duplicate never fits a
            // table without capacity.
            if first & 0xe0 == 0x20 { Ok((5, Some(0))) } else { Err(WRONG) }
        })
    }

    /// Returns whether the bytes so far end inside an instruction.
    pub fn is_truncated(&self) -> bool {
        !self.partial.is_empty()
    }
}

/// A decoder for the decoder stream of a peer. Stream Cancellation is the only valid instruction, since this side never
/// inserts entries.
#[derive(Debug, Default)]
pub struct DecoderStream {
    /// The bytes of an incomplete instruction.
    partial: Vec<u8>,
}

impl DecoderStream {
    /// Creates a decoder for the bytes after the stream type.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes the next bytes of the stream. All bytes are consumed.
    ///
    /// # Errors
    /// [`ProtocolError::Connection`] with QPACK_DECODER_STREAM_ERROR for an instruction that is not valid.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        const WRONG: ProtocolError = ProtocolError::Connection(Code::QPACK_DECODER_STREAM_ERROR);
        instructions(&mut self.partial, input, WRONG, |first| {
            // Stream Cancellation, which a decoder may always send. Section Acknowledgment and Insert Count Increment
            // would answer insertions that never happened.
            if first & 0xc0 == 0x40 { Ok((6, None)) } else { Err(WRONG) }
        })
    }

    /// Returns whether the bytes so far end inside an instruction.
    pub fn is_truncated(&self) -> bool {
        !self.partial.is_empty()
    }
}

/// Decodes instructions of one integer each. The bytes of an incomplete one are stored in `partial` for the next call.
/// `kind` returns the size of the prefix for a first byte, and the only valid value, if there is just one.
///
/// # Errors
/// `wrong` for an invalid value, or the error of `kind`.
fn instructions(
    partial: &mut Vec<u8>,
    input: &[u8],
    wrong: ProtocolError,
    kind: impl Fn(u8) -> Result<(u32, Option<u64>), ProtocolError>,
) -> Result<(), ProtocolError> {
    let joined;
    let mut rest = if partial.is_empty() {
        input
    } else {
        // At most ten bytes: a longer integer is an error below.
        joined = [partial.as_slice(), input].concat();
        partial.clear();
        &joined
    };
    while let Some(first) = rest.first() {
        let (bits, only) = kind(*first)?;
        match integer(rest, bits) {
            Ok(Some((value, used))) if only.is_none_or(|only| only == value) => rest = &rest[used..],
            Ok(None) => {
                partial.extend_from_slice(rest);
                return Ok(());
            }
            _ => return Err(wrong),
        }
    }
    Ok(())
}
