//! A TLS connector for [`Server`](super::Server) based on rustls. It verifies the server as libpq does for a value of
//! `sslmode`.

mod end_point;
mod names;

use end_point::{EndPointHash, end_point_hash};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// Use of TLS, and verification of the server's certificate, as libpq's `sslmode` without `allow`, which tokio-postgres
/// does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsMode {
    /// TLS is not used.
    Disable,
    /// TLS is used if the server supports it. Its certificate is not verified.
    Prefer,
    /// TLS is required. The certificate chain is verified only if trusted certificates are given.
    Require,
    /// TLS is required, and the certificate chain is verified.
    VerifyCa,
    /// TLS is required, and the certificate chain and the name of the server are verified.
    VerifyFull,
}

impl TlsMode {
    /// Returns the value for [`Config::ssl_mode`](tokio_postgres::Config::ssl_mode) that a connection in this mode
    /// requires in addition to the connector.
    #[must_use]
    pub fn ssl_mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// A client certificate and its private key, as `sslcert` and `sslkey`.
#[derive(Clone, Copy)]
pub struct ClientCertificate<'p> {
    /// Certificate chain in PEM, the client's certificate first.
    pub chain: &'p [u8],
    /// Private key in PEM.
    pub key: &'p [u8],
}

impl fmt::Debug for ClientCertificate<'_> {
    /// Omits the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Error of creating a [`TlsConnector`], or of the server name of a connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// A trusted certificate is not valid. Contains a description.
    #[error("a trusted certificate is not valid: {0}")]
    Roots(String),
    /// There is no trusted certificate: none in the given PEM, or none of the system.
    #[error("there is no trusted certificate")]
    NoRoots,
    /// The client certificate is not valid, or does not belong to its key. Contains a description.
    #[error("the client certificate cannot be used: {0}")]
    ClientCertificate(String),
    /// The private key of the client certificate is not valid. Contains a description.
    #[error("the private key cannot be used: {0}")]
    ClientKey(String),
    /// The server's name is neither a DNS name nor an IP address. Contains the name.
    #[error("{0:?} is not a valid name of a server")]
    ServerName(String),
    /// rustls rejects the configuration. Contains its message.
    #[error("TLS cannot be used: {0}")]
    Configuration(String),
}

/// TLS connector for tokio-postgres.
///
/// tokio-postgres decides by [`Config::ssl_mode`](tokio_postgres::Config::ssl_mode) alone if a connection is encrypted:
/// with its default, [`SslMode::Prefer`], a server without TLS is used unencrypted and unverified. Set it to
/// [`TlsMode::ssl_mode`] of the connector's mode.
///
/// ```no_run
/// use pg_ensure::client::Server;
/// use pg_ensure::client::tls::{TlsConnector, TlsMode};
/// use pg_ensure::tokio_postgres::Config;
/// let mut config: Config = "host=db.example.org user=postgres dbname=postgres".parse()?;
/// config.ssl_mode(TlsMode::VerifyFull.ssl_mode());
/// let server = Server::new(config, TlsConnector::new(TlsMode::VerifyFull, None, None)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    /// Name of the server of a connection. `None` for a Unix-domain socket.
    server: Option<ServerName<'static>>,
}

impl TlsConnector {
    /// Creates a connector. `roots` are the trusted certificates in PEM. `None` stands for those of the system in
    /// [`TlsMode::VerifyCa`] and [`TlsMode::VerifyFull`], and for no verification in [`TlsMode::Require`]. The other
    /// modes ignore `roots`. A server certificate that is itself in `roots` needs no chain; its validity period, and in
    /// [`TlsMode::VerifyFull`] its name, are still verified. `client` is presented if the server requests a
    /// certificate; `None` presents none.
    ///
    /// # Errors
    /// Returns a [`TlsError`] if there is no trusted certificate, one of `roots` is not valid, the client certificate
    /// or its key is not valid, or rustls rejects the configuration.
    pub fn new(
        mode: TlsMode,
        roots: Option<&[u8]>,
        client: Option<ClientCertificate<'_>>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(provider::default_provider());
        let check = match (mode, roots) {
            (TlsMode::VerifyFull, _) => ChainCheck::Name,
            (TlsMode::VerifyCa, _) | (TlsMode::Require, Some(_)) => ChainCheck::Authority,
            (TlsMode::Disable | TlsMode::Prefer, _) | (TlsMode::Require, None) => ChainCheck::Nothing,
        };
        let (inner, roots) = if check == ChainCheck::Nothing {
            (None, Vec::new())
        } else {
            let (store, certificates) = load_roots(roots)?;
            let inner =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build();
            (Some(inner.map_err(|why| TlsError::Roots(why.to_string()))?), certificates)
        };
        let verifier = Arc::new(ServerVerifier { check, inner, roots, provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|why| TlsError::Configuration(why.to_string()))?;
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let wrong = |why: &dyn fmt::Display| TlsError::ClientCertificate(why.to_string());
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(client.chain).collect();
                let chain = chain.map_err(|why| wrong(&why))?;
                let key = PrivateKeyDer::from_pem_slice(client.key)
                    .map_err(|why| TlsError::ClientKey(why.to_string()))?;
                config.with_client_auth_cert(chain, key).map_err(|why| wrong(&why))?
            }
        };
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { config: Arc::new(config), server: None })
    }
}

/// Loads the trusted certificates of `pem`, or those of the system if that is `None`. Returns a store, and the
/// certificates of `pem` individually. Certificates of the system that are not valid are skipped.
///
/// # Errors
/// Returns [`TlsError::Roots`] for a certificate of `pem` that is not valid, and [`TlsError::NoRoots`] if there is
/// none.
fn load_roots(pem: Option<&[u8]>) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut store = RootCertStore::empty();
    let mut all = Vec::new();
    if let Some(pem) = pem {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|why| TlsError::Roots(why.to_string()))?;
            store.add(certificate.clone()).map_err(|why| TlsError::Roots(why.to_string()))?;
            all.push(certificate);
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() { Err(TlsError::NoRoots) } else { Ok((store, all)) }
}

/// Extent of the verification of a server certificate: none, the chain, or the chain and the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChainCheck {
    Nothing,
    Authority,
    Name,
}

/// Verifier of server certificates to the extent of the mode. `inner` is `None` if nothing is verified.
#[derive(Debug)]
struct ServerVerifier {
    check: ChainCheck,
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Trusted certificates that were given in PEM.
    roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        // A server certificate that is itself among them is trusted directly, as in OpenSSL: PostgreSQL's manual
        // creates such certificates by `openssl req -x509`.
        let pinned = self.roots.iter().any(|root| root.as_ref() == end_entity.as_ref());
        let verified = if pinned {
            let valid = names::is_valid_at(end_entity, now.as_secs());
            if !valid {
                return Err(rustls::Error::InvalidCertificate(CertificateError::Expired));
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName))
        } else {
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match (verified, self.check) {
            (
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )),
                check,
            ) if check == ChainCheck::Authority || names::is_for_server(end_entity, server_name) => {
                Ok(ServerCertVerified::assertion())
            }
            (other, _) => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Converts the name of a server.
///
/// # Errors
/// Returns [`TlsError::ServerName`] if it is neither a DNS name nor an IP address.
fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}

impl<S> MakeTlsConnect<S> for TlsConnector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = EncryptedStream<S>;
    type TlsConnect = Self;
    type Error = TlsError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self, Self::Error> {
        // A Unix-domain socket has no server name, and does not support TLS.
        let server = if domain.is_empty() { None } else { Some(server_name(domain)?) };
        Ok(Self { config: Arc::clone(&self.config), server })
    }
}

impl<S> TlsConnect<S> for TlsConnector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = EncryptedStream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<EncryptedStream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let no_name =
                || io::Error::new(io::ErrorKind::InvalidInput, "a server without a name has no TLS");
            let server = self.server.ok_or_else(no_name)?;
            tokio_rustls::TlsConnector::from(self.config).connect(server, stream).await.map(EncryptedStream)
        })
    }
}

/// A TLS connection with its channel binding.
#[derive(Debug)]
pub struct EncryptedStream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for EncryptedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for EncryptedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for EncryptedStream<S> {
    /// Returns the channel binding `tls-server-end-point` (RFC 5929 §4.1), a hash of the server's certificate, or none
    /// if the certificate has no hash for it.
    fn channel_binding(&self) -> ChannelBinding {
        let certificate = self.0.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let hash = certificate.and_then(|certificate| end_point_hash(certificate));
        let (Some(certificate), Some(hash)) = (certificate, hash) else { return ChannelBinding::none() };
        ChannelBinding::tls_server_end_point(match hash {
            EndPointHash::Sha256 => Sha256::digest(certificate).to_vec(),
            EndPointHash::Sha384 => Sha384::digest(certificate).to_vec(),
            EndPointHash::Sha512 => Sha512::digest(certificate).to_vec(),
        })
    }
}
