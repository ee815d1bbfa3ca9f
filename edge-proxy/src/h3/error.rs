//! The error codes of RFC 9114 §8.1 and RFC 9204 §6, and how far an error reaches.

codes! { u64:
    /// No error.
    H3_NO_ERROR = 0x100;
    /// A violation that no other code names.
    H3_GENERAL_PROTOCOL_ERROR = 0x101;
    /// Something failed on this side.
    H3_INTERNAL_ERROR = 0x102;
    /// A stream that the peer may not open, or may not open again.
    H3_STREAM_CREATION_ERROR = 0x103;
    /// A stream that must stay open was closed.
    H3_CLOSED_CRITICAL_STREAM = 0x104;
    /// A frame that may not be here.
    H3_FRAME_UNEXPECTED = 0x105;
    /// A frame whose layout or size is wrong.
    H3_FRAME_ERROR = 0x106;
    /// The peer's behaviour costs too much.
    H3_EXCESSIVE_LOAD = 0x107;
    /// A stream or push id used wrongly, or moved the wrong way.
    H3_ID_ERROR = 0x108;
    /// An error in the payload of SETTINGS.
    H3_SETTINGS_ERROR = 0x109;
    /// The control stream did not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x10a;
    /// The request was not processed and may be sent again.
    H3_REQUEST_REJECTED = 0x10b;
    /// The request or its response is no longer wanted.
    H3_REQUEST_CANCELLED = 0x10c;
    /// The stream ended before the request was whole.
    H3_REQUEST_INCOMPLETE = 0x10d;
    /// The message is malformed.
    H3_MESSAGE_ERROR = 0x10e;
    /// The connection made for a CONNECT request failed.
    H3_CONNECT_ERROR = 0x10f;
    /// The request must be made over another version.
    H3_VERSION_FALLBACK = 0x110;
    /// A field section cannot be decoded.
    QPACK_DECOMPRESSION_FAILED = 0x200;
    /// An instruction on the encoder stream cannot be followed.
    QPACK_ENCODER_STREAM_ERROR = 0x201;
    /// An instruction on the decoder stream makes no sense.
    QPACK_DECODER_STREAM_ERROR = 0x202;
}

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The stream is to be reset with this code; the connection goes on.
    #[error("stream error {0}")]
    Stream(Code),
    /// The connection is to be closed with this code.
    #[error("connection error {0}")]
    Connection(Code),
    /// The field section exceeds the limits: 431 is the answer (RFC 9114 §4.2.2).
    #[error("field section too large")]
    TooLarge,
}

impl Fault {
    pub(crate) const MESSAGE: Self = Self::Stream(Code::H3_MESSAGE_ERROR);
}
