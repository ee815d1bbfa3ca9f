//! The current state of a cluster.

mod defaults;

pub use crate::inside::Contents;
pub use crate::inside::extension::{AvailableExtension, InstalledExtension};
pub use crate::inside::schema::SchemaState;
pub use crate::owned::Owned;
pub use defaults::{DefaultKey, DefaultKind};

use crate::acl::{Acl, ObjectKind};
use crate::name::{Name, Text};
use crate::object::Setting;
use crate::scram::Verifier;
use crate::time::ValidUntil;
use crate::version::Version;
use secrecy::SecretString;
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
    /// Settings made by `ALTER ROLE … SET` and `ALTER DATABASE … SET`, by scope.
    pub settings: BTreeMap<SettingKey, BTreeMap<Setting, Text>>,
    /// Extensions available for installation, by name. Empty if the snapshot did not include them.
    pub available: BTreeMap<Name, AvailableExtension>,
    /// Parameters that this session is not permitted to set.
    pub privileged_settings: BTreeSet<Setting>,
    /// Objects that roles to be dropped own or hold privileges on, by role, as of the snapshot. See
    /// [`dependencies_of`](Self::dependencies_of).
    pub dependencies: BTreeMap<Name, BTreeSet<Dependency>>,
    /// Desired values of settings that the server rejects, each with the reason.
    pub refused: BTreeMap<(Setting, Text), String>,
}

/// Kind of object that depends on a role, by ownership or privileges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// This database itself.
    Database(Name),
    /// An object inside this database.
    Inside(Name),
    /// Other shared objects, such as tablespaces.
    Shared,
}

/// Scope of settings: a role or all roles, in a database or all databases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingKey {
    /// Name of the role. `None` for all roles.
    pub role: Option<Name>,
    /// Name of the database. `None` for all databases.
    pub database: Option<Name>,
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

/// Attributes of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "as PostgreSQL has them")]
pub struct RoleState {
    /// The SUPERUSER attribute.
    pub superuser: bool,
    /// The CREATEDB attribute.
    pub createdb: bool,
    /// The CREATEROLE attribute.
    pub createrole: bool,
    /// The INHERIT attribute.
    pub inherit: bool,
    /// The LOGIN attribute.
    pub login: bool,
    /// The REPLICATION attribute.
    pub replication: bool,
    /// The BYPASSRLS attribute.
    pub bypassrls: bool,
    /// Maximum number of concurrent connections; -1 for no limit.
    pub connection_limit: i32,
    /// Time at which the password expires (VALID UNTIL).
    pub valid_until: ValidUntil,
    /// Stored password, as far as known.
    pub password: StoredPassword,
    /// Comment on the role. `None` if there is none.
    pub comment: Option<Text>,
}

impl Default for RoleState {
    /// Returns a role with the defaults of `CREATE ROLE`.
    fn default() -> Self {
        Self {
            superuser: false,
            createdb: false,
            createrole: false,
            inherit: true,
            login: false,
            replication: false,
            bypassrls: false,
            connection_limit: -1,
            valid_until: ValidUntil::Forever,
            password: StoredPassword::None,
            comment: None,
        }
    }
}

/// Stored password of a role, as far as known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPassword {
    /// No password is stored.
    None,
    /// An MD5 hash, which is always replaced by a SCRAM verifier.
    Md5,
    /// A SCRAM verifier.
    Scram(Verifier),
    /// The stored password was compared and is the desired one; its number of iterations, `None` if not visible.
    Right(Option<NonZeroU32>),
    /// The stored password was compared and is not the desired one, or cannot be parsed.
    Wrong,
    /// The stored password was not compared or is not accessible.
    Unknown,
}

impl StoredPassword {
    /// Parses the column `rolpassword` of `pg_authid`. `None` stands for NULL. A value that is neither a SCRAM verifier
    /// nor an MD5 hash is [`StoredPassword::Wrong`].
    #[must_use]
    pub fn parse(stored: Option<&SecretString>) -> Self {
        use secrecy::ExposeSecret;
        let Some(stored) = stored else { return Self::None };
        let text = stored.expose_secret();
        match Verifier::parse(text) {
            Ok(verifier) => Self::Scram(verifier),
            Err(_) if text.starts_with("md5") => Self::Md5,
            Err(_) => Self::Wrong,
        }
    }
}

/// Identifies a membership.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MembershipKey {
    /// Role that the membership is in.
    pub role: Name,
    /// Name of the member.
    pub member: Name,
    /// Grantor of the membership. Before PostgreSQL 16 it is recorded as the bootstrap superuser and has no effect.
    pub grantor: Name,
}

/// Options of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MembershipOptions {
    /// ADMIN: the member may grant the role to others.
    pub admin: bool,
    /// INHERIT: the member has the role's privileges without SET ROLE. Before PostgreSQL 16 this field is `true`, and
    /// the member's attribute INHERIT applies.
    pub inherit: bool,
    /// SET: the member may SET ROLE to the role. Always `true` before PostgreSQL 16.
    pub set: bool,
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
    /// Message of the server that refused the session's connection. `None` if it did not.
    pub closed: Option<String>,
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
            closed: None,
        }
    }

    /// Returns `true` for a database that an interrupted `DROP DATABASE` has left, which can only be dropped.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.connection_limit == -2
    }
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

    /// Returns `true` if a role may SET ROLE to another, like the server's `member_can_set_role()`.
    #[must_use]
    pub fn can_set(&self, who: &Name, role: &Name) -> bool {
        let may = |_: &MembershipKey, options: &MembershipOptions| {
            !self.version.membership_options() || options.set
        };
        self.is_superuser(who) || self.reaches(who, role, may)
    }

    /// Returns `true` if a role may grant membership in another, like the server's `is_admin_of_role()`.
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
