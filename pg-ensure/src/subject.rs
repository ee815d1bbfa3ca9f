//! Declarations that errors refer to, and objects that a run may destroy.

use crate::name::Name;
use crate::object::Setting;
use std::fmt;

/// A declaration of a desired state, to which an error belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A role by name.
    Role(Name),
    /// A database by name.
    Database(Name),
    /// An extension: database and name.
    Extension(Name, Name),
    /// A publication: database and name.
    Publication(Name, Name),
    /// An event trigger: database and name.
    EventTrigger(Name, Name),
    /// A schema: database and name.
    Schema(Name, Name),
    /// A membership: role and member.
    Membership(Name, Name),
    /// A grant, by its zero-based index in [`DesiredState::grants`](crate::DesiredState::grants).
    Grant(usize),
    /// A grant of default privileges, by its zero-based index in
    /// [`DesiredState::defaults`](crate::DesiredState::defaults).
    Default(usize),
    /// A setting: role, database and parameter. A role or database of `None` stands for all.
    Setting(Option<Name>, Option<Name>, Setting),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "role {name:?}"),
            Self::Database(name) => write!(f, "database {name:?}"),
            Self::Extension(database, name) => write!(f, "extension {name:?} of database {database:?}"),
            Self::Publication(database, name) => write!(f, "publication {name:?} of database {database:?}"),
            Self::EventTrigger(database, name) => {
                write!(f, "event trigger {name:?} of database {database:?}")
            }
            Self::Schema(database, name) => write!(f, "schema {name:?} of database {database:?}"),
            Self::Membership(role, member) => write!(f, "membership of {member:?} in {role:?}"),
            Self::Grant(index) => write!(f, "grant number {}", index + 1),
            Self::Default(index) => write!(f, "default privileges number {}", index + 1),
            Self::Setting(_, _, setting) => write!(f, "setting {setting}"),
        }
    }
}

/// An object that can be dropped only if the operator has named it in a [`Consent`](crate::Consent).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DestructibleObject {
    /// A database by name, with everything in it.
    Database(Name),
    /// A role by name.
    Role(Name),
    /// A schema: database and name, with everything in it.
    Schema(Name, Name),
    /// An extension: database and name, with its objects.
    Extension(Name, Name),
    /// A publication: database and name.
    Publication(Name, Name),
    /// An event trigger: database and name.
    EventTrigger(Name, Name),
}

impl fmt::Display for DestructibleObject {
    /// Writes `role=NAME`, `database=NAME`, `schema=DATABASE/NAME`, `extension=DATABASE/NAME`,
    /// `publication=DATABASE/NAME` or `event_trigger=DATABASE/NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(name) => write!(f, "database={name}"),
            Self::Role(name) => write!(f, "role={name}"),
            Self::Schema(database, name) => write!(f, "schema={database}/{name}"),
            Self::Extension(database, name) => write!(f, "extension={database}/{name}"),
            Self::Publication(database, name) => write!(f, "publication={database}/{name}"),
            Self::EventTrigger(database, name) => write!(f, "event_trigger={database}/{name}"),
        }
    }
}

/// Error of a text that does not name an object to destroy, such as `role=NAME` or `schema=DATABASE/NAME`. Contains the
/// text.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} does not name an object to destroy: expected role=NAME, database=NAME, schema=DATABASE/NAME, extension=DATABASE/NAME, publication=DATABASE/NAME or event_trigger=DATABASE/NAME"
)]
pub struct InvalidDestructibleObject(pub String);

impl std::str::FromStr for DestructibleObject {
    type Err = InvalidDestructibleObject;

    fn from_str(text: &str) -> Result<Self, InvalidDestructibleObject> {
        let wrong = || InvalidDestructibleObject(text.to_owned());
        let name = |name: &str| Name::new(name).map_err(|_| wrong());
        let (kind, rest) = text.split_once('=').ok_or_else(wrong)?;
        match kind {
            "database" => Ok(Self::Database(name(rest)?)),
            "role" => Ok(Self::Role(name(rest)?)),
            "schema" | "extension" | "publication" | "event_trigger" => {
                let (database, inner) = rest.split_once('/').ok_or_else(wrong)?;
                let (database, inner) = (name(database)?, name(inner)?);
                Ok(match kind {
                    "schema" => Self::Schema(database, inner),
                    "extension" => Self::Extension(database, inner),
                    "publication" => Self::Publication(database, inner),
                    _ => Self::EventTrigger(database, inner),
                })
            }
            _ => Err(wrong()),
        }
    }
}
