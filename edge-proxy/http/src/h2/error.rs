//! Error codes of HTTP/2 (RFC 9113 §7).

codes! {
    /// An error code of HTTP/2, as in RST_STREAM and GOAWAY (RFC 9113 §7).
    u32:
    /// Graceful shutdown, without an error.
    NO_ERROR = 0;
    /// A violation without a more specific code.
    PROTOCOL_ERROR = 1;
    /// An internal error of the sender of the code.
    INTERNAL_ERROR = 2;
    /// More was sent than the flow-control windows permit.
    FLOW_CONTROL_ERROR = 3;
    /// The receiver of the code did not acknowledge SETTINGS in time.
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
    /// The TLS version or cipher suite does not meet the requirements of HTTP/2 (RFC 9113 §9.2).
    INADEQUATE_SECURITY = 12;
    /// HTTP/1.1 is required instead.
    HTTP_1_1_REQUIRED = 13;
}
