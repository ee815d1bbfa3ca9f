//! From what is written to what works.

use crate::settings::{
    AuthoritySettings, CertificateSettings, DnsMode, ProviderSettings, Security, Settings,
};
use acme_dns01::alert::{CommandMessenger, Mail, MailSecurity, MailServer, Webhook};
use acme_dns01::client::{Acme, ExternalAccount, Http};
use acme_dns01::dns::Dns;
use acme_dns01::engine::{Authority, Certificate, Engine};
use acme_dns01::live::{Check, Deployment, Greeting, Reload};
use acme_dns01::propagation::Way;
use acme_dns01::provider::{
    AcmeDns, Cloudflare, CloudflareAuth, DnsUpdateProvider, Exec, Provider, Rfc2136, TsigAlgorithm,
};
use acme_dns01::store::{Encryption, FileStore, Mirror, Ownership, PostgresStore, Store};
use acme_dns01::{KeyType, Limits, Name, Spec};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cli_support::secret::{Reference, SecretError};
use secrecy::{ExposeSecret, SecretSlice};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Let's Encrypt, and where one tries things out.
const KNOWN: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A value is wrong.
    #[error("{key}: {why}")]
    Value {
        /// Where in the file.
        key: String,
        /// What is wrong, and what to write.
        why: String,
    },
    /// A secret cannot be read.
    #[error("{key}: {why}")]
    Secret {
        /// Where in the file.
        key: String,
        /// Why.
        #[source]
        why: SecretError,
    },
    /// The store, the network or the database is not there.
    #[error("{0}")]
    World(String),
}

impl BuildError {
    /// The line of the file that has to be changed, if it is the file that is wrong: that of the key, or of what it is missing
    /// in.
    #[must_use]
    pub fn line(&self, text: &str) -> Option<usize> {
        let (Self::Value { key, .. } | Self::Secret { key, .. }) = self else { return None };
        let file = toml::de::DeTable::parse(text).ok()?;
        let mut table = file.get_ref();
        let mut found = None;
        let path = key.replace(": ", ".");
        for part in path.split('.') {
            let (name, number) = match part.split_once(' ') {
                Some((name, number)) => (name, number.parse::<usize>().ok()),
                None => (part, None),
            };
            let Some((written, value)) = table.iter().find(|(written, _)| written.get_ref() == name) else {
                break;
            };
            found = Some(written.span().start);
            let mut value = value;
            if let (toml::de::DeValue::Array(list), Some(number)) = (value.get_ref(), number) {
                let Some(one) = list.get(number.saturating_sub(1)) else { break };
                found = Some(one.span().start);
                value = one;
            }
            let toml::de::DeValue::Table(inner) = value.get_ref() else { break };
            table = inner;
        }
        found.map(|at| line_at(text, at))
    }
}

fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

#[expect(clippy::needless_pass_by_value, reason = "errors are handed over by their owners")]
fn wrong(key: impl Into<String>, why: impl ToString) -> BuildError {
    BuildError::Value { key: key.into(), why: why.to_string() }
}

fn read(key: &str, reference: &Reference) -> Result<secrecy::SecretString, BuildError> {
    reference.read().map_err(|why| BuildError::Secret { key: key.to_owned(), why })
}

fn decoded(key: &str, reference: &Reference) -> Result<SecretSlice<u8>, BuildError> {
    let text = read(key, reference)?;
    let text = text.expose_secret();
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')));
    bytes.map(Into::into).map_err(|_| wrong(key, "the secret is no base64"))
}

/// What a configuration comes to.
pub struct Built {
    /// The engine, to which a live resolver or an observer can still be added.
    pub engine: Engine,
    /// What it takes care of.
    pub certificates: Vec<Certificate>,
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Built").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads a file's text.
    ///
    /// # Errors
    /// With the line, the column and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Without the line itself: somebody may have written a secret where its reference belongs.
        toml::from_str(text).map_err(|why| {
            let line = why.span().map_or(1, |span| line_at(text, span.start));
            format!("line {line}: {}", why.message().replace('\n', "; "))
        })
    }

    /// What certificates are wanted, without reading a secret or touching anything.
    ///
    /// # Errors
    /// [`BuildError::Value`].
    pub fn certificates(&self) -> Result<Vec<Certificate>, BuildError> {
        let mut all = Vec::new();
        let mut ids = BTreeSet::new();
        for (number, written) in self.certificate.iter().enumerate() {
            for made in certificate(number, written, self)? {
                if !ids.insert(made.spec.id.clone()) {
                    let why = format!("two are called `{}`: give one another name", made.spec.id);
                    return Err(wrong(format!("certificate {}", number + 1), why));
                }
                all.push(made);
            }
        }
        Ok(all)
    }

    fn dns(&self) -> Dns {
        let mut dns =
            if self.dns.resolvers.is_empty() { Dns::system() } else { Dns::new(self.dns.resolvers.clone()) };
        dns.way = match self.dns.mode {
            DnsMode::Authorities => Way::Authorities,
            DnsMode::Resolvers => Way::Resolvers,
        };
        dns.authority_port = self.dns.authority_port.unwrap_or(53);
        dns
    }

    /// Reads the secrets and opens the store.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(&self) -> Result<Built, BuildError> {
        let certificates = self.certificates()?;
        let dns = self.dns();
        let http = Http::new(None).map_err(|why| BuildError::World(why.to_string()))?;
        let owner = Ownership { user: None, group: Ownership::group_named(&self.group) };
        let files = FileStore::open(&self.folder, owner).map_err(|why| BuildError::World(why.to_string()))?;
        let store: Arc<dyn Store> = match &self.database {
            None => Arc::new(files),
            Some(reference) => Arc::new(Mirror::new(Arc::new(self.shared(reference)?), files)),
        };
        let mut engine = Engine::new(store, dns.clone()).parallel(self.parallel);
        for (name, directory) in KNOWN.iter().filter(|(name, _)| !self.authority.contains_key(*name)) {
            let mut authority = Authority::new(Acme::new(*directory, http.clone()));
            authority.contact.clone_from(&self.email);
            engine = engine.authority(*name, authority);
        }
        for (name, written) in &self.authority {
            engine = engine.authority(name, authority(name, written, &self.email)?);
        }
        for (name, written) in &self.provider {
            engine = engine.provider(name, provider(name, written, &http, &dns)?);
        }
        Ok(Built { engine: self.messengers(engine, &http)?, certificates })
    }

    fn shared(&self, reference: &Reference) -> Result<PostgresStore, BuildError> {
        let text = read("database", reference)?;
        // What is wrong is not said: the password is in it.
        let config: Config = text.expose_secret().parse().map_err(|_| {
            wrong("database", "is no connection string of libpq: host=… dbname=… user=… password=…")
        })?;
        let roots = self.database_roots.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|why| wrong("database_roots", format!("{}: {why}", path.display())))
        });
        let here = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        };
        let encryption = match config.get_ssl_mode() {
            SslMode::Require => Encryption::Tls { roots: roots.transpose()? },
            SslMode::Disable => Encryption::None,
            _ if config.get_hosts().iter().all(here) => Encryption::None,
            _ => {
                let why = "is elsewhere, and private keys would cross the network as they are: write sslmode=require, with \
                           database_roots for a CA of your own, or sslmode=disable for a network that is encrypted itself";
                return Err(wrong("database", why));
            }
        };
        PostgresStore::new(config, &encryption).map_err(|why| wrong("database_roots", why))
    }

    fn messengers(&self, mut engine: Engine, http: &Http) -> Result<Engine, BuildError> {
        if !self.alert.command.is_empty() {
            let within = Duration::from_secs(60);
            engine =
                engine.messenger(Arc::new(CommandMessenger { command: self.alert.command.clone(), within }));
        }
        if let Some(url) = &self.alert.webhook {
            let url = read("alert.webhook", url)?;
            engine = engine.messenger(Arc::new(Webhook { http: http.clone(), url }));
        }
        if let Some(mail) = &self.alert.mail {
            let login = match (&mail.user, &mail.password) {
                (Some(user), Some(password)) => Some((user.clone(), read("alert.mail.password", password)?)),
                (None, None) => None,
                _ => return Err(wrong("alert.mail", "has one of user and password: write both, or none")),
            };
            let security = match mail.security {
                Security::Starttls => MailSecurity::StartTls,
                Security::Tls => MailSecurity::Tls,
                Security::None => MailSecurity::None,
            };
            let roots = mail.roots.as_ref().map(|path| {
                let text = std::fs::read_to_string(path);
                text.map_err(|why| wrong("alert.mail.roots", format!("{}: {why}", path.display())))
            });
            let server = MailServer {
                name: mail.server.clone(),
                port: mail.port,
                security,
                login,
                roots: roots.transpose()?,
            };
            let made = Mail::new(server, &mail.from, &mail.to);
            engine = engine.messenger(Arc::new(made.map_err(|why| wrong("alert.mail", why))?));
        }
        Ok(engine)
    }
}

fn authority(name: &str, written: &AuthoritySettings, email: &[String]) -> Result<Authority, BuildError> {
    let key = |part: &str| format!("authority.{name}.{part}");
    let roots = match &written.roots {
        None => None,
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|why| wrong(key("roots"), format!("{}: {why}", path.display())))?,
        ),
    };
    let http = Http::new(roots.as_deref()).map_err(|why| wrong(key("roots"), why))?;
    let mut made = Authority::new(Acme::new(&written.directory, http));
    made.contact = email.to_vec();
    if let Some(eab) = &written.eab {
        made.external_account =
            Some(ExternalAccount { key_id: eab.key_id.clone(), key: decoded(&key("eab.key"), &eab.key)? });
    }
    Ok(made)
}

fn provider(
    name: &str,
    written: &ProviderSettings,
    http: &Http,
    dns: &Dns,
) -> Result<Arc<dyn Provider>, BuildError> {
    let key = |part: &str| format!("provider.{name}.{part}");
    Ok(match written {
        ProviderSettings::Cloudflare { token, zone_token, email, key: global, zones, base } => {
            let auth = match (token, email, global) {
                (Some(token), None, None) => CloudflareAuth::Token {
                    dns: read(&key("token"), token)?,
                    zone: zone_token.as_ref().map(|token| read(&key("zone_token"), token)).transpose()?,
                },
                (None, Some(email), Some(global)) => {
                    CloudflareAuth::GlobalKey { email: email.clone(), key: read(&key("key"), global)? }
                }
                _ => {
                    return Err(wrong(key("token"), "is missing: write a token, or email and key, not both"));
                }
            };
            let mut made = Cloudflare::new(http.clone(), auth);
            if let Some(base) = base {
                made = made.base(base);
            }
            for (zone, id) in zones {
                made = made.pin(zone, id);
            }
            Arc::new(made)
        }
        ProviderSettings::Rfc2136 { server, zone, key_name, algorithm, key: secret } => {
            let mut made = Rfc2136::new(*server, dns.clone());
            if let Some(zone) = zone {
                made = made.zone(zone);
            }
            let algorithm = match algorithm.trim_end_matches('.') {
                "hmac-sha256" => TsigAlgorithm::HmacSha256,
                "hmac-sha384" => TsigAlgorithm::HmacSha384,
                "hmac-sha512" => TsigAlgorithm::HmacSha512,
                other => {
                    let why = format!("`{other}` is none of hmac-sha256, hmac-sha384, hmac-sha512");
                    return Err(wrong(key("algorithm"), why));
                }
            };
            match (key_name, secret) {
                (Some(owner), Some(secret)) => {
                    let secret = decoded(&key("key"), secret)?;
                    made = made.tsig(owner, algorithm, &secret).map_err(|why| wrong(key("key"), why))?;
                }
                (None, None) => {}
                _ => return Err(wrong(key("key_name"), "and key belong together: write both, or none")),
            }
            Arc::new(made)
        }
        ProviderSettings::AcmeDns { base, full_domain, subdomain, username, password } => {
            let password = read(&key("password"), password)?;
            Arc::new(AcmeDns::new(http.clone(), base, full_domain, subdomain, username, password))
        }
        ProviderSettings::Exec { program, zones } => Arc::new(Exec::new(program, zones.clone())),
        ProviderSettings::DnsUpdate { service, token, zones } => {
            let token = read(&key("token"), token)?;
            let made = DnsUpdateProvider::with_token(service, &token, zones.clone());
            Arc::new(made.map_err(|why| wrong(key("service"), why.why))?)
        }
    })
}

fn certificate(
    number: usize,
    written: &CertificateSettings,
    settings: &Settings,
) -> Result<Vec<Certificate>, BuildError> {
    let key = |part: &str| format!("certificate {}: {part}", number + 1);
    let names: Vec<Name> = written.names.iter().chain(&written.extra_domain_names).cloned().collect();
    if names.is_empty() {
        return Err(wrong(key("names"), "is missing: write the names it is for"));
    }
    let authorities =
        if written.authority.is_empty() { vec![KNOWN[0].0.to_owned()] } else { written.authority.clone() };
    let known: BTreeMap<&str, bool> = KNOWN
        .iter()
        .map(|(name, _)| (*name, true))
        .chain(settings.authority.iter().map(|(name, written)| (name.as_str(), written.limits)))
        .collect();
    for name in &authorities {
        if !known.contains_key(name.as_str()) {
            let all: Vec<&str> = known.keys().copied().collect();
            return Err(wrong(key("authority"), format!("`{name}` is none of {}", all.join(", "))));
        }
    }
    for name in &written.provider {
        if !settings.provider.contains_key(name) {
            let all: Vec<&str> = settings.provider.keys().map(String::as_str).collect();
            let all = if all.is_empty() { "(none)".to_owned() } else { all.join(", ") };
            return Err(wrong(key("provider"), format!("`{name}` is none of {all}")));
        }
    }
    let id = written.name.clone().unwrap_or_else(|| names[0].folder());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
        return Err(wrong(key("name"), format!("`{id}` cannot be a folder: letters, digits, - _ . @ only")));
    }
    let mut spec = Spec::new(names, "");
    spec.authorities = authorities;
    spec.reuse_key = written.reuse_key;
    spec.profile.clone_from(&written.profile);
    spec.preferred_chain.clone_from(&written.preferred_chain);
    if !spec.authorities.iter().any(|name| known.get(name.as_str()) == Some(&true)) {
        spec.limits = Limits::none();
    }
    if let Some(seconds) = written.propagation_timeout {
        spec.patience.propagation = Duration::from_secs(seconds);
    }
    if let Some(seconds) = written.settle {
        spec.patience.settle = Duration::from_secs(seconds);
    }
    if let Some(seconds) = written.ari_floor {
        spec.patience.ari = Duration::from_secs(seconds);
    }
    if let Some(days) = written.valid_min_days {
        // A part of the lifetime, since lifetimes shrink; as written for the 90 days that such numbers were made for.
        let part = (days.saturating_mul(1000) / 90).min(666);
        spec.plan.remaining = u16::try_from(part).unwrap_or(333);
    }
    let mut reload: Vec<Reload> = written.reload_services.iter().cloned().map(Reload::Unit).collect();
    if let Some(command) = &written.post_run {
        reload.insert(0, Reload::Command(vec!["/bin/sh".into(), "-c".into(), command.clone()]));
    }
    let shown = spec.names.iter().find(|name| !name.is_wildcard());
    let shown = shown.map_or_else(|| format!("any.{}", spec.names[0].base()), ToString::to_string);
    let checks = written.check.iter().map(|written| {
        let smtp = written.strip_prefix("smtp:");
        let greeting = smtp.map_or(Greeting::Tls, |_| Greeting::Smtp);
        Check { address: smtp.unwrap_or(written).to_owned(), greeting, name: shown.clone() }
    });
    let within = written.check_timeout.map_or(Deployment::default().within, Duration::from_secs);
    let deployment = Deployment { reload, checks: checks.collect(), within };
    let kinds = if written.key_type.is_empty() { vec![KeyType::default()] } else { written.key_type.clone() };
    let several = kinds.iter().enumerate().map(|(at, kind)| {
        let mut spec = spec.clone();
        spec.key_type = *kind;
        spec.id = if at == 0 { id.clone() } else { format!("{id}-{kind}") };
        spec.plan.turn = turn(&spec.id);
        Certificate { spec, providers: written.provider.clone(), deployment: deployment.clone() }
    });
    Ok(several.collect())
}

/// Where in a window a certificate's turn is: the same at every start, another for each.
fn turn(id: &str) -> u16 {
    let hash =
        id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u16::try_from(hash % 1000).unwrap_or(500)
}
