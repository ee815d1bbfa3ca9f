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

use crate::name::Name;
use crate::version::Version;
use std::collections::BTreeSet;
use std::fmt;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub change: Change,
    /// Why.
    pub reason: String,
}

/// What would have to be done, and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What, in words.
    pub what: String,
    /// Why not.
    pub why: Obstacle,
}

/// Why something is not done.
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
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNamed(what) => write!(f, "it destroys; name it to allow it: {what}"),
            Self::NotPermitted(why) => write!(f, "not permitted: {why}"),
            Self::Missing(what) => write!(f, "missing: {what}"),
            Self::Immutable(what) => write!(f, "cannot be changed: {what}"),
            Self::InUse(what) => write!(f, "in use: {what}"),
            Self::Unsupported(what) => write!(f, "not in this version of PostgreSQL: {what}"),
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
    /// A role.
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

/// A text names nothing that could be destroyed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} names nothing to destroy; write role=NAME, database=NAME, schema=DATABASE/NAME or extension=DATABASE/NAME"
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

/// What a run may do beyond adding and changing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// What it may destroy.
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

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The version that the SQL is for.
    pub version: Version,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What would be needed beyond them, and is not done.
    pub blocked: Vec<Blocked>,
    /// What is to be known though nothing is done about it.
    pub notes: Vec<String>,
    /// Of the state that it was made for, as far as it matters, and of its steps.
    pub digest: Digest,
}

impl Plan {
    /// Whether everything is as it should be.
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

    /// How much the riskiest step can break.
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
