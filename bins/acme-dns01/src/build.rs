//! Conversion of the settings to an engine and its certificates.

use crate::error::{BuildError, decode_secret, read, value_error};
use crate::late::{LateProvider, LateSecrets};
use crate::providers::{provider, provider_fault};
use crate::settings::{AuthoritySettings, DnsMode, Security, Settings};
use acme_dns01::alert::{CommandSink, Mail, MailSecurity, MailServer, Webhook};
use acme_dns01::client::{Acme, ExternalAccount, Http};
use acme_dns01::dns::Dns;
use acme_dns01::engine::{Authority, Certificate, Engine};
use acme_dns01::propagation::LookupMode;
use acme_dns01::provider::Provider;
use acme_dns01::store::{Encryption, FileStore, Mirror, Ownership, PostgresStore, Store};
use cli_support::document::Source;
use cli_support::finding::Findings;
use cli_support::secret::Reference;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Config;

/// Built-in authorities: their names with the directory URLs of Let's Encrypt's production and staging environments.
pub(crate) const KNOWN: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

/// The engine and the certificates that a configuration describes.
pub struct Setup {
    /// The engine. A live resolver or an observer can still be added.
    pub engine: Engine,
    /// Certificates of the configuration, for [`Engine::run`].
    pub certificates: Vec<Certificate>,
    /// Configured groups that do not exist on this host. Files that should belong to them have the group of the
    /// account.
    pub unknown_groups: Vec<String>,
    /// Errors of the DNS providers whose secrets cannot be read or used yet, by name of the provider. The engine looks
    /// at these secrets again, and meanwhile holds back the certificates that may need the provider.
    pub late: BTreeMap<String, BuildError>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Settings {
    /// Parses and checks the settings of a file, or of the table at the dotted path `section`. No secret is read.
    ///
    /// # Errors
    /// Returns all errors, each with its position and the fix.
    pub fn read(source: &Source<'_>, section: &str) -> Result<Self, Findings> {
        let part: Vec<&str> = section.split('.').filter(|key| !key.is_empty()).collect();
        source.interpret(&part, |source, settings: Self| {
            let mut errors = settings.certificates_or_all().err().unwrap_or_default();
            errors.extend(settings.faults());
            if errors.is_empty() {
                return Ok(settings);
            }
            let findings = errors.iter().filter_map(|error| error.finding(source, section));
            Err(Findings::new(findings.collect()))
        })
    }

    /// Returns the references to secrets that are configured, each with its key: database, authorities, providers,
    /// alert webhook, mail password.
    pub fn secrets(&self) -> Vec<(String, &Reference)> {
        let mut all: Vec<(String, &Reference)> = Vec::new();
        all.extend(self.database.iter().map(|reference| ("database".to_owned(), reference)));
        for (name, written) in &self.authority {
            all.extend(written.eab.iter().map(|eab| (format!("authority.{name}.eab.key"), &eab.key)));
        }
        for (name, written) in &self.provider {
            all.extend(written.secrets(name));
        }
        let mail = self.alert.mail.as_ref().and_then(|mail| mail.password.as_ref());
        all.extend(self.alert.webhook.iter().map(|reference| ("alert.webhook".to_owned(), reference)));
        all.extend(mail.map(|reference| ("alert.mail.password".to_owned(), reference)));
        all
    }

    /// Reads every configured secret, and returns a [`BuildError::Secret`] for each that cannot be read.
    pub fn unreadable_secrets(&self) -> Vec<BuildError> {
        let secrets = self.secrets().into_iter();
        secrets.filter_map(|(key, reference)| read(&key, reference).err()).collect()
    }

    /// Returns the errors outside of certificates that are found without secrets: those of providers
    /// ([`provider_fault`]), and a mail server with only one of user and password.
    fn faults(&self) -> Vec<BuildError> {
        let mut errors = Vec::new();
        for (name, written) in &self.provider {
            errors.extend(provider_fault(name, written));
        }
        if let Some(mail) = &self.alert.mail
            && mail.user.is_some() != mail.password.is_some()
        {
            errors.push(value_error("alert.mail", "has one of user and password: write both, or none"));
        }
        errors
    }

    /// Returns the DNS client that the settings describe. Without resolvers it uses the system's, and without a port 53
    /// for authoritative servers.
    fn dns(&self) -> Dns {
        let mut dns =
            if self.dns.resolvers.is_empty() { Dns::system() } else { Dns::new(self.dns.resolvers.clone()) };
        dns.mode = match self.dns.mode {
            DnsMode::Authorities => LookupMode::Authorities,
            DnsMode::Resolvers => LookupMode::Resolvers,
        };
        dns.authority_port = self.dns.authority_port.unwrap_or(53);
        dns
    }

    /// Reads the secrets, opens the store (files, mirrored from the database if there is one) and creates the engine.
    /// Built-in authorities are added unless the settings have one of their name. A DNS provider whose secrets are
    /// among those of `late`, and cannot be read or used, is added as one that is not ready.
    ///
    /// # Errors
    /// Returns the first other [`BuildError`]: a value or secret is not valid, or the folder of certificates cannot be
    /// opened.
    pub fn build(&self, late: LateSecrets) -> Result<Setup, BuildError> {
        let certificates = self.certificates()?;
        let dns = self.dns();
        let http = Http::new(None).map_err(|why| BuildError::Environment(why.to_string()))?;
        let (groups, unknown) = self.groups()?;
        let group = Ownership::group_named(self.group.as_deref().unwrap_or("acme"));
        let files = FileStore::open(&self.folder, Ownership { user: None, group, groups })
            .map_err(|error| BuildError::Environment(cli_support::outcome::chain(&error)))?;
        let store: Arc<dyn Store> = match &self.database {
            None => Arc::new(files),
            Some(reference) => Arc::new(Mirror::new(Arc::new(self.shared(reference)?), files)),
        };
        let mut engine = Engine::new(store, dns).parallel(self.parallel);
        for (name, directory) in KNOWN.iter().filter(|(name, _)| !self.authority.contains_key(*name)) {
            let mut authority = Authority::new(Acme::new(*directory, http.clone()));
            authority.contact.clone_from(&self.email);
            authority.terms_agreed = self.agree_terms;
            engine = engine.authority(*name, authority);
        }
        for (name, written) in &self.authority {
            engine = engine.authority(name, authority(name, written, self)?);
        }
        let mut lacking = BTreeMap::new();
        for (name, written) in &self.provider {
            let made: Arc<dyn Provider> = match provider(name, written, &http) {
                Ok(made) => made,
                Err(error) if late.cover(&error, name, written) => {
                    lacking.insert(name.clone(), error);
                    Arc::new(LateProvider::new(name, written, &http))
                }
                Err(error) => return Err(error),
            };
            engine = engine.provider(name, made);
        }
        let engine = self.alert_sinks(engine, &http)?;
        Ok(Setup { engine, certificates, unknown_groups: unknown, late: lacking })
    }

    /// Creates the PostgreSQL store of the connection string that `reference` names. No connection is made.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if the secret cannot be read, the string or a root certificate is not valid, or data
    /// would cross a network unencrypted without `sslmode=disable`.
    fn shared(&self, reference: &Reference) -> Result<PostgresStore, BuildError> {
        let text = read("database", reference)?;
        // The parser's error is omitted, since the text contains the password.
        let config: Config = text.expose_secret().parse().map_err(|_| {
            value_error(
                "database",
                "not a valid connection string of libpq: expected host=… dbname=… user=… password=…",
            )
        })?;
        let roots = self.database_roots.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|why| value_error("database_roots", format!("{}: {why}", path.display())))
        });
        let Some(encryption) = Encryption::of(&config, roots.transpose()?) else {
            let why = "is elsewhere, and private keys would cross the network as they are: write sslmode=require, with \
                       database_roots for a CA of your own, or sslmode=disable for a network that is encrypted itself";
            return Err(value_error("database", why));
        };
        PostgresStore::new(config, &encryption).map_err(|why| value_error("database_roots", why))
    }

    /// Adds the configured alert sinks to the engine: command (with a limit of 60 s), webhook, mail.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if a secret or the file of roots cannot be read, only one of user and password of the
    /// mail server is given, or a setting of mail is not valid.
    fn alert_sinks(&self, mut engine: Engine, http: &Http) -> Result<Engine, BuildError> {
        if !self.alert.command.is_empty() {
            let within = Duration::from_secs(60);
            engine = engine.alert_sink(Arc::new(CommandSink { command: self.alert.command.clone(), within }));
        }
        if let Some(url) = &self.alert.webhook {
            let url = read("alert.webhook", url)?;
            engine = engine.alert_sink(Arc::new(Webhook { http: http.clone(), url }));
        }
        if let Some(mail) = &self.alert.mail {
            let login = match (&mail.user, &mail.password) {
                (Some(user), Some(password)) => Some((user.clone(), read("alert.mail.password", password)?)),
                (None, None) => None,
                _ => {
                    return Err(value_error(
                        "alert.mail",
                        "has one of user and password: write both, or none",
                    ));
                }
            };
            let security = match mail.security {
                Security::Starttls => MailSecurity::StartTls,
                Security::Tls => MailSecurity::Tls,
                Security::None => MailSecurity::None,
            };
            let roots = mail.roots.as_ref().map(|path| {
                let text = std::fs::read_to_string(path);
                text.map_err(|why| value_error("alert.mail.roots", format!("{}: {why}", path.display())))
            });
            let server = MailServer {
                name: mail.server.clone(),
                port: mail.port,
                security,
                login,
                roots: roots.transpose()?,
            };
            let made = Mail::new(server, &mail.from, &mail.to);
            engine = engine.alert_sink(Arc::new(made.map_err(|why| value_error("alert.mail", why))?));
        }
        Ok(engine)
    }
}

/// Creates the authority with this name from its settings, and reads its roots and external account key.
///
/// # Errors
/// Returns a [`BuildError`] with the key of the setting if a file cannot be read or its content is not valid.
fn authority(name: &str, written: &AuthoritySettings, settings: &Settings) -> Result<Authority, BuildError> {
    let key = |part: &str| format!("authority.{name}.{part}");
    let roots = match &written.roots {
        None => None,
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|why| value_error(key("roots"), format!("{}: {why}", path.display())))?,
        ),
    };
    let http = Http::new(roots.as_deref()).map_err(|why| value_error(key("roots"), why))?;
    let mut made = Authority::new(Acme::new(&written.directory, http));
    made.contact.clone_from(&settings.email);
    made.terms_agreed = settings.agree_terms;
    if let Some(eab) = &written.eab {
        made.external_account = Some(ExternalAccount {
            key_id: eab.key_id.clone(),
            key: decode_secret(&key("eab.key"), &eab.key)?,
        });
    }
    Ok(made)
}
