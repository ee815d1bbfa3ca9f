//! Errors of a desired state.

use crate::acl::Privilege;
use crate::name::Name;
use crate::subject::Subject;
use crate::version::Version;
use thiserror::Error;

/// Error in a desired state.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{subject}: {why}")]
pub struct InvalidDeclaration {
    /// Declaration that contains the error.
    pub subject: Subject,
    /// Reason why the declaration is not valid.
    pub why: InvalidReason,
}

/// Reason why a declaration is not valid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidReason {
    /// A role is referenced that is not declared.
    #[error("the {what} {role:?} is not declared: add a [[role]] for it, or list it under external")]
    UnknownRole {
        /// Purpose of the reference, such as `owner`.
        what: &'static str,
        /// Name of the role.
        role: Name,
    },
    /// A role is referenced that is declared absent.
    #[error("the {what} {role:?} is declared absent")]
    AbsentRole {
        /// Purpose of the reference, such as `owner`.
        what: &'static str,
        /// Name of the role.
        role: Name,
    },
    /// A database is referenced that is declared absent; its name.
    #[error("the database {0:?} is declared absent")]
    AbsentDatabase(Name),
    /// The name of a role or schema is reserved by PostgreSQL, such as `public` or one that begins with `pg_`; or
    /// `postgres`, `template0` or `template1` is a database that is declared absent.
    #[error("{0:?} is reserved by PostgreSQL: use another name")]
    Reserved(Name),
    /// Roles are members of each other in a cycle; their names, each a member of the next, the last of the first.
    #[error("the roles are members of each other in a circle: {}", circle(.0))]
    MembershipCycle(Vec<Name>),
    /// Databases are templates of each other in a cycle; their names, each with the next as template, the last with the
    /// first.
    #[error("the databases are templates of each other in a circle: {}", circle(.0))]
    TemplateCycle(Vec<Name>),
    /// The connection limit is less than -1.
    #[error("the connection limit {0} is below -1: use -1 for no limit")]
    ConnectionLimit(i32),
    /// The password cannot be used.
    #[error("{0}")]
    Password(crate::scram::PasswordError),
    /// The kind of object does not support a privilege in any version of PostgreSQL.
    #[error("{} is not a privilege of a {kind}: expected one of {}", .privilege.sql(), kind.all(Version::major_version(18)).sql())]
    Privilege {
        /// The rejected privilege.
        privilege: Privilege,
        /// Kind of the object.
        kind: crate::acl::ObjectKind,
    },
    /// PUBLIC cannot be granted privileges WITH GRANT OPTION.
    #[error("grant options cannot be given to public")]
    PublicOption,
    /// An earlier grant, or grant of default privileges, is for the same objects and grantee; its zero-based index.
    #[error("grant number {} is about the same object and grantee", .0 + 1)]
    Duplicate(usize),
    /// A grant on all objects of a schema is for another kind of object than tables, sequences, routines and types.
    #[error("\"all of a schema\" exists only for tables, sequences, routines and types")]
    AllInSchema,
    /// Default privileges on schemas or large objects cannot be restricted to a schema.
    #[error("default privileges on these cannot be for one schema")]
    DefaultSchema,
    /// An option contradicts another one or another declaration, lacks one that it requires, or has a value that is not
    /// valid; a description.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// Formats a cycle of names, with the first repeated at the end.
fn circle(names: &[Name]) -> String {
    names.iter().chain(names.first()).map(Name::as_str).collect::<Vec<_>>().join(" → ")
}
