//! Ports of the contenders and of the origin.

/// Ports on which a contender listens.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    /// TCP port of HTTP/1.1 without TLS.
    pub(crate) plain: u16,
    /// TCP port of HTTP/1.1 and HTTP/2 over TLS, and UDP port of HTTP/3.
    pub(crate) tls: u16,
}

/// TCP port of the origin for downloads.
pub(crate) const DOWNLOADS: u16 = 17_001;
/// TCP port of the origin for uploads.
pub(crate) const UPLOADS: u16 = 17_002;
