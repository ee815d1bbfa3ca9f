//! Authentication before a request is forwarded: by password ([`basic`]) or by an external service ([`forward`]). These
//! modules read and write message heads only; the I/O shell sends the authentication request.

pub mod basic;
pub mod forward;
