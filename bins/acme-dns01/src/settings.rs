//! The file as written. Where NixOS has an option for the same thing, its name is taken too.

use acme_dns01::{KeyType, Name};
use cli_support::secret::Reference;
use cli_support::words::Words;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from("/var/lib/acme")
}

const fn parallel() -> usize {
    5
}

/// The words of the file for hints.
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

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of the certificates: `/var/lib/acme`.
    #[serde(default = "folder")]
    pub folder: PathBuf,
    /// The group that may read them, by name or number: `acme` if there is such a group. A folder that another program made, or
    /// whose group was changed, keeps its own; `group` of a certificate is enforced.
    pub group: Option<String>,
    /// Agreement to the terms of service of the CAs: `true` unless written. With `false` no account is registered.
    #[serde(default = "yes", alias = "acceptTerms")]
    pub agree_terms: bool,
    /// A PostgreSQL in libpq's words, by which several machines share accounts, orders and certificates. Each has the certificates
    /// in its folder all the same.
    ///
    /// `sslmode=require` encrypts the connection and verifies the server's name. Without it the server has to be on this machine,
    /// unless `sslmode=disable` says that the network itself is encrypted.
    #[schemars(with = "Option<SecretReference>")]
    pub database: Option<Reference>,
    /// A PEM file of roots that the database's certificate may come from, beside the system's.
    pub database_roots: Option<PathBuf>,
    /// Mail addresses for accounts.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub email: Vec<String>,
    /// Number of certificates processed concurrently.
    #[serde(default = "parallel", alias = "maxConcurrentRenewals")]
    pub parallel: usize,
    /// DNS lookups: resolvers, mode, time limit.
    #[serde(default)]
    pub dns: DnsSettings,
    /// CAs by name. `letsencrypt` and `letsencrypt-staging` need not be written.
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

/// DNS lookups: resolvers, mode, time limit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsSettings {
    /// Resolvers, as `1.1.1.1` or `1.1.1.1:53`; the system's unless given.
    #[serde(default, alias = "dnsResolver", deserialize_with = "resolvers")]
    #[schemars(with = "OneOrMore")]
    pub resolvers: Vec<SocketAddr>,
    /// `authorities` (every address of every name server) or `resolvers` (where port 53 is closed or intercepted).
    #[serde(default)]
    pub mode: DnsMode,
    /// The port of authorities, for laboratories.
    pub authority_port: Option<u16>,
}

/// Servers that are asked for the challenge's record.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsMode {
    /// Every address of every name server.
    #[default]
    Authorities,
    /// Recursive resolvers only.
    Resolvers,
}

/// A certificate authority.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthoritySettings {
    /// The URL of its directory.
    #[serde(alias = "server")]
    pub directory: String,
    /// A PEM file of roots that its server's certificate may come from, beside the system's.
    pub roots: Option<PathBuf>,
    /// An external account.
    pub eab: Option<ExternalAccountSettings>,
    /// `true` for Let's Encrypt's limits, `false` for none.
    #[serde(default = "yes")]
    pub limits: bool,
}

const fn yes() -> bool {
    true
}

/// An external account.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccountSettings {
    /// The key's identifier.
    pub key_id: String,
    /// The key, in base64url as CAs give it.
    #[schemars(with = "SecretReference")]
    pub key: Reference,
}

/// A DNS provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProviderSettings {
    /// Cloudflare's API v4.
    Cloudflare {
        /// A token with DNS:Edit, and Zone:Read unless there is another for that.
        #[schemars(with = "Option<SecretReference>")]
        token: Option<Reference>,
        /// A token with Zone:Read.
        #[schemars(with = "Option<SecretReference>")]
        zone_token: Option<Reference>,
        /// The account's address, for the global key.
        email: Option<String>,
        /// The global key.
        #[schemars(with = "Option<SecretReference>")]
        key: Option<Reference>,
        /// Zones and their identifiers, so that none has to be looked up.
        #[serde(default)]
        zones: BTreeMap<String, String>,
        /// Another address of the API.
        base: Option<String>,
    },
    /// A name server that takes dynamic updates.
    Rfc2136 {
        /// The primary with its port.
        #[schemars(with = "String")]
        server: SocketAddr,
        /// The zone; looked up unless given.
        zone: Option<String>,
        /// The TSIG key's name.
        key_name: Option<String>,
        /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
        #[serde(default = "hmac")]
        algorithm: String,
        /// The TSIG key, in base64.
        #[schemars(with = "Option<SecretReference>")]
        key: Option<Reference>,
    },
    /// An acme-dns server.
    AcmeDns {
        /// Base URL of the server.
        base: String,
        /// The registration's name that `_acme-challenge` points to.
        full_domain: String,
        /// The registration's subdomain.
        subdomain: String,
        /// The registration's user.
        username: String,
        /// The registration's password.
        #[schemars(with = "SecretReference")]
        password: Reference,
    },
    /// An external program.
    Exec {
        /// Path of the program.
        program: PathBuf,
        /// Its zones; all unless given.
        #[serde(default)]
        zones: Vec<String>,
    },
    /// One of the many of dns-update that take one token.
    DnsUpdate {
        /// Service: `hetzner`, `desec`, …
        service: String,
        /// API token of the service.
        #[schemars(with = "SecretReference")]
        token: Reference,
        /// Zones that it serves.
        zones: Vec<String>,
    },
}

fn hmac() -> String {
    "hmac-sha256".to_owned()
}

/// A certificate, or several of different keys for the same names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// Its folder; the first name unless given.
    pub name: Option<String>,
    /// The group that may read this certificate, by name or number, in the place of the `group` of all.
    pub group: Option<String>,
    /// Names of the certificate.
    #[serde(default, alias = "domain", deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub names: Vec<Name>,
    /// Additional names of the certificate.
    #[serde(default, alias = "extraDomainNames")]
    #[schemars(with = "Vec<String>")]
    pub extra_domain_names: Vec<Name>,
    /// `ec256`, `ec384`, `rsa2048`, `rsa3072`, `rsa4096`, or a list for several side by side.
    #[serde(default, alias = "keyType", deserialize_with = "key_types")]
    #[schemars(with = "OneOrMore")]
    pub key_type: Vec<KeyType>,
    /// Keeps the private key at renewal.
    #[serde(default)]
    pub reuse_key: bool,
    /// ACME profile to order; see the CA's directory.
    pub profile: Option<String>,
    /// The common name of the issuer that the chain should end in.
    pub preferred_chain: Option<String>,
    /// CAs by name, the first first; `letsencrypt` unless given.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub authority: Vec<String>,
    /// DNS providers by name; all unless given.
    #[serde(default, alias = "dnsProvider", deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub provider: Vec<String>,
    /// Units to reload.
    #[serde(default, alias = "reloadServices")]
    pub reload_services: Vec<String>,
    /// A command for a shell, run in the certificate's folder after a new one is in place; `ACME_FOLDER` is the folder's absolute
    /// path, `ACME_CERTIFICATE` the certificate's name.
    #[serde(alias = "postRun")]
    pub post_run: Option<String>,
    /// `host:port` where the new certificate has to be shown afterwards; `smtp:host:port` for STARTTLS in SMTP.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub check: Vec<String>,
    /// Time limit of a reload, and of each check, in seconds: 60. Then the old certificate is put
    /// back.
    pub check_timeout: Option<u64>,
    /// Days that remain at renewal, instead of a part of the lifetime; at most two thirds of the lifetime.
    #[serde(alias = "validMinDays")]
    pub valid_min_days: Option<u32>,
    /// Time limit for the record to reach every name server, in seconds: 600.
    pub propagation_timeout: Option<u64>,
    /// Wait after every name server has the record, in seconds: 2.
    pub settle: Option<u64>,
    /// ARI is asked again no sooner, in seconds: 60. For laboratories.
    pub ari_floor: Option<u64>,
}

/// Recipients of alerts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// A program with its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// URL that alerts are posted to.
    #[schemars(with = "Option<SecretReference>")]
    pub webhook: Option<Reference>,
    /// Mail server and addresses.
    pub mail: Option<MailSettings>,
}

/// A mail server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// Host name of the server.
    pub server: String,
    /// Port of the server; 587, 465 or 25 by `security`.
    pub port: Option<u16>,
    /// `starttls`, `tls` or `none`.
    #[serde(default)]
    pub security: Security,
    /// A PEM file of roots that its certificate may come from, beside the system's.
    pub roots: Option<PathBuf>,
    /// User name for authentication.
    pub user: Option<String>,
    /// Password for authentication.
    #[schemars(with = "Option<SecretReference>")]
    pub password: Option<Reference>,
    /// From whom it is.
    pub from: String,
    /// To whom it goes.
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

/// A text, or a list of texts.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A reference to a secret, never the secret itself.
#[derive(JsonSchema)]
#[schemars(inline)]
#[allow(dead_code)]
struct SecretReference(#[schemars(regex(pattern = "^(file:/|age:/|env:|credential:).+"))] String);

fn one_or_more<'de, D: Deserializer<'de>, T: Deserialize<'de> + std::str::FromStr>(
    deserializer: D,
) -> Result<Vec<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
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

fn key_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyType>, D::Error> {
    let list: Vec<String> = one_or_more(deserializer)?;
    list.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}
