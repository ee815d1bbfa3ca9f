//! Client connections, from an accepted socket or a first QUIC flight to requests: TCP with HTTP/1.1 and HTTP/2, QUIC
//! with HTTP/3.

mod establish;
mod first_read;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod h3;
pub(crate) mod quic;
pub(crate) mod tcp;
mod window_budget;
mod wire;
