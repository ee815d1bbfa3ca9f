//! Properties of the server that reads the file: version, build, and settings that affect the grammar.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A major version of PostgreSQL whose grammar this crate supports, from 13 to 19. Ordered by age. Displayed as the
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// PostgreSQL 13: no continuation lines, and lines of at most 20,477 bytes.
    V13,
    /// PostgreSQL 14: continuation lines, the option `clientname`, and a stricter `clientcert`.
    V14,
    /// PostgreSQL 15, with the grammar of 14.
    V15,
    /// PostgreSQL 16: regular expressions, `include` directives, and tokens of any length.
    V16,
    /// PostgreSQL 17, with the grammar of 16.
    V17,
    /// PostgreSQL 18: the method `oauth`.
    V18,
    /// PostgreSQL 19: no `radius`.
    V19,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 7] = [Self::V13, Self::V14, Self::V15, Self::V16, Self::V17, Self::V18, Self::V19];

    /// Newest version whose server this crate has been compared with.
    pub const TESTED: Self = Self::V19;

    /// Returns the major version number, from 13 to 19.
    #[must_use]
    pub fn number(self) -> u32 {
        13 + self as u32
    }

    /// Returns the version with this major version number. `None` unless it is from 13 to 19.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.number() == number)
    }

    /// Returns `true` if a backslash at the end of a line continues it: from version 14.
    pub(crate) fn has_continuations(self) -> bool {
        self >= Self::V14
    }

    /// Returns `true` if names with a leading slash are regular expressions: from version 16.
    pub(crate) fn has_patterns(self) -> bool {
        self >= Self::V16
    }

    /// Returns `true` if the version has `include` directives: from version 16.
    pub(crate) fn has_includes(self) -> bool {
        self >= Self::V16
    }

    /// Returns `true` if the version has the method `radius`: until version 18.
    pub(crate) fn has_radius(self) -> bool {
        self <= Self::V18
    }

    /// Returns the maximum length of a token in bytes (`MAX_TOKEN` in hba.c): 10,239 until version 15, and `None` from
    /// version 16.
    pub(crate) fn longest_token(self) -> Option<usize> {
        (self <= Self::V15).then_some(10_239)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.number())
    }
}

/// Error of a text that is not a version number from 13 to 19. Contains the text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a known version of PostgreSQL: expected one from 13 to 19")]
pub struct UnknownVersion(String);

impl FromStr for Version {
    type Err = UnknownVersion;

    /// Parses a version number, such as `16` or `16.4`. The part after the first dot must be a number, and is ignored.
    ///
    /// # Errors
    /// Returns [`UnknownVersion`] unless the major version is from 13 to 19, and for text of another form.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (major, minor) = text.split_once('.').map_or((text, None), |(major, minor)| (major, Some(minor)));
        let found = if number(major) && minor.is_none_or(number) { major.parse().ok() } else { None };
        found.and_then(Self::from_number).ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

/// An optional feature of a server's build. A server without it rejects lines with its method, and never matches records
/// of its connection type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Support for BSD authentication (`bsd`).
    Bsd,
    /// Support for GSSAPI (`gss` and `hostgssenc`).
    Gss,
    /// Support for LDAP (`ldap`).
    Ldap,
    /// Support for PAM (`pam`).
    Pam,
    /// Support for SSPI (`sspi`), on Windows only.
    Sspi,
    /// Support for TLS (`hostssl` and `cert`).
    Tls,
}

/// A PostgreSQL server, as far as the meaning of `pg_hba.conf` depends on it: the major version, the features of the
/// build, and the parameters `ssl` and `oauth_validator_libraries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    version: Version,
    missing: Vec<Capability>,
    tls: bool,
    oauth_validators: Vec<String>,
}

impl Server {
    /// Creates a server as distributions build it: with every feature except SSPI and BSD authentication, with TLS on,
    /// and with one OAuth validator named `validator`, so that `oauth` is accepted.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            version,
            missing: vec![Capability::Bsd, Capability::Sspi],
            tls: true,
            oauth_validators: vec!["validator".to_owned()],
        }
    }

    /// Removes a feature from the build. Features cannot be added.
    #[must_use]
    pub fn without(mut self, capability: Capability) -> Self {
        self.missing.push(capability);
        self
    }

    /// Sets the parameter `ssl`. Default: on.
    #[must_use]
    pub fn with_tls(mut self, on: bool) -> Self {
        self.tls = on;
        self
    }

    /// Sets the parameter `oauth_validator_libraries` (from version 18). Default: one library named `validator`.
    #[must_use]
    pub fn with_oauth_validators<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.oauth_validators = names.into_iter().map(Into::into).collect();
        self
    }

    /// Returns the major version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns `true` if the server was built with a feature.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        !self.missing.contains(&capability)
    }

    /// Returns `true` if `ssl` is on and the server was built with TLS.
    #[must_use]
    pub fn tls_is_on(&self) -> bool {
        self.tls && self.has(Capability::Tls)
    }

    /// Returns the names in the parameter `oauth_validator_libraries`.
    #[must_use]
    pub fn oauth_validators(&self) -> &[String] {
        &self.oauth_validators
    }
}

impl From<Version> for Server {
    /// Creates a server as [`Server::new`] does.
    fn from(version: Version) -> Self {
        Self::new(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_digits() {
        assert_eq!("17".parse(), Ok(Version::V17));
        assert_eq!("17.10".parse(), Ok(Version::V17));
        for text in
            ["", "12", "20", "+17", "-17", " 17", "17 ", "17.", ".17", "17.x", "17.1.2", "17beta1", "0x11"]
        {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }
}
