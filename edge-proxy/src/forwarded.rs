//! The Forwarded field (RFC 7239).
