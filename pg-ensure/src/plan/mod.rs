//! Plans: the steps to execute in order, each with its reason, and the changes that are blocked.

mod change;
mod digest;
mod obstacle;
mod report;
mod risk;
mod scope;

pub use crate::cluster::database::change::{DatabaseChange, NewDatabase};
pub use crate::cluster::default_privilege::change::DefaultPrivilegeChange;
pub use crate::cluster::grant::change::GrantChange;
pub use crate::cluster::membership::change::{MembershipChange, Options};
pub use crate::cluster::owned::OwnedChange;
pub use crate::cluster::role::change::{Attributes, RoleChange};
pub use crate::cluster::setting::change::SettingChange;
pub use crate::inside::InsideChange;
pub use crate::inside::extension::ExtensionChange;
pub use crate::inside::schema::SchemaChange;
pub use crate::subject::{DestructibleObject, InvalidDestructibleObject};
pub use change::Change;
pub use digest::{Digest, InvalidDigest};
pub use obstacle::{BlockedChange, Obstacle};
pub use report::StepReport;
pub use risk::Risk;
pub use scope::ExecutionScope;

use crate::version::Version;
use std::collections::BTreeSet;

/// One change of a plan, with its reason. Shown, consented to and executed as a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The change to make.
    pub change: Change,
    /// Human-readable reason for the change.
    pub reason: String,
}

/// The objects that the operator has named for destruction. Every other destructive change is blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Objects that may be dropped.
    pub destroy: BTreeSet<DestructibleObject>,
}

impl Consent {
    /// Creates a consent to no destructive change.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds consent to destroy an object.
    #[must_use]
    pub fn destroying(mut self, what: DestructibleObject) -> Self {
        self.destroy.insert(what);
        self
    }
}

/// An ordered list of changes for a state of the cluster.
///
/// Serialized as a map with the strings `server` (the version of the server) and `digest`, and the lists `steps` (of
/// [`StepReport`]), `blocked` (of [`BlockedChange`]) and `notes` (of strings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(into = "report::serialized::PlanReport"))]
pub struct Plan {
    /// Version of the server, for which [`Change::sql`] returns the SQL.
    pub version: Version,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Changes that are needed but cannot be made, each with the reason.
    pub blocked: Vec<BlockedChange>,
    /// Remarks about the current state that no step addresses.
    pub notes: Vec<String>,
    /// Digest of the steps and of the part of the state that they depend on.
    pub digest: Digest,
}

impl Plan {
    /// Returns `true` if there are neither steps nor blocked changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.blocked.is_empty()
    }

    /// Returns the steps grouped by transaction, in order: consecutive steps with the same scope form one transaction,
    /// and steps that need to run outside a transaction form one group each.
    pub fn transactions(&self) -> impl Iterator<Item = (ExecutionScope, &[Step])> {
        let mut rest = &self.steps[..];
        std::iter::from_fn(move || {
            let scope = scope_of(rest)?;
            let mut length = 1;
            while scope != ExecutionScope::Alone && scope_of(&rest[length..]).as_ref() == Some(&scope) {
                length += 1;
            }
            let (group, others) = rest.split_at(length);
            rest = others;
            Some((scope, group))
        })
    }

    /// Returns the highest risk of the steps. `None` without steps.
    #[must_use]
    pub fn risk(&self) -> Option<Risk> {
        self.steps.iter().map(|step| step.change.risk()).max()
    }

    /// Returns the statements as one script for display. The script must not be executed, since passwords are replaced
    /// by a placeholder.
    #[must_use]
    pub fn script(&self) -> String {
        let mut out = String::new();
        for (place, steps) in self.transactions() {
            match &place {
                ExecutionScope::In(database) => out.push_str(&format!("-- in database {database}\n")),
                ExecutionScope::Alone => {}
                ExecutionScope::Cluster => out.push_str("-- in the cluster\n"),
            }
            for step in steps {
                out.push_str(&format!(
                    "{};  -- {}\n",
                    step.change.sql(self.version),
                    step.reason.replace('\n', " ")
                ));
            }
        }
        out
    }
}

/// Returns where the first of these steps is executed. `None` without steps. ALTER DATABASE … OWNER TO is executed in
/// the database itself if REASSIGN OWNED in that database follows, so that both are one transaction.
fn scope_of(steps: &[Step]) -> Option<ExecutionScope> {
    let first = &steps.first()?.change;
    if let (
        Change::Database(DatabaseChange::Owner { name, .. }),
        Some(Change::Owned(OwnedChange::Reassign { database, .. })),
    ) = (first, steps.get(1).map(|step| &step.change))
        && name == database
    {
        return Some(ExecutionScope::In(database.clone()));
    }
    Some(first.scope())
}
