//! The configuration of certificates, as acme-dns01 reads it and edge-proxyd in its section `[acme]`.
//!
//! There are two stages: [`Settings`] is the file as written, with references to secrets; [`Settings::build`] reads the
//! secrets and creates an engine with its certificates.

mod build;
mod certificates;
mod late;
mod providers;
mod reference;
mod settings;

pub use build::{BuildError, LateSecrets, Setup};
pub use reference::reference;
pub use settings::{
    Alerts, AuthoritySettings, CertificateSettings, DnsSettings, MailSettings, ProviderSettings, Settings,
    WORDS,
};
