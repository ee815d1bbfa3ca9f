//! Settings of roles and databases.

pub(crate) mod change;
pub(crate) mod plan;

use crate::name::Name;

/// Scope of settings: a role or all roles, in a database or all databases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingKey {
    /// Name of the role. `None` for all roles.
    pub role: Option<Name>,
    /// Name of the database. `None` for all databases.
    pub database: Option<Name>,
}
