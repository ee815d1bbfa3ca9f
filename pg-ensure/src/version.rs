//! Versions of the server, and their features.

use std::fmt;
use thiserror::Error;

/// Version of a PostgreSQL server, at least 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u32);

/// Error of a server older than PostgreSQL 13; its `server_version_num`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the server's version number {0} is below 130000; PostgreSQL 13 to 19 are known")]
pub struct UnsupportedVersion(pub u32);

impl Version {
    /// Creates a version from `server_version_num`, such as 180003. Versions after 19 are treated like 19.
    ///
    /// # Errors
    /// Returns [`UnsupportedVersion`] for a version before 13.
    pub fn from_number(number: u32) -> Result<Self, UnsupportedVersion> {
        if number < 130_000 { Err(UnsupportedVersion(number)) } else { Ok(Self(number)) }
    }

    /// Creates the version `major`.0. A major version below 13 is replaced by 13.
    #[must_use]
    pub fn major_version(major: u32) -> Self {
        Self(major.max(13) * 10_000)
    }

    /// Returns the major version, such as 18.
    #[must_use]
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// Returns the version as in `server_version_num`, such as 180003.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// Returns `true` if databases support locale providers other than `libc` (from 15).
    #[must_use]
    pub fn database_providers(self) -> bool {
        self.major() >= 15
    }

    /// Returns `true` if `GRANT … ON PARAMETER` is supported (from 15).
    #[must_use]
    pub fn parameter_grants(self) -> bool {
        self.major() >= 15
    }

    /// Returns `true` if memberships have the options INHERIT and SET and exist per grantor, and CREATEROLE requires
    /// ADMIN on a role to alter that role (from 16).
    #[must_use]
    pub fn membership_options(self) -> bool {
        self.major() >= 16
    }

    /// Returns `true` if the privilege MAINTAIN and the builtin locale provider are supported (from 17).
    #[must_use]
    pub fn maintain(self) -> bool {
        self.major() >= 17
    }

    /// Returns `true` if names of roles, databases and tablespaces cannot contain carriage returns or line feeds
    /// (from 19).
    #[must_use]
    pub fn refuses_line_ends(self) -> bool {
        self.major() >= 19
    }

    /// Returns `true` if default privileges on large objects are supported (from 18).
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
