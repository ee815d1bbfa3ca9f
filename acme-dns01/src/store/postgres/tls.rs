//! TLS to the server, by rustls, with channel binding (RFC 5929 `tls-server-end-point`).

use super::Encryption;
use crate::client::client_config;
use crate::store::StoreError;
use aws_lc_rs::digest;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Factory of TLS connectors, for tokio-postgres.
#[derive(Clone)]
pub(super) struct MakeRustlsConnect(Arc<ClientConfig>);

/// TLS connector for a server with this name.
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A TLS connection to a PostgreSQL server.
pub(super) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl MakeRustlsConnect {
    /// Creates the connector factory. It trusts the system's root certificates and those of `encryption`. `None` if the
    /// connection is not encrypted.
    ///
    /// # Errors
    /// Returns [`StoreError::Database`] if no root certificate is available, or one is not valid.
    pub(super) fn from_encryption(encryption: &Encryption) -> Result<Option<Self>, StoreError> {
        let Encryption::Tls { roots: more } = encryption else { return Ok(None) };
        let config = client_config(more.as_deref());
        let config =
            config.map_err(|why| StoreError::Database(format!("its certificate authorities: {why}")))?;
        Ok(Some(Self(Arc::new(config))))
    }
}

impl MakeTlsConnect<Socket> for MakeRustlsConnect {
    type Stream = Stream;
    type TlsConnect = Connector;
    type Error = io::Error;

    fn make_tls_connect(&mut self, name: &str) -> io::Result<Connector> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Connector { config: self.0.clone(), name })
    }
}

impl TlsConnect<Socket> for Connector {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let connector = tokio_rustls::TlsConnector::from(self.config);
            connector.connect(self.name, socket).await.map(Stream)
        })
    }
}

impl tokio_postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let shown = self.0.get_ref().1.peer_certificates().and_then(<[_]>::first);
        shown
            .and_then(|der| end_point(der))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// Returns the `tls-server-end-point` channel binding of a certificate in DER (RFC 5929 §4.1): the digest of the
/// certificate by the hash algorithm of its signature, or by SHA-256 in place of MD5 and SHA-1. `None` if the signature
/// algorithm has no single hash, such as Ed25519, or the certificate is not valid.
fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let algorithm = match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        // ECDSA and RSA with SHA-256; RSA with MD5 and SHA-1; ECDSA with SHA-1.
        "1.2.840.10045.4.3.2"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1" => &digest::SHA256,
        "1.2.840.10045.4.3.3" | "1.2.840.113549.1.1.12" => &digest::SHA384,
        "1.2.840.10045.4.3.4" | "1.2.840.113549.1.1.13" => &digest::SHA512,
        // Ed25519, for example, has no separate hash algorithm, so that there is no binding.
        _ => return None,
    };
    Some(digest::digest(algorithm, der).as_ref().to_vec())
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, to)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
