//! Changes of settings: SQL, risk, required rights, and effect.

use super::SettingKey;
use crate::current::CurrentState;
use crate::model::{RejectedChange, lookup};
use crate::name::{Name, Text};
use crate::object::Setting;
use crate::plan::{ExecutionScope, Risk};
use crate::rights::Rights;
use crate::version::Version;

/// A change of a setting: `ALTER ROLE … SET`, `ALTER DATABASE … SET`, or `RESET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// Name of the role. `None` for all roles.
    pub role: Option<Name>,
    /// Name of the database. `None` for all databases.
    pub database: Option<Name>,
    /// The parameter's name.
    pub setting: Setting,
    /// New value. `None` resets the setting.
    pub value: Option<Text>,
}

impl SettingChange {
    /// Returns the statement of the change.
    pub(crate) fn sql(&self, _: Version) -> String {
        let Self { role, database, setting, value } = self;
        let whose = match (role, database) {
            (Some(role), Some(database)) => {
                format!("ROLE {} IN DATABASE {}", role.quoted(), database.quoted())
            }
            (Some(role), None) => format!("ROLE {}", role.quoted()),
            (None, Some(database)) => format!("DATABASE {}", database.quoted()),
            (None, None) => "ROLE ALL".to_owned(),
        };
        match value {
            Some(value) => {
                format!("ALTER {whose} SET {} TO {}", setting.sql(), setting.value_sql(value))
            }
            None => format!("ALTER {whose} RESET {}", setting.sql()),
        }
    }

    /// Returns the connection and transaction that the change needs.
    pub(crate) fn scope(&self) -> ExecutionScope {
        ExecutionScope::Cluster
    }

    /// Returns the risk of the change.
    pub(crate) fn risk(&self) -> Risk {
        Risk::Changes
    }

    /// Checks that the session may make the change. The error names the missing permission.
    pub(crate) fn permitted(&self, rights: &Rights<'_>) -> Result<(), String> {
        let Self { role, database, setting, .. } = self;
        if rights.now().privileged_settings.contains(setting) {
            return Err(format!("the parameter {setting} is a superuser's to set"));
        }
        match (role, database) {
            (None, None) => Err("settings of all roles are a superuser's".to_owned()),
            (Some(role), _) if role == rights.user() => Ok(()),
            (Some(role), None) => rights.manages(role),
            (Some(role), Some(database)) => {
                rights.manages(role)?;
                rights.owns_database(database)
            }
            (None, Some(database)) => rights.owns_database(database),
        }
    }

    /// Applies the change to the modelled state.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the role or database does not exist.
    pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
        let Self { role, database, setting, value } = self;
        if let Some(role) = role {
            lookup::role_exists(state, role)?;
        }
        if let Some(database) = database {
            lookup::database(state, database)?;
        }
        let key = SettingKey { role: role.clone(), database: database.clone() };
        let settings = state.settings.entry(key.clone()).or_default();
        match value {
            Some(value) => drop(settings.insert(setting.clone(), value.clone())),
            None => drop(settings.remove(setting)),
        }
        if settings.is_empty() {
            state.settings.remove(&key);
        }
        Ok(())
    }
}
