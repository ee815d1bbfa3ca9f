//! An ACME CA and a DNS provider, configured by environment variables.
//!
//! - `CLOUDFLARE_TOKEN`: publishes records through Cloudflare.
//! - `RFC2136_SERVER` (`ADDRESS:PORT`), `RFC2136_KEY_NAME` and `RFC2136_KEY` (Base64): publishes records on a name
//!   server of one's own. Not read if `CLOUDFLARE_TOKEN` is set.
//! - `ACME_DIRECTORY`: directory URL of the CA; Let's Encrypt staging by default.
//! - `ACME_ROOTS`: file with root certificates in PEM for the CA.
//! - `DNS_SERVER` (`ADDRESS:PORT`): a resolver instead of the system's.

use acme_dns01::client::{Acme, Http};
use acme_dns01::dns::Dns;
use acme_dns01::engine::{Authority, Engine};
use acme_dns01::provider::{Cloudflare, CloudflareAuth, Provider, Rfc2136, TsigAlgorithm};
use acme_dns01::store::{FileStore, Ownership};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::env::var;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Name of the CA in the engine.
pub const CA: &str = "ca";

/// Directory URL of Let's Encrypt staging.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// Creates an engine that stores its certificates in a folder and prints its events to standard output.
///
/// # Errors
/// Returns an error if the environment names no DNS provider, a value is not valid, or the folder cannot be opened.
pub fn engine(folder: &Path) -> Result<Engine, Box<dyn Error>> {
    let roots = var("ACME_ROOTS").ok().map(std::fs::read_to_string).transpose()?;
    let http = Http::new(roots.as_deref())?;
    let mut dns = Dns::system();
    if let Ok(server) = var("DNS_SERVER") {
        let server: SocketAddr = server.parse()?;
        dns = Dns::new(vec![server]);
        dns.authority_port = server.port();
    }
    let acme = Acme::new(var("ACME_DIRECTORY").unwrap_or_else(|_| STAGING.to_owned()), http.clone());
    let store = FileStore::open(folder, Ownership::default())?;
    Ok(Engine::new(Arc::new(store), dns)
        .authority(CA, Authority::new(acme))
        .provider("dns", provider(&http)?)
        .observer(Arc::new(|id, event| println!("{id}: {event}"))))
}

/// Returns the DNS provider that the environment names.
///
/// # Errors
/// Returns an error if a variable is missing or not valid.
fn provider(http: &Http) -> Result<Arc<dyn Provider>, Box<dyn Error>> {
    if let Ok(token) = var("CLOUDFLARE_TOKEN") {
        let auth = CloudflareAuth::Token { dns: token.into(), zone: None };
        return Ok(Arc::new(Cloudflare::new(http.clone(), auth)));
    }
    let server = var("RFC2136_SERVER").map_err(|_| "neither CLOUDFLARE_TOKEN nor RFC2136_SERVER is set")?;
    let key = STANDARD.decode(var("RFC2136_KEY")?)?;
    let updates = Rfc2136::new(server.parse()?);
    Ok(Arc::new(updates.tsig(&var("RFC2136_KEY_NAME")?, TsigAlgorithm::HmacSha256, &key.into())?))
}
