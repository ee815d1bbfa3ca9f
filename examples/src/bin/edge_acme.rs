//! An edge that gets its own certificate by DNS-01 and serves it over TCP and QUIC as soon as it is issued: two
//! independent crates, joined by rustls' certificate resolver.
//!
//! ```text
//! CLOUDFLARE_TOKEN=secret edge_acme www.example.org 0.0.0.0:443 /var/lib/edge http://127.0.0.1:3000
//! ```
//!
//! See `examples::authority` for the environment variables.

use acme_dns01::engine::Certificate;
use acme_dns01::live::{Check, Greeting, LiveCertificates};
use acme_dns01::{CertificateSpec, Name};
use edge_proxy::Proxy;
use edge_proxy::config::{Config, Listener, Route, Site, Target, Upstream};
use examples::authority;
use std::error::Error;
use std::path::Path;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, folder, service] = arguments.as_slice() else {
        return Err("usage: edge_acme NAME ADDRESS:PORT FOLDER http://HOST:PORT".into());
    };
    let (host, port) = service
        .strip_prefix("http://")
        .and_then(|service| service.rsplit_once(':'))
        .ok_or("the service is http://HOST:PORT")?;

    // Connections for other names, or without a name, are dropped; until there is a certificate, a self-signed one
    // is presented.
    let live = LiveCertificates::new();
    let mut config = Config::default();
    config.listeners.push(Listener::tls(address.parse()?).http3(true));
    config
        .upstreams
        .push(Upstream::new("service", Target::Tcp { host: host.to_owned(), port: port.parse()? }));
    config.sites.push(Site::new(name.as_str(), vec![name.parse()?]).route(Route::forward("service")));
    let proxy = Proxy::builder().config(config).workers(1).certificates(live.clone()).start()?;
    let at = proxy.addresses()[0];
    println!("serving at {at}");

    // A handshake must present the new certificate, or the old one is restored.
    let mut certificate: Certificate = CertificateSpec::new([name.parse::<Name>()?], authority::CA).into();
    certificate.deployment.checks.push(Check {
        address: at.to_string(),
        greeting: Greeting::Tls,
        name: name.clone(),
    });
    let engine = std::sync::Arc::new(authority::engine(Path::new(folder))?.live(live));
    tokio::select! {
        () = engine.run(std::slice::from_ref(&certificate)) => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    proxy.shutdown(std::time::Duration::from_secs(5));
    Ok(())
}
