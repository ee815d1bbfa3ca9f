//! The forms of a plan and its parts in reports.

use super::{ExecutionScope, Obstacle, Risk, Step};
use crate::version::Version;

/// A step of a plan in the form of a report, with its change as SQL for one version of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StepReport {
    /// SQL of the change, as [`Change::sql`](super::Change::sql) returns it. Contains no secret.
    pub sql: String,
    /// Human-readable reason for the change.
    pub reason: String,
    /// Class of risk of the change.
    pub risk: Risk,
    /// Name of the database in which the change is made. `None` if it belongs to the cluster.
    pub database: Option<String>,
}

impl Step {
    /// Returns the report of the step for a version of the server.
    #[must_use]
    pub fn report(&self, version: Version) -> StepReport {
        let database = match self.change.scope() {
            ExecutionScope::In(database) => Some(database.to_string()),
            ExecutionScope::Alone | ExecutionScope::Cluster => None,
        };
        StepReport {
            sql: self.change.sql(version),
            reason: self.reason.clone(),
            risk: self.change.risk(),
            database,
        }
    }
}

impl Obstacle {
    /// Returns the stable, machine-readable name of the kind of obstacle, such as `not-permitted`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotNamed(_) => "destructive",
            Self::NotPermitted(_) => "not-permitted",
            Self::Missing(_) => "missing",
            Self::Immutable(_) => "immutable",
            Self::InUse(_) => "in-use",
            Self::Unsupported(_) => "unsupported",
            Self::Refused(_) => "refused",
            Self::Unplanned => "unplanned",
        }
    }
}

#[cfg(feature = "serde")]
pub(super) mod serialized {
    //! Serialized forms of a plan and its parts.

    use super::StepReport;
    use crate::plan::{BlockedChange, Plan};
    use serde::Serialize;

    /// Serialized form of [`BlockedChange`].
    #[derive(Serialize)]
    pub(in crate::plan) struct BlockedReport {
        code: &'static str,
        what: String,
        why: String,
    }

    /// Serialized form of [`Plan`].
    #[derive(Serialize)]
    pub(in crate::plan) struct PlanReport {
        server: String,
        digest: String,
        steps: Vec<StepReport>,
        blocked: Vec<BlockedReport>,
        notes: Vec<String>,
    }

    impl From<BlockedChange> for BlockedReport {
        fn from(blocked: BlockedChange) -> Self {
            Self { code: blocked.why.code(), why: blocked.why.to_string(), what: blocked.what }
        }
    }

    impl From<Plan> for PlanReport {
        fn from(plan: Plan) -> Self {
            Self {
                server: plan.version.to_string(),
                digest: plan.digest.to_string(),
                steps: plan.steps.iter().map(|step| step.report(plan.version)).collect(),
                blocked: plan.blocked.into_iter().map(BlockedReport::from).collect(),
                notes: plan.notes,
            }
        }
    }
}
