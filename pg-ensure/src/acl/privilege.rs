//! Privileges, and the ones that each kind of object supports.

use crate::version::Version;
use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};
use std::str::FromStr;
use thiserror::Error;

/// A privilege on an object, such as SELECT on a table or USAGE on a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named as PostgreSQL names it")]
pub enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    References,
    Trigger,
    Maintain,
    Usage,
    Execute,
    Create,
    Connect,
    Temporary,
    Set,
    AlterSystem,
}

/// Error of a word that is not the name of a privilege, such as `select`. Contains the word.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a PostgreSQL privilege: expected one such as \"select\" or \"usage\"")]
pub struct UnknownPrivilege(pub String);

impl Privilege {
    /// All privileges, in the order in which [`Privileges::sql`] and [`Acl::items`](super::Acl::items) list them.
    pub const ALL: [Self; 15] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::References,
        Self::Trigger,
        Self::Maintain,
        Self::Usage,
        Self::Execute,
        Self::Create,
        Self::Connect,
        Self::Temporary,
        Self::Set,
        Self::AlterSystem,
    ];

    /// Returns the letter that stands for the privilege in an ACL item, such as `r` for SELECT (`acl.h`).
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Select => 'r',
            Self::Insert => 'a',
            Self::Update => 'w',
            Self::Delete => 'd',
            Self::Truncate => 'D',
            Self::References => 'x',
            Self::Trigger => 't',
            Self::Maintain => 'm',
            Self::Usage => 'U',
            Self::Execute => 'X',
            Self::Create => 'C',
            Self::Connect => 'c',
            Self::Temporary => 'T',
            Self::Set => 's',
            Self::AlterSystem => 'A',
        }
    }

    /// Returns the privilege of a letter in an ACL item. `None` for an unknown letter.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|privilege| privilege.letter() == letter)
    }

    /// Returns the SQL keyword, such as `SELECT` or `ALTER SYSTEM`.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Maintain => "MAINTAIN",
            Self::Usage => "USAGE",
            Self::Execute => "EXECUTE",
            Self::Create => "CREATE",
            Self::Connect => "CONNECT",
            Self::Temporary => "TEMPORARY",
            Self::Set => "SET",
            Self::AlterSystem => "ALTER SYSTEM",
        }
    }

    /// Returns the bit of this privilege in [`Privileges`].
    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl FromStr for Privilege {
    type Err = UnknownPrivilege;

    /// Parses the name of a privilege, ignoring case. `temp` means `temporary`; `_` or `-` may replace a space.
    fn from_str(word: &str) -> Result<Self, UnknownPrivilege> {
        let plain = word.to_ascii_uppercase().replace(['_', '-'], " ");
        let plain = if plain == "TEMP" { "TEMPORARY" } else { &plain };
        let found = Self::ALL.into_iter().find(|privilege| privilege.sql() == plain);
        found.ok_or_else(|| UnknownPrivilege(word.to_owned()))
    }
}

/// A set of privileges.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Privileges(u16);

impl Privileges {
    /// The empty set of privileges.
    pub const NONE: Self = Self(0);

    /// Returns `true` if the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns `true` if the set contains a privilege.
    #[must_use]
    pub fn contains(self, privilege: Privilege) -> bool {
        self.0 & privilege.bit() != 0
    }

    /// Returns `true` if the set contains all privileges of another set.
    #[must_use]
    pub fn includes(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Returns the privileges, in the order of [`Privilege::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Privilege> {
        Privilege::ALL.into_iter().filter(move |privilege| self.contains(*privilege))
    }

    /// Returns the SQL keywords, separated by commas. Empty for an empty set.
    #[must_use]
    pub fn sql(self) -> String {
        self.iter().map(Privilege::sql).collect::<Vec<_>>().join(", ")
    }
}

impl From<Privilege> for Privileges {
    fn from(privilege: Privilege) -> Self {
        Self(privilege.bit())
    }
}

impl FromIterator<Privilege> for Privileges {
    fn from_iter<I: IntoIterator<Item = Privilege>>(list: I) -> Self {
        list.into_iter().fold(Self::NONE, |all, one| all | one.into())
    }
}

impl<const N: usize> From<[Privilege; N]> for Privileges {
    fn from(list: [Privilege; N]) -> Self {
        list.into_iter().collect()
    }
}

impl BitOr for Privileges {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Privileges {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Privileges {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Privileges {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Kind of object that has an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named as PostgreSQL names it")]
pub enum ObjectKind {
    Database,
    Tablespace,
    /// Configuration parameters (from PostgreSQL 15).
    Parameter,
    Schema,
    /// Tables, views, materialized views, foreign and partitioned tables.
    Table,
    Column,
    Sequence,
    /// Functions, procedures and aggregates.
    Routine,
    /// Types and domains.
    Type,
    Language,
    ForeignDataWrapper,
    ForeignServer,
    LargeObject,
}

impl ObjectKind {
    /// Returns the privileges that `GRANT ALL` grants on this kind of object in a version of PostgreSQL.
    #[must_use]
    pub fn all(self, version: Version) -> Privileges {
        use Privilege as P;
        match self {
            Self::Database => [P::Create, P::Temporary, P::Connect].into(),
            Self::Tablespace => P::Create.into(),
            Self::Parameter => [P::Set, P::AlterSystem].into(),
            Self::Schema => [P::Usage, P::Create].into(),
            Self::Table => {
                let all = Privileges::from([
                    P::Select,
                    P::Insert,
                    P::Update,
                    P::Delete,
                    P::Truncate,
                    P::References,
                    P::Trigger,
                ]);
                if version.maintain() { all | P::Maintain.into() } else { all }
            }
            Self::Column => [P::Select, P::Insert, P::Update, P::References].into(),
            Self::Sequence => [P::Select, P::Update, P::Usage].into(),
            Self::Routine => P::Execute.into(),
            Self::Type | Self::Language | Self::ForeignDataWrapper | Self::ForeignServer => P::Usage.into(),
            Self::LargeObject => [P::Select, P::Update].into(),
        }
    }

    /// Returns the privileges that PUBLIC has by default on objects of this kind: TEMPORARY and CONNECT on databases,
    /// EXECUTE on routines, USAGE on types and languages, none on others.
    #[must_use]
    pub fn public_default(self) -> Privileges {
        match self {
            Self::Database => [Privilege::Temporary, Privilege::Connect].into(),
            Self::Routine => Privilege::Execute.into(),
            Self::Type | Self::Language => Privilege::Usage.into(),
            Self::Tablespace
            | Self::Parameter
            | Self::Schema
            | Self::Table
            | Self::Column
            | Self::Sequence
            | Self::ForeignDataWrapper
            | Self::ForeignServer
            | Self::LargeObject => Privileges::NONE,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Tablespace => "tablespace",
            Self::Parameter => "parameter",
            Self::Schema => "schema",
            Self::Table => "table",
            Self::Column => "column",
            Self::Sequence => "sequence",
            Self::Routine => "routine",
            Self::Type => "type",
            Self::Language => "language",
            Self::ForeignDataWrapper => "foreign data wrapper",
            Self::ForeignServer => "foreign server",
            Self::LargeObject => "large object",
        })
    }
}
