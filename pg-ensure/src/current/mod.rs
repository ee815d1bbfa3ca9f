//! The current state of a cluster.

mod defaults;

pub use crate::inside::Contents;
pub use crate::inside::extension::{Available, InstalledExtension};
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

/// A cluster as one snapshot shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The server's version.
    pub version: Version,
    /// The session that took the snapshot.
    pub session: Session,
    /// `scram_iterations`, or what stands for it before PostgreSQL 16.
    pub iterations: NonZeroU32,
    /// All roles by name.
    pub roles: BTreeMap<Name, RoleState>,
    /// All memberships of roles.
    pub memberships: BTreeMap<MembershipKey, MembershipOptions>,
    /// All databases by name.
    pub databases: BTreeMap<Name, DatabaseState>,
    /// All tablespaces by name.
    pub tablespaces: BTreeMap<Name, Owned>,
    /// The parameters that somebody has privileges on.
    pub parameters: BTreeMap<Setting, Acl>,
    /// Settings by role (or all) and database (or all).
    pub settings: BTreeMap<SettingKey, BTreeMap<Setting, Text>>,
    /// Extensions that the server could install.
    pub available: BTreeMap<Name, Available>,
    /// Settings that this session may not set for others.
    pub privileged_settings: BTreeSet<Setting>,
    /// For roles that are declared absent: everything that they own or hold privileges on.
    pub dependencies: BTreeMap<Name, BTreeSet<Dependency>>,
    /// Wanted values of settings that the server refuses, each with its reason.
    pub refused: BTreeMap<(Setting, Text), String>,
}

/// Objects that a role owns or holds privileges on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// A database itself.
    Database(Name),
    /// Objects inside a database.
    Inside(Name),
    /// Other objects that all databases share, such as tablespaces.
    Shared,
}

/// The scope of settings: a role or all roles, in a database or all databases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingKey {
    /// A role; `None` for all.
    pub role: Option<Name>,
    /// A database; `None` for all.
    pub database: Option<Name>,
}

/// The session that inspects and changes the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The role's name.
    pub user: Name,
    /// The role that initdb made, which grants what creating a role grants.
    pub bootstrap: Name,
    /// The database of the connection.
    pub database: Name,
    /// True if the server is in recovery, and nothing can be changed.
    pub in_recovery: bool,
    /// True if stored passwords can be read.
    pub reads_passwords: bool,
    /// Whether `createrole_self_grant` contains `set` and `inherit`, in that order.
    pub self_grant: (bool, bool),
}

/// A role by name.
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
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i32,
    /// The VALID UNTIL time.
    pub valid_until: ValidUntil,
    /// The role's password.
    pub password: StoredPassword,
    /// The object's comment.
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

/// The stored password of a role, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPassword {
    /// There is none.
    None,
    /// An MD5 hash, which is always replaced.
    Md5,
    /// A SCRAM verifier.
    Scram(Verifier),
    /// It was compared: it is the wanted one, hashed this many times (`None` where that cannot be seen).
    Right(Option<NonZeroU32>),
    /// It was compared: it is another.
    Wrong,
    /// It was not looked at, or cannot be.
    Unknown,
}

impl StoredPassword {
    /// Parses the content of `rolpassword`.
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

/// One membership as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MembershipKey {
    /// The role that has members.
    pub role: Name,
    /// The member's name.
    pub member: Name,
    /// The grantor. Before PostgreSQL 16 it has no meaning, and is the bootstrap superuser.
    pub grantor: Name,
}

/// The options of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MembershipOptions {
    /// May grant it on.
    pub admin: bool,
    /// Has the role's privileges by itself. Before PostgreSQL 16 the member's INHERIT decides.
    pub inherit: bool,
    /// May SET ROLE to it.
    pub set: bool,
}

/// A locale provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// The C library.
    #[default]
    Libc,
    /// The ICU library.
    Icu,
    /// PostgreSQL itself (17).
    Builtin,
}

impl Provider {
    /// Returns the SQL form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Libc => "libc",
            Self::Icu => "icu",
            Self::Builtin => "builtin",
        }
    }
}

/// A database object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseState {
    /// Its owner and privileges.
    pub owned: Owned,
    /// The encoding, as `pg_encoding_to_char()` names it.
    pub encoding: Text,
    /// The locale provider.
    pub provider: Provider,
    /// The LC_COLLATE locale.
    pub collate: Text,
    /// The LC_CTYPE locale.
    pub ctype: Text,
    /// The locale of ICU or the builtin provider.
    pub locale: Option<Text>,
    /// ICU's own rules.
    pub icu_rules: Option<Text>,
    /// The tablespace's name.
    pub tablespace: Name,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i32,
    /// The ALLOW_CONNECTIONS option.
    pub allow_connections: bool,
    /// The IS_TEMPLATE option.
    pub is_template: bool,
    /// The object's comment.
    pub comment: Option<Text>,
    /// The collation version recorded, and the one the system has now, where they differ.
    pub collation_mismatch: Option<(Text, Text)>,
    /// The contents, if they were inspected.
    pub contents: Option<Contents>,
    /// The server's words, if it does not let the session in.
    pub closed: Option<String>,
}

impl DatabaseState {
    /// A database in UTF-8 and the C locale, with nothing said of anything else.
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

    /// Returns true for what an interrupted `DROP DATABASE` leaves: it can only be dropped.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.connection_limit == -2
    }
}

impl Current {
    /// A cluster of which nothing is known yet but who looks.
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

    /// The settings of a role in a database, either or both for all.
    #[must_use]
    pub fn setting(&self, role: Option<&Name>, database: Option<&Name>, setting: &Setting) -> Option<&Text> {
        let key = SettingKey { role: role.cloned(), database: database.cloned() };
        self.settings.get(&key).and_then(|settings| settings.get(setting))
    }

    /// Returns what a role still owns or holds privileges on. Of databases the current owners and privileges count.
    #[must_use]
    pub fn remaining(&self, role: &Name) -> BTreeSet<Dependency> {
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

    /// Returns true if the session's role is a superuser.
    #[must_use]
    pub fn superuser(&self) -> bool {
        self.roles.get(&self.session.user).is_some_and(|role| role.superuser)
    }

    /// Returns true if a role has the privileges of another without SET ROLE (`has_privs_of_role()`).
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

    /// Returns true if a role may SET ROLE to another (`member_can_set_role()`).
    #[must_use]
    pub fn can_set(&self, who: &Name, role: &Name) -> bool {
        let may = |_: &MembershipKey, options: &MembershipOptions| {
            !self.version.membership_options() || options.set
        };
        self.is_superuser(who) || self.reaches(who, role, may)
    }

    /// Returns true if a role may grant another (`is_admin_of_role()`).
    #[must_use]
    pub fn is_admin_of(&self, who: &Name, role: &Name) -> bool {
        self.is_superuser(who)
            || self
                .members(role)
                .any(|(key, options)| options.admin && self.reaches(who, &key.member, |_, _| true))
    }

    /// Returns true if a role is a member of another, directly or not.
    #[must_use]
    pub fn is_member(&self, who: &Name, role: &Name) -> bool {
        self.reaches(who, role, |_, _| true)
    }

    fn is_superuser(&self, who: &Name) -> bool {
        self.roles.get(who).is_some_and(|role| role.superuser)
    }

    /// The memberships in a role.
    pub fn members(&self, role: &Name) -> impl Iterator<Item = (&MembershipKey, &MembershipOptions)> {
        let first = MembershipKey { role: role.clone(), member: lowest(), grantor: lowest() };
        let role = role.clone();
        self.memberships.range(first..).take_while(move |(key, _)| key.role == role)
    }

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

/// Sorts before every name.
fn lowest() -> Name {
    Name::new("\u{1}").expect("a name")
}
