//! A plan: what is to be done, in order, each with its reason; and what cannot be done.

mod change;
mod digest;
mod parts;
mod risk;
mod sql;

pub use change::{Change, Place};
pub use digest::{Digest, NotADigest};
pub use parts::{Attributes, Commented, NewDatabase, Options};
pub use risk::Risk;
pub(crate) use sql::INITIALIZED;

use crate::name::Name;
use crate::version::Version;
use std::collections::BTreeSet;
use std::fmt;

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The change that the step makes.
    pub change: Change,
    /// The underlying cause.
    pub reason: String,
}

/// A change that is needed and cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The change in words.
    pub what: String,
    /// The underlying cause.
    pub why: Obstacle,
}

/// The reason for a blocked change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// It destroys something, and was not named in this run.
    NotNamed(Destroyed),
    /// The session may not.
    NotPermitted(String),
    /// Something that it needs is not there.
    Missing(String),
    /// PostgreSQL cannot change it.
    Immutable(String),
    /// Something else stands in its way.
    InUse(String),
    /// The server's version has no such thing.
    Unsupported(String),
    /// The server refuses the value.
    Refused(String),
    /// It came to light while the plan was applied, and may take something away: it needs a plan of its own.
    Unplanned,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNamed(what) => write!(f, "destructive: allow it with --destroy {what}"),
            Self::NotPermitted(why) => write!(f, "not permitted: {why}"),
            Self::Missing(what) => write!(f, "missing: {what}"),
            Self::Immutable(what) => write!(f, "cannot be changed: {what}"),
            Self::InUse(what) => write!(f, "in use: {what}"),
            Self::Unsupported(what) => write!(f, "not in this version of PostgreSQL: {what}"),
            Self::Refused(why) => write!(f, "the server refuses this value: {why}"),
            Self::Unplanned => write!(f, "not in the plan that was applied: make a new plan"),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Something that a run may destroy, because its owner said so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Destroyed {
    /// A database with everything in it.
    Database(Name),
    /// A role by name.
    Role(Name),
    /// A schema of a database, with everything in it.
    Schema(Name, Name),
    /// An extension of a database, with its objects.
    Extension(Name, Name),
}

impl fmt::Display for Destroyed {
    /// As `role=NAME`, `database=NAME`, `schema=DATABASE/NAME` or `extension=DATABASE/NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(name) => write!(f, "database={name}"),
            Self::Role(name) => write!(f, "role={name}"),
            Self::Schema(database, name) => write!(f, "schema={database}/{name}"),
            Self::Extension(database, name) => write!(f, "extension={database}/{name}"),
        }
    }
}

/// A text that does not name a destructible object.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} does not name an object to destroy: expected role=NAME, database=NAME, schema=DATABASE/NAME or extension=DATABASE/NAME"
)]
pub struct NotDestroyed(pub String);

impl std::str::FromStr for Destroyed {
    type Err = NotDestroyed;

    fn from_str(text: &str) -> Result<Self, NotDestroyed> {
        let wrong = || NotDestroyed(text.to_owned());
        let name = |name: &str| Name::new(name).map_err(|_| wrong());
        let (kind, rest) = text.split_once('=').ok_or_else(wrong)?;
        match kind {
            "database" => Ok(Self::Database(name(rest)?)),
            "role" => Ok(Self::Role(name(rest)?)),
            "schema" | "extension" => {
                let (database, inner) = rest.split_once('/').ok_or_else(wrong)?;
                let (database, inner) = (name(database)?, name(inner)?);
                Ok(if kind == "schema" {
                    Self::Schema(database, inner)
                } else {
                    Self::Extension(database, inner)
                })
            }
            _ => Err(wrong()),
        }
    }
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
