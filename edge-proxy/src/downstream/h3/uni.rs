//! The unidirectional streams that a client opened (RFC 9114 §6.2).

use edge_http::h3::control::{self, ControlStreamDecoder};
use edge_http::h3::qpack::{DecoderStream, EncoderStream};
use edge_http::h3::{Code, ProtocolError, varint};

/// The critical streams that the client has opened so far. Each may be opened once.
#[derive(Debug, Default)]
pub(super) struct CriticalStreams {
    /// True if the control stream was opened.
    control: bool,
    /// True if the QPACK encoder stream was opened.
    encoder: bool,
    /// True if the QPACK decoder stream was opened.
    decoder: bool,
}

/// A unidirectional stream of the client, by its type.
#[derive(Debug)]
pub(super) enum UniStream {
    /// A stream whose type is incomplete: the bytes of it received so far.
    Untyped(Vec<u8>),
    /// The control stream.
    Control(ControlStreamDecoder),
    /// The QPACK encoder stream.
    Encoder(EncoderStream),
    /// The QPACK decoder stream.
    Decoder(DecoderStream),
}

/// The action for a stream after bytes of it were decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UniAction {
    /// More bytes are to be read.
    Read,
    /// The stream type is unknown: the stream is to be stopped (RFC 9114 §6.2).
    Stop,
}

impl UniStream {
    /// Decodes the next bytes of the stream and returns whether more are to be read. `seen` records the critical
    /// streams that were opened.
    ///
    /// # Errors
    /// [`ProtocolError`] for a second critical stream of one type, a push stream, or malformed content.
    pub(super) fn feed(
        &mut self,
        seen: &mut CriticalStreams,
        input: &[u8],
    ) -> Result<UniAction, ProtocolError> {
        if let Self::Untyped(start) = self {
            start.extend_from_slice(input);
            let Some((kind, used)) = varint::read(start) else { return Ok(UniAction::Read) };
            let rest = start.split_off(used);
            let first = |seen: &mut bool| {
                let again = std::mem::replace(seen, true);
                if again { Err(ProtocolError::Connection(Code::H3_STREAM_CREATION_ERROR)) } else { Ok(()) }
            };
            *self = match kind {
                control::CONTROL => {
                    first(&mut seen.control)?;
                    Self::Control(ControlStreamDecoder::new())
                }
                control::QPACK_ENCODER => {
                    first(&mut seen.encoder)?;
                    Self::Encoder(EncoderStream::new())
                }
                control::QPACK_DECODER => {
                    first(&mut seen.decoder)?;
                    Self::Decoder(DecoderStream::new())
                }
                // §6.2.2: only servers push.
                control::PUSH => return Err(ProtocolError::Connection(Code::H3_STREAM_CREATION_ERROR)),
                _ => return Ok(UniAction::Stop),
            };
            return self.feed(seen, &rest);
        }
        match self {
            Self::Untyped(_) => {}
            Self::Control(stream) => stream.feed(input)?,
            Self::Encoder(stream) => stream.feed(input)?,
            Self::Decoder(stream) => stream.feed(input)?,
        }
        Ok(UniAction::Read)
    }

    /// Checks that a stream which the client has ended or reset may be closed: only one whose type has not arrived.
    ///
    /// # Errors
    /// [`ProtocolError`] for a critical stream, which must not be closed (RFC 9114 §6.2.1, RFC 9204 §4.2): the error
    /// of the QPACK stream if it ended within an instruction, else H3_CLOSED_CRITICAL_STREAM.
    pub(super) fn closed(&self) -> Result<(), ProtocolError> {
        match self {
            Self::Untyped(_) => Ok(()),
            Self::Control(_) => Err(ProtocolError::Connection(Code::H3_CLOSED_CRITICAL_STREAM)),
            // An end inside an instruction is the more telling error.
            Self::Encoder(stream) if stream.is_truncated() => {
                Err(ProtocolError::Connection(Code::QPACK_ENCODER_STREAM_ERROR))
            }
            Self::Decoder(stream) if stream.is_truncated() => {
                Err(ProtocolError::Connection(Code::QPACK_DECODER_STREAM_ERROR))
            }
            Self::Encoder(_) | Self::Decoder(_) => {
                Err(ProtocolError::Connection(Code::H3_CLOSED_CRITICAL_STREAM))
            }
        }
    }

    /// Returns the number of frames received on the control stream. 0 for other streams.
    pub(super) const fn frames(&self) -> u64 {
        match self {
            Self::Control(stream) => stream.count(),
            _ => 0,
        }
    }
}
