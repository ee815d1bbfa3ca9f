//! The ACME client (RFC 8555, RFC 9773): what is needed for DNS-01.
//!
//! It is the project's own. A machine that resumes has to know a key before it is registered, to see Retry-After of every
//! answer, to choose among alternate chains and to find an order by its names; instant-acme 0.8 offers none of these.

mod account;
mod acme;
mod answer;
mod directory;
mod http;
mod jws;
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
