//! The TLS connector of the command line: files of certificates, and values of `sslmode`.

use clap::ValueEnum;
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
use pg_ensure::client::tls::{ClientCertificate, TlsConnector, TlsError, TlsMode};
use std::path::Path;

/// The use of TLS, as libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// TLS is never used.
    Disable,
    /// As `prefer`: TLS is used wherever the server has it.
    Allow,
    /// If the server has it; its certificate is not looked at.
    Prefer,
    /// Always; its certificate is looked at if certificates to trust are given.
    Require,
    /// Always, by a certificate of somebody trusted.
    VerifyCa,
    /// Always, by such a certificate for the server's name.
    VerifyFull,
}

impl From<Mode> for TlsMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Disable => Self::Disable,
            Mode::Allow | Mode::Prefer => Self::Prefer,
            Mode::Require => Self::Require,
            Mode::VerifyCa => Self::VerifyCa,
            Mode::VerifyFull => Self::VerifyFull,
        }
    }
}

/// Paths of a client certificate and its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'c> {
    pub(crate) certificate: &'c Path,
    pub(crate) key: &'c Path,
}

/// Creates a connector. `roots` is the path of `sslrootcert`; without it, or with `system`, the certificates of the
/// system are trusted.
///
/// # Errors
/// Returns a [`Failure`] if a file cannot be read or used, or others may read the key.
pub(crate) fn connector(
    mode: Mode,
    roots: Option<&Path>,
    client: Option<Client<'_>>,
) -> Result<TlsConnector, Failure> {
    let read = |path: &Path| std::fs::read(path).map_err(|why| wrong(path, &why));
    // In a mode without verification the file is not read.
    let needed = !matches!(mode, Mode::Disable | Mode::Allow | Mode::Prefer);
    let roots = roots.filter(|path| needed && *path != Path::new("system"));
    let trusted = roots.map(read).transpose()?;
    let Some(client) = client else {
        return TlsConnector::new(mode.into(), trusted.as_deref(), None)
            .map_err(|why| refused(&why, roots, None));
    };
    let chain = read(client.certificate)?;
    // By the rules for secrets, which are those of PostgreSQL for private keys.
    let key = Reference::File(client.key.to_owned()).read_bytes()?;
    let certificate = ClientCertificate { chain: &chain, key: &key };
    TlsConnector::new(mode.into(), trusted.as_deref(), Some(certificate))
        .map_err(|why| refused(&why, roots, Some(client)))
}

/// Converts an error of a connector, with the path of the file that it is about.
fn refused(why: &TlsError, roots: Option<&Path>, client: Option<Client<'_>>) -> Failure {
    let path = match why {
        TlsError::Roots(_) | TlsError::NoRoots => roots,
        TlsError::ClientKey(_) => client.map(|client| client.key),
        TlsError::ClientCertificate(_) => client.map(|client| client.certificate),
        _ => return Failure::Failed(why.to_string()),
    };
    path.map_or_else(|| Failure::Configuration(format!("sslrootcert: {why}")), |path| wrong(path, why))
}

/// Returns an error of a file.
fn wrong(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Configuration(format!("{}: {why}", path.display()))
}
