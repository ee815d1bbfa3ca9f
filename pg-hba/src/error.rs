//! Errors of parsing a file, with the server's messages.

use crate::regex::PatternError;
use crate::server::Version;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Error of a line that the server rejects. Displayed on one line with position, reason and fix.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct ParseError {
    /// Path of the included file that contains the line, resolved against the folder of the including file. `None` for
    /// the parsed file itself.
    pub file: Option<String>,
    /// Number of the physical line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// The token that caused the error, without quotes. Empty at the end of a line, and if the error concerns no single
    /// token.
    pub token: String,
    /// Reason for the rejection.
    pub reason: Refusal,
}

impl ParseError {
    /// Returns the action that corrects the line, as a phrase. `None` if none is known.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        self.reason.fix(&self.token)
    }

    /// Returns the text of the `error` column of `pg_hba_file_rules`. `None` if the server rejects the file but leaves
    /// that column NULL.
    #[must_use]
    pub fn server_message(&self) -> Option<String> {
        self.reason.server_message()
    }
}

impl fmt::Display for ParseError {
    /// Formats as `file: line n, column n: reason, at "token"; fix`, without the parts that are absent or repeated.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{file}: ")?;
        }
        write!(out, "line {}, column {}: {}", self.line, self.column, self.reason)?;
        if !self.token.is_empty() && !self.reason.to_string().contains(&self.token) {
            write!(out, ", at {:?}", self.token)?;
        }
        if let Some(fix) = self.fix() {
            write!(out, "; {fix}")?;
        }
        Ok(())
    }
}

/// Reason for which a line is rejected. Displayed as the server's message (hba.c), with what the server writes only to
/// its log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The address is a host name with a prefix length. Contains the text.
    #[error("specifying both host name and CIDR mask is invalid: \"{0}\"")]
    HostWithMask(String),
    /// The prefix length is not a number, is negative, or exceeds 32 for IPv4 or 128 for IPv6. Contains the whole address.
    #[error("invalid CIDR mask in address \"{0}\"")]
    CidrMask(String),
    /// The mask is not a numeric address. Contains the text.
    #[error("invalid IP mask \"{0}\": Name or service not known")]
    Mask(String),
    /// Address and mask have different address families.
    #[error("IP address and mask do not match")]
    MaskFamily,
    /// A field is missing at the end of the line. Contains its name.
    #[error("end-of-line before {0}")]
    Missing(&'static str),
    /// A field that takes one value contains a comma. Contains its name.
    #[error("multiple values specified for {0}")]
    Multiple(&'static str),
    /// The connection type is unknown. Contains the word. Include directives before version 16 are among them.
    #[error("invalid connection type \"{0}\"")]
    ConnectionType(String),
    /// An include directive, from version 16 on, does not have exactly one file. Contains the word.
    #[error("invalid connection type \"{0}\"")]
    IncludeArguments(String),
    /// The method is unknown in this version. Contains the word.
    #[error("invalid authentication method \"{0}\"")]
    Method(String),
    /// The server was built without the method. Contains its name.
    #[error("invalid authentication method \"{0}\": not supported by this build")]
    MethodNotBuilt(String),
    /// The method `peer` is used in a TCP record.
    #[error("peer authentication is only supported on local sockets")]
    PeerOverTcp,
    /// The method `gss` is used in a `local` record.
    #[error("gssapi authentication is not supported on local sockets")]
    GssOverSocket,
    /// The method `cert` is used in a record other than `hostssl`.
    #[error("cert authentication is only supported on hostssl connections")]
    CertWithoutTls,
    /// An option has no equals sign. Contains the token.
    #[error("authentication option not in name=value format: {0}")]
    OptionForm(String),
    /// The option is unknown in this version. Contains its name.
    #[error("unrecognized authentication option name: \"{0}\"")]
    OptionName(String),
    /// The method does not support the option.
    #[error("authentication option \"{name}\" is only valid for authentication methods {methods}")]
    OptionMethod {
        /// Name of the option.
        name: Cow<'static, str>,
        /// Methods that support the option, as listed in the server's message.
        methods: &'static str,
    },
    /// The option is permitted in `hostssl` records only. Contains its name.
    #[error("{0} can only be configured for \"hostssl\" rows")]
    OptionNeedsTls(&'static str),
    /// The value of `clientcert` is not permitted with the method `cert`. Contains the server's message.
    #[error("{0}")]
    ClientCertWithCert(&'static str),
    /// The server rejects the value of an option without a message in `pg_hba_file_rules`.
    #[error("invalid value for {name}: \"{value}\"")]
    SilentValue {
        /// Name of the option.
        name: Cow<'static, str>,
        /// Value of the option, as written.
        value: String,
    },
    /// The value of `ldapport` is 0 or not a number. Contains the value.
    #[error("invalid LDAP port number: \"{0}\"")]
    LdapPort(String),
    /// The value of `ldapurl` does not begin with `ldap://`, `ldaps://`, `ldapi://` or `cldap://`. Contains the value.
    #[error("could not parse LDAP URL \"{0}\"")]
    LdapUrl(String),
    /// The scheme of `ldapurl` is `ldapi` or `cldap`, which the server does not support. Contains the scheme.
    #[error("unsupported LDAP URL scheme: {0}")]
    LdapScheme(String),
    /// Options of LDAP exclude each other. Contains the server's message.
    #[error("{0}")]
    LdapModes(&'static str),
    /// The value of `radiusports` is not a valid list. Contains the value.
    #[error("invalid RADIUS port number: \"{0}\"")]
    RadiusPorts(String),
    /// The method requires an option that is missing.
    #[error("authentication method \"{method}\" requires argument {argument} to be set")]
    Required {
        /// Name of the method.
        method: &'static str,
        /// Name of the option, in double quotes.
        argument: &'static str,
    },
    /// A list of RADIUS options that is not empty has neither one element nor as many as there are servers.
    #[error(
        "the number of RADIUS {what} ({count}) must be 1 or the same as the number of RADIUS servers ({servers})"
    )]
    RadiusCount {
        /// Name of the list: `secrets`, `ports` or `identifiers`.
        what: &'static str,
        /// Number of elements of the list.
        count: usize,
        /// Number of elements of `radiusservers`.
        servers: usize,
    },
    /// The method `oauth` is used while `oauth_validator_libraries` is empty. Contains the server's message,
    /// which depends on the version.
    #[error("{0}")]
    OauthLibraries(&'static str),
    /// `oauth_validator_libraries` has several values, and the option `validator` is missing. Contains the
    /// server's message, which depends on the version.
    #[error("{0}")]
    OauthValidator(&'static str),
    /// The validator is not in `oauth_validator_libraries`.
    #[error("validator \"{validator}\" is not permitted by {setting}")]
    OauthNotPermitted {
        /// Name of the validator.
        validator: String,
        /// Name of the setting, in quotes from version 19 on.
        setting: &'static str,
    },
    /// The options `map` and `delegate_ident_mapping=1` are combined.
    #[error("map cannot be used in combination with delegate_ident_mapping")]
    OauthMap,
    /// A regular expression is not valid.
    #[error("invalid regular expression \"{pattern}\": {error}")]
    Pattern {
        /// Text of the regular expression, without the slash.
        pattern: String,
        /// Error of the regular expression.
        error: PatternError,
    },
    /// A token is longer than 10,239 bytes, before version 16.
    #[error("authentication file token too long")]
    TokenTooLong,
    /// A line is longer than 20,477 bytes, before version 14.
    #[error("authentication file line too long")]
    LineTooLong,
    /// An included file or folder cannot be read. Contains the server's message, which depends on the
    /// version.
    #[error("{0}")]
    Include(String),
    /// A record of `pg_ident.conf` has fewer than three fields.
    #[error("missing entry at end of line")]
    IdentMissing,
    /// A field of `pg_ident.conf` contains a comma.
    #[error("multiple values in ident field")]
    IdentMultiple,
    /// The method `radius` is used in version 19, which does not support it.
    #[error("invalid authentication method \"radius\"")]
    RadiusGone,
    /// The file contains no rule. The server does not start with such a file, nor load it.
    #[error("the file contains no entries")]
    NoEntries,
}

impl Refusal {
    /// Returns the first version that accepts the syntax, if older versions reject it: include directives, `oauth` and
    /// its options, `clientname`, and the length of a token or line. `None` for every other reason.
    #[must_use]
    pub fn allowed_from(&self) -> Option<Version> {
        match self {
            Self::ConnectionType(word)
                if matches!(&**word, "include" | "include_dir" | "include_if_exists") =>
            {
                Some(Version::V16)
            }
            Self::Method(method) if method == "oauth" => Some(Version::V18),
            Self::OptionName(name) => match &**name {
                "clientname" => Some(Version::V14),
                "issuer" | "scope" | "validator" | "delegate_ident_mapping" => Some(Version::V18),
                name if name.starts_with("validator.") => Some(Version::V19),
                _ => None,
            },
            Self::TokenTooLong => Some(Version::V16),
            Self::LineTooLong => Some(Version::V14),
            _ => None,
        }
    }

    /// Returns the message in the `error` column, which is the displayed text. `None` for [`Refusal::SilentValue`] and
    /// [`Refusal::NoEntries`], for which the server leaves the column NULL.
    fn server_message(&self) -> Option<String> {
        match self {
            Self::SilentValue { .. } | Self::NoEntries => None,
            _ => Some(self.to_string()),
        }
    }

    /// Returns the action that corrects the line, as a phrase. `token` is the text of the token that caused the error.
    /// `None` if no action is known.
    fn fix(&self, token: &str) -> Option<String> {
        if let Some(version) = self.allowed_from() {
            return Some(format!("it is allowed from PostgreSQL {version}"));
        }
        Some(match self {
            Self::HostWithMask(_) => "write the name without a mask, or a valid address".to_owned(),
            Self::Mask(_) => {
                "write a prefix length with the address, as in 10.0.0.0/8, or a mask such as 255.0.0.0".to_owned()
            }
            Self::CidrMask(_) => "a prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6".to_owned(),
            Self::Missing("netmask specification") => format!("write {token}/32, or a mask after it"),
            Self::Missing(what) => format!("add the {what}"),
            Self::Multiple(_) | Self::IdentMultiple => "write one line for each value".to_owned(),
            Self::IncludeArguments(_) => {
                "it takes one name and nothing after it: quote a name that has blanks, and begin a line for each file"
                    .to_owned()
            }
            Self::ConnectionType(word) if word.starts_with('\u{FEFF}') => {
                "the file begins with an invisible byte order mark: save it as UTF-8 without one".to_owned()
            }
            Self::ConnectionType(_) => {
                "it is one of local, host, hostssl, hostnossl, hostgssenc, hostnogssenc".to_owned()
            }
            Self::Method(_) if token.contains(|c: char| c.is_ascii_uppercase()) => {
                "methods are lower case".to_owned()
            }
            Self::Method(_) => match method_meant(token) {
                Some(method) => format!("write {method}"),
                None => "write a method such as scram-sha-256, peer or reject; a blank before a comma ends a field, so \
                         look at the commas of this line too"
                    .to_owned(),
            },
            Self::PeerOverTcp => {
                "peer works for local records; over TCP use scram-sha-256 or cert".to_owned()
            }
            Self::CertWithoutTls | Self::OptionNeedsTls(_) => "make it a hostssl record".to_owned(),
            Self::OptionForm(_) => {
                "options are name=value; quote a value that has blanks or commas".to_owned()
            }
            Self::SilentValue { name, .. } if name == "clientcert" => {
                "it is verify-ca or verify-full; the server refuses the file and does not say why".to_owned()
            }
            Self::SilentValue { name, .. } if name == "clientname" => "it is CN or DN".to_owned(),
            Self::SilentValue { name, .. } if name.starts_with("validator.") => {
                "its name consists of ASCII letters, digits, - and _".to_owned()
            }
            Self::SilentValue { .. } => "the server refuses the file and does not say why".to_owned(),
            Self::Required { argument, .. } => format!("add {argument}"),
            Self::RadiusGone => {
                "PostgreSQL 19 has no radius: use scram-sha-256, ldap or oauth, or pam with a RADIUS module".to_owned()
            }
            Self::OauthLibraries(_) => "set it in postgresql.conf".to_owned(),
            Self::NoEntries => "write at least one rule: local all postgres peer".to_owned(),
            _ => return None,
        })
    }
}

/// Returns `scram-sha-256` for `scram`, `scramsha`, `scramsha256` and `sha256`, compared without punctuation. `None`
/// for other words.
fn method_meant(word: &str) -> Option<&'static str> {
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(plain.as_str(), "scram" | "scramsha" | "scramsha256" | "sha256").then_some("scram-sha-256")
}
