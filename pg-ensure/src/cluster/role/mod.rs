//! Roles: desired and current form.

pub(crate) mod change;
pub(crate) mod password;
pub(crate) mod plan;

use crate::comment;
use crate::name::{Name, Text};
use crate::presence::Presence;
use crate::time::ValidUntil;
use password::{Password, StoredPassword};

/// Desired role. A field that is `None` is not managed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Role {
    /// `Absent` if the role is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Role to which the objects of an absent role are reassigned. Without it, a role that owns objects or holds
    /// privileges is not dropped.
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

/// Current state of a role.
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
    /// Stored password, as far as known. Meaningful only for a role whose password the desired state declares.
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

impl RoleState {
    /// Returns the desired role that equals the current one. The password is omitted.
    pub(crate) fn imported(&self) -> Role {
        Role {
            superuser: Some(self.superuser),
            createdb: Some(self.createdb),
            createrole: Some(self.createrole),
            inherit: Some(self.inherit),
            login: Some(self.login),
            replication: Some(self.replication),
            bypassrls: Some(self.bypassrls),
            connection_limit: Some(self.connection_limit),
            valid_until: Some(self.valid_until),
            comment: Some(comment::imported(self.comment.as_ref())),
            ..Role::default()
        }
    }
}
