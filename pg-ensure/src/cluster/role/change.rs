//! Changes of roles: SQL, risk, required rights, and effect.

use super::RoleState;
use super::password::StoredPassword;
use crate::cluster::is_limit;
use crate::comment;
use crate::current::{CurrentState, MembershipKey, MembershipOptions};
use crate::model::{RejectedChange, lookup, rejected};
use crate::name::{Name, Text};
use crate::plan::{ExecutionScope, Risk};
use crate::rights::Rights;
use crate::time::ValidUntil;
use crate::version::Version;

/// Placeholder for a verifier in displayed SQL.
pub(crate) const HIDDEN: &str = "'SCRAM-SHA-256$…'";

/// A change of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleChange {
    /// A `CREATE ROLE` statement.
    Create {
        /// The role's name.
        name: Name,
        /// Attributes that differ from the defaults of `CREATE ROLE`.
        attributes: Attributes,
    },
    /// An `ALTER ROLE` statement.
    Alter {
        /// The role's name.
        name: Name,
        /// Attributes to change.
        attributes: Attributes,
    },
    /// `ALTER ROLE … PASSWORD`. The verifier is not part of the change.
    SetPassword {
        /// The role's name.
        name: Name,
    },
    /// `ALTER ROLE … PASSWORD NULL`.
    ClearPassword {
        /// The role's name.
        name: Name,
    },
    /// `COMMENT ON ROLE`.
    Comment {
        /// The role's name.
        name: Name,
        /// New comment. `None` removes the comment.
        text: Option<Text>,
    },
    /// A `DROP ROLE` statement.
    Drop {
        /// The role's name.
        name: Name,
    },
}

/// Attributes of a role to be set. `None` for no change of an existing role, and for the default of `CREATE ROLE` in a
/// new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
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
}

impl Attributes {
    /// Returns `true` if no attribute is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns `true` if an attribute is taken away or limited: also for a higher limit and a later expiry, since the
    /// former ones are not known here.
    fn reduces(&self) -> bool {
        let flags = [
            self.superuser,
            self.createdb,
            self.createrole,
            self.inherit,
            self.login,
            self.replication,
            self.bypassrls,
        ];
        flags.contains(&Some(false))
            || self.connection_limit.is_some_and(is_limit)
            || self.valid_until.is_some_and(|until| until != ValidUntil::Forever)
    }

    /// Returns the SQL of each attribute that is set, such as `NOLOGIN` or `CONNECTION LIMIT 5`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (value, word) in [
            (self.superuser, "SUPERUSER"),
            (self.createdb, "CREATEDB"),
            (self.createrole, "CREATEROLE"),
            (self.inherit, "INHERIT"),
            (self.login, "LOGIN"),
            (self.replication, "REPLICATION"),
            (self.bypassrls, "BYPASSRLS"),
        ] {
            if let Some(value) = value {
                words.push(if value { word.to_owned() } else { format!("NO{word}") });
            }
        }
        words.extend(self.connection_limit.map(|limit| format!("CONNECTION LIMIT {limit}")));
        words.extend(self.valid_until.map(|until| format!("VALID UNTIL {}", until.sql())));
        words
    }
}

impl RoleChange {
    /// Returns the statement of the change, with a placeholder for a verifier.
    pub(crate) fn sql(&self, _: Version) -> String {
        match self {
            Self::Create { name, attributes } => {
                let words = attributes.words();
                let with = if words.is_empty() { String::new() } else { format!(" {}", words.join(" ")) };
                format!("CREATE ROLE {}{with}", name.quoted())
            }
            Self::Alter { name, attributes } => {
                format!("ALTER ROLE {} {}", name.quoted(), attributes.words().join(" "))
            }
            Self::SetPassword { name } => format!("ALTER ROLE {} PASSWORD {HIDDEN}", name.quoted()),
            Self::ClearPassword { name } => format!("ALTER ROLE {} PASSWORD NULL", name.quoted()),
            Self::Comment { name, text } => comment::sql(&format!("ROLE {}", name.quoted()), text.as_ref()),
            Self::Drop { name } => format!("DROP ROLE {}", name.quoted()),
        }
    }

    /// Returns the connection and transaction that the change needs.
    pub(crate) fn scope(&self) -> ExecutionScope {
        ExecutionScope::Cluster
    }

    /// Returns the risk of the change.
    pub(crate) fn risk(&self) -> Risk {
        match self {
            Self::Create { .. } => Risk::Adds,
            Self::Alter { attributes, .. } if attributes.reduces() => Risk::Restricts,
            Self::Alter { .. } | Self::SetPassword { .. } | Self::Comment { .. } => Risk::Changes,
            Self::ClearPassword { .. } => Risk::Restricts,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Checks that the session may make the change. The error names the missing permission.
    pub(crate) fn permitted(&self, rights: &Rights<'_>) -> Result<(), String> {
        match self {
            Self::Create { attributes, .. } => {
                rights.createrole()?;
                may_set(attributes, rights)
            }
            Self::Alter { name, attributes } => {
                rights.manages(name)?;
                may_set(attributes, rights)
            }
            Self::SetPassword { name } | Self::ClearPassword { name } => {
                if rights.user() == name {
                    Ok(())
                } else {
                    rights.manages(name)
                }
            }
            Self::Comment { name, .. } | Self::Drop { name } => rights.manages(name),
        }
    }

    /// Applies the change to the modelled state.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the server would reject the change.
    pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
        match self {
            Self::Create { name, attributes } => return create(state, name, attributes),
            Self::Alter { name, attributes } => set(lookup::role(state, name)?, attributes),
            Self::SetPassword { name } => {
                let password = StoredPassword::Right(Some(state.iterations));
                lookup::role(state, name)?.password = password;
            }
            Self::ClearPassword { name } => lookup::role(state, name)?.password = StoredPassword::None,
            Self::Comment { name, text } => {
                lookup::role(state, name)?.comment = comment::stored(text.as_ref());
            }
            Self::Drop { name } => return drop_role(state, name),
        }
        Ok(())
    }
}

/// Checks that the session may set these attributes of a role, as `AlterRole()` in user.c does. SUPERUSER can be
/// changed by a superuser only. From PostgreSQL 16 on, CREATEDB, REPLICATION and BYPASSRLS can be changed only by a
/// role that has the attribute; before, CREATEDB needs nothing here, and the other two need a superuser.
///
/// # Errors
/// Returns the reason for the first attribute that may not be set.
fn may_set(attributes: &Attributes, rights: &Rights<'_>) -> Result<(), String> {
    if attributes.superuser.is_some() {
        return Err("SUPERUSER is a superuser's to change".to_owned());
    }
    let sixteen = rights.now().version.membership_options();
    let held = |attribute| sixteen && rights.own(attribute);
    for (said, has, word) in [
        (attributes.createdb, !sixteen || held(|role| role.createdb), "CREATEDB"),
        (attributes.replication, held(|role| role.replication), "REPLICATION"),
        (attributes.bypassrls, held(|role| role.bypassrls), "BYPASSRLS"),
    ] {
        if said.is_some() && !has {
            return Err(if sixteen {
                format!("{word} is given and taken by its holders alone, and {} has it not", rights.user())
            } else {
                format!("{word} is a superuser's to change before PostgreSQL 16")
            });
        }
    }
    Ok(())
}

/// Creates a role. From PostgreSQL 16 on, a session that is not a superuser's becomes a member with ADMIN, and gets a
/// second membership with the options of `createrole_self_grant`.
///
/// # Errors
/// Returns a [`RejectedChange`] if the role exists already.
fn create(state: &mut CurrentState, name: &Name, attributes: &Attributes) -> Result<(), RejectedChange> {
    if state.roles.contains_key(name) {
        return rejected(format!("there is a role {name} already"));
    }
    let mut role = RoleState::default();
    set(&mut role, attributes);
    state.roles.insert(name.clone(), role);
    if state.version.membership_options() && !state.superuser() {
        let (user, bootstrap) = (state.session.user.clone(), state.session.bootstrap.clone());
        let key = MembershipKey { role: name.clone(), member: user.clone(), grantor: bootstrap };
        state.memberships.insert(key, MembershipOptions { admin: true, inherit: false, set: false });
        let (set, inherit) = state.session.self_grant;
        if set || inherit {
            let key = MembershipKey { role: name.clone(), member: user.clone(), grantor: user };
            state.memberships.insert(key, MembershipOptions { admin: false, inherit, set });
        }
    }
    Ok(())
}

/// Sets the attributes that are given, and leaves the others unchanged.
fn set(role: &mut RoleState, attributes: &Attributes) {
    let flags = [
        (&mut role.superuser, attributes.superuser),
        (&mut role.createdb, attributes.createdb),
        (&mut role.createrole, attributes.createrole),
        (&mut role.inherit, attributes.inherit),
        (&mut role.login, attributes.login),
        (&mut role.replication, attributes.replication),
        (&mut role.bypassrls, attributes.bypassrls),
    ];
    for (flag, value) in flags {
        *flag = value.unwrap_or(*flag);
    }
    role.connection_limit = attributes.connection_limit.unwrap_or(role.connection_limit);
    role.valid_until = attributes.valid_until.unwrap_or(role.valid_until);
}

/// Removes a role with its memberships and settings, unless objects or memberships depend on it.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not exist, or something depends on it.
fn drop_role(state: &mut CurrentState, name: &Name) -> Result<(), RejectedChange> {
    lookup::role_exists(state, name)?;
    if !state.dependencies_of(name).is_empty() {
        return rejected(format!("something depends on the role {name}"));
    }
    for (database, found) in &state.databases {
        if found.owned.owner == *name || found.owned.acl.roles().any(|role| role == name) {
            return rejected(format!("the database {database} depends on the role {name}"));
        }
    }
    let granted = |key: &&MembershipKey| key.grantor == *name && key.member != *name && key.role != *name;
    if state.version.membership_options()
        && let Some(key) = state.memberships.keys().find(granted)
    {
        return rejected(format!("the membership of {} in {} was granted by {name}", key.member, key.role));
    }
    state.roles.remove(name);
    state.dependencies.remove(name);
    state.memberships.retain(|key, _| key.role != *name && key.member != *name);
    state.settings.retain(|key, _| key.role.as_ref() != Some(name));
    Ok(())
}
