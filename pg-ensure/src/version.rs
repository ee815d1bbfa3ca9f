//! Server versions and the features that each has.

use std::fmt;
use thiserror::Error;

/// A server's version, from 13 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u32);

/// A version before 13.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the server's version number {0} is below 130000; PostgreSQL 13 to 18 are known")]
pub struct TooOld(pub u32);

impl Version {
    /// The version of `server_version_num`, such as 180003. What is newer than 18 is taken for 18, but for
    /// what 19 announces.
    ///
    /// # Errors
    /// Before 13.
    pub fn from_number(number: u32) -> Result<Self, TooOld> {
        if number < 130_000 { Err(TooOld(number)) } else { Ok(Self(number)) }
    }

    /// A major version, 13 or more; less is taken for 13.
    #[must_use]
    pub fn major_version(major: u32) -> Self {
        Self(major.max(13) * 10_000)
    }

    /// The major version.
    #[must_use]
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// As in `server_version_num`.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// Locale providers other than libc for databases (15).
    #[must_use]
    pub fn database_providers(self) -> bool {
        self.major() >= 15
    }

    /// `GRANT … ON PARAMETER` (15).
    #[must_use]
    pub fn parameter_grants(self) -> bool {
        self.major() >= 15
    }

    /// Memberships have INHERIT and SET and are told apart by their grantor, and CREATEROLE needs ADMIN (16).
    #[must_use]
    pub fn membership_options(self) -> bool {
        self.major() >= 16
    }

    /// The MAINTAIN privilege and the builtin locale provider (17).
    #[must_use]
    pub fn maintain(self) -> bool {
        self.major() >= 17
    }

    /// Names of roles, databases and tablespaces cannot have a carriage return or line feed (announced for 19).
    #[must_use]
    pub fn refuses_line_ends(self) -> bool {
        self.major() >= 19
    }

    /// Default privileges of large objects (18).
    #[must_use]
    pub fn large_object_defaults(self) -> bool {
        self.major() >= 18
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.0 % 10_000)
    }
}
