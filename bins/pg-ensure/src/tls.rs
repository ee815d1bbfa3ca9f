//! TLS to servers, by rustls.

use crate::der::{EndPointHash, end_point_hash};
use crate::names;
use aws_lc_rs::digest;
use clap::ValueEnum;
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

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

/// TLS connector for tokio-postgres. `server` is the name of the server of a connection, `None` for a Unix-domain
/// socket.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    server: Option<ServerName<'static>>,
}

/// Paths of a client certificate and its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'c> {
    pub(crate) certificate: &'c Path,
    pub(crate) key: &'c Path,
}

impl Client<'_> {
    /// Reads the certificate chain and the key.
    ///
    /// # Errors
    /// Returns a [`Failure`] if a file cannot be read or parsed, or others may read the key.
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
        let wrong = |why: String| Failure::Configuration(format!("{}: {why}", self.certificate.display()));
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(self.certificate).map_err(|why| wrong(why.to_string()))?.collect();
        let chain = chain.map_err(|why| wrong(why.to_string()))?;
        // By the rules for secrets, which are those of PostgreSQL for private keys.
        let bytes = Reference::File(self.key.to_owned()).read_bytes()?;
        let key = PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|why| Failure::Configuration(format!("{}: {why}", self.key.display())))?;
        Ok((chain, key))
    }
}

impl Connector {
    /// Creates a connector. `roots` is the path of `sslrootcert`, which with `require` enables verification of the
    /// certificate chain.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the roots, the client certificate or its key cannot be read or used.
    pub(crate) fn new(mode: Mode, roots: Option<&Path>, client: Option<Client<'_>>) -> Result<Self, Failure> {
        let provider = Arc::new(provider::default_provider());
        let check = match (mode, roots) {
            (Mode::VerifyFull, _) => Check::Name,
            (Mode::VerifyCa, _) | (Mode::Require, Some(_)) => Check::Authority,
            (Mode::Disable | Mode::Allow | Mode::Prefer, _) | (Mode::Require, None) => Check::Nothing,
        };
        let verifier: Arc<dyn ServerCertVerifier> = if check == Check::Nothing {
            Arc::new(Verifier { check, inner: None, roots: Vec::new(), provider: Arc::clone(&provider) })
        } else {
            let (roots, certificates) = load_roots(roots)?;
            let roots = Arc::new(roots);
            let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            let inner = inner.map_err(|why| Failure::Configuration(format!("sslrootcert: {why}")))?;
            Arc::new(Verifier {
                check,
                inner: Some(inner),
                roots: certificates,
                provider: Arc::clone(&provider),
            })
        };
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|why| Failure::Failed(format!("TLS: {why}")))?;
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let (chain, key) = client.read()?;
                let config = config.with_client_auth_cert(chain, key);
                config.map_err(|why| {
                    Failure::Configuration(format!("{}: {why}", client.certificate.display()))
                })?
            }
        };
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { config: Arc::new(config), server: None })
    }
}

/// Loads the trusted certificates: as a store, and individually if they are from the file `path`. Without a path, or
/// with `system`, the store contains the system's.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read, or contains no certificate or one that is not valid.
fn load_roots(path: Option<&Path>) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Failure> {
    let mut store = RootCertStore::empty();
    let mut all = Vec::new();
    let Some(path) = path.filter(|path| *path != Path::new("system")) else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok((store, all));
    };
    let wrong = |why: String| Failure::Configuration(format!("{}: {why}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|why| wrong(why.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|why| wrong(why.to_string()))?;
        store.add(certificate.clone()).map_err(|why| wrong(why.to_string()))?;
        all.push(certificate);
    }
    if store.is_empty() {
        return Err(wrong("it holds no certificate in PEM".to_owned()));
    }
    Ok((store, all))
}

/// Extent of the verification of a server certificate: none, the chain, or the chain and the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Authority,
    Name,
}

/// Verifier of server certificates to the extent of the mode. `inner` is `None` if nothing is verified.
#[derive(Debug)]
struct Verifier {
    check: Check,
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates of `sslrootcert`.
    roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        // A server certificate that is itself in `sslrootcert` is trusted directly, as in OpenSSL: PostgreSQL's manual
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
            ) if check == Check::Authority || names::is_for_server(end_entity, server_name) => {
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

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Self;
    type Error = rustls_pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self, Self::Error> {
        // A Unix-domain socket has no server name, and does not support TLS.
        let server = if domain.is_empty() { None } else { Some(ServerName::try_from(domain.to_owned())?) };
        Ok(Self { config: Arc::clone(&self.config), server })
    }
}

impl<S> TlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let no_name =
                || io::Error::new(io::ErrorKind::InvalidInput, "a server without a name has no TLS");
            let server = self.server.ok_or_else(no_name)?;
            tokio_rustls::TlsConnector::from(self.config).connect(server, stream).await.map(Stream)
        })
    }
}

/// A TLS connection with its channel binding.
pub(crate) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    /// Returns the channel binding `tls-server-end-point` (RFC 5929 §4.1), a hash of the server's certificate, or none
    /// if the certificate has no hash for it.
    fn channel_binding(&self) -> ChannelBinding {
        let certificate = self.0.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let hash = certificate.and_then(|certificate| end_point_hash(certificate));
        let (Some(certificate), Some(hash)) = (certificate, hash) else { return ChannelBinding::none() };
        let algorithm = match hash {
            EndPointHash::Sha256 => &digest::SHA256,
            EndPointHash::Sha384 => &digest::SHA384,
            EndPointHash::Sha512 => &digest::SHA512,
        };
        ChannelBinding::tls_server_end_point(digest::digest(algorithm, certificate).as_ref().to_vec())
    }
}
