//! The configuration of certificates, as acme-dns01 reads it and edge-proxyd in its section `[acme]`.
//!
//! There are two stages: [`Settings`] is the file as written, with references to secrets; [`Settings::build`] reads the
//! secrets and creates an engine with its certificates.

mod blocking;
mod build;
mod certificates;
mod error;
mod late;
mod pending;
mod providers;
mod reference;
mod settings;

pub use build::Setup;
pub use error::BuildError;
pub use late::{LateSecrets, PendingPart, PendingParts, consequence};
pub use reference::reference;
pub use settings::{
    Alerts, AuthoritySettings, CertificateSettings, DnsSettings, MailSettings, ProviderSettings, Settings,
    WORDS,
};
