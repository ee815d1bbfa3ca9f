//! Releases of Forgejo, and the settings that each reads.

use crate::address::AddressRules;
use std::fmt;

/// A major version of Forgejo, such as 13. Any number is permitted. Default: 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

/// A release of Forgejo whose sources or behaviour were examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Major version of the release.
    pub version: Version,
    /// Minor version of Go 1 by which its first binaries were built.
    pub go: u32,
    /// Year and month, from 1, in which its support ends.
    pub support_ends: (u32, u32),
    /// Whether the release has long-term support.
    pub long_term: bool,
}

/// Creates a release.
const fn release(major: u32, go: u32, support_ends: (u32, u32), long_term: bool) -> Release {
    Release { version: Version(major), go, support_ends, long_term }
}

/// The examined releases, oldest first. Dates follow Forgejo's published schedule: a release is supported for three
/// months, one with long-term support for fifteen.
pub const RELEASES: &[Release] = &[
    release(7, 22, (2025, 7), true),
    release(8, 22, (2024, 10), false),
    release(9, 23, (2025, 1), false),
    release(10, 23, (2025, 4), false),
    release(11, 24, (2026, 7), true),
    release(12, 24, (2025, 10), false),
    release(13, 25, (2026, 1), false),
    release(14, 25, (2026, 4), false),
    release(15, 26, (2027, 7), true),
    release(16, 26, (2026, 10), false),
    release(17, 27, (2027, 1), false),
];

impl Default for Version {
    /// Returns the newest release with long-term support, 15.
    fn default() -> Self {
        Self(15)
    }
}

impl Version {
    /// The newest version that was examined. Newer versions are treated like it.
    pub const NEWEST: Self = Self(17);

    /// The version that was examined before its release, from the sources of July 2026.
    pub const BEFORE_RELEASE: Self = Self(17);

    /// The first version that reads `PASSWD_URI` and `PASSWORD_URI`: "add _URI entries for mail config", pull request
    /// 8116, in the release notes of 13.0.0.
    pub const FIRST_WITH_URI: Self = Self(13);

    /// Returns the release. `None` if it is not among [`RELEASES`].
    #[must_use]
    pub fn release(self) -> Option<&'static Release> {
        RELEASES.iter().find(|release| release.version == self)
    }

    /// Returns a caveat about this version at a year and month (from 1): not among [`RELEASES`], out of support, or
    /// examined only before its release. Of several, the first in this order. `None` if there is none. Support lasts to
    /// the end of its last month.
    #[must_use]
    pub fn caveat(self, year: u32, month: u32) -> Option<String> {
        let (oldest, newest) = (RELEASES[0].version, Self::NEWEST);
        match self.release() {
            None if self > newest => Some(format!(
                "Forgejo {self} was not examined: it is taken to behave like {newest}, the newest that was"
            )),
            None => Some(format!("Forgejo {self} is older than {oldest}, the oldest that was examined")),
            Some(release) if (year, month) > release.support_ends => {
                let (year, month) = release.support_ends;
                Some(format!("support of Forgejo {self} ended in {year}-{month:02}"))
            }
            Some(_) if self == Self::BEFORE_RELEASE => {
                Some(format!("Forgejo {self} was examined before its release, in sources of July 2026"))
            }
            Some(_) => None,
        }
    }

    /// Returns the rules of `net/mail` in the oldest Go by which the version's binaries were built. Versions newer than
    /// [`RELEASES`] have the newest rules, older ones the oldest.
    #[must_use]
    pub fn address_rules(self) -> AddressRules {
        let go = self.release().map_or(if self < RELEASES[0].version { 22 } else { 27 }, |held| held.go);
        match go {
            ..23 => AddressRules::Go1_22,
            23..26 => AddressRules::Go1_23,
            26 => AddressRules::Go1_26,
            27.. => AddressRules::Go1_27,
        }
    }

    /// Returns `true` if `USERNAME` and `PASSWORD` are aliases of `USER` and `PASSWD` (from 8).
    #[must_use]
    pub fn knows_aliases(self) -> bool {
        self.0 >= 8
    }

    /// Returns `true` if `[mailer.override_header]` is read (from 8).
    #[must_use]
    pub fn knows_override_header(self) -> bool {
        self.0 >= 8
    }

    /// Returns `true` if the port of `[email.incoming]` is inferred if it is missing (from 8).
    #[must_use]
    pub fn infers_incoming_port(self) -> bool {
        self.0 >= 8
    }

    /// Returns `true` if `FROM_DISPLAY_NAME_FORMAT` is read (from 9).
    #[must_use]
    pub fn knows_display_name_format(self) -> bool {
        self.0 >= 9
    }

    /// Returns `true` if Forgejo appends `--` to `SENDMAIL_ARGS`, so that a recipient is not parsed as an option (from
    /// 12).
    #[must_use]
    pub fn ends_sendmail_args(self) -> bool {
        self.0 >= 12
    }

    /// Returns `true` if `PASSWD_URI` and `PASSWORD_URI` are read (from 13).
    #[must_use]
    pub fn knows_uri(self) -> bool {
        self >= Self::FIRST_WITH_URI
    }

    /// Returns `true` if mail is sent by the go-mail library instead of `net/smtp` (from 17): it writes `To: <a@b>`,
    /// tolerates a failed QUIT and sends `MAIL FROM` without angle brackets. The release notes of 16.0.0 list none of
    /// these changes; the sources of July 2026, after the branch of 16, have them.
    #[must_use]
    pub fn sends_by_go_mail(self) -> bool {
        self.0 >= 17
    }

    /// Returns `true` if a `SENDMAIL_TIMEOUT` that is not a valid duration stops Forgejo from starting, instead of
    /// being replaced by five minutes (from 17, by the same sources).
    #[must_use]
    pub fn refuses_bad_timeout(self) -> bool {
        self.0 >= 17
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
