//! The error codes of RFC 9113 §7.

use std::fmt;

/// An error code as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Its name in the RFC.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
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

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
