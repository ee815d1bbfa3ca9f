//! An axum server that gets its certificate by DNS-01 and renews it while it serves, without reloading files and
//! without a restart.
//!
//! ```text
//! CLOUDFLARE_TOKEN=secret acme_axum www.example.org 0.0.0.0:443 /var/lib/www
//! ```
//!
//! See `examples::authority` for the environment variables.

use acme_dns01::engine::Certificate;
use acme_dns01::live::LiveCertificates;
use acme_dns01::{CertificateSpec, Name};
use axum::routing::get;
use axum::{Router, serve::Listener};
use examples::authority;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A listener of connections with a completed TLS handshake. Each handshake runs in its own task, with a limit of 10 s,
/// so that a slow client does not delay others. Failed handshakes are dropped.
struct Handshakes {
    address: SocketAddr,
    done: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Handshakes {
    /// Binds an address, and begins to accept connections with these certificates.
    ///
    /// # Errors
    /// Returns an error if the address cannot be bound.
    async fn at(address: &str, live: Arc<LiveCertificates>) -> Result<Self, Box<dyn Error>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(live);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await?;
        let (sender, done) = mpsc::channel(64);
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while !sender.is_closed() {
                let Ok((tcp, from)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let shaken = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(tcp)).await;
                    if let Ok(Ok(stream)) = shaken {
                        let _ = sender.send((stream, from)).await;
                    }
                });
            }
        });
        Ok(Self { address, done })
    }
}

impl Listener for Handshakes {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.done.recv().await {
            Some(connection) => connection,
            // The accepting task ends only with its runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, folder] = arguments.as_slice() else {
        return Err("usage: acme_axum NAME ADDRESS:PORT FOLDER".into());
    };
    let name: Name = name.parse()?;

    // The server starts first: it presents a self-signed certificate until one is issued.
    let live = LiveCertificates::new();
    let listener = Handshakes::at(address, live.clone()).await?;
    let at = listener.address;
    let app = Router::new().route("/", get(|| async { "hello over TLS\n" }));
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let server = tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stop).await });
    println!("serving at {at}");

    let engine = authority::engine(Path::new(folder))?.live(live);
    let certificate: Certificate = CertificateSpec::new([name], authority::CA).into();
    let engine = Arc::new(engine);
    tokio::select! {
        () = engine.run(std::slice::from_ref(&certificate)) => {}
        ended = server => ended??,
    }
    Ok(())
}
