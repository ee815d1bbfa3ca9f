//! The certificates that a handshake would use, as far as this user can read them.

use crate::config::Settings;
use cli_support::outcome::chain;
use edge_proxy::Certificates;
use std::sync::Arc;

/// The certificates that an explanation can rely on.
pub(super) enum CertificateSource {
    /// They can be read.
    Loaded(Arc<Certificates>),
    /// They cannot be read, for this reason.
    Unknown(String),
    /// None are configured, or they are left out.
    Unneeded,
}

impl CertificateSource {
    pub(super) fn load(settings: &Settings) -> Self {
        if settings.certificates.is_none() && settings.certificate_files.is_empty() {
            return Self::Unneeded;
        }
        match Certificates::open(settings.certificates.clone(), settings.certificate_files.clone()) {
            Ok((found, loaded)) if loaded.problems.is_empty() => Self::Loaded(found),
            // One that cannot be read here may be the one that the server has.
            Ok((found, loaded))
                if loaded.problems.iter().all(|problem| !chain(problem).contains("denied")) =>
            {
                Self::Loaded(found)
            }
            Ok((_, loaded)) => {
                Self::Unknown(loaded.problems.first().map(|why| chain(why)).unwrap_or_default())
            }
            Err(why) => Self::Unknown(chain(&why)),
        }
    }
}
