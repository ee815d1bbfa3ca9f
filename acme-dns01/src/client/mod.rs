//! The ACME client for DNS-01 (RFC 8555, RFC 9773).
//!
//! Orders go through instant-acme, over the HTTP client of this crate. [`Account`] and [`Acme`] add the requests that
//! instant-acme 0.8 lacks and that a resumed order needs.

mod account;
mod acme;
mod answer;
mod directory;
mod http;
mod jws;
mod order_path;
mod trust;
mod x509;

pub use account::{Account, Chain};
pub(crate) use acme::now;
pub use acme::{Acme, DirectoryResponse, ExternalAccount, OrderRequest, RenewalInfoResponse};
pub use directory::{Directory, Meta};
pub use http::{HeaderField, Http, HttpError, Response};
pub(crate) use jws::pem;
pub use jws::{AccountKey, KeyError};
#[cfg(feature = "postgres")]
pub(crate) use trust::client_config;
pub use x509::{CertificateError, KeyPair, chain_issuers, describe, self_signed, verify_pair};
pub(crate) use x509::{leaf, serial_of};
