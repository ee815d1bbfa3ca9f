//! A plan: what is to be done, in order, each with its reason; and what cannot be done.

mod change;
mod digest;
mod obstacle;
mod parts;
mod risk;
mod sql;

pub use crate::inside::InsideChange;
pub use crate::inside::extension::ExtensionChange;
pub use crate::inside::schema::SchemaChange;
pub use crate::subject::{Destroyed, NotDestroyed};
pub use change::{Change, Place};
pub use digest::{Digest, NotADigest};
pub use obstacle::{Blocked, Obstacle};
pub use parts::{Attributes, Commented, NewDatabase, Options};
pub use risk::Risk;
pub(crate) use sql::INITIALIZED;

use crate::version::Version;
use std::collections::BTreeSet;

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The change that the step makes.
    pub change: Change,
    /// The underlying cause.
    pub reason: String,
}

/// The destructive changes that a run may make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// The objects that the run may destroy.
    pub destroy: BTreeSet<Destroyed>,
}

impl Consent {
    /// Nothing may be destroyed.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Also this may be destroyed.
    #[must_use]
    pub fn destroying(mut self, what: Destroyed) -> Self {
        self.destroy.insert(what);
        self
    }
}

/// An ordered list of changes for a state of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The version that the SQL is for.
    pub version: Version,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Changes that are needed and cannot be made.
    pub blocked: Vec<Blocked>,
    /// Remarks about the state that no step addresses.
    pub notes: Vec<String>,
    /// Of the state that it was made for, as far as it matters, and of its steps.
    pub digest: Digest,
}

impl Plan {
    /// Returns true if there is nothing to change and nothing blocked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.blocked.is_empty()
    }

    /// The steps that share a transaction, in order: as few as PostgreSQL allows.
    pub fn transactions(&self) -> impl Iterator<Item = (Place, &[Step])> {
        let joined = |one: &Step, other: &Step| {
            let place = one.change.place();
            place != Place::Alone && place == other.change.place()
        };
        self.steps.chunk_by(joined).map(|steps| (steps[0].change.place(), steps))
    }

    /// Returns the risk of the riskiest step.
    #[must_use]
    pub fn risk(&self) -> Option<Risk> {
        self.steps.iter().map(|step| step.change.risk()).max()
    }

    /// Its statements as one script, to be read: passwords are left out, so it is not to be run.
    #[must_use]
    pub fn script(&self) -> String {
        let mut out = String::new();
        for (place, steps) in self.transactions() {
            match &place {
                Place::In(database) => out.push_str(&format!("-- in database {database}\n")),
                Place::Alone => {}
                Place::Cluster => out.push_str("-- in the cluster\n"),
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
