//! Authentication of a request before it is forwarded: by password ([`basic`]) or by an external service ([`forward`]).
//!
//! These modules only read and write message heads; the server sends the subrequest and verifies the password.

pub mod basic;
pub mod forward;
