//! The file as written. Where NixOS has an option for the same thing, its name is taken too.

use acme_dns01::{KeyType, Name};
use cli_support::secret::Reference;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from("/var/lib/acme")
}

fn group() -> String {
    "acme".to_owned()
}

const fn parallel() -> usize {
    5
}

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where certificates are kept: `/var/lib/acme`.
    #[serde(default = "folder")]
    pub folder: PathBuf,
    /// The group that may read them, by name or number: `acme`. Without effect if there is no such group, or this runs as nobody special.
    #[serde(default = "group")]
    pub group: String,
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
    /// How many certificates are worked on at once.
    #[serde(default = "parallel", alias = "maxConcurrentRenewals")]
    pub parallel: usize,
    /// How the DNS is asked.
    #[serde(default)]
    pub dns: DnsSettings,
    /// CAs by name. `letsencrypt` and `letsencrypt-staging` need not be written.
    #[serde(default)]
    pub authority: BTreeMap<String, AuthoritySettings>,
    /// DNS providers by name.
    #[serde(default)]
    pub provider: BTreeMap<String, ProviderSettings>,
    /// Who is told of trouble.
    #[serde(default)]
    pub alert: Alerts,
    /// The certificates.
    #[serde(default)]
    pub certificate: Vec<CertificateSettings>,
}

/// How the DNS is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsSettings {
    /// Resolvers with their ports; the system's unless given.
    #[serde(default, alias = "dnsResolver", deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub resolvers: Vec<SocketAddr>,
    /// `authorities` (every address of every name server) or `resolvers` (where port 53 is closed or intercepted).
    #[serde(default)]
    pub mode: DnsMode,
    /// The port of authorities, for laboratories.
    pub authority_port: Option<u16>,
}

/// Who is asked whether a record is there.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsMode {
    /// Every address of every name server.
    #[default]
    Authorities,
    /// The resolvers.
    Resolvers,
}

/// A CA.
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
    /// Cloudflare.
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
        /// Its address.
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
        /// The program.
        program: PathBuf,
        /// Its zones; all unless given.
        #[serde(default)]
        zones: Vec<String>,
    },
    /// One of the many of dns-update that take one token.
    DnsUpdate {
        /// Which: `hetzner`, `desec`, …
        service: String,
        /// Its token.
        #[schemars(with = "SecretReference")]
        token: Reference,
        /// Its zones.
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
    /// Its names.
    #[serde(default, alias = "domain", deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub names: Vec<Name>,
    /// More names.
    #[serde(default, alias = "extraDomainNames")]
    #[schemars(with = "Vec<String>")]
    pub extra_domain_names: Vec<Name>,
    /// `ec256`, `ec384`, `rsa2048`, `rsa3072`, `rsa4096`, or a list for several side by side.
    #[serde(default, alias = "keyType", deserialize_with = "key_types")]
    #[schemars(with = "OneOrMore")]
    pub key_type: Vec<KeyType>,
    /// Whether the next certificate keeps the key.
    #[serde(default)]
    pub reuse_key: bool,
    /// The profile.
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
    /// A command for a shell, run after a new certificate is in place; `ACME_FOLDER` is the certificate's folder.
    #[serde(alias = "postRun")]
    pub post_run: Option<String>,
    /// `host:port` where the new certificate has to be shown afterwards; `smtp:host:port` for STARTTLS in SMTP.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub check: Vec<String>,
    /// How long a reload, and a server until it shows the new certificate, may take, in seconds: 60. Then the old one is put
    /// back.
    pub check_timeout: Option<u64>,
    /// How many days must remain, in the place of a part of the lifetime; at most two thirds of the lifetime.
    #[serde(alias = "validMinDays")]
    pub valid_min_days: Option<u32>,
    /// How long name servers may take to show a record, in seconds: 600.
    pub propagation_timeout: Option<u64>,
    /// How long to wait after they all do, in seconds: 2.
    pub settle: Option<u64>,
    /// ARI is asked again no sooner, in seconds: 60. For laboratories.
    pub ari_floor: Option<u64>,
}

/// Who is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// A program with its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// A URL.
    #[schemars(with = "Option<SecretReference>")]
    pub webhook: Option<Reference>,
    /// Mail.
    pub mail: Option<MailSettings>,
}

/// A mail server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// Its name.
    pub server: String,
    /// Its port.
    pub port: Option<u16>,
    /// `starttls`, `tls` or `none`.
    #[serde(default)]
    pub security: Security,
    /// A PEM file of roots that its certificate may come from, beside the system's.
    pub roots: Option<PathBuf>,
    /// Who we are there.
    pub user: Option<String>,
    /// How we prove that.
    #[schemars(with = "Option<SecretReference>")]
    pub password: Option<Reference>,
    /// From whom it is.
    pub from: String,
    /// To whom it goes.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub to: Vec<String>,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// STARTTLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None.
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
    #[serde(untagged, expecting = "expected text in quotes, or a list of such texts")]
    enum Written {
        One(String),
        More(Vec<String>),
    }
    let list = match Written::deserialize(deserializer)? {
        Written::One(one) => vec![one],
        Written::More(more) => more,
    };
    list.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

fn key_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyType>, D::Error> {
    let list: Vec<String> = one_or_more(deserializer)?;
    list.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}
