//! The server certificates of the configuration, as far as this user can read them.

use crate::commands::run::of_sites;
use crate::config::Settings;
use cli_support::outcome::chain;
use edge_proxy::Certificates;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// The server certificates by which an explanation tells whether a handshake has one.
pub(super) enum CertificateSource {
    /// The valid certificates. Those that are missing or not valid are left out; none is left out for lack of
    /// permission.
    Loaded(Arc<Certificates>),
    /// Permission to read a certificate was denied, or the folder could not be read, for this reason: nothing is known
    /// about any name.
    Unknown(String),
    /// The configuration has no certificates, or they are not to be read (`--no-files`).
    Unneeded,
}

/// Returns whether an error or one of its sources is a denied permission.
fn is_permission_denied(why: &(dyn Error + 'static)) -> bool {
    let mut next = Some(why);
    while let Some(why) = next {
        if why.downcast_ref::<io::Error>().is_some_and(|why| why.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        next = why.source();
    }
    false
}

impl CertificateSource {
    /// Loads the certificates of a configuration. If permission to read one of them is denied, or the folder cannot be
    /// read, the result is `Unknown`, since the service may be able to.
    pub(super) fn load(settings: &Settings) -> Self {
        if settings.certificates.is_none() && settings.certificate_files.is_empty() {
            return Self::Unneeded;
        }
        let opened = Certificates::open(settings.certificates.clone(), settings.certificate_files.clone());
        if let Ok((found, _)) = &opened {
            found.set_sites(of_sites(settings));
        }
        match opened {
            Ok((found, loaded)) if loaded.problems.is_empty() => Self::Loaded(found),
            // One that cannot be read here may be the one that the server has.
            Ok((found, loaded)) if !loaded.problems.iter().any(|problem| is_permission_denied(problem)) => {
                Self::Loaded(found)
            }
            Ok((_, loaded)) => {
                Self::Unknown(loaded.problems.first().map(|why| chain(why)).unwrap_or_default())
            }
            Err(why) => Self::Unknown(chain(&why)),
        }
    }
}
