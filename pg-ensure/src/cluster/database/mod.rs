//! Databases: desired and current form. Their contents are described in [`crate::inside`].

pub(crate) mod change;
mod language;
mod locale;
pub(crate) mod owner;
pub(crate) mod plan;

use crate::acl::ObjectKind;
use crate::comment;
use crate::inside::extension::Extension;
use crate::inside::schema::Schema;
use crate::inside::{Contents, DeclaredObjects};
use crate::name::{Name, Text};
use crate::owned::Owned;
use crate::presence::Presence;
use crate::version::Version;

/// Desired database. A field that is `None` is not managed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// `Absent` if the database is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Name of the owner.
    pub owner: Option<Name>,
    /// Character encoding. Like the locale, it cannot be changed after creation.
    pub encoding: Option<Text>,
    /// Locale provider (from PostgreSQL 15).
    pub provider: Option<Provider>,
    /// Locale: LC_COLLATE and LC_CTYPE with `libc`, unless `collate` or `ctype` is given; otherwise the locale of the
    /// provider. Cannot be changed after creation.
    pub locale: Option<Text>,
    /// Locale of collation (`LC_COLLATE`). Cannot be changed after creation.
    pub collate: Option<Text>,
    /// Locale of character classification (`LC_CTYPE`). Cannot be changed after creation.
    pub ctype: Option<Text>,
    /// Additional ICU collation rules (from PostgreSQL 16).
    pub icu_rules: Option<Text>,
    /// Template database for the creation. No effect on a database that exists. `None` stands for `template0` if the
    /// encoding or the locale is declared, otherwise for `template1`.
    pub template: Option<Name>,
    /// Name of the default tablespace.
    pub tablespace: Option<Name>,
    /// Maximum number of concurrent connections; -1 for no limit.
    pub connection_limit: Option<i32>,
    /// `true` to permit connections (ALLOW_CONNECTIONS).
    pub allow_connections: Option<bool>,
    /// `true` to let roles with CREATEDB clone the database (IS_TEMPLATE).
    pub is_template: Option<bool>,
    /// Comment on the database. An empty text removes it.
    pub comment: Option<Text>,
    /// Declared objects inside the database.
    pub inside: DeclaredObjects,
    /// `true` to reassign the former owner's objects in the database to the new owner when the owner changes.
    /// If they cannot be reassigned, the owner is not changed either.
    pub reassign_owned: bool,
    /// SQL script that is executed once, in one transaction, after the extensions and schemas are created, if the
    /// database is new or empty. Its execution is recorded in the setting `pg_ensure.initial_sql` of the database.
    pub initial_sql: Option<Text>,
}

impl Database {
    /// Creates a database that is to exist, with nothing else managed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a database that is to exist with this owner.
    #[must_use]
    pub fn owned_by(owner: &Name) -> Self {
        Self { owner: Some(owner.clone()), ..Self::default() }
    }

    /// Creates a database that is to be dropped with its contents.
    #[must_use]
    pub fn absent() -> Self {
        Self { presence: Presence::Absent, ..Self::default() }
    }

    /// Sets the character encoding, such as `UTF8`.
    ///
    /// # Panics
    /// Panics if `encoding` contains a NUL byte.
    #[must_use]
    pub fn encoding(mut self, encoding: &str) -> Self {
        self.encoding = Some(Text::new(encoding).expect("no encoding's name holds NUL"));
        self
    }

    setter! {
        /// Sets the owner.
        owner: Name,
        /// Sets the locale provider.
        provider: Provider,
        /// Sets the locale.
        locale: Text,
        /// Sets the locale of collation (`LC_COLLATE`).
        collate: Text,
        /// Sets the locale of character classification (`LC_CTYPE`).
        ctype: Text,
        /// Sets the additional ICU collation rules.
        icu_rules: Text,
        /// Sets the template database.
        template: Name,
        /// Sets the default tablespace.
        tablespace: Name,
        /// Sets the maximum number of concurrent connections; -1 for no limit.
        connection_limit: i32,
        /// Sets the option ALLOW_CONNECTIONS.
        allow_connections: bool,
        /// Sets the comment. An empty text removes it.
        comment: Text,
    }

    /// Sets the option IS_TEMPLATE.
    #[must_use]
    pub fn marked_template(mut self, is_template: bool) -> Self {
        self.is_template = Some(is_template);
        self
    }

    /// Adds a schema to the database. Replaces one of the same name.
    #[must_use]
    pub fn schema(mut self, name: Name, schema: Schema) -> Self {
        self.inside.schemas.insert(name, schema);
        self
    }

    /// Adds an extension to the database. Replaces one of the same name.
    #[must_use]
    pub fn extension(mut self, name: Name, extension: Extension) -> Self {
        self.inside.extensions.insert(name, extension);
        self
    }
}

/// Locale provider of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// `libc`: the C library.
    #[default]
    Libc,
    /// `icu`: the ICU library.
    Icu,
    /// `builtin`: PostgreSQL's own provider (from version 17).
    Builtin,
}

impl Provider {
    /// Returns the name of the provider in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Libc => "libc",
            Self::Icu => "icu",
            Self::Builtin => "builtin",
        }
    }
}

/// State of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseState {
    /// Owner and ACL of the database.
    pub owned: Owned,
    /// The encoding, as `pg_encoding_to_char()` names it.
    pub encoding: Text,
    /// The locale provider.
    pub provider: Provider,
    /// Value of LC_COLLATE.
    pub collate: Text,
    /// Value of LC_CTYPE.
    pub ctype: Text,
    /// Locale of the ICU or builtin provider. `None` for libc.
    pub locale: Option<Text>,
    /// Additional ICU collation rules.
    pub icu_rules: Option<Text>,
    /// Name of the default tablespace.
    pub tablespace: Name,
    /// Maximum number of concurrent connections; -1 for no limit.
    pub connection_limit: i32,
    /// `true` if connections are permitted (ALLOW_CONNECTIONS).
    pub allow_connections: bool,
    /// `true` if roles with CREATEDB can clone the database (IS_TEMPLATE).
    pub is_template: bool,
    /// Comment on the database. `None` if there is none.
    pub comment: Option<Text>,
    /// Recorded and actual version of the collation, in this order. `None` if they agree or have no version.
    pub collation_mismatch: Option<(Text, Text)>,
    /// Contents. `None` if they were not inspected.
    pub contents: Option<Contents>,
    /// Message of the server if it refused the session a connection to the database that was needed for its contents.
    /// `None` otherwise.
    pub refusal: Option<String>,
}

impl DatabaseState {
    /// Returns a database in UTF-8 with the C locale of libc, with this owner and defaults otherwise.
    #[must_use]
    pub fn plain(owner: &Name, version: Version) -> Self {
        let text = |text: &str| Text::new(text).expect("a text");
        Self {
            owned: Owned::new(ObjectKind::Database, owner, version),
            encoding: text("UTF8"),
            provider: Provider::Libc,
            collate: text("C"),
            ctype: text("C"),
            locale: None,
            icu_rules: None,
            tablespace: Name::new("pg_default").expect("a name"),
            connection_limit: -1,
            allow_connections: true,
            is_template: false,
            comment: None,
            collation_mismatch: None,
            contents: None,
            refusal: None,
        }
    }

    /// Returns `true` for a database that an interrupted `DROP DATABASE` has left, which can only be dropped.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.connection_limit == -2
    }

    /// Returns the desired database that equals the current one, without its contents.
    pub(crate) fn imported(&self, version: Version) -> Database {
        let own = self.provider != Provider::Libc;
        Database {
            owner: Some(self.owned.owner.clone()),
            encoding: Some(self.encoding.clone()),
            provider: version.database_providers().then_some(self.provider),
            locale: self.locale.clone().filter(|_| own),
            collate: Some(self.collate.clone()),
            ctype: Some(self.ctype.clone()),
            icu_rules: self.icu_rules.clone(),
            tablespace: Some(self.tablespace.clone()),
            connection_limit: Some(self.connection_limit),
            allow_connections: Some(self.allow_connections),
            is_template: Some(self.is_template),
            comment: Some(comment::imported(self.comment.as_ref())),
            ..Database::default()
        }
    }
}
