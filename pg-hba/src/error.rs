//! Errors of parsing a file, with the server's messages.

use crate::regex::PatternError;
use crate::server::Version;
use std::fmt;
use thiserror::Error;

/// Error of parsing a line, which the server would reject.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct ParseError {
    /// Name of the included file. `None` for the file that was given.
    pub file: Option<String>,
    /// Line number, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// The token that caused the error; empty at the end of a line.
    pub token: String,
    /// Reason, in the server's words.
    pub reason: Refusal,
}

impl ParseError {
    /// Returns the fix, if one is known.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        self.reason.fix(&self.token)
    }

    /// Returns the text of the `error` column of `pg_hba_file_rules`. `None` if the server rejects the file but
    /// leaves that column NULL.
    #[must_use]
    pub fn server_message(&self) -> Option<String> {
        self.reason.server_message()
    }
}

impl fmt::Display for ParseError {
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

/// The reason for which a line is refused: in the server's own words (hba.c), with what it leaves to its log added.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    #[doc = "A host name has a mask."]
    #[error("specifying both host name and CIDR mask is invalid: \"{0}\"")]
    HostWithMask(String),
    #[doc = "A prefix length out of range."]
    #[error("invalid CIDR mask in address \"{0}\"")]
    CidrMask(String),
    #[doc = "A mask that is not an address."]
    #[error("invalid IP mask \"{0}\": Name or service not known")]
    Mask(String),
    #[doc = "IPv4 with an IPv6 mask, or the reverse."]
    #[error("IP address and mask do not match")]
    MaskFamily,
    #[doc = "The line ends too early."]
    #[error("end-of-line before {0}")]
    Missing(&'static str),
    #[doc = "A comma where one value belongs."]
    #[error("multiple values specified for {0}")]
    Multiple(&'static str),
    #[doc = "No such record type."]
    #[error("invalid connection type \"{0}\"")]
    ConnectionType(String),
    #[doc = "No such method in this version."]
    #[error("invalid authentication method \"{0}\"")]
    Method(String),
    #[doc = "A method that this server was built without."]
    #[error("invalid authentication method \"{0}\": not supported by this build")]
    MethodNotBuilt(String),
    #[doc = "`peer` over TCP."]
    #[error("peer authentication is only supported on local sockets")]
    PeerOverTcp,
    #[doc = "`gss` over the socket."]
    #[error("gssapi authentication is not supported on local sockets")]
    GssOverSocket,
    #[doc = "`cert` without TLS."]
    #[error("cert authentication is only supported on hostssl connections")]
    CertWithoutTls,
    #[doc = "An option without an equals sign."]
    #[error("authentication option not in name=value format: {0}")]
    OptionForm(String),
    #[doc = "No such option in this version."]
    #[error("unrecognized authentication option name: \"{0}\"")]
    OptionName(String),
    #[doc = "An option of other methods."]
    #[error("authentication option \"{name}\" is only valid for authentication methods {methods}")]
    OptionMethod {
        /// Name of the option.
        name: &'static str,
        /// Methods that support the option.
        methods: &'static str,
    },
    #[doc = "An option of `hostssl` records."]
    #[error("{0} can only be configured for \"hostssl\" rows")]
    OptionNeedsTls(&'static str),
    #[doc = "A value of `clientcert` that `cert` does not go with."]
    #[error("{0}")]
    ClientCertWithCert(&'static str),
    #[doc = "A value that the server refuses without a word in `pg_hba_file_rules`."]
    #[error("invalid value for {name}: \"{value}\"")]
    SilentValue {
        /// Name of the option.
        name: &'static str,
        /// Value of the option.
        value: String,
    },
    #[doc = "A port that is not above zero."]
    #[error("invalid LDAP port number: \"{0}\"")]
    LdapPort(String),
    #[doc = "An `ldapurl` that is not valid."]
    #[error("could not parse LDAP URL \"{0}\"")]
    LdapUrl(String),
    #[doc = "An `ldapurl` of another scheme."]
    #[error("unsupported LDAP URL scheme: {0}")]
    LdapScheme(String),
    #[doc = "Options of both LDAP modes."]
    #[error("{0}")]
    LdapModes(&'static str),
    #[doc = "A list of ports that is not valid."]
    #[error("invalid RADIUS port number: \"{0}\"")]
    RadiusPorts(String),
    #[doc = "An option that the method cannot do without."]
    #[error("authentication method \"{method}\" requires argument {argument} to be set")]
    Required {
        /// Name of the method.
        method: &'static str,
        /// Name of the option, quoted.
        argument: &'static str,
    },
    #[doc = "Lists whose lengths do not agree."]
    #[error(
        "the number of RADIUS {what} ({count}) must be 1 or the same as the number of RADIUS servers ({servers})"
    )]
    RadiusCount {
        /// Name of the list.
        what: &'static str,
        /// Number of elements of the list.
        count: usize,
        /// Number of RADIUS servers.
        servers: usize,
    },
    #[doc = "`oauth` without `oauth_validator_libraries`."]
    #[error("oauth_validator_libraries must be set for authentication method oauth")]
    OauthLibraries,
    #[doc = "Several validators, and none chosen."]
    #[error(
        "authentication method \"oauth\" requires argument \"validator\" to be set when oauth_validator_libraries contains multiple options"
    )]
    OauthValidator,
    #[doc = "A validator that postgresql.conf does not name."]
    #[error("validator \"{0}\" is not permitted by oauth_validator_libraries")]
    OauthNotPermitted(String),
    #[doc = "A map and the option to have none."]
    #[error("map cannot be used in combination with delegate_ident_mapping")]
    OauthMap,
    #[doc = "A regular expression that does not compile."]
    #[error("invalid regular expression \"{pattern}\": {error}")]
    Pattern {
        /// Text of the regular expression.
        pattern: String,
        /// Error of the regular expression.
        error: PatternError,
    },
    #[doc = "A token above 10,239 bytes, before version 16."]
    #[error("authentication file token too long")]
    TokenTooLong,
    #[doc = "A line above 20,477 bytes, before version 14."]
    #[error("authentication file line too long")]
    LineTooLong,
    #[doc = "A file that cannot be opened, in the words of the version."]
    #[error("{0}")]
    Include(String),
    #[doc = "A field of pg_ident.conf is missing."]
    #[error("missing entry at end of line")]
    IdentMissing,
    #[doc = "A comma in pg_ident.conf."]
    #[error("multiple values in ident field")]
    IdentMultiple,
    #[doc = "PostgreSQL 19 no longer has the method: it does not start with such a file."]
    #[error("invalid authentication method \"radius\"")]
    RadiusGone,
    #[doc = "Not a single rule: the server does not start with such a file, nor load it."]
    #[error("the file contains no entries")]
    NoEntries,
}

impl Refusal {
    /// Returns the first version that accepts the rejected syntax, or `None` if no later one does.
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
                _ => None,
            },
            Self::TokenTooLong => Some(Version::V16),
            Self::LineTooLong => Some(Version::V14),
            _ => None,
        }
    }

    fn server_message(&self) -> Option<String> {
        match self {
            Self::SilentValue { .. } | Self::NoEntries => None,
            _ => Some(self.to_string()),
        }
    }

    fn fix(&self, token: &str) -> Option<String> {
        if let Some(version) = self.allowed_from() {
            return Some(format!("it is allowed from PostgreSQL {version}"));
        }
        Some(match self {
            Self::HostWithMask(_) => "write the name without a mask, or a valid address".to_owned(),
            Self::CidrMask(_) => "a prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6".to_owned(),
            Self::Missing("netmask specification") => format!("write {token}/32, or a mask after it"),
            Self::Missing(what) => format!("add the {what}"),
            Self::Multiple(_) | Self::IdentMultiple => "write one line for each value".to_owned(),
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
            Self::SilentValue { name: "clientcert", .. } => {
                "it is verify-ca or verify-full; the server refuses the file and does not say why".to_owned()
            }
            Self::SilentValue { name: "clientname", .. } => "it is CN or DN".to_owned(),
            Self::SilentValue { .. } => "the server refuses the file and does not say why".to_owned(),
            Self::Required { argument, .. } => format!("add {argument}"),
            Self::RadiusGone => {
                "PostgreSQL 19 has no radius: use scram-sha-256, ldap or oauth, or pam with a RADIUS module".to_owned()
            }
            Self::OauthLibraries => "set it in postgresql.conf".to_owned(),
            Self::NoEntries => "write at least one rule: local all postgres peer".to_owned(),
            _ => return None,
        })
    }
}

/// Returns the recommended method, `scram-sha-256`, for another spelling of it. `None` for other words.
fn method_meant(word: &str) -> Option<&'static str> {
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(plain.as_str(), "scram" | "scramsha" | "scramsha256" | "sha256").then_some("scram-sha-256")
}
