//! The configuration file as written. Names of the corresponding NixOS options are accepted too.

use acme_dns01::{KeyType, Name};
use cli_support::secret::Reference;
use cli_support::words::Words;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Returns the default of `folder`: `/var/lib/acme`.
fn folder() -> PathBuf {
    PathBuf::from("/var/lib/acme")
}

/// Returns the default of `parallel`: 5.
const fn parallel() -> usize {
    5
}

/// Hints for mistakes: names of other programs, alternative values, examples, and the keys whose values are secret
/// references.
pub const WORDS: Words = Words {
    foreign: &[
        ("domains", "write names"),
        ("san", "write names"),
        ("dns", "write [dns] with resolvers, or provider for who writes the records"),
        ("challenge", "leave it out: DNS-01 is the only one"),
        ("webroot", "leave it out: DNS-01 needs none, write provider"),
        ("webrootPath", "leave it out: DNS-01 needs none, write provider"),
        ("http01", "leave it out: DNS-01 is the only one"),
        ("credentialsFile", "write [provider.NAME] with its secrets as file:/path"),
        ("environmentFile", "write [provider.NAME] with its secrets as file:/path"),
        ("dns_cloudflare_api_token", "write [provider.cloudflare] with token = \"file:/path\""),
        ("CF_DNS_API_TOKEN", "write [provider.cloudflare] with token = \"file:/path\""),
        ("api_token", "write token = \"file:/path\""),
        ("ca", "write authority"),
        ("acme_server", "write [authority.NAME] with directory"),
        ("renew_before", "write valid_min_days, or leave it to the CA"),
        ("renew_hook", "write post_run or reload_services"),
        ("deploy_hook", "write post_run or reload_services"),
        ("hook", "write post_run or reload_services"),
        ("certificates", "write [[certificate]]"),
        ("cert", "write [[certificate]]"),
        ("type", "write kind"),
    ],
    values: &[
        ("ecdsa", "ec256"),
        ("p256", "ec256"),
        ("p-256", "ec256"),
        ("rsa", "rsa2048"),
        ("rsa-2048", "rsa2048"),
    ],
    examples: &[
        ("kind", "kind = \"cloudflare\""),
        ("directory", "directory = \"https://acme.example.org/directory\""),
        ("key_id", "key_id = \"…\""),
        ("key", "key = \"file:/run/secrets/…\""),
        ("server", "server = \"192.0.2.53:53\""),
        ("program", "program = \"/usr/local/bin/dns-hook\""),
        ("service", "service = \"hetzner\""),
        ("token", "token = \"file:/run/secrets/…\""),
        ("zones", "zones = [\"example.org\"]"),
        ("password", "password = \"file:/run/secrets/…\""),
        ("from", "from = \"acme@example.org\""),
        ("to", "to = [\"admin@example.org\"]"),
    ],
    secrets: &["token", "zone_token", "key", "password", "webhook", "database"],
};

/// The configuration file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of the certificates. Default: `/var/lib/acme`.
    #[serde(default = "folder")]
    pub folder: PathBuf,
    /// Group that may read the certificates, by name or number. Default: `acme`, if that group exists. A folder that
    /// another program created, or whose group was changed, keeps its group; the `group` of a certificate is always
    /// applied.
    pub group: Option<String>,
    /// Agreement to the terms of service of the CAs. With `false` no account is registered. Default: `true`.
    #[serde(default = "yes", alias = "acceptTerms")]
    pub agree_terms: bool,
    /// Connection string of a PostgreSQL database, in libpq's format, through which several hosts share accounts,
    /// orders and certificates. Each host also has the certificates in its folder.
    ///
    /// `sslmode=require` encrypts the connection and verifies the server's name. Without it the server has to be on
    /// this host, unless `sslmode=disable` states that the network itself is encrypted.
    #[schemars(with = "Option<SecretReference>")]
    pub database: Option<Reference>,
    /// PEM file of root certificates for the database server, trusted in addition to the system's.
    pub database_roots: Option<PathBuf>,
    /// Contact mail addresses of the accounts.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub email: Vec<String>,
    /// Number of certificates processed concurrently.
    #[serde(default = "parallel", alias = "maxConcurrentRenewals")]
    pub parallel: usize,
    /// DNS lookups: resolvers, mode, time limit.
    #[serde(default)]
    pub dns: DnsSettings,
    /// CAs by name. `letsencrypt` and `letsencrypt-staging` are built in.
    #[serde(default)]
    pub authority: BTreeMap<String, AuthoritySettings>,
    /// DNS providers by name.
    #[serde(default)]
    pub provider: BTreeMap<String, ProviderSettings>,
    /// Recipients of alerts.
    #[serde(default)]
    pub alert: Alerts,
    /// Certificates to obtain and renew.
    #[serde(default)]
    pub certificate: Vec<CertificateSettings>,
}

impl Settings {
    /// Returns the secrets of `credential:NAME` and `env:NAME`, in this form, which are handed over when a program starts.
    #[must_use]
    pub fn given(&self) -> Vec<String> {
        let mut all: Vec<&Reference> = self.database.iter().chain(&self.alert.webhook).collect();
        all.extend(self.alert.mail.iter().filter_map(|mail| mail.password.as_ref()));
        all.extend(self.authority.values().filter_map(|authority| Some(&authority.eab.as_ref()?.key)));
        for (name, provider) in &self.provider {
            all.extend(provider.secrets(name).into_iter().map(|(_, reference)| reference));
        }
        let given = |one: &&&Reference| matches!(one, Reference::Credential(_) | Reference::Environment(_));
        let names: BTreeSet<String> = all.iter().filter(given).map(ToString::to_string).collect();
        names.into_iter().collect()
    }
}

/// DNS lookups: resolvers, mode, time limit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsSettings {
    /// Resolvers, as `1.1.1.1` or `1.1.1.1:53`. Default: the system's.
    #[serde(default, alias = "dnsResolver", deserialize_with = "resolvers")]
    #[schemars(with = "OneOrMore")]
    pub resolvers: Vec<SocketAddr>,
    /// `authorities` (every address of every authoritative name server) or `resolvers` (where port 53 is closed or
    /// intercepted). Default: `authorities`.
    #[serde(default)]
    pub mode: DnsMode,
    /// Port of authoritative name servers, for laboratories. Default: 53.
    pub authority_port: Option<u16>,
}

/// Servers that are queried for the challenge's record.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsMode {
    /// Every address of every authoritative name server.
    #[default]
    Authorities,
    /// Recursive resolvers only.
    Resolvers,
}

/// A certificate authority.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthoritySettings {
    /// URL of the CA's directory.
    #[serde(alias = "server")]
    pub directory: String,
    /// PEM file of root certificates for the CA's server, trusted in addition to the system's.
    pub roots: Option<PathBuf>,
    /// External account binding, if the CA requires one.
    pub eab: Option<ExternalAccountSettings>,
    /// `true` applies the rate limits of Let's Encrypt, `false` none. Default: `true`.
    #[serde(default = "yes")]
    pub limits: bool,
}

/// Returns `true`, for keys that default to it.
const fn yes() -> bool {
    true
}

/// External account binding of a CA.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccountSettings {
    /// Key identifier that the CA provides.
    pub key_id: String,
    /// MAC key that the CA provides, in base64url.
    #[schemars(with = "SecretReference")]
    pub key: Reference,
}

/// A DNS provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProviderSettings {
    /// Cloudflare's API v4.
    Cloudflare {
        /// Token with DNS:Edit, and with Zone:Read unless `zone_token` or `zones` replaces that.
        #[schemars(with = "Option<SecretReference>")]
        token: Option<Reference>,
        /// Token with Zone:Read, for looking up zones.
        #[schemars(with = "Option<SecretReference>")]
        zone_token: Option<Reference>,
        /// Mail address of the account, for the global key.
        email: Option<String>,
        /// Global API key of the account, instead of a token.
        #[schemars(with = "Option<SecretReference>")]
        key: Option<Reference>,
        /// Identifiers of zones by name, which are then not looked up.
        #[serde(default)]
        zones: BTreeMap<String, String>,
        /// Base URL of another API endpoint.
        base: Option<String>,
    },
    /// Primary name server that accepts dynamic updates (RFC 2136).
    Rfc2136 {
        /// Address and port of the server.
        #[schemars(with = "String")]
        server: SocketAddr,
        /// Zone. By default the server is queried for it.
        zone: Option<String>,
        /// Name of the TSIG key.
        key_name: Option<String>,
        /// Algorithm of the TSIG key: `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
        #[serde(default = "hmac")]
        algorithm: String,
        /// TSIG key, in base64.
        #[schemars(with = "Option<SecretReference>")]
        key: Option<Reference>,
    },
    /// An acme-dns server.
    AcmeDns {
        /// Base URL of the server.
        base: String,
        /// Name that `_acme-challenge` points to (`fulldomain` of the registration).
        full_domain: String,
        /// Subdomain of the registration.
        subdomain: String,
        /// User name of the registration.
        username: String,
        /// Password of the registration.
        #[schemars(with = "SecretReference")]
        password: Reference,
    },
    /// An external program.
    Exec {
        /// Path of the program.
        program: PathBuf,
        /// Names of its zones. Default: any zone.
        #[serde(default)]
        zones: Vec<String>,
    },
    /// A service of the dns-update crate.
    DnsUpdate {
        /// Service: `hetzner`, `desec`, …
        service: String,
        /// API token of the service, if it takes a single token.
        #[schemars(with = "Option<SecretReference>")]
        token: Option<Reference>,
        /// Credentials of a service that takes others than a token, by key.
        #[serde(default)]
        #[schemars(with = "BTreeMap<String, SecretReference>")]
        credentials: BTreeMap<String, Reference>,
        /// Base URL of the API, for a service of your own.
        base: Option<String>,
        /// Names of the zones at the service.
        zones: Vec<String>,
    },
}

impl ProviderSettings {
    /// Returns the references to secrets, each with its key below the provider of this name.
    pub(crate) fn secrets(&self, name: &str) -> Vec<(String, &Reference)> {
        let (parts, credentials) = match self {
            Self::Cloudflare { token, zone_token, key, .. } => (
                vec![("token", token.as_ref()), ("zone_token", zone_token.as_ref()), ("key", key.as_ref())],
                None,
            ),
            Self::Rfc2136 { key, .. } => (vec![("key", key.as_ref())], None),
            Self::AcmeDns { password, .. } => (vec![("password", Some(password))], None),
            Self::DnsUpdate { token, credentials, .. } => {
                (vec![("token", token.as_ref())], Some(credentials))
            }
            Self::Exec { .. } => (Vec::new(), None),
        };
        let credentials = credentials.into_iter().flatten();
        let credentials =
            credentials.map(|(key, secret)| (format!("provider.{name}.credentials.{key}"), secret));
        let parts = parts.into_iter().filter_map(|(part, reference)| Some((part, reference?)));
        credentials
            .chain(parts.map(|(part, reference)| (format!("provider.{name}.{part}"), reference)))
            .collect()
    }
}

/// Returns the default TSIG algorithm: `hmac-sha256`.
fn hmac() -> String {
    "hmac-sha256".to_owned()
}

/// A certificate, or several with different key types for the same names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// Name of the certificate and of its folder. Default: the first domain name.
    pub name: Option<String>,
    /// Group that may read this certificate, by name or number, instead of the general `group`.
    pub group: Option<String>,
    /// Domain names of the certificate.
    #[serde(default, alias = "domain", deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub names: Vec<Name>,
    /// Additional domain names of the certificate.
    #[serde(default, alias = "extraDomainNames")]
    #[schemars(with = "Vec<String>")]
    pub extra_domain_names: Vec<Name>,
    /// `ec256`, `ec384`, `rsa2048`, `rsa3072` or `rsa4096`, or a list for a certificate of each. Default: `ec256`.
    #[serde(default, alias = "keyType", deserialize_with = "key_types")]
    #[schemars(with = "OneOrMore")]
    pub key_type: Vec<KeyType>,
    /// `true` keeps the private key at renewal. Default: `false`.
    #[serde(default)]
    pub reuse_key: bool,
    /// ACME profile to request, one that the CA's directory lists.
    pub profile: Option<String>,
    /// Common name of the issuer of the chain's last certificate, which selects one of the CA's alternate chains.
    pub preferred_chain: Option<String>,
    /// Names of CAs, in order of preference. Default: `letsencrypt`.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub authority: Vec<String>,
    /// Names of DNS providers that may be used. Default: all.
    #[serde(default, alias = "dnsProvider", deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub provider: Vec<String>,
    /// systemd units to reload after an installation.
    #[serde(default, alias = "reloadServices")]
    pub reload_services: Vec<String>,
    /// Shell command that runs in the certificate's folder after an installation. `ACME_FOLDER` is the folder's
    /// absolute path, `ACME_CERTIFICATE` the certificate's name.
    #[serde(alias = "postRun")]
    pub post_run: Option<String>,
    /// Addresses `host:port` at which the new certificate must be served after an installation; `smtp:host:port` for
    /// STARTTLS in SMTP.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub check: Vec<String>,
    /// Time limit of each reload and of each check, in seconds. When a check exceeds it, the previous certificate is
    /// restored, unless it is a placeholder, expired or revoked. Default: 60.
    pub check_timeout: Option<u64>,
    /// Days that remain at renewal of a lifetime of 90 days, proportionally fewer of a shorter one, instead of the
    /// default part; at most two thirds of the lifetime. No effect while the CA suggests the time of the renewal (ARI),
    /// as Let's Encrypt does.
    #[serde(alias = "validMinDays")]
    pub valid_min_days: Option<u32>,
    /// Time limit for the record to be visible at every name server, in seconds. Default: 600.
    pub propagation_timeout: Option<u64>,
    /// Wait after every name server has the record, in seconds. Default: 2.
    pub settle: Option<u64>,
    /// Minimum interval of queries for renewal information, in seconds, for laboratories. Default: 60.
    pub ari_floor: Option<u64>,
}

/// Recipients of alerts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Program with its arguments, run for each alert.
    #[serde(default)]
    pub command: Vec<String>,
    /// URL that alerts are posted to.
    #[schemars(with = "Option<SecretReference>")]
    pub webhook: Option<Reference>,
    /// Mail server and addresses for alerts.
    pub mail: Option<MailSettings>,
}

/// A mail server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// Host name of the server.
    pub server: String,
    /// Port of the server. Default: 587, 465 or 25 by `security`.
    pub port: Option<u16>,
    /// `starttls`, `tls` or `none`. Default: `starttls`.
    #[serde(default)]
    pub security: Security,
    /// PEM file of root certificates for the server, trusted in addition to the system's.
    pub roots: Option<PathBuf>,
    /// User name for authentication.
    pub user: Option<String>,
    /// Password for authentication.
    #[schemars(with = "Option<SecretReference>")]
    pub password: Option<Reference>,
    /// Address of the sender, without a display name.
    pub from: String,
    /// Addresses of the recipients, at least one.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub to: Vec<String>,
}

/// Encryption of the connection to a mail server.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// STARTTLS, port 587.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// No encryption, port 25.
    None,
}

/// Schema of a string or a list of strings.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Schema of a reference to a secret: never the secret itself.
#[derive(JsonSchema)]
#[schemars(inline)]
#[allow(dead_code)]
struct SecretReference(#[schemars(regex(pattern = "^(file:/|age:/|env:|credential:).+"))] String);

/// Deserializes a string or a list of strings, each parsed to `T`.
///
/// # Errors
/// Returns an error if it is neither, or a string cannot be parsed.
fn one_or_more<'de, D: Deserializer<'de>, T: Deserialize<'de> + std::str::FromStr>(
    deserializer: D,
) -> Result<Vec<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
    /// One string, or a list of strings.
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a string, or a list of strings: put it in quotes")]
    enum StringOrList {
        One(String),
        More(Vec<String>),
    }
    let list = match StringOrList::deserialize(deserializer)? {
        StringOrList::One(one) => vec![one],
        StringOrList::More(more) => more,
    };
    list.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// Deserializes one or more resolver addresses. The port is 53 unless given.
///
/// # Errors
/// Returns an error if one is not an IP address, with or without a port.
fn resolvers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let list: Vec<String> = one_or_more(deserializer)?;
    let address = |text: &String| {
        let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        alone.or_else(|_| text.parse()).map_err(|_| {
            serde::de::Error::custom(format!(
                "not a valid resolver: `{text}`: expected an address such as 1.1.1.1 or 1.1.1.1:53"
            ))
        })
    };
    list.iter().map(address).collect()
}

/// Deserializes one or more key types.
///
/// # Errors
/// Returns an error if one is unknown.
fn key_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyType>, D::Error> {
    let list: Vec<String> = one_or_more(deserializer)?;
    list.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}
