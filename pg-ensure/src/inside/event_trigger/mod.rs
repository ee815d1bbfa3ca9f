//! Event triggers: desired and current state. Their changes, planning, snapshot and serialized form have a file each.

mod change;
mod command_tag;
mod plan;
#[cfg(feature = "client")]
pub(super) mod snapshot;
#[cfg(feature = "manifest")]
mod spec;

pub use change::EventTriggerChange;
#[cfg(feature = "manifest")]
pub use spec::{EventTriggerSpec, TriggerFunctionSpec};

use super::{ClusterContext, Contents, SessionRights};
use crate::comment;
use crate::name::{Name, Text};
use crate::presence::Presence;
use std::collections::BTreeSet;

/// A function without arguments that returns `event_trigger`: schema and name.
pub type TriggerFunction = (Name, Name);

/// Desired event trigger of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTrigger {
    /// `Absent` if the event trigger is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Name of the owner, which must be a superuser.
    pub owner: Option<Name>,
    /// Event at which the function is called. Required of an event trigger that is to exist.
    pub event: Option<DatabaseEvent>,
    /// Function that is called. Required of an event trigger that is to exist.
    pub function: Option<TriggerFunction>,
    /// Exact set of command tags for which the function is called, such as `CREATE TABLE`, in upper case. An empty set
    /// stands for all commands.
    pub tags: Option<BTreeSet<Text>>,
    /// Sessions in which the event trigger fires. A new one fires in those that do not replicate.
    pub enabled: Option<Firing>,
    /// Comment on the event trigger. An empty text removes it.
    pub comment: Option<Text>,
}

/// Current state of an event trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTriggerState {
    /// Name of the owner.
    pub owner: Name,
    /// Event at which the function is called.
    pub event: DatabaseEvent,
    /// Function that is called.
    pub function: TriggerFunction,
    /// Command tags for which the function is called. Empty for all commands.
    pub tags: BTreeSet<Text>,
    /// Sessions in which the event trigger fires.
    pub enabled: Firing,
    /// Comment on the event trigger. `None` if there is none.
    pub comment: Option<Text>,
    /// Extension to which the event trigger belongs, so that it cannot be dropped by itself. `None` if there is none.
    pub extension: Option<Name>,
}

/// An event in a database at which event triggers call their functions (`CREATE EVENT TRIGGER … ON`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "manifest",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DatabaseEvent {
    /// `ddl_command_start`: before a command that creates, alters or drops objects.
    DdlCommandStart,
    /// `ddl_command_end`: after such a command.
    DdlCommandEnd,
    /// `sql_drop`: at the end of a command that dropped objects, before `ddl_command_end`.
    SqlDrop,
    /// `table_rewrite`: before ALTER TABLE, ALTER TYPE or ALTER MATERIALIZED VIEW rewrites a table.
    TableRewrite,
    /// `login`: after a login (from PostgreSQL 17).
    Login,
}

/// Sessions in which a trigger fires, by `session_replication_role`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "manifest",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Firing {
    /// Those with `origin` or `local`, which is the default (ENABLE).
    #[default]
    Origin,
    /// Those with `replica` (ENABLE REPLICA).
    Replica,
    /// All (ENABLE ALWAYS).
    Always,
    /// No session at all (DISABLE).
    Disabled,
}

impl DatabaseEvent {
    /// All events, in the order of the variants.
    #[cfg(feature = "client")]
    const ALL: [Self; 5] =
        [Self::DdlCommandStart, Self::DdlCommandEnd, Self::SqlDrop, Self::TableRewrite, Self::Login];

    /// Returns the name of the event in SQL, which is that of the catalog.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DdlCommandStart => "ddl_command_start",
            Self::DdlCommandEnd => "ddl_command_end",
            Self::SqlDrop => "sql_drop",
            Self::TableRewrite => "table_rewrite",
            Self::Login => "login",
        }
    }

    /// Returns the event with a name of the catalog. `None` for one of a later version.
    #[cfg(feature = "client")]
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }
}

impl Firing {
    /// Returns the clause of ALTER EVENT TRIGGER.
    fn sql(self) -> &'static str {
        match self {
            Self::Origin => "ENABLE",
            Self::Replica => "ENABLE REPLICA",
            Self::Always => "ENABLE ALWAYS",
            Self::Disabled => "DISABLE",
        }
    }
}

impl EventTriggerState {
    /// Returns the desired state that equals the current one.
    pub(super) fn imported(&self) -> EventTrigger {
        EventTrigger {
            presence: Presence::Present,
            owner: Some(self.owner.clone()),
            event: Some(self.event),
            function: Some(self.function.clone()),
            tags: Some(self.tags.clone()),
            enabled: Some(self.enabled),
            comment: Some(comment::imported(self.comment.as_ref())),
        }
    }
}
