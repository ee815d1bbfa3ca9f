//! Changes of event triggers: SQL, risk, required rights, and effect.

use super::{
    ClusterContext, Contents, DatabaseEvent, EventTriggerState, Firing, SessionRights, TriggerFunction,
    command_tag,
};
use crate::comment;
use crate::model::{RejectedChange, rejected};
use crate::name::{Name, Text};
use crate::plan::Risk;
use crate::version::Version;
use std::collections::BTreeSet;

/// A change of an event trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventTriggerChange {
    /// A `CREATE EVENT TRIGGER` statement, after `DROP EVENT TRIGGER` if one is replaced.
    Create {
        /// The event trigger's name.
        name: Name,
        /// Event at which the function is called.
        event: DatabaseEvent,
        /// Command tags. Empty for all commands.
        tags: BTreeSet<Text>,
        /// Function that is called.
        function: TriggerFunction,
        /// `true` if an event trigger of this name exists, whose event, function or tags cannot be altered.
        replaces: bool,
    },
    /// `ALTER EVENT TRIGGER … ENABLE`, `ENABLE REPLICA`, `ENABLE ALWAYS` or `DISABLE`.
    Enable {
        /// The event trigger's name.
        name: Name,
        /// Sessions in which it fires.
        enabled: Firing,
    },
    /// `ALTER EVENT TRIGGER … OWNER TO`.
    Owner {
        /// The event trigger's name.
        name: Name,
        /// The new owner.
        owner: Name,
    },
    /// `COMMENT ON EVENT TRIGGER`.
    Comment {
        /// The event trigger's name.
        name: Name,
        /// New comment. `None` removes the comment.
        text: Option<Text>,
    },
    /// A `DROP EVENT TRIGGER` statement.
    Drop {
        /// The event trigger's name.
        name: Name,
    },
}

impl EventTriggerChange {
    /// Returns the statement of the change.
    pub(in crate::inside) fn sql(&self, _: Version) -> String {
        match self {
            Self::Create { name, event, tags, function: (schema, function), replaces } => {
                let tags: Vec<String> = tags.iter().map(Text::quoted).collect();
                let when = if tags.is_empty() {
                    String::new()
                } else {
                    format!(" WHEN TAG IN ({})", tags.join(", "))
                };
                let drop =
                    if *replaces { format!("DROP EVENT TRIGGER {}; ", name.quoted()) } else { String::new() };
                format!(
                    "{drop}CREATE EVENT TRIGGER {} ON {}{when} EXECUTE FUNCTION {}.{}()",
                    name.quoted(),
                    event.as_str(),
                    schema.quoted(),
                    function.quoted()
                )
            }
            Self::Enable { name, enabled } => {
                format!("ALTER EVENT TRIGGER {} {}", name.quoted(), enabled.sql())
            }
            Self::Owner { name, owner } => {
                format!("ALTER EVENT TRIGGER {} OWNER TO {}", name.quoted(), owner.quoted())
            }
            Self::Comment { name, text } => {
                comment::sql(&format!("EVENT TRIGGER {}", name.quoted()), text.as_ref())
            }
            Self::Drop { name } => format!("DROP EVENT TRIGGER {}", name.quoted()),
        }
    }

    /// Returns the risk of the change.
    pub(in crate::inside) fn risk(&self) -> Risk {
        match self {
            // A function is called by the commands of others, and may refuse them.
            Self::Create { replaces: false, .. }
            | Self::Enable { enabled: Firing::Origin | Firing::Replica | Firing::Always, .. } => {
                Risk::Disturbs
            }
            Self::Comment { .. } => Risk::Changes,
            // An audit or a guard may end with it.
            Self::Create { replaces: true, .. }
            | Self::Enable { enabled: Firing::Disabled, .. }
            | Self::Owner { .. } => Risk::Restricts,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Returns the missing permission: event triggers are a superuser's, and so is their owner.
    pub(in crate::inside) fn permitted(&self, _: &dyn SessionRights) -> Result<(), String> {
        match self {
            Self::Create { .. }
            | Self::Enable { .. }
            | Self::Owner { .. }
            | Self::Comment { .. }
            | Self::Drop { .. } => Err("event triggers take a superuser".to_owned()),
        }
    }

    /// Applies the change to the modelled contents of a database.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the server would reject the change.
    pub(in crate::inside) fn make(
        &self,
        contents: &mut Contents,
        around: &ClusterContext<'_>,
    ) -> Result<(), RejectedChange> {
        match self {
            Self::Create { name, event, tags, function, replaces } => {
                if *replaces {
                    droppable(contents, name)?;
                } else if contents.event_triggers.contains_key(name) {
                    return rejected(format!("there is an event trigger {name} already"));
                }
                if *event == DatabaseEvent::Login && around.version.major() < 17 {
                    return rejected("the event login came with PostgreSQL 17".to_owned());
                }
                let is_taken = |tag: &&Text| command_tag::is_taken(tag.as_str(), *event, around.version);
                if let Some(tag) = tags.iter().find(|tag| !is_taken(tag)) {
                    let (tag, event) = (tag.as_str(), event.as_str());
                    return rejected(format!("{tag:?} is not a command tag for event triggers at {event}"));
                }
                let (schema, called) = function;
                if *schema != "pg_catalog" && !contents.event_functions.contains(function) {
                    return rejected(format!("there is no function {schema}.{called}() for event triggers"));
                }
                let made = EventTriggerState {
                    owner: around.user.clone(),
                    event: *event,
                    function: function.clone(),
                    tags: tags.clone(),
                    enabled: Firing::Origin,
                    comment: None,
                    extension: None,
                };
                contents.event_triggers.insert(name.clone(), made);
            }
            Self::Enable { name, enabled } => found(contents, name)?.enabled = *enabled,
            Self::Owner { name, owner } => {
                around.role_exists(owner)?;
                if (around.roles)(owner) == Some(false) {
                    let why = "is not a superuser, as the owner of an event trigger must be";
                    return rejected(format!("{owner} {why}"));
                }
                found(contents, name)?.owner = owner.clone();
            }
            Self::Comment { name, text } => found(contents, name)?.comment = comment::stored(text.as_ref()),
            Self::Drop { name } => {
                droppable(contents, name)?;
                contents.event_triggers.remove(name);
            }
        }
        Ok(())
    }
}

/// Returns the modelled state of an event trigger.
///
/// # Errors
/// Returns a [`RejectedChange`] if the event trigger does not exist.
fn found<'a>(contents: &'a mut Contents, name: &Name) -> Result<&'a mut EventTriggerState, RejectedChange> {
    let found = contents.event_triggers.get_mut(name);
    found.ok_or_else(|| RejectedChange(format!("there is no event trigger {name}")))
}

/// Checks that an event trigger can be dropped.
///
/// # Errors
/// Returns a [`RejectedChange`] if the event trigger does not exist or belongs to an extension.
fn droppable(contents: &mut Contents, name: &Name) -> Result<(), RejectedChange> {
    match &found(contents, name)?.extension {
        None => Ok(()),
        Some(extension) => rejected(format!("event trigger {name} belongs to extension {extension}")),
    }
}
