//! Certificates in use: a rustls resolver, and the deployment to servers.

mod deploy;
mod handshake;
mod resolver;

pub use deploy::{Check, Deployment, Reload};
pub(crate) use deploy::{DeployError, run_reloads};
pub use handshake::{Greeting, HandshakeError, OfferedSignatures, served_serial};
pub use resolver::{CertificateInUse, LiveCertificates, LiveError};
