//! The desired state of a cluster. Objects and properties that are not declared are not managed.

mod grant;
mod invalid;
mod validate;

pub use crate::inside::DeclaredObjects;
pub use crate::inside::extension::Extension;
pub use crate::inside::schema::Schema;
pub use crate::presence::Presence;
pub use crate::subject::Subject;
pub use grant::{DefaultGrant, Grant, GrantTarget, PrivilegeSet};
pub use invalid::{InvalidDeclaration, InvalidReason};

use crate::current::{Provider, SettingKey};
use crate::name::{Name, Text};
use crate::object::Setting;
use crate::scram::Verifier;
use crate::time::ValidUntil;
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The desired state of a cluster: roles, databases with their content, memberships, privileges and settings. What is
/// not declared is not managed.
///
/// ```
/// use pg_ensure::{DesiredState, Name, Password, Role, desired::Database};
/// let name = Name::new("vaultwarden")?;
/// let mut desired = DesiredState::new();
/// // The shortest form: a role that logs in, and a database of the same name that it owns.
/// desired.ensure(&name, Some(Password::secret("from a file")));
/// // Or each by itself.
/// desired.role(Name::new("reports")?, Role::new().login(true).connection_limit(5));
/// desired.database(Name::new("archive")?, Database::owned_by(&name).encoding("UTF8"));
/// assert!(desired.validate().is_empty());
/// # Ok::<(), pg_ensure::NameError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DesiredState {
    /// Roles by name.
    pub roles: BTreeMap<Name, Role>,
    /// Databases by name.
    pub databases: BTreeMap<Name, Database>,
    /// Memberships, by role and member, in this order.
    pub memberships: BTreeMap<(Name, Name), Membership>,
    /// Privileges, in the order of declaration. For the same object and grantee, a grant on the object itself takes
    /// precedence over one on all objects of a schema.
    pub grants: Vec<Grant>,
    /// Default privileges for objects created later.
    pub defaults: Vec<DefaultGrant>,
    /// Settings by scope. A value of `None` resets the setting.
    pub settings: BTreeMap<SettingKey, BTreeMap<Setting, Option<Text>>>,
    /// Roles that exist but are not managed, such as those of a hosted service. `postgres` and predefined roles
    /// (`pg_…`) need not be listed.
    pub external: BTreeSet<Name>,
}

/// Desired role. A field that is `None` is not managed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Role {
    /// `Absent` if the role is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Role to which the objects of an absent role are reassigned. Without it, a role that owns objects is not dropped.
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
    /// Maximum number of concurrent connections; -1 for no limit.
    pub connection_limit: Option<i32>,
    /// Time at which the password expires (VALID UNTIL).
    pub valid_until: Option<ValidUntil>,
    /// Password. Managed if set; [`Password::None`] removes a stored one.
    pub password: Option<Password>,
    /// Comment on the role. An empty text removes it.
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
    /// Creates a role that is to exist, with nothing else managed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a role that is to be dropped.
    #[must_use]
    pub fn absent() -> Self {
        Self { presence: Presence::Absent, ..Self::default() }
    }

    setter! {
        /// Sets the SUPERUSER attribute.
        superuser: bool,
        /// Sets the CREATEDB attribute.
        createdb: bool,
        /// Sets the CREATEROLE attribute.
        createrole: bool,
        /// Sets the INHERIT attribute.
        inherit: bool,
        /// Sets the LOGIN attribute.
        login: bool,
        /// Sets the REPLICATION attribute.
        replication: bool,
        /// Sets the BYPASSRLS attribute.
        bypassrls: bool,
        /// Sets the maximum number of concurrent connections; -1 for no limit.
        connection_limit: i32,
        /// Sets the time at which the password expires (VALID UNTIL).
        valid_until: ValidUntil,
        /// Sets the password.
        password: Password,
        /// Sets the comment. An empty text removes it.
        comment: Text,
        /// Sets the role to which the objects of this role are reassigned, if it is absent.
        reassign_to: Name,
    }
}

/// Desired password of a role.
#[derive(Clone)]
pub enum Password {
    /// No password, so that the role cannot authenticate with one.
    None,
    /// A password in clear text. Only its SCRAM verifier is sent to the server.
    Secret(SecretString),
    /// A SCRAM verifier, such as one copied from another server.
    Verifier(Verifier),
}

impl Password {
    /// Creates a password from clear text. A trailing newline is not removed.
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
    /// Locale: LC_COLLATE and LC_CTYPE with `libc`, otherwise the locale of the provider.
    pub locale: Option<Text>,
    /// Locale of collation (`LC_COLLATE`). Cannot be changed after creation.
    pub collate: Option<Text>,
    /// Locale of character classification (`LC_CTYPE`). Cannot be changed after creation.
    pub ctype: Option<Text>,
    /// Additional ICU collation rules (from PostgreSQL 16).
    pub icu_rules: Option<Text>,
    /// Template database for the creation. No effect on a database that exists.
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
    pub reassign_owned: bool,
    /// SQL script that is executed once in an empty database, in one transaction, after the extensions and schemas are
    /// created.
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

/// Desired membership of one role in another. An option that is `None` is not managed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// `Absent` if the membership is to be revoked. Default: `Present`.
    pub presence: Presence,
    /// ADMIN: `true` if the member may grant the role to others.
    pub admin: Option<bool>,
    /// INHERIT: `true` if the member has the role's privileges without SET ROLE (from PostgreSQL 16).
    pub inherit: Option<bool>,
    /// SET: `true` if the member may SET ROLE to the role (from PostgreSQL 16).
    pub set: Option<bool>,
}

impl DesiredState {
    /// Creates a desired state in which nothing is managed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a role with LOGIN, and a database of the same name that it owns. Replaces declarations of the same names.
    pub fn ensure(&mut self, name: &Name, password: Option<Password>) -> &mut Self {
        let role = Role { login: Some(true), password, ..Role::default() };
        self.role(name.clone(), role).database(name.clone(), Database::owned_by(name))
    }

    /// Adds a role. Replaces one of the same name.
    pub fn role(&mut self, name: Name, role: Role) -> &mut Self {
        self.roles.insert(name, role);
        self
    }

    /// Adds a database. Replaces one of the same name.
    pub fn database(&mut self, name: Name, database: Database) -> &mut Self {
        self.databases.insert(name, database);
        self
    }

    /// Adds a membership of `member` in `role`. Replaces one of the same roles.
    pub fn membership(&mut self, role: Name, member: Name, membership: Membership) -> &mut Self {
        self.memberships.insert((role, member), membership);
        self
    }

    /// Adds privileges of a grantee on an object.
    pub fn grant(&mut self, grant: Grant) -> &mut Self {
        self.grants.push(grant);
        self
    }

    /// Adds default privileges of a grantee.
    pub fn default_grant(&mut self, grant: DefaultGrant) -> &mut Self {
        self.defaults.push(grant);
        self
    }

    /// Sets a setting of a role, of a database, or of a role in a database; a role or database of `None` stands for
    /// all. The value `None` resets the setting.
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

    /// Adds a role that exists but is not managed.
    pub fn external(&mut self, role: Name) -> &mut Self {
        self.external.insert(role);
        self
    }

    /// Returns the databases whose contents have to be inspected: those with declared objects or an initial script, and
    /// those of grants and default grants.
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

    /// Returns the roles to exist whose password is managed, each with the desired password.
    pub fn passwords(&self) -> impl Iterator<Item = (&Name, &Password)> {
        self.roles
            .iter()
            .filter(|(_, role)| role.presence == Presence::Present)
            .filter_map(|(name, role)| role.password.as_ref().map(|password| (name, password)))
    }

    /// Returns the roles that are to be dropped.
    pub fn absent_roles(&self) -> impl Iterator<Item = &Name> {
        self.roles.iter().filter(|(_, role)| role.presence == Presence::Absent).map(|(name, _)| name)
    }
}
