//! The ports of the contenders and of the origin.

/// The ports that a contender listens on.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    /// HTTP/1.1 without TLS.
    pub(crate) plain: u16,
    /// HTTP/1.1 and HTTP/2 over TLS, and HTTP/3 on the same UDP port.
    pub(crate) tls: u16,
}

/// The port of downloads.
pub(crate) const DOWNLOADS: u16 = 17_001;
/// The port of uploads.
pub(crate) const UPLOADS: u16 = 17_002;
