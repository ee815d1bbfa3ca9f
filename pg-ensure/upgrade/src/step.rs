//! The steps of an upgrade, and their order.

use super::mode::Mode;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A step of an upgrade. The journal records its beginning and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Step {
    /// Records in the journal which programs, directories and transfer mode are used.
    Discover,
    /// Runs the preflight, which reports all obstacles.
    Preflight,
    /// Makes and verifies the backup, unless the operator states that one exists.
    Backup,
    /// Creates the new cluster in the staging directory, with `initdb`.
    Prepare,
    /// Runs `pg_upgrade --check`, if the old server runs and has a Unix-domain socket. Otherwise the transfer makes the
    /// same checks.
    Check,
    /// Stops the old server if it runs, then takes the inventory on a private, read-only server.
    Quiesce,
    /// Transfers the data by `pg_upgrade`.
    Transfer,
    /// Starts the new cluster on a private socket, compares its inventory, finds changed collations, and runs
    /// `pg_amcheck`.
    Verify,
    /// Rebuilds indexes whose collation has changed.
    Reindex,
    /// Writes the converted configuration, the access rules and the files that they name to the new cluster.
    Carry,
    /// Renames the staging directory to the new data directory.
    Commit,
    /// Starts the new server for clients, unless it runs already.
    Start,
    /// Gathers planner statistics: all before version 18, from then on those that the transfer did not carry over.
    Statistics,
    /// Updates extensions to the default versions of the new installation. An update that fails becomes a remark.
    Extensions,
}

impl Step {
    /// Every step, in the order of the variants. The order of an upgrade depends on its mode: see [`order`].
    pub const ALL: [Self; 14] = [
        Self::Discover,
        Self::Preflight,
        Self::Backup,
        Self::Prepare,
        Self::Check,
        Self::Quiesce,
        Self::Transfer,
        Self::Verify,
        Self::Reindex,
        Self::Carry,
        Self::Commit,
        Self::Start,
        Self::Statistics,
        Self::Extensions,
    ];

    /// Returns a short description of the step, for display.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Discover => "find programs and folders",
            Self::Preflight => "look for what stands in the way",
            Self::Backup => "back up and verify the backup",
            Self::Prepare => "make the new cluster beside the old one",
            Self::Check => "let pg_upgrade check both",
            Self::Quiesce => "stop the old server and take an inventory",
            Self::Transfer => "transfer the data",
            Self::Verify => "compare with the inventory on a private socket",
            Self::Reindex => "rebuild indexes whose collation changed",
            Self::Carry => "carry the configuration over",
            Self::Commit => "give the new folder its name",
            Self::Start => "start the new server",
            Self::Statistics => "gather the statistics that are missing",
            Self::Extensions => "update extensions",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Discover => "discover",
            Self::Preflight => "preflight",
            Self::Backup => "backup",
            Self::Prepare => "prepare",
            Self::Check => "check",
            Self::Quiesce => "quiesce",
            Self::Transfer => "transfer",
            Self::Verify => "verify",
            Self::Reindex => "reindex",
            Self::Carry => "carry",
            Self::Commit => "commit",
            Self::Start => "start",
            Self::Statistics => "statistics",
            Self::Extensions => "extensions",
        })
    }
}

/// Error of a text that is not the name of a step.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a step: expected one of {}", Step::ALL.map(|step| step.to_string()).join(", "))]
pub struct UnknownStep {
    text: String,
}

impl FromStr for Step {
    type Err = UnknownStep;

    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        let found = Self::ALL.into_iter().find(|step| step.to_string() == text);
        found.ok_or_else(|| UnknownStep { text: text.to_owned() })
    }
}

/// Time at which indexes of changed collations are rebuilt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Reindexing {
    /// Before clients can connect. Until then, an index with an obsolete order would return wrong results and accept
    /// duplicates.
    #[default]
    BeforeCommit,
    /// At the end, with REINDEX CONCURRENTLY, while clients may get wrong results.
    Online,
}

/// Returns the steps of an upgrade, in order.
///
/// In modes that destroy the old cluster, the backup is made after the old server is stopped: it is the only way back,
/// so nothing may be written after it. In the other modes the old cluster itself is the way back, and the backup is
/// made while clients work, after `pg_upgrade --check`, so that an obstacle is found before the time for a backup is
/// spent.
#[must_use]
pub fn order(mode: Mode, reindexing: Reindexing) -> Vec<Step> {
    let mut steps = vec![Step::Discover, Step::Preflight];
    if mode.keeps_the_old() {
        steps.extend([Step::Prepare, Step::Check, Step::Backup, Step::Quiesce]);
    } else {
        steps.extend([Step::Prepare, Step::Check, Step::Quiesce, Step::Backup]);
    }
    steps.extend([Step::Transfer, Step::Verify]);
    if reindexing == Reindexing::BeforeCommit {
        steps.push(Step::Reindex);
    }
    steps.extend([Step::Carry, Step::Commit, Step::Start, Step::Statistics, Step::Extensions]);
    if reindexing == Reindexing::Online {
        steps.push(Step::Reindex);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_once_in_every_order() {
        for mode in Mode::ALL {
            for reindexing in [Reindexing::BeforeCommit, Reindexing::Online] {
                let order = order(mode, reindexing);
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, Step::ALL);
                let at = |step| order.iter().position(|other| *other == step);
                assert!(at(Step::Backup) < at(Step::Transfer));
                assert!(mode.keeps_the_old() || at(Step::Quiesce) < at(Step::Backup));
            }
        }
        assert_eq!("verify".parse(), Ok(Step::Verify));
    }
}
