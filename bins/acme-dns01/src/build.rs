//! Conversion of the settings to an engine and its certificates.

use crate::error::{BuildError, decode_secret, read, read_roots, value_error};
use crate::late::{Built, LateSecrets, Needs, PartBuilder, PendingParts};
use crate::pending::{PendingProvider, PendingSink};
use crate::providers::{provider, provider_fault};
use crate::settings::{AuthoritySettings, DnsMode, MailSettings, Security, Settings};
use acme_dns01::alert::{AlertSink, CommandSink, Mail, MailSecurity, MailServer, Webhook};
use acme_dns01::client::{Acme, ExternalAccount, Http};
use acme_dns01::deferred::Deferred;
use acme_dns01::dns::Dns;
use acme_dns01::engine::{Authority, Certificate, Engine};
use acme_dns01::propagation::LookupMode;
use acme_dns01::provider::Provider;
use acme_dns01::store::{Database, Encryption, FileStore, Mirror, Ownership, PostgresStore, Store};
use cli_support::document::Source;
use cli_support::finding::Findings;
use cli_support::secret::Reference;
use secrecy::ExposeSecret;
use std::path::Path;
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
    /// Parts whose secrets or files cannot be read or used yet. They are looked at again, and hold back only what needs
    /// them.
    pub late: PendingParts,
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

    /// Returns the files of root certificates that are configured, each with its key: database, authorities, mail
    /// server.
    fn files(&self) -> Vec<(String, &Path)> {
        let database = self.database_roots.iter().map(|path| ("database_roots".to_owned(), path.as_path()));
        let authorities = self.authority.iter().filter_map(|(name, written)| {
            Some((format!("authority.{name}.roots"), written.roots.as_deref()?))
        });
        let mail = self.alert.mail.as_ref().and_then(|mail| mail.roots.as_deref());
        database.chain(authorities).chain(mail.map(|path| ("alert.mail.roots".to_owned(), path))).collect()
    }

    /// Reads every configured secret and file of root certificates, and returns an error for each that cannot be read.
    pub fn unreadable(&self) -> Vec<BuildError> {
        let secrets = self.secrets().into_iter().filter_map(|(key, reference)| read(&key, reference).err());
        let files = self.files().into_iter().filter_map(|(key, path)| read_roots(&key, path).err());
        secrets.chain(files).collect()
    }

    /// Returns the errors outside of certificates that are found without secrets: those of providers
    /// ([`provider_fault`]), a contact that is no mail address, and a mail server with only one of user and password.
    fn faults(&self) -> Vec<BuildError> {
        let mut errors = Vec::new();
        errors.extend(self.email.iter().find_map(|written| email_fault(written)));
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
    /// Built-in authorities are added unless the settings have one of their name. A part whose secrets are among those of
    /// `late`, or whose file of root certificates, cannot be read or used, is added as one that is not ready.
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
        let mut parts = PartBuilder::new(late);
        let store: Arc<dyn Store> = match &self.database {
            None => Arc::new(files),
            Some(reference) => Arc::new(Mirror::new(Arc::new(self.shared(reference, &mut parts)?), files)),
        };
        let mut engine = Engine::new(store, dns).parallel(self.parallel);
        for (name, directory) in KNOWN.iter().filter(|(name, _)| !self.authority.contains_key(*name)) {
            let mut authority = Authority::new(Acme::new(*directory, http.clone()));
            authority.contact.clone_from(&self.email);
            authority.terms_agreed = self.agree_terms;
            engine = engine.authority(*name, authority);
        }
        for (name, written) in &self.authority {
            engine = engine.authority(name, authority(name, written, self, &mut parts)?);
        }
        for (name, written) in &self.provider {
            let needs = Needs { secrets: written.secrets(name), files: Vec::new() };
            let (of, owned, client) = (name.clone(), written.clone(), http.clone());
            let build = move || provider(&of, &owned, &client);
            let made: Arc<dyn Provider> = match parts.build(&format!("provider.{name}"), &needs, build)? {
                Built::Now(made) => made,
                Built::Later(later) => Arc::new(PendingProvider::new(name, written, later)),
            };
            engine = engine.provider(name, made);
        }
        let engine = self.alert_sinks(engine, &http, &mut parts)?;
        Ok(Setup { engine, certificates, unknown_groups: unknown, late: parts.finish() })
    }

    /// Creates the PostgreSQL store of the connection string that `reference` names. No connection is made. A string or
    /// file of root certificates that cannot be read yet becomes one of the late `parts`.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if the string or a root certificate is not valid, or data would cross a network
    /// unencrypted without `sslmode=disable`.
    fn shared(&self, reference: &Reference, parts: &mut PartBuilder) -> Result<PostgresStore, BuildError> {
        let needs = Needs {
            secrets: vec![("database".to_owned(), reference)],
            files: vec!["database_roots".to_owned()],
        };
        let (reference, roots) = (reference.clone(), self.database_roots.clone());
        let build = move || database(&reference, roots.as_deref());
        Ok(PostgresStore::of(match parts.build("database", &needs, build)? {
            Built::Now(known) => known,
            Built::Later(later) => Database::deferred(later),
        }))
    }

    /// Adds the configured alert sinks to the engine: command (with a limit of 60 s), webhook, mail. One whose secret or
    /// file of root certificates cannot be read yet becomes one of the late `parts`.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if only one of user and password of the mail server is given, or a setting of mail is
    /// not valid.
    fn alert_sinks(
        &self,
        mut engine: Engine,
        http: &Http,
        parts: &mut PartBuilder,
    ) -> Result<Engine, BuildError> {
        if !self.alert.command.is_empty() {
            let within = Duration::from_secs(60);
            engine = engine.alert_sink(Arc::new(CommandSink { command: self.alert.command.clone(), within }));
        }
        if let Some(reference) = &self.alert.webhook {
            let needs = Needs { secrets: vec![("alert.webhook".to_owned(), reference)], files: Vec::new() };
            let (reference, http) = (reference.clone(), http.clone());
            let build = move || {
                let sink = Webhook { http: http.clone(), url: read("alert.webhook", &reference)? };
                Ok(Arc::new(sink) as Arc<dyn AlertSink>)
            };
            engine = engine.alert_sink(sink(parts.build("alert.webhook", &needs, build)?));
        }
        if let Some(settings) = &self.alert.mail {
            let password = settings.password.iter();
            let needs = Needs {
                secrets: password.map(|reference| ("alert.mail.password".to_owned(), reference)).collect(),
                files: vec!["alert.mail.roots".to_owned()],
            };
            let settings = settings.clone();
            engine = engine.alert_sink(sink(parts.build("alert.mail", &needs, move || mail(&settings))?));
        }
        Ok(engine)
    }
}

/// Returns the sink that was built, or one that waits for its secrets.
fn sink(built: Built<Arc<dyn AlertSink>>) -> Arc<dyn AlertSink> {
    match built {
        Built::Now(sink) => sink,
        Built::Later(later) => Arc::new(PendingSink(later)),
    }
}

/// Reads a connection string, and the root certificates for its server.
///
/// # Errors
/// Returns a [`BuildError`] if the secret or the file of roots cannot be read, the string or a root certificate is not
/// valid, or data would cross a network unencrypted without `sslmode=disable`.
fn database(reference: &Reference, roots: Option<&Path>) -> Result<Database, BuildError> {
    let text = read("database", reference)?;
    // The parser's error is omitted, since the text contains the password.
    let config: Config = text.expose_secret().parse().map_err(|_| {
        value_error(
            "database",
            "not a valid connection string of libpq: expected host=… dbname=… user=… password=…",
        )
    })?;
    let roots = roots.map(|path| read_roots("database_roots", path)).transpose()?;
    let Some(encryption) = Encryption::of(&config, roots) else {
        let why = "is elsewhere, and private keys would cross the network as they are: write sslmode=require, with \
                   database_roots for a CA of your own, or sslmode=disable for a network that is encrypted itself";
        return Err(value_error("database", why));
    };
    Database::new(config, &encryption).map_err(|why| value_error("database_roots", why))
}

/// Creates the sink of a mail server, and reads its password and roots.
///
/// # Errors
/// Returns a [`BuildError`] if the password or the file of roots cannot be read, only one of user and password is given,
/// or a setting is not valid.
fn mail(settings: &MailSettings) -> Result<Arc<dyn AlertSink>, BuildError> {
    let login = match (&settings.user, &settings.password) {
        (Some(user), Some(password)) => Some((user.clone(), read("alert.mail.password", password)?)),
        (None, None) => None,
        _ => {
            return Err(value_error("alert.mail", "has one of user and password: write both, or none"));
        }
    };
    let security = match settings.security {
        Security::Starttls => MailSecurity::StartTls,
        Security::Tls => MailSecurity::Tls,
        Security::None => MailSecurity::None,
    };
    let roots = settings.roots.as_deref().map(|path| read_roots("alert.mail.roots", path)).transpose()?;
    let (name, port) = (settings.server.clone(), settings.port);
    let server = MailServer { name, port, security, login, roots };
    let made = Mail::new(server, &settings.from, &settings.to);
    Ok(Arc::new(made.map_err(|why| value_error("alert.mail", why))?))
}

/// Returns the error of a contact that is no mail address. `None` for an address.
fn email_fault(written: &str) -> Option<BuildError> {
    if written.starts_with("mailto:") {
        let fix = "write the address alone, without `mailto:`, as in `admin@example.org`";
        return Some(value_error("email", format!("no mail address, `{written}`: {fix}")));
    }
    let plain = |part: &str| {
        !part.is_empty()
            && !part.contains(|c: char| c.is_whitespace() || matches!(c, '@' | ',' | ';' | '<' | '>'))
    };
    let is_address = written.split_once('@').is_some_and(|(local, host)| plain(local) && plain(host));
    (!is_address).then(|| {
        let fix = "write one as in `admin@example.org`, several as a list, or leave the key out";
        value_error("email", format!("no mail address, `{written}`: {fix}"))
    })
}

/// Creates the authority with this name from its settings. Its roots and external account key that cannot be read yet
/// become late `parts`.
///
/// # Errors
/// Returns a [`BuildError`] with the key of the setting if the content of a file is not valid.
fn authority(
    name: &str,
    written: &AuthoritySettings,
    settings: &Settings,
    parts: &mut PartBuilder,
) -> Result<Authority, BuildError> {
    let part = |part: &str| format!("authority.{name}.{part}");
    let http = match &written.roots {
        None => Http::new(None).map_err(|why| BuildError::Environment(why.to_string()))?,
        Some(path) => {
            let (key, path) = (part("roots"), path.clone());
            let needs = Needs { secrets: Vec::new(), files: vec![key.clone()] };
            let build = {
                let key = key.clone();
                move || {
                    let roots = read_roots(&key, &path)?;
                    // Roots that are not valid are an error of the key, as a missing file is.
                    Http::new(Some(&roots)).map_err(|why| value_error(&key, why))?;
                    Ok(roots)
                }
            };
            match parts.build(&key, &needs, build)? {
                Built::Now(roots) => Http::new(Some(&roots)).map_err(|why| value_error(&key, why))?,
                Built::Later(later) => Http::deferred(later),
            }
        }
    };
    let mut made = Authority::new(Acme::new(&written.directory, http));
    made.contact.clone_from(&settings.email);
    made.terms_agreed = settings.agree_terms;
    if let Some(eab) = &written.eab {
        let key = part("eab.key");
        let needs = Needs { secrets: vec![(key.clone(), &eab.key)], files: Vec::new() };
        let (key_id, reference, of) = (eab.key_id.clone(), eab.key.clone(), key.clone());
        let build = move || {
            let key = decode_secret(&of, &reference)?;
            Ok(Arc::new(ExternalAccount { key_id: key_id.clone(), key }))
        };
        made.deferred_external_account = Some(match parts.build(&key, &needs, build)? {
            Built::Now(account) => Deferred::new(move || std::future::ready(Ok(account.clone()))),
            Built::Later(later) => later,
        });
    }
    Ok(made)
}
