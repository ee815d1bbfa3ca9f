//! Major versions of PostgreSQL, and their features.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A major version of PostgreSQL that is supported as old or new version: 13 to 19.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Major(u32);

impl Major {
    /// The oldest supported version.
    pub const OLDEST: Self = Self(13);
    /// The newest supported version.
    pub const NEWEST: Self = Self(19);
    /// The newest version that was tested against a server.
    pub const TESTED: Self = Self(19);

    /// Returns the major version number, such as 18.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// Returns `true` if `pg_upgrade` of this version carries planner statistics over (from 18).
    #[must_use]
    pub fn carries_statistics(self) -> bool {
        self.0 >= 18
    }

    /// Returns `true` if `initdb` of this version enables data checksums by default (from 18).
    #[must_use]
    pub fn checksums_by_default(self) -> bool {
        self.0 >= 18
    }

    /// Returns `true` if logical replication slots of a cluster of this version can be carried over (from 17).
    #[must_use]
    pub fn slots_can_be_carried(self) -> bool {
        self.0 >= 17
    }

    /// Returns `true` if databases of this version record the version of their collation (from 15).
    #[must_use]
    pub fn records_collation_version(self) -> bool {
        self.0 >= 15
    }
}

impl fmt::Display for Major {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Error of a text or number that is not a supported major version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a major version: expected one from {} to {}", Major::OLDEST, Major::NEWEST)]
pub struct UnknownMajor {
    text: String,
}

impl TryFrom<u32> for Major {
    type Error = UnknownMajor;

    fn try_from(number: u32) -> Result<Self, UnknownMajor> {
        let major = Self(number);
        if (Self::OLDEST..=Self::NEWEST).contains(&major) {
            Ok(major)
        } else {
            Err(UnknownMajor { text: number.to_string() })
        }
    }
}

impl FromStr for Major {
    type Err = UnknownMajor;

    fn from_str(text: &str) -> Result<Self, UnknownMajor> {
        let unknown = || UnknownMajor { text: text.to_owned() };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unknown());
        }
        text.parse::<u32>().ok().and_then(|number| Self::try_from(number).ok()).ok_or_else(unknown)
    }
}

/// Parses the versions at the end of a program's name, without its folder: `upgrade-pg-cluster-17-18` upgrades from 17
/// to 18. Returns `None` if it does not end with two supported major versions after another part, each preceded by a
/// hyphen.
///
/// ```
/// use pg_upgrade::versions_in_name;
/// let (from, to) = versions_in_name("/usr/bin/upgrade-pg-cluster-17-18").unwrap();
/// assert_eq!((from.number(), to.number()), (17, 18));
/// assert_eq!(versions_in_name("upgrade-pg-cluster"), None);
/// ```
#[must_use]
pub fn versions_in_name(program: &str) -> Option<(Major, Major)> {
    let name = program.rsplit('/').next()?;
    let mut parts = name.rsplitn(3, '-');
    let (to, from, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if rest.is_empty() {
        return None;
    }
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// Parses the output of `postgres --version`, such as `postgres (PostgreSQL) 17.10`. Returns the major version, and the
/// whole version as text. `None` if the output has another form.
#[must_use]
pub fn version_in_banner(banner: &str) -> Option<(u32, String)> {
    let rest = banner.split("(PostgreSQL) ").nth(1)?;
    let full = rest.split_whitespace().next()?;
    let digits: String = full.chars().take_while(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, full.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_versions() {
        assert_eq!("17".parse::<Major>().map(Major::number), Ok(17));
        for text in ["", "12", "20", "17.2", "+17", " 17", "99999999999999"] {
            assert!(text.parse::<Major>().is_err(), "{text}");
        }
    }

    #[test]
    fn banners() {
        assert_eq!(version_in_banner("postgres (PostgreSQL) 17.10\n"), Some((17, "17.10".to_owned())));
        assert_eq!(
            version_in_banner("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some((15, "15.18".to_owned()))
        );
        assert_eq!(version_in_banner("psql"), None);
    }

    #[test]
    fn names() {
        assert_eq!(versions_in_name("upgrade-pg-cluster-17-20"), None);
        assert_eq!(versions_in_name("17-18"), None);
        assert!(versions_in_name("upgrade-pg-cluster-15-17").is_some());
    }
}
