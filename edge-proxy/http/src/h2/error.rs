//! Error codes of HTTP/2 (RFC 9113 §7).

codes! { u32:
    /// Graceful shutdown, without an error.
    NO_ERROR = 0;
    /// A violation without a more specific code.
    PROTOCOL_ERROR = 1;
    /// An internal error on this side.
    INTERNAL_ERROR = 2;
    /// More was sent than the flow-control windows permit.
    FLOW_CONTROL_ERROR = 3;
    /// SETTINGS were not acknowledged in time.
    SETTINGS_TIMEOUT = 4;
    /// A frame for a stream that is already closed.
    STREAM_CLOSED = 5;
    /// A frame of the wrong size.
    FRAME_SIZE_ERROR = 6;
    /// The request was not processed and may be retried.
    REFUSED_STREAM = 7;
    /// The stream is no longer needed.
    CANCEL = 8;
    /// A field section cannot be decoded.
    COMPRESSION_ERROR = 9;
    /// The connection made for a CONNECT request failed.
    CONNECT_ERROR = 10;
    /// The peer's behaviour may cause excessive load.
    ENHANCE_YOUR_CALM = 11;
    /// The transport security is insufficient.
    INADEQUATE_SECURITY = 12;
    /// HTTP/1.1 is required instead.
    HTTP_1_1_REQUIRED = 13;
}
