//! Certificates in use: a live resolver for rustls, and everybody else who serves them.

mod deploy;
mod handshake;
mod resolver;

pub use deploy::{Check, Deployment, Reload};
pub(crate) use deploy::{Refused, deploy, tell};
pub use handshake::{Greeting, served_serial};
pub use resolver::{Live, LiveError};
