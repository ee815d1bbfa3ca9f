//! The ACME client (RFC 8555, RFC 9773): what is needed for DNS-01, with every header kept.
//!
//! It is the project's own, because a machine that resumes has to know a key before it is registered, to see Retry-After of
//! every answer, to choose among alternate chains and to take an order's URL from its journal.

mod acme;
mod answer;
mod directory;
mod http;
mod jws;
mod x509;

pub(crate) use acme::now;
pub use acme::{Acme, ExternalAccount, OrderRequest};
pub use directory::{Directory, Meta};
pub use http::{Http, HttpError, Response};
pub use jws::{AccountKey, KeyError};
pub use x509::{CertificateError, KeyPair, chain_issuers, describe, self_signed, verify_pair};
pub(crate) use x509::{leaf, serial_of};
