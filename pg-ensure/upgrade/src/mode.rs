//! The transfer modes of `pg_upgrade`.

use super::version::Major;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The method by which `pg_upgrade` transfers the data files to the new cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Mode {
    /// `--copy`: files are copied.
    Copy,
    /// `--clone`: files are cloned (reflinks), as on Btrfs and XFS.
    Clone,
    /// `--copy-file-range`: the kernel copies the files (from version 17).
    CopyFileRange,
    /// `--link`: files are hard-linked. The old cluster cannot be used once the new server has been started.
    Link,
    /// `--swap`: directories are moved to the new cluster (from version 18). The old cluster is destroyed by the
    /// transfer.
    Swap,
}

impl Mode {
    /// All transfer modes.
    pub const ALL: [Self; 5] = [Self::Copy, Self::Clone, Self::CopyFileRange, Self::Link, Self::Swap];

    /// Returns the option of `pg_upgrade`. `None` for copying, the default, for which older versions have no option.
    #[must_use]
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::Copy => None,
            Self::Clone => Some("--clone"),
            Self::CopyFileRange => Some("--copy-file-range"),
            Self::Link => Some("--link"),
            Self::Swap => Some("--swap"),
        }
    }

    /// Returns the first supported version (from 13 on) whose `pg_upgrade` has the mode.
    #[must_use]
    pub fn since(self) -> Major {
        let number = match self {
            Self::Copy | Self::Clone | Self::Link => 13,
            Self::CopyFileRange => 17,
            Self::Swap => 18,
        };
        Major::try_from(number).unwrap_or(Major::NEWEST)
    }

    /// Returns `true` if the old cluster remains usable in this mode.
    #[must_use]
    pub fn keeps_the_old(self) -> bool {
        matches!(self, Self::Copy | Self::Clone | Self::CopyFileRange)
    }

    /// Returns `true` if the data files of the new cluster need additional disk space.
    #[must_use]
    pub fn needs_disk_space(self) -> bool {
        matches!(self, Self::Copy | Self::CopyFileRange)
    }

    /// Returns a warning about the point from which the old cluster is lost. `None` for modes that keep the old
    /// cluster.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Copy | Self::Clone | Self::CopyFileRange => None,
            Self::Link => Some(
                "both clusters will name the same files: from the moment the new cluster is first started, which is the \
                 step verify, the old one can never be started again, and only the backup leads back",
            ),
            Self::Swap => Some(
                "the old cluster's files are moved into the new one: once the step transfer has begun to move them, the \
                 old cluster is gone, and only the backup leads back",
            ),
        }
    }

    /// Returns the default mode for a new version and a file system: cloning if supported, else copying by the kernel
    /// if supported and the new version can, else plain copying. Never a mode that destroys the old cluster.
    #[must_use]
    pub fn choose(to: Major, copy: FileCopy) -> Self {
        match copy {
            FileCopy::Clone => Self::Clone,
            FileCopy::InKernel if to >= Self::CopyFileRange.since() => Self::CopyFileRange,
            FileCopy::InKernel | FileCopy::Plain => Self::Copy,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Copy => "copy",
            Self::Clone => "clone",
            Self::CopyFileRange => "copy-file-range",
            Self::Link => "link",
            Self::Swap => "swap",
        })
    }
}

/// The fastest copy of a file that a file system supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileCopy {
    /// A clone, which shares blocks with the original (`FICLONE`).
    Clone,
    /// A copy within the kernel (`copy_file_range()`).
    InKernel,
    /// A copy through user space.
    Plain,
}

/// Error of a text that is not the name of a mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a mode: expected copy, clone, copy-file-range, link or swap")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let found = Self::ALL.into_iter().find(|mode| mode.to_string() == text);
        found.ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_never_costs_the_old_cluster() {
        for to in 13..=18 {
            let to = Major::try_from(to).unwrap();
            for copy in [FileCopy::Clone, FileCopy::InKernel, FileCopy::Plain] {
                let mode = Mode::choose(to, copy);
                assert!(mode.keeps_the_old() && mode.since() <= to);
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(mode.keeps_the_old(), mode.warning().is_none());
        }
    }
}
