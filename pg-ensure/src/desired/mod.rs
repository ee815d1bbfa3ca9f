//! The desired state of a cluster. Whatever is omitted is not managed.

mod grant;
mod invalid;
mod validate;

pub use crate::inside::Declared;
pub use crate::inside::extension::Extension;
pub use crate::inside::schema::Schema;
pub use crate::presence::Presence;
pub use crate::subject::Subject;
pub use grant::{DefaultGrant, Grant, On, PrivilegeSet};
pub use invalid::{Invalid, Why};

use crate::current::{Provider, SettingKey};
use crate::name::{Name, Text};
use crate::object::Setting;
use crate::scram::Verifier;
use crate::time::ValidUntil;
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The desired state.
///
/// ```
/// use pg_ensure::{Desired, Name, Password, Role, desired::Database};
/// let name = Name::new("vaultwarden")?;
/// let mut desired = Desired::new();
/// // The shortest form: a role that logs in, and a database of the same name that it owns.
/// desired.ensure(&name, Some(Password::secret("from a file")));
/// // Or each by itself.
/// desired.role(Name::new("reports")?, Role::new().login(true).connection_limit(5));
/// desired.database(Name::new("archive")?, Database::owned_by(&name).encoding("UTF8"));
/// assert!(desired.validate().is_empty());
/// # Ok::<(), pg_ensure::NameError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Roles by name.
    pub roles: BTreeMap<Name, Role>,
    /// Databases by name.
    pub databases: BTreeMap<Name, Database>,
    /// Memberships: role, member.
    pub memberships: BTreeMap<(Name, Name), Membership>,
    /// Privileges, in the order in which they were said. Where two are about the same object and grantee, what
    /// names the object goes before what means all of a schema.
    pub grants: Vec<Grant>,
    /// Privileges on future objects.
    pub defaults: Vec<DefaultGrant>,
    /// Settings of roles and databases; `None` takes a setting away.
    pub settings: BTreeMap<SettingKey, BTreeMap<Setting, Option<Text>>>,
    /// Roles that exist without being managed here, such as those of a managed server. `postgres` and the predefined
    /// `pg_…` are known without being named.
    pub external: BTreeSet<Name>,
}

/// A role. Every field may be left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Role {
    /// The wanted presence.
    pub presence: Presence,
    /// The new owner of the objects of an absent role. Without one, a role that owns anything stays.
    pub reassign_to: Option<Name>,
    /// The SUPERUSER attribute.
    pub superuser: Option<bool>,
    /// The CREATEDB attribute.
    pub createdb: Option<bool>,
    /// The CREATEROLE attribute.
    pub createrole: Option<bool>,
    /// The INHERIT attribute.
    pub inherit: Option<bool>,
    /// The LOGIN attribute.
    pub login: Option<bool>,
    /// The REPLICATION attribute.
    pub replication: Option<bool>,
    /// The BYPASSRLS attribute.
    pub bypassrls: Option<bool>,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: Option<i32>,
    /// The VALID UNTIL time.
    pub valid_until: Option<ValidUntil>,
    /// The role's password.
    pub password: Option<Password>,
    /// The comment; empty for none.
    pub comment: Option<Text>,
}

macro_rules! setter {
    ($($(#[$doc:meta])* $field:ident: $type:ty),* $(,)?) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = Some($field);
            self
        })*
    };
}

impl Role {
    /// A role of which nothing is said but that it exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A role that is to go.
    #[must_use]
    pub fn absent() -> Self {
        Self { presence: Presence::Absent, ..Self::default() }
    }

    setter! {
        /// The SUPERUSER attribute.
        superuser: bool,
        /// The CREATEDB attribute.
        createdb: bool,
        /// The CREATEROLE attribute.
        createrole: bool,
        /// The INHERIT attribute.
        inherit: bool,
        /// The LOGIN attribute.
        login: bool,
        /// The REPLICATION attribute.
        replication: bool,
        /// The BYPASSRLS attribute.
        bypassrls: bool,
        /// CONNECTION LIMIT; -1 is none.
        connection_limit: i32,
        /// The VALID UNTIL time.
        valid_until: ValidUntil,
        /// The role's password.
        password: Password,
        /// The comment; empty for none.
        comment: Text,
        /// The new owner of its objects, if the role is absent.
        reassign_to: Name,
    }
}

/// A wanted password.
#[derive(Clone)]
pub enum Password {
    /// None: the role cannot log in by one.
    None,
    /// This one. The server is sent its verifier alone.
    Secret(SecretString),
    /// The one of this verifier, as it stands in another server.
    Verifier(Verifier),
}

impl Password {
    /// A password. One final newline is not taken off: whoever reads a file does that.
    #[must_use]
    pub fn secret(password: &str) -> Self {
        Self::Secret(password.to_owned().into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Secret(_) => "Secret([redacted])",
            Self::Verifier(_) => "Verifier([redacted])",
        })
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Secret(one), Self::Secret(other)) => one.expose_secret() == other.expose_secret(),
            (Self::Verifier(one), Self::Verifier(other)) => one == other,
            _ => false,
        }
    }
}

/// A database. Every field may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// The wanted presence.
    pub presence: Presence,
    /// The owner's name.
    pub owner: Option<Name>,
    /// The encoding. It cannot be changed later, nor can the locale.
    pub encoding: Option<Text>,
    /// The locale provider (PostgreSQL 15).
    pub provider: Option<Provider>,
    /// The locale: LC_COLLATE and LC_CTYPE with libc, the provider's own otherwise.
    pub locale: Option<Text>,
    /// The LC_COLLATE locale.
    pub collate: Option<Text>,
    /// The LC_CTYPE locale.
    pub ctype: Option<Text>,
    /// Rules for ICU (PostgreSQL 16).
    pub icu_rules: Option<Text>,
    /// The template database. Ignored once the database exists.
    pub template: Option<Name>,
    /// The tablespace's name.
    pub tablespace: Option<Name>,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: Option<i32>,
    /// The ALLOW_CONNECTIONS option.
    pub allow_connections: Option<bool>,
    /// The IS_TEMPLATE option.
    pub is_template: Option<bool>,
    /// The comment; empty for none.
    pub comment: Option<Text>,
    /// The objects that are named in it.
    pub inside: Declared,
    /// True to hand the objects of a former owner over to the new one.
    pub reassign_owned: bool,
    /// A script that is run once, while nothing is in the database: with its extensions and schemas in place, in one
    /// transaction.
    pub initial_sql: Option<Text>,
}

impl Database {
    /// A database of which nothing is said but that it exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A database with an owner.
    #[must_use]
    pub fn owned_by(owner: &Name) -> Self {
        Self { owner: Some(owner.clone()), ..Self::default() }
    }

    /// A database that is to go, with everything in it.
    #[must_use]
    pub fn absent() -> Self {
        Self { presence: Presence::Absent, ..Self::default() }
    }

    /// The encoding.
    ///
    /// # Panics
    /// When it holds NUL.
    #[must_use]
    pub fn encoding(mut self, encoding: &str) -> Self {
        self.encoding = Some(Text::new(encoding).expect("no encoding's name holds NUL"));
        self
    }

    setter! {
        /// The owner's name.
        owner: Name,
        /// The locale provider.
        provider: Provider,
        /// The locale's name.
        locale: Text,
        /// The LC_COLLATE locale.
        collate: Text,
        /// The LC_CTYPE locale.
        ctype: Text,
        /// Rules for ICU.
        icu_rules: Text,
        /// The template database.
        template: Name,
        /// The tablespace's name.
        tablespace: Name,
        /// CONNECTION LIMIT; -1 is none.
        connection_limit: i32,
        /// The ALLOW_CONNECTIONS option.
        allow_connections: bool,
        /// The comment; empty for none.
        comment: Text,
    }

    /// The IS_TEMPLATE option.
    #[must_use]
    pub fn marked_template(mut self, is_template: bool) -> Self {
        self.is_template = Some(is_template);
        self
    }

    /// A schema in it.
    #[must_use]
    pub fn schema(mut self, name: Name, schema: Schema) -> Self {
        self.inside.schemas.insert(name, schema);
        self
    }

    /// An extension in it.
    #[must_use]
    pub fn extension(mut self, name: Name, extension: Extension) -> Self {
        self.inside.extensions.insert(name, extension);
        self
    }
}

/// A membership of one role in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The wanted presence.
    pub presence: Presence,
    /// The ADMIN option.
    pub admin: Option<bool>,
    /// WITH INHERIT (PostgreSQL 16).
    pub inherit: Option<bool>,
    /// WITH SET (PostgreSQL 16).
    pub set: Option<bool>,
}

impl Desired {
    /// Nothing is managed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A role that logs in, and a database of the same name that it owns.
    pub fn ensure(&mut self, name: &Name, password: Option<Password>) -> &mut Self {
        let role = Role { login: Some(true), password, ..Role::default() };
        self.role(name.clone(), role).database(name.clone(), Database::owned_by(name))
    }

    /// A role by name.
    pub fn role(&mut self, name: Name, role: Role) -> &mut Self {
        self.roles.insert(name, role);
        self
    }

    /// A database object.
    pub fn database(&mut self, name: Name, database: Database) -> &mut Self {
        self.databases.insert(name, database);
        self
    }

    /// Adds a membership.
    pub fn membership(&mut self, role: Name, member: Name, membership: Membership) -> &mut Self {
        self.memberships.insert((role, member), membership);
        self
    }

    /// Privileges on an object.
    pub fn grant(&mut self, grant: Grant) -> &mut Self {
        self.grants.push(grant);
        self
    }

    /// Privileges on what will be created.
    pub fn default_grant(&mut self, grant: DefaultGrant) -> &mut Self {
        self.defaults.push(grant);
        self
    }

    /// A setting of a role, a database, or a role in a database; `None` takes it away.
    pub fn setting(
        &mut self,
        role: Option<Name>,
        database: Option<Name>,
        setting: Setting,
        value: Option<Text>,
    ) -> &mut Self {
        self.settings.entry(SettingKey { role, database }).or_default().insert(setting, value);
        self
    }

    /// A role that exists without being managed.
    pub fn external(&mut self, role: Name) -> &mut Self {
        self.external.insert(role);
        self
    }

    /// The databases whose inside has to be looked at.
    #[must_use]
    pub fn looks_into(&self) -> BTreeSet<Name> {
        let named = self.databases.iter().filter(|(_, database)| {
            database.presence == Presence::Present
                && !(database.inside.is_empty() && database.initial_sql.is_none())
        });
        let mut all: BTreeSet<Name> = named.map(|(name, _)| name.clone()).collect();
        all.extend(self.grants.iter().filter_map(|grant| grant.on.database().cloned()));
        all.extend(self.defaults.iter().map(|grant| grant.database.clone()));
        all
    }

    /// The roles whose stored password has to be known.
    pub fn passwords(&self) -> impl Iterator<Item = (&Name, &Password)> {
        self.roles
            .iter()
            .filter(|(_, role)| role.presence == Presence::Present)
            .filter_map(|(name, role)| role.password.as_ref().map(|password| (name, password)))
    }

    /// The roles that are to go.
    pub fn leaving(&self) -> impl Iterator<Item = &Name> {
        self.roles.iter().filter(|(_, role)| role.presence == Presence::Absent).map(|(name, _)| name)
    }
}
