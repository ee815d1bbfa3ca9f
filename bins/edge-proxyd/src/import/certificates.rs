//! Conversion of `ssl_certificate` and `ssl_certificate_key`.

use super::listen::Listen;
use super::parse::Directive;
use super::quote::quoted;
use super::sites::{ANY, Server};

/// The certificates of the converted servers: a folder with all of them, or files that sites name.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// The folder of `[certificates]`: the common one of all certificates if they are in a layout that edge-proxyd
    /// reads, or `/var/lib/acme` if a server with TLS has no certificate. `None` if sites name their files, or nothing
    /// uses TLS.
    pub(super) folder: Option<String>,
    /// The `ssl_certificate` and `ssl_certificate_key` of `http`, which servers inherit. `None` if one of them is
    /// missing.
    outer: Option<(Directive, Directive)>,
}

impl Certificates {
    /// Returns true if a server has a certificate and key, of its own or from `http`, whose paths have no variables.
    pub(super) fn has(&self, server: &Server) -> bool {
        let own = pair(&server.directive.inner().iter().collect::<Vec<_>>());
        own.or_else(|| self.outer.clone())
            .is_some_and(|(certificate, key)| ![certificate, key].iter().any(|one| one.first().contains('$')))
    }

    /// Reads the certificates of the servers that listen with TLS and have hosts or answer for names that no server
    /// has. `all` are the directives of `http`.
    pub(super) fn read(all: &[&Directive], servers: &[Server], listens: &[Listen]) -> Self {
        let mut found = Self { folder: None, outer: pair(all) };
        if !listens.iter().any(|listen| listen.tls) {
            return found;
        }
        let at_tls = |server: &&Server| {
            let tls = |one: &Listen| listens.iter().any(|listen| listen.tls && listen.address == one.address);
            !(server.names.hosts.is_empty() && server.unnamed_at.is_empty()) && server.listens.iter().any(tls)
        };
        let pairs: Vec<Option<(Directive, Directive)>> = servers
            .iter()
            .filter(at_tls)
            .map(|server| {
                pair(&server.directive.inner().iter().collect::<Vec<_>>()).or_else(|| found.outer.clone())
            })
            .collect();
        let parents: Vec<Option<&str>> = pairs
            .iter()
            .map(|pair| pair.as_ref().and_then(|(certificate, key)| parent(certificate.first(), key.first())))
            .collect();
        found.folder = match parents.first() {
            Some(Some(first)) if parents.iter().all(|parent| parent == &Some(*first)) => {
                Some((*first).to_owned())
            }
            // Sites name their files; a site without any needs a folder.
            _ if !pairs.is_empty() && pairs.iter().all(Option::is_some) => None,
            _ => Some("/var/lib/acme".into()),
        };
        found
    }

    /// Returns the keys `certificate` and `key` of a site with TLS for a host, with `folder` before relative paths.
    /// Empty if the folder of `[certificates]` has them, the server has none, or a path has variables. The site for
    /// [`ANY`] always needs its files, as the folder is searched by name.
    pub(super) fn keys(&self, server: &Server, host: &str, folder: &str) -> Vec<String> {
        let any = host == ANY;
        if !any && self.folder.as_deref().is_some_and(|folder| folder != "/var/lib/acme") {
            return Vec::new();
        }
        let own = pair(&server.directive.inner().iter().collect::<Vec<_>>());
        let Some((certificate, key)) = own.or_else(|| self.outer.clone()) else { return Vec::new() };
        let paths = [certificate.first(), key.first()];
        if !any && self.folder.is_some() && parent(paths[0], paths[1]) == self.folder.as_deref()
            || paths.iter().any(|path| path.contains('$'))
        {
            return Vec::new();
        }
        let absolute =
            |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
        vec![
            format!("certificate = {}", quoted(&absolute(paths[0]))),
            format!("key = {}", quoted(&absolute(paths[1]))),
        ]
    }
}

/// Returns the first `ssl_certificate` and the first `ssl_certificate_key` of a block. `None` if one is missing.
fn pair(block: &[&Directive]) -> Option<(Directive, Directive)> {
    let one = |name: &str| block.iter().find(|one| one.name == name).map(|one| (*one).clone());
    one("ssl_certificate").zip(one("ssl_certificate_key"))
}

/// Returns the folder that contains the folder of a certificate. `None` unless the certificate is
/// `PARENT/NAME/fullchain.pem` and its key is `key.pem` or `privkey.pem` in the same folder, without variables.
fn parent<'p>(certificate: &'p str, key: &str) -> Option<&'p str> {
    let path = certificate.strip_suffix("/fullchain.pem")?;
    let key = key.strip_prefix(path)?;
    let (parent, name) = path.rsplit_once('/')?;
    (matches!(key, "/key.pem" | "/privkey.pem")
        && parent.starts_with('/')
        && !name.contains('$')
        && !parent.contains('$'))
    .then_some(parent)
}
