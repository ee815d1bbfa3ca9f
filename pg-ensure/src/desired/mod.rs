//! The desired state of a cluster. Objects and properties that are not declared are not managed.

mod invalid;
mod validate;

pub use crate::cluster::database::Database;
pub use crate::cluster::default_privilege::DefaultGrant;
pub use crate::cluster::grant::{Grant, GrantTarget, PrivilegeSet};
pub use crate::cluster::membership::Membership;
pub use crate::cluster::role::Role;
pub use crate::cluster::role::password::Password;
pub use crate::inside::DeclaredObjects;
pub use crate::inside::extension::Extension;
pub use crate::inside::schema::Schema;
pub use crate::presence::Presence;
pub use crate::subject::Subject;
pub use invalid::{InvalidDeclaration, InvalidReason};

use crate::current::SettingKey;
use crate::name::{Name, Text};
use crate::object::Setting;
use std::collections::{BTreeMap, BTreeSet};

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

impl DesiredState {
    /// Creates a desired state in which nothing is managed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a role with LOGIN, and a database of the same name that it owns. Replaces declarations of the same names. A
    /// `password` of `None` is not managed.
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

    /// Returns the databases whose contents have to be inspected: those declared present with objects or an initial
    /// script, and those of default grants and of grants on objects inside a database.
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

    /// Returns the roles declared present whose password is managed, each with the desired password.
    pub fn passwords(&self) -> impl Iterator<Item = (&Name, &Password)> {
        self.roles
            .iter()
            .filter(|(_, role)| role.presence == Presence::Present)
            .filter_map(|(name, role)| role.password.as_ref().map(|password| (name, password)))
    }

    /// Returns the roles declared absent.
    pub fn absent_roles(&self) -> impl Iterator<Item = &Name> {
        self.roles.iter().filter(|(_, role)| role.presence == Presence::Absent).map(|(name, _)| name)
    }
}
