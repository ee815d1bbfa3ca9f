//! The start of the ACME engine. It must not keep sites from being served whose certificates are there: a secret may come
//! later, and a folder may be repaired while the proxy serves.

use crate::acme::{AcmeSection, CertificateRenewer};
use crate::config::Settings;
use crate::journal;
use std::net::SocketAddr;
use std::time::Duration;

/// The first pause between attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Prepares the engine, so that every certificate has something to serve.
///
/// # Errors
/// A message with the section.
pub(super) async fn prepare(section: &AcmeSection) -> Result<CertificateRenewer, String> {
    CertificateRenewer::prepare(section).await
}

/// Starts the engine, now or as soon as it can be prepared.
pub(super) fn start(
    prepared: Result<CertificateRenewer, String>,
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    addresses: &[SocketAddr],
) {
    let tls = CertificateRenewer::tls(settings, addresses);
    let Some(section) = settings.acme.clone() else { return };
    runtime.spawn(async move {
        let mut prepared = prepared;
        let (mut pause, longest) = PAUSES;
        let mut said = String::new();
        loop {
            match prepared {
                Ok(renewer) => return renewer.run(tls).await,
                Err(why) => {
                    // Once for each reason.
                    if why != said {
                        journal::error(format_args!(
                            "{why}; certificates are not renewed until this is put right; everything else is served"
                        ));
                        said = why;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            prepared = prepare(&section).await;
        }
    });
}
