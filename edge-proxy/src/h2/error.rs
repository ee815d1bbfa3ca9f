//! The error codes of RFC 9113 §7.

codes! { u32:
    /// No error.
    NO_ERROR = 0;
    /// A violation that no other code names.
    PROTOCOL_ERROR = 1;
    /// Something failed on this side.
    INTERNAL_ERROR = 2;
    /// More was sent than the windows allow.
    FLOW_CONTROL_ERROR = 3;
    /// SETTINGS were not acknowledged in time.
    SETTINGS_TIMEOUT = 4;
    /// A frame for a stream that is closed already.
    STREAM_CLOSED = 5;
    /// A frame whose size is wrong.
    FRAME_SIZE_ERROR = 6;
    /// The request was not processed and may be sent again.
    REFUSED_STREAM = 7;
    /// The stream is no longer wanted.
    CANCEL = 8;
    /// A field section cannot be decoded.
    COMPRESSION_ERROR = 9;
    /// The connection made for a CONNECT request failed.
    CONNECT_ERROR = 10;
    /// The peer's behaviour costs too much.
    ENHANCE_YOUR_CALM = 11;
    /// The transport is not secure enough.
    INADEQUATE_SECURITY = 12;
    /// HTTP/1.1 is asked for instead.
    HTTP_1_1_REQUIRED = 13;
}
