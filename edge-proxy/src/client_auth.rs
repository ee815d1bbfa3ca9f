//! Client certificates of sites: the TLS configuration that requests them, and the certificate that a client proved.

use edge_policy::config::{CertificateMode, ClientCertificates};
use edge_policy::{CertificateContext, ClientCertificate};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod files;
mod name;

pub use files::check_client_certificates;

/// The error of client certificate settings that cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientCertificatesError {
    /// The file of the authorities or that of the revocation lists cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The file of the authorities contains no certificate in PEM, or a malformed one; or that of the revocation lists
    /// contains no list, or a malformed one.
    #[error("{}: not a valid PEM file: expected {expected}", path.display())]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// The kind of object that is missing or malformed.
        expected: &'static str,
    },
    /// A certificate in the file of the authorities cannot be parsed as a trust anchor.
    #[error("{}: a certificate cannot be used as an authority", path.display())]
    Authority {
        /// The path of the file.
        path: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// A certificate in the file of the authorities is not that of an authority (X.509 version 3 without `CA:TRUE`): no
    /// certificate of a client is verified by it.
    #[error("{}: the certificate of {subject} is not that of an authority", path.display())]
    NotAuthority {
        /// The path of the file.
        path: PathBuf,
        /// The subject of the certificate.
        subject: String,
    },
    /// A revocation list has expired: no certificate of a client is accepted any more.
    #[error("{}: the revocation list of {issuer} has expired", path.display())]
    Expired {
        /// The path of the file.
        path: PathBuf,
        /// The issuer of the list.
        issuer: String,
    },
    /// rustls rejected the TLS configuration of the site.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The verifier rejected the certificate authorities or the revocation lists.
    #[error("the authorities or the revocation lists cannot be used")]
    Verifier(#[from] VerifierBuilderError),
}

/// The rules that a client certificate was verified under: the content of the files and the mode. Two values are equal
/// if these are equal, so a changed file changes the rules.
#[derive(Debug, PartialEq, Eq)]
struct CertificateRules {
    /// The content of the file of authorities.
    authorities: Vec<u8>,
    /// The content of the file of revocation lists. `None` if none is configured.
    revoked: Option<Vec<u8>>,
    /// The mode: whether clients must present a certificate or may.
    mode: CertificateMode,
}

impl CertificateRules {
    /// Reads the files of the settings without parsing them.
    ///
    /// # Errors
    /// [`ClientCertificatesError::File`] if a file cannot be read.
    fn read(asked: &ClientCertificates) -> Result<Self, ClientCertificatesError> {
        Ok(Self {
            authorities: read(&asked.ca)?,
            revoked: asked.crl.as_deref().map(read).transpose()?,
            mode: asked.mode,
        })
    }

    /// Creates the verifier of client certificates. The verifier rejects certificates if a revocation list has
    /// expired, and accepts a client without a certificate in the optional mode. `asked` are the settings that the
    /// rules were read from; their paths are named in errors.
    ///
    /// # Errors
    /// [`ClientCertificatesError`] if a file has no valid objects, or the authorities or lists are rejected.
    fn verifier(
        &self,
        asked: &ClientCertificates,
    ) -> Result<Arc<dyn ClientCertVerifier>, ClientCertificatesError> {
        let mut roots = RootCertStore::empty();
        for certificate in authorities(&asked.ca, &self.authorities)? {
            roots
                .add(certificate)
                .map_err(|source| ClientCertificatesError::Authority { path: asked.ca.clone(), source })?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let (Some(path), Some(pem)) = (&asked.crl, &self.revoked) {
            builder = builder.with_crls(revocation_lists(path, pem)?).enforce_revocation_expiration();
        }
        if self.mode == CertificateMode::Optional {
            builder = builder.allow_unauthenticated();
        }
        Ok(builder.build()?)
    }
}

/// The client certificate settings of one site, with its TLS configuration.
#[derive(Debug)]
pub(crate) struct ClientAuth {
    /// The rules under which the certificates of this configuration are verified.
    rules: Arc<CertificateRules>,
    /// The TLS configuration of the site, which requests a client certificate.
    pub(crate) tls: Arc<ServerConfig>,
}

impl ClientAuth {
    /// Reads the files, and creates a TLS configuration that requests certificates and never resumes sessions.
    /// `server` creates a configuration with a verifier; ALPN, key log and secret extraction are copied from `base`.
    ///
    /// # Errors
    /// [`ClientCertificatesError`] if a file cannot be read or used, or `server` fails.
    pub(crate) fn new(
        asked: &ClientCertificates,
        base: &ServerConfig,
        server: impl FnOnce(Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, rustls::Error>,
    ) -> Result<Self, ClientCertificatesError> {
        let rules = CertificateRules::read(asked)?;
        let mut tls = server(rules.verifier(asked)?)?;
        tls.alpn_protocols.clone_from(&base.alpn_protocols);
        tls.key_log = base.key_log.clone();
        tls.enable_secret_extraction = base.enable_secret_extraction;
        // Every connection proves its certificate, so that authorities, dates and revocations in force are asked each
        // time.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        Ok(Self { rules: Arc::new(rules), tls: Arc::new(tls) })
    }

    /// Returns the client certificate of a handshake under this configuration, with the rules it was verified under.
    /// `chain` is the verified chain, which begins with the client's certificate, and empty if the client sent none.
    pub(crate) fn proven(&self, chain: &[CertificateDer<'_>]) -> ProvenCertificate {
        ProvenCertificate { rules: self.rules.clone(), certificate: client_certificate(chain) }
    }
}

/// The verified client certificate of a connection, or the fact that none was sent, with the rules of that handshake.
#[derive(Debug)]
pub(crate) struct ProvenCertificate {
    /// The rules under which the handshake verified the certificate.
    rules: Arc<CertificateRules>,
    /// The verified certificate. `None` if the client sent none.
    certificate: Option<ClientCertificate>,
}

impl ProvenCertificate {
    /// Returns the certificate as the context of a request. `in_force` are the site's present settings. If they are
    /// `None`, or their rules differ from those of the handshake, the result is `NotAsked`; else it is `Verified`, or
    /// `Absent` if the client sent no certificate.
    pub(crate) fn under(&self, in_force: Option<&ClientAuth>) -> CertificateContext<'_> {
        match in_force {
            Some(auth) if Arc::ptr_eq(&auth.rules, &self.rules) || *auth.rules == *self.rules => {
                self.certificate.as_ref().map_or(CertificateContext::Absent, CertificateContext::Verified)
            }
            _ => CertificateContext::NotAsked,
        }
    }
}

/// Reads a file whose path the error names.
///
/// # Errors
/// [`ClientCertificatesError::File`] if the file cannot be read.
fn read(path: &Path) -> Result<Vec<u8>, ClientCertificatesError> {
    std::fs::read(path).map_err(|source| ClientCertificatesError::File { path: path.into(), source })
}

/// Parses the certificates of a PEM file, in their order. `path` is named in the error.
///
/// # Errors
/// [`ClientCertificatesError::Pem`] if the file is malformed or has no certificate.
fn authorities(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientCertificatesError> {
    let wrong = || ClientCertificatesError::Pem { path: path.into(), expected: "at least one certificate" };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

/// Parses the revocation lists of a PEM file, in their order. `path` is named in the error.
///
/// # Errors
/// [`ClientCertificatesError::Pem`] if the file is malformed or has no revocation list.
fn revocation_lists(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, ClientCertificatesError> {
    let wrong =
        || ClientCertificatesError::Pem { path: path.into(), expected: "at least one revocation list" };
    let found: Vec<_> =
        CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

/// Returns the parts of a verified chain that policies and request fields use: the chain in DER, the SHA-256
/// fingerprint in lowercase hexadecimal, subject and issuer by RFC 4514, the first common name, and the serial number
/// in uppercase hexadecimal. `None` if the chain is empty. The names and the number are empty if the certificate
/// cannot be parsed.
fn client_certificate(chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
    let leaf = chain.first()?;
    let mut certificate = ClientCertificate::new(chain.iter().map(|one| one.to_vec()).collect());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    certificate.fingerprint = edge_http::encoding::hexadecimal(digest.as_ref());
    if let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) {
        certificate.subject = name::rfc_4514(parsed.subject());
        certificate.issuer = name::rfc_4514(parsed.issuer());
        let common_name = parsed.subject().iter_common_name().next();
        certificate.common_name = common_name.and_then(|name| name.as_str().ok()).map(str::to_owned);
        certificate.serial = edge_http::encoding::hexadecimal(parsed.raw_serial()).to_ascii_uppercase();
    }
    Some(certificate)
}
