//! Objects that have an ACL.

use crate::acl::ObjectKind;
use crate::name::{MAX_IDENTIFIER, Name, Text, identifier};
use std::fmt;
use std::sync::Arc;

/// An object with an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A database by name.
    Database(Name),
    /// A tablespace by name.
    Tablespace(Name),
    /// A configuration parameter (from PostgreSQL 15).
    Parameter(Setting),
    /// An object inside a database: database and object.
    Inside(Name, Local),
}

/// An object inside a database that has an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Local {
    /// A schema by name.
    Schema(Name),
    /// A table, view, materialized view, foreign table or partitioned table: schema and name.
    Table(Name, Name),
    /// A column: schema, table and column.
    Column(Name, Name, Name),
    /// A sequence: schema and name.
    Sequence(Name, Name),
    /// A function, procedure or aggregate: schema, name, and argument types as `regprocedure` writes them.
    Routine(Name, Name, Text),
    /// A type or domain: schema and name.
    Type(Name, Name),
    /// A procedural language by name.
    Language(Name),
    /// A foreign data wrapper by name.
    ForeignDataWrapper(Name),
    /// A foreign server by name.
    ForeignServer(Name),
    /// A large object, by its OID.
    LargeObject(u32),
}

impl Object {
    /// Returns the kind of object.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Database(_) => ObjectKind::Database,
            Self::Tablespace(_) => ObjectKind::Tablespace,
            Self::Parameter(_) => ObjectKind::Parameter,
            Self::Inside(_, local) => local.kind(),
        }
    }

    /// Returns the database that contains the object. `None` for shared objects.
    #[must_use]
    pub fn database(&self) -> Option<&Name> {
        match self {
            Self::Inside(database, _) => Some(database),
            Self::Database(_) | Self::Tablespace(_) | Self::Parameter(_) => None,
        }
    }

    /// Returns the object as in `GRANT … ON`, such as `DATABASE "x"`. For a column, its table.
    #[must_use]
    pub fn sql(&self) -> String {
        match self {
            Self::Database(name) => format!("DATABASE {}", name.quoted()),
            Self::Tablespace(name) => format!("TABLESPACE {}", name.quoted()),
            Self::Parameter(name) => format!("PARAMETER {}", name.sql()),
            Self::Inside(_, local) => local.sql(),
        }
    }
}

impl Local {
    /// Returns the kind of object.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Schema(_) => ObjectKind::Schema,
            Self::Table(..) => ObjectKind::Table,
            Self::Column(..) => ObjectKind::Column,
            Self::Sequence(..) => ObjectKind::Sequence,
            Self::Routine(..) => ObjectKind::Routine,
            Self::Type(..) => ObjectKind::Type,
            Self::Language(_) => ObjectKind::Language,
            Self::ForeignDataWrapper(_) => ObjectKind::ForeignDataWrapper,
            Self::ForeignServer(_) => ObjectKind::ForeignServer,
            Self::LargeObject(_) => ObjectKind::LargeObject,
        }
    }

    /// Returns the schema that contains the object. `None` if it is not in a schema.
    #[must_use]
    pub fn schema(&self) -> Option<&Name> {
        match self {
            Self::Table(schema, _)
            | Self::Column(schema, ..)
            | Self::Sequence(schema, _)
            | Self::Routine(schema, ..)
            | Self::Type(schema, _) => Some(schema),
            Self::Schema(_)
            | Self::Language(_)
            | Self::ForeignDataWrapper(_)
            | Self::ForeignServer(_)
            | Self::LargeObject(_) => None,
        }
    }

    /// Returns the object whose owner is that of this object: the table of a column, otherwise the object itself.
    #[must_use]
    pub fn owned(&self) -> Self {
        match self {
            Self::Column(schema, table, _) => Self::Table(schema.clone(), table.clone()),
            other => other.clone(),
        }
    }

    /// Returns the object as in `GRANT … ON`. For a column, its table.
    fn sql(&self) -> String {
        let two = |schema: &Name, name: &Name| format!("{}.{}", schema.quoted(), name.quoted());
        match self {
            Self::Schema(name) => format!("SCHEMA {}", name.quoted()),
            Self::Table(schema, name) | Self::Column(schema, name, _) => {
                format!("TABLE {}", two(schema, name))
            }
            Self::Sequence(schema, name) => format!("SEQUENCE {}", two(schema, name)),
            Self::Routine(schema, name, arguments) => format!("ROUTINE {}({arguments})", two(schema, name)),
            Self::Type(schema, name) => format!("TYPE {}", two(schema, name)),
            Self::Language(name) => format!("LANGUAGE {}", name.quoted()),
            Self::ForeignDataWrapper(name) => format!("FOREIGN DATA WRAPPER {}", name.quoted()),
            Self::ForeignServer(name) => format!("FOREIGN SERVER {}", name.quoted()),
            Self::LargeObject(oid) => format!("LARGE OBJECT {oid}"),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(name) => write!(f, "database {name}"),
            Self::Tablespace(name) => write!(f, "tablespace {name}"),
            Self::Parameter(name) => write!(f, "parameter {name}"),
            Self::Inside(database, local) => write!(f, "{local} in database {database}"),
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Schema(name)
            | Self::Language(name)
            | Self::ForeignDataWrapper(name)
            | Self::ForeignServer(name) => write!(f, "{kind} {name}"),
            Self::Table(schema, name) | Self::Sequence(schema, name) | Self::Type(schema, name) => {
                write!(f, "{kind} {schema}.{name}")
            }
            Self::Column(schema, table, column) => write!(f, "{kind} {schema}.{table}.{column}"),
            Self::Routine(schema, name, arguments) => write!(f, "{kind} {schema}.{name}({arguments})"),
            Self::LargeObject(oid) => write!(f, "{kind} {oid}"),
        }
    }
}

/// Name of a configuration parameter, in lowercase, such as `work_mem` or `app.tenant`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Setting(Arc<str>);

impl Setting {
    /// Creates a parameter name. ASCII letters are converted to lowercase.
    ///
    /// # Errors
    /// Returns [`InvalidSettingName`] unless the name is an identifier or several joined by dots, each of at most
    /// [`MAX_IDENTIFIER`] bytes: letters, `_`, characters beyond ASCII and, except at the beginning, digits and `$`.
    pub fn new(name: &str) -> Result<Self, InvalidSettingName> {
        // As valid_custom_variable_name() in guc.c: bytes above ASCII are letters.
        let part = |part: &str| {
            let mut bytes = part.bytes();
            let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || !b.is_ascii();
            bytes.next().is_some_and(letter) && bytes.all(|b| letter(b) || b.is_ascii_digit() || b == b'$')
        };
        if !name.split('.').all(part) {
            return Err(InvalidSettingName::Characters(name.to_owned()));
        }
        if let Some(long) = name.split('.').find(|part| part.len() > MAX_IDENTIFIER) {
            return Err(InvalidSettingName::TooLong { part: long.to_owned(), length: long.len() });
        }
        Ok(Self::stored(name))
    }

    /// Creates a parameter name that a server has stored, in lower case and without a check, since older servers stored
    /// names of any form.
    pub(crate) fn stored(name: &str) -> Self {
        Self(name.to_ascii_lowercase().into())
    }

    /// Returns the name as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name in SQL, with each part in double quotes.
    #[must_use]
    pub fn sql(&self) -> String {
        self.0.split('.').map(identifier).collect::<Vec<_>>().join(".")
    }

    /// Returns `true` if the value is a list whose elements are quoted separately (`GUC_LIST_QUOTE`, the set of
    /// `variable_is_guc_list_quote()`).
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(
            &*self.0,
            "local_preload_libraries"
                | "search_path"
                | "session_preload_libraries"
                | "shared_preload_libraries"
                | "temp_tablespaces"
                | "unix_socket_directories"
        )
    }

    /// Returns a value as in `SET … TO`: a list of string constants for a list, else one string constant.
    pub(crate) fn value_sql(&self, value: &Text) -> String {
        if !self.is_list() {
            return value.quoted();
        }
        let parts = list(value.as_str());
        if parts.is_empty() {
            return "''".to_owned();
        }
        parts.iter().map(|part| crate::name::literal(part)).collect::<Vec<_>>().join(", ")
    }

    /// Returns `true` if two values are equal, or are lists with equal elements.
    pub(crate) fn same(&self, one: &Text, other: &Text) -> bool {
        one == other || self.is_list() && list(one.as_str()) == list(other.as_str())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Error of a text that is not a valid parameter name.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSettingName {
    /// The name, or a part between dots, is empty, or has a character that is not permitted there. Contains the name.
    #[error("{0:?} is not a valid parameter name: expected one such as \"work_mem\" or \"app.tenant\"")]
    Characters(String),
    /// A part of the name is longer than [`MAX_IDENTIFIER`] bytes.
    #[error(
        "{part:?} in a parameter name is {length} bytes long; PostgreSQL keeps at most 63, so shorten it"
    )]
    TooLong {
        /// The rejected part.
        part: String,
        /// Length of the part in bytes.
        length: usize,
    },
}

/// Splits a list of identifiers, separated by commas or white space, as `SplitIdentifierString()` does: unquoted ones
/// are folded to lower case, empty ones are left out.
fn list(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        let Some(first) = chars.next() else { return parts };
        let mut part = String::new();
        if first == '"' {
            while let Some(c) = chars.next() {
                if c == '"' && chars.next_if_eq(&'"').is_none() {
                    break;
                }
                part.push(c);
            }
        } else {
            part.push(first.to_ascii_lowercase());
            while let Some(c) = chars.next_if(|c| *c != ',' && !c.is_whitespace()) {
                part.push(c.to_ascii_lowercase());
            }
        }
        if !part.is_empty() {
            parts.push(part);
        }
    }
}
