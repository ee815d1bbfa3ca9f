//! Faults of a desired state.

use crate::acl::Privilege;
use crate::name::Name;
use crate::subject::Subject;
use crate::version::Version;
use thiserror::Error;

/// Something wrong in a desired state.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{subject}: {why}")]
pub struct Invalid {
    /// The declaration concerned.
    pub subject: Subject,
    /// The privileges concerned.
    pub why: Why,
}

/// A reason for which a declaration is invalid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// A role is referred to that is not declared.
    #[error("the {what} {role:?} is not declared: add a [[role]] for it, or list it under external")]
    UnknownRole {
        /// The role's function there.
        what: &'static str,
        /// The role's name.
        role: Name,
    },
    /// A role is needed that is to go.
    #[error("the {what} {role:?} is declared absent")]
    RoleLeaves {
        /// The role's function there.
        what: &'static str,
        /// The role's name.
        role: Name,
    },
    /// A database is referred to that is to go.
    #[error("the database {0:?} is declared absent")]
    DatabaseLeaves(Name),
    /// A name that PostgreSQL keeps for itself.
    #[error("{0:?} is reserved by PostgreSQL: use another name")]
    Reserved(Name),
    /// Roles are members of each other.
    #[error("the roles are members of each other in a circle: {}", circle(.0))]
    Circle(Vec<Name>),
    /// Databases are templates of each other.
    #[error("the databases are templates of each other in a circle: {}", circle(.0))]
    TemplateCircle(Vec<Name>),
    /// A connection limit below -1.
    #[error("the connection limit {0} is below -1: use -1 for no limit")]
    ConnectionLimit(i32),
    /// A password that cannot be one.
    #[error("{0}")]
    Password(crate::scram::PasswordError),
    /// A privilege that objects of the kind do not have.
    #[error("{} is not a privilege of a {kind}: expected one of {}", .privilege.sql(), kind.all(Version::major_version(18)).sql())]
    Privilege {
        /// The rejected privilege.
        privilege: Privilege,
        /// The kind of object.
        kind: crate::acl::ObjectKind,
    },
    /// Everybody cannot grant on.
    #[error("grant options cannot be given to public")]
    PublicOption,
    /// Two grants are about the same.
    #[error("grant number {} is about the same object and grantee", .0 + 1)]
    Twice(usize),
    /// A kind of object that no schema holds as a whole.
    #[error("\"all of a schema\" exists only for tables, sequences, routines and types")]
    AllOf,
    /// Default privileges on schemas or large objects cannot be for one schema.
    #[error("default privileges on these cannot be for one schema")]
    DefaultSchema,
    /// An option that contradicts another.
    #[error("{0}")]
    Contradiction(&'static str),
}

fn circle(names: &[Name]) -> String {
    names.iter().chain(names.first()).map(Name::as_str).collect::<Vec<_>>().join(" → ")
}
