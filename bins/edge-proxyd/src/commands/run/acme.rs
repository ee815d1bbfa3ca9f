//! The start of the ACME engine. If the engine cannot start, the proxy serves anyway, and the start is repeated: a
//! secret may be provided later, and a folder repaired.

use crate::acme::{AcmeSection, CertificateRenewer, Renewals};
use crate::config::Settings;
use crate::journal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The pause after the first failed start, which doubles with each further one, and the longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Builds the engine, and makes sure that every certificate has files to serve.
///
/// # Errors
/// A message that begins with `[acme]`: the settings cannot be used, or none of the certificates could be prepared.
pub(super) async fn prepare(section: &AcmeSection) -> Result<CertificateRenewer, String> {
    CertificateRenewer::prepare(section).await
}

/// Spawns a task on `runtime` that runs the engine. While `prepared` is an error, that is logged when its text changes,
/// and the task tries again after the pauses in [`PAUSES`]. `addresses` are the bound addresses of the listeners.
/// `renewals` gets the engine, or the error. Does nothing without `[acme]`.
pub(super) fn start(
    prepared: Result<CertificateRenewer, String>,
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    addresses: &[SocketAddr],
    renewals: Renewals,
) {
    let tls = CertificateRenewer::tls(settings, addresses);
    let Some(section) = settings.acme.clone() else { return };
    runtime.spawn(async move {
        let mut prepared = prepared;
        let (mut pause, longest) = PAUSES;
        let mut said = String::new();
        loop {
            match prepared {
                Ok(renewer) => {
                    let renewer = Arc::new(renewer);
                    renewals.run(&renewer);
                    return renewer.run(tls).await;
                }
                Err(why) => {
                    renewals.fail(&why);
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
