//! Error codes of HTTP/3 (RFC 9114 §8.1) and QPACK (RFC 9204 §6), and the scope of an error.

codes! {
    /// An error code of HTTP/3 or QPACK, as in RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE (RFC 9114 §8.1, RFC 9204
    /// §6).
    u64:
    /// Graceful shutdown, without an error.
    H3_NO_ERROR = 0x100;
    /// A violation without a more specific code.
    H3_GENERAL_PROTOCOL_ERROR = 0x101;
    /// An internal error of the sender of the code.
    H3_INTERNAL_ERROR = 0x102;
    /// A stream that the peer must not open, or not open again.
    H3_STREAM_CREATION_ERROR = 0x103;
    /// A stream that must stay open was closed.
    H3_CLOSED_CRITICAL_STREAM = 0x104;
    /// A frame that is not permitted at this point or on this stream.
    H3_FRAME_UNEXPECTED = 0x105;
    /// A frame of wrong layout or size.
    H3_FRAME_ERROR = 0x106;
    /// The peer's behaviour may cause excessive load.
    H3_EXCESSIVE_LOAD = 0x107;
    /// A stream or push ID used wrongly, or changed in the wrong direction.
    H3_ID_ERROR = 0x108;
    /// An error in the payload of SETTINGS.
    H3_SETTINGS_ERROR = 0x109;
    /// The control stream did not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x10a;
    /// The request was not processed and may be retried.
    H3_REQUEST_REJECTED = 0x10b;
    /// The request or its response is no longer needed.
    H3_REQUEST_CANCELLED = 0x10c;
    /// The stream ended before the request was complete.
    H3_REQUEST_INCOMPLETE = 0x10d;
    /// The message is malformed.
    H3_MESSAGE_ERROR = 0x10e;
    /// The connection made for a CONNECT request failed.
    H3_CONNECT_ERROR = 0x10f;
    /// The request cannot be served over HTTP/3: the client should retry it over HTTP/1.1.
    H3_VERSION_FALLBACK = 0x110;
    /// A field section cannot be decoded.
    QPACK_DECOMPRESSION_FAILED = 0x200;
    /// An invalid instruction on the encoder stream.
    QPACK_ENCODER_STREAM_ERROR = 0x201;
    /// An invalid instruction on the decoder stream.
    QPACK_DECODER_STREAM_ERROR = 0x202;
}

/// An error of the peer of an HTTP/3 connection, by the consequence that it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Reset the stream with this code; the connection continues.
    #[error("stream error {0}")]
    Stream(Code),
    /// Close the connection with this code.
    #[error("connection error {0}")]
    Connection(Code),
    /// The field section exceeds the limits. The request may be answered with 431 (RFC 9114 §4.2.2).
    #[error("field section too large")]
    TooLarge,
}

impl ProtocolError {
    /// The error of a malformed message: its stream is reset.
    pub(crate) const MESSAGE: Self = Self::Stream(Code::H3_MESSAGE_ERROR);
}
