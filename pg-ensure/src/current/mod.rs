//! The current state of a cluster.

pub use crate::cluster::database::{DatabaseState, Provider};
pub use crate::cluster::default_privilege::{DefaultKey, DefaultKind};
pub use crate::cluster::membership::{MembershipKey, MembershipOptions};
pub use crate::cluster::role::RoleState;
pub use crate::cluster::role::password::StoredPassword;
pub use crate::cluster::setting::SettingKey;
pub use crate::inside::Contents;
pub use crate::inside::extension::{AvailableExtension, InstalledExtension};
pub use crate::inside::schema::SchemaState;
pub use crate::owned::Owned;

use crate::acl::{Acl, ObjectKind};
use crate::name::{Name, Text};
use crate::object::{Local, Object, Setting};
use crate::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// State of a cluster in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentState {
    /// Version of the server.
    pub version: Version,
    /// Session that took the snapshot.
    pub session: Session,
    /// Value of `scram_iterations`: the number of iterations of new verifiers. The default, 4096, before PostgreSQL 16.
    pub iterations: NonZeroU32,
    /// All roles by name.
    pub roles: BTreeMap<Name, RoleState>,
    /// All memberships of roles.
    pub memberships: BTreeMap<MembershipKey, MembershipOptions>,
    /// Databases by name, templates included.
    pub databases: BTreeMap<Name, DatabaseState>,
    /// Owners and ACLs of tablespaces, by name.
    pub tablespaces: BTreeMap<Name, Owned>,
    /// ACLs of configuration parameters that have one (from PostgreSQL 15).
    pub parameters: BTreeMap<Setting, Acl>,
    /// Owners of subscriptions, by database and name.
    pub subscriptions: BTreeMap<(Name, Name), Name>,
    /// Settings made by `ALTER ROLE … SET` and `ALTER DATABASE … SET`, by scope.
    pub settings: BTreeMap<SettingKey, BTreeMap<Setting, Text>>,
    /// Extensions available for installation, by name. Empty if the snapshot does not include them, since the desired
    /// state declares no extension.
    pub available: BTreeMap<Name, AvailableExtension>,
    /// Parameters that require a superuser or a privilege that this session lacks. Empty for a superuser.
    pub privileged_settings: BTreeSet<Setting>,
    /// Objects that roles to be dropped own or hold privileges on, by role, as of the snapshot. See
    /// [`dependencies_of`](Self::dependencies_of).
    pub dependencies: BTreeMap<Name, BTreeSet<Dependency>>,
    /// Desired values of settings that the server rejects, each with the reason. Empty if they were not tried, as on a
    /// standby.
    pub refused: BTreeMap<(Setting, Text), String>,
}

/// Objects that a role owns or holds privileges on, so that it cannot be dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// This database itself.
    Database(Name),
    /// Objects inside this database.
    Inside(Name),
    /// Other shared objects, such as tablespaces.
    Shared,
}

/// Session that inspects and changes the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Name of the session's role.
    pub user: Name,
    /// Name of the bootstrap superuser, which is the grantor of memberships that CREATE ROLE creates.
    pub bootstrap: Name,
    /// Name of the database of the connection.
    pub database: Name,
    /// `true` if the server is in recovery, so that nothing can be changed.
    pub in_recovery: bool,
    /// `true` if the session can read stored passwords (`pg_authid`).
    pub reads_passwords: bool,
    /// `true` for each of `set` and `inherit`, in this order, that `createrole_self_grant` contains.
    pub self_grant: (bool, bool),
}

impl CurrentState {
    /// Creates the state of a cluster without any objects. `iterations` is the number of iterations of new verifiers.
    #[must_use]
    pub fn new(version: Version, session: Session, iterations: NonZeroU32) -> Self {
        Self {
            version,
            session,
            iterations,
            roles: BTreeMap::new(),
            memberships: BTreeMap::new(),
            databases: BTreeMap::new(),
            tablespaces: BTreeMap::new(),
            parameters: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            settings: BTreeMap::new(),
            available: BTreeMap::new(),
            privileged_settings: BTreeSet::new(),
            dependencies: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Returns the value of a setting with exactly this scope. A role or database of `None` stands for all of them. The
    /// result is `None` if the setting is not set there.
    #[must_use]
    pub fn setting(&self, role: Option<&Name>, database: Option<&Name>, setting: &Setting) -> Option<&Text> {
        let key = SettingKey { role: role.cloned(), database: database.cloned() };
        self.settings.get(&key).and_then(|settings| settings.get(setting))
    }

    /// Returns the objects that a role still owns or holds privileges on: those of the snapshot, as far as the state as
    /// planned so far still has them.
    #[must_use]
    pub fn dependencies_of(&self, role: &Name) -> BTreeSet<Dependency> {
        let depends = |owned: &Owned| owned.owner == *role || owned.acl.roles().any(|other| other == role);
        let found = self.dependencies.get(role).into_iter().flatten();
        found
            .filter(|dependency| match dependency {
                Dependency::Database(name) => {
                    self.databases.get(name).is_some_and(|found| depends(&found.owned))
                }
                Dependency::Inside(name) => self.databases.contains_key(name),
                Dependency::Shared => true,
            })
            .cloned()
            .collect()
    }

    /// Returns the owner and the ACL of an object. `None` if it does not exist or was not inspected.
    pub(crate) fn access(&self, object: &Object) -> Option<(Name, Acl)> {
        let both = |owned: &Owned| (owned.owner.clone(), owned.acl.clone());
        match object {
            Object::Database(name) => self.databases.get(name).map(|found| both(&found.owned)),
            Object::Tablespace(name) => self.tablespaces.get(name).map(both),
            Object::Parameter(name) => {
                let owner = self.session.bootstrap.clone();
                let acl = self.parameters.get(name).cloned();
                let acl = acl.unwrap_or_else(|| Acl::default_of(ObjectKind::Parameter, &owner, self.version));
                Some((owner, acl))
            }
            Object::Inside(database, local) => {
                let inside = self.databases.get(database)?.contents.as_ref()?;
                match local {
                    Local::Schema(name) => inside.schemas.get(name).map(|schema| both(&schema.owned)),
                    local => inside.objects.get(local).map(both),
                }
            }
        }
    }

    /// Returns `true` if the session's role is a superuser.
    #[must_use]
    pub fn superuser(&self) -> bool {
        self.roles.get(&self.session.user).is_some_and(|role| role.superuser)
    }

    /// Returns `true` if a role has the privileges of another without SET ROLE, like the server's
    /// `has_privs_of_role()`. A superuser has all.
    #[must_use]
    pub fn has_privileges_of(&self, who: &Name, role: &Name) -> bool {
        let inherits = |key: &MembershipKey, options: &MembershipOptions| {
            if self.version.membership_options() {
                options.inherit
            } else {
                self.roles.get(&key.member).is_some_and(|member| member.inherit)
            }
        };
        self.is_superuser(who) || self.reaches(who, role, inherits)
    }

    /// Returns `true` if a role may SET ROLE to another, like the server's `member_can_set_role()`. A superuser may to
    /// every role.
    #[must_use]
    pub fn can_set(&self, who: &Name, role: &Name) -> bool {
        let may = |_: &MembershipKey, options: &MembershipOptions| {
            !self.version.membership_options() || options.set
        };
        self.is_superuser(who) || self.reaches(who, role, may)
    }

    /// Returns `true` if a role may grant membership in another, like the server's `is_admin_of_role()`. A superuser
    /// may in every role.
    #[must_use]
    pub fn is_admin_of(&self, who: &Name, role: &Name) -> bool {
        self.is_superuser(who)
            || self
                .members(role)
                .any(|(key, options)| options.admin && self.reaches(who, &key.member, |_, _| true))
    }

    /// Returns `true` if a role is a direct or indirect member of another, or the same role.
    #[must_use]
    pub fn is_member(&self, who: &Name, role: &Name) -> bool {
        self.reaches(who, role, |_, _| true)
    }

    /// Returns `true` if the role exists and is a superuser.
    fn is_superuser(&self, who: &Name) -> bool {
        self.roles.get(who).is_some_and(|role| role.superuser)
    }

    /// Returns the direct memberships in a role, with their options.
    pub fn members(&self, role: &Name) -> impl Iterator<Item = (&MembershipKey, &MembershipOptions)> {
        let first = MembershipKey { role: role.clone(), member: lowest(), grantor: lowest() };
        let role = role.clone();
        self.memberships.range(first..).take_while(move |(key, _)| key.role == role)
    }

    /// Returns `true` if memberships for which `follows` returns `true` lead from `who` to `role`, or both are equal.
    fn reaches(
        &self,
        who: &Name,
        role: &Name,
        follows: impl Fn(&MembershipKey, &MembershipOptions) -> bool,
    ) -> bool {
        let mut seen = BTreeSet::from([role.clone()]);
        let mut open = vec![role.clone()];
        while let Some(next) = open.pop() {
            if next == *who {
                return true;
            }
            for (key, options) in self.members(&next) {
                if follows(key, options) && seen.insert(key.member.clone()) {
                    open.push(key.member.clone());
                }
            }
        }
        false
    }
}

/// Returns a name that sorts before every valid name.
fn lowest() -> Name {
    Name::new("\u{1}").expect("a name")
}
