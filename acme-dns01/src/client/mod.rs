//! The ACME client (RFC 8555, RFC 9773): what is needed for DNS-01.
//!
//! Orders go through instant-acme, over an HTTP client of this crate. A machine that resumes needs more: see [`Account`] and
//! [`Acme`] for what instant-acme 0.8 lacks.

mod account;
mod acme;
mod answer;
mod directory;
mod http;
mod jws;
mod order_path;
mod x509;

pub use account::{Account, Chain};
pub(crate) use acme::now;
pub use acme::{Acme, DirectoryResponse, ExternalAccount, OrderRequest, RenewalInfoResponse};
pub use directory::{Directory, Meta};
pub use http::{Http, HttpError, Response};
pub(crate) use jws::pem;
pub use jws::{AccountKey, KeyError};
pub use x509::{CertificateError, KeyPair, chain_issuers, describe, self_signed, verify_pair};
pub(crate) use x509::{leaf, serial_of};
