//! Event triggers: desired and current state, and the changes between them.

use super::command_tag;
use super::{
    ClusterContext, Contents, DatabasePlanner, DeclarationValidation, DeclaredObjects, InsideChange,
    SessionRights,
};
use crate::comment;
use crate::desired::InvalidReason;
use crate::model::{RejectedChange, rejected};
use crate::name::{Name, Text};
use crate::plan::Risk;
use crate::presence::Presence;
use crate::subject::{DestructibleObject, Subject};
use crate::version::Version;
use std::collections::BTreeSet;

/// A function without arguments: schema and name.
pub type TriggerFunction = (Name, Name);

/// Desired event trigger of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTrigger {
    /// `Absent` if the event trigger is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Name of the owner, a superuser.
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

/// An event in a database that event triggers are called at (`CREATE EVENT TRIGGER … ON`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "manifest",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DatabaseEvent {
    /// `ddl_command_start`: before a command that defines objects.
    DdlCommandStart,
    /// `ddl_command_end`: after such a command.
    DdlCommandEnd,
    /// `sql_drop`: after objects were dropped.
    SqlDrop,
    /// `table_rewrite`: before a table is rewritten.
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

impl EventTriggerChange {
    /// Returns the statement of the change.
    pub(super) fn sql(&self, _: Version) -> String {
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
    pub(super) fn risk(&self) -> Risk {
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
            | Self::Owner { .. } => Risk::TakesAway,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Returns the missing permission: event triggers are a superuser's, and so is their owner.
    pub(super) fn permitted(&self, _: &dyn SessionRights) -> Result<(), String> {
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
    pub(super) fn make(
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

impl EventTrigger {
    /// Plans the creation of an event trigger, or its changes. One with another event, function or set of tags is
    /// dropped and created anew, since these cannot be altered; what is not declared is kept. No effect on one that is
    /// declared absent.
    pub(super) fn plan(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        let (Presence::Present, Some(event), Some(function)) = (self.presence, self.event, &self.function)
        else {
            return;
        };
        let Some(before) = work.contents().map(|contents| contents.event_triggers.get(name).cloned()) else {
            return;
        };
        // The event login has no tags.
        let with_tags = before.as_ref().filter(|_| event != DatabaseEvent::Login);
        let kept_tags = || with_tags.map(|before| before.tags.clone()).unwrap_or_default();
        let tags = self.tags.clone().unwrap_or_else(kept_tags);
        let reason = match &before {
            None => Some("there is no such event trigger"),
            Some(before) if before.event != event => Some("its event is another"),
            Some(before) if before.function != *function => Some("its function is another"),
            Some(before) if before.tags != tags => Some("its tags are others"),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            let (name, function, replaces) = (name.clone(), function.clone(), before.is_some());
            emit(work, EventTriggerChange::Create { name, event, tags, function, replaces }, reason);
        }
        let now = work.contents().and_then(|contents| contents.event_triggers.get(name)).cloned();
        let Some(now) = now else { return };
        let before = before.as_ref();
        let enabled = self.enabled.or(before.map(|before| before.enabled)).unwrap_or_default();
        if enabled != now.enabled {
            emit(work, EventTriggerChange::Enable { name: name.clone(), enabled }, "it fires in others");
        }
        let text = self.comment.as_ref().or(before.and_then(|before| before.comment.as_ref()));
        if let Some(text) = comment::changed(now.comment.as_ref(), text) {
            emit(work, EventTriggerChange::Comment { name: name.clone(), text }, "the comment differs");
        }
        let owner = self.owner.as_ref().or(before.map(|before| &before.owner));
        if let Some(owner) = owner.filter(|owner| **owner != now.owner) {
            let change = EventTriggerChange::Owner { name: name.clone(), owner: owner.clone() };
            emit(work, change, &format!("its owner is {}", now.owner));
        }
    }

    /// Plans the end of an event trigger that fires now: its removal if it is declared absent and the operator consents,
    /// `ALTER EVENT TRIGGER … DISABLE` if it is declared disabled.
    pub(super) fn plan_end(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        let now = work.contents().and_then(|contents| contents.event_triggers.get(name));
        let Some(enabled) = now.map(|now| now.enabled) else { return };
        if self.presence == Presence::Absent {
            Self::plan_removal(name, work);
        } else if self.enabled == Some(Firing::Disabled) && enabled != Firing::Disabled {
            let change = EventTriggerChange::Enable { name: name.clone(), enabled: Firing::Disabled };
            emit(work, change, "it is declared disabled");
        }
    }

    /// Plans the removal of an event trigger that is declared absent, if the operator consents.
    fn plan_removal(name: &Name, work: &mut dyn DatabasePlanner) {
        let what = format!("DROP EVENT TRIGGER {} in database {}", name.quoted(), work.database());
        if work.may_destroy(&what, DestructibleObject::EventTrigger(work.database().clone(), name.clone())) {
            let change = EventTriggerChange::Drop { name: name.clone() };
            emit(work, change, "declared absent and listed in --destroy");
        }
    }

    /// Reports errors of the declaration: a missing event or function, tags of an event without commands or in lower
    /// case, an unknown owner, or a function in a schema that is declared absent.
    pub(super) fn check(
        &self,
        subject: &Subject,
        beside: &DeclaredObjects,
        faults: &mut dyn DeclarationValidation,
    ) {
        if let Some(owner) = &self.owner {
            faults.require_role(subject, "owner", owner);
        }
        if self.presence == Presence::Absent {
            return;
        }
        let mut wrong = |why| faults.add(subject, InvalidReason::Contradiction(why));
        if self.event.is_none() || self.function.is_none() {
            wrong("an event trigger needs event and function");
        }
        if self.event == Some(DatabaseEvent::Login) && self.tags.as_ref().is_some_and(|tags| !tags.is_empty())
        {
            wrong("the event login has no tags");
        }
        let lower = |tag: &Text| tag.as_str().contains(|c: char| c.is_ascii_lowercase());
        if self.tags.as_ref().is_some_and(|tags| tags.iter().any(lower)) {
            wrong("the tags of commands are in upper case");
        }
        let schema = self.function.as_ref().and_then(|(schema, _)| beside.schemas.get(schema));
        if schema.is_some_and(|schema| schema.presence == Presence::Absent) {
            wrong("the schema of its function is declared absent");
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

/// Adds a step with a change of an event trigger.
fn emit(work: &mut dyn DatabasePlanner, change: EventTriggerChange, reason: &str) {
    work.emit(InsideChange::EventTrigger(change), reason.to_owned());
}

#[cfg(feature = "client")]
pub(super) mod snapshot {
    //! Event triggers in a snapshot.

    use super::{Contents, DatabaseEvent, EventTriggerState, Firing};
    use crate::client::snapshot::{Names, SnapshotError, Str, maybe_text, text};

    /// Query for one array per event trigger: name, owner, event, schema and name of the function, tags, where it fires,
    /// comment, extension.
    pub(in crate::inside) const QUERY: &str = "SELECT json_build_array(e.evtname, o.rolname, e.evtevent, n.nspname,
            p.proname, coalesce(e.evttags, '{}'), e.evtenabled::text, c.description, x.extname) AS entry
        FROM pg_event_trigger e JOIN pg_roles o ON o.oid = e.evtowner JOIN pg_proc p ON p.oid = e.evtfoid
            JOIN pg_namespace n ON n.oid = p.pronamespace
            LEFT JOIN pg_description c ON c.objoid = e.oid AND c.classoid = 'pg_event_trigger'::regclass
            LEFT JOIN pg_depend d ON d.objid = e.oid AND d.classid = 'pg_event_trigger'::regclass AND d.deptype = 'e'
            LEFT JOIN pg_extension x ON x.oid = d.refobjid";

    /// Query for the functions that event triggers can call.
    pub(in crate::inside) const FUNCTIONS: &str = "SELECT json_build_array(n.nspname, p.proname) AS entry
        FROM pg_proc p JOIN spaces n ON n.oid = p.pronamespace
        WHERE p.prorettype = 'event_trigger'::regtype AND p.pronargs = 0";

    /// Row of the query of functions: schema and name.
    pub(in crate::inside) type FunctionRow<'a> = (Str<'a>, Str<'a>);
    /// Row of the query: name, owner, event, schema and name of the function, tags, where it fires, comment, extension.
    pub(in crate::inside) type Row<'a> = (
        Str<'a>,
        Str<'a>,
        Str<'a>,
        Str<'a>,
        Str<'a>,
        Vec<Str<'a>>,
        Str<'a>,
        Option<Str<'a>>,
        Option<Str<'a>>,
    );

    /// Adds the event trigger of a row to `contents`. One with an event of a later version is left out.
    ///
    /// # Errors
    /// Returns an error if a value is not valid.
    pub(in crate::inside) fn read(
        (name, owner, event, schema, function, tags, enabled, comment, extension): Row<'_>,
        names: &mut Names,
        contents: &mut Contents,
    ) -> Result<(), SnapshotError> {
        let Some(event) = DatabaseEvent::named(&event) else { return Ok(()) };
        let state = EventTriggerState {
            owner: names.get(&owner)?,
            event,
            function: (names.get(&schema)?, names.get(&function)?),
            tags: tags.iter().map(|tag| text(tag)).collect::<Result<_, _>>()?,
            enabled: match &*enabled {
                "O" => Firing::Origin,
                "R" => Firing::Replica,
                "A" => Firing::Always,
                "D" => Firing::Disabled,
                other => return Err(SnapshotError::Value(other.to_owned())),
            },
            comment: maybe_text(comment.as_ref())?,
            extension: extension.map(|extension| names.get(&extension)).transpose()?,
        };
        contents.event_triggers.insert(names.get(&name)?, state);
        Ok(())
    }
}

#[cfg(feature = "manifest")]
mod written {
    use super::{DatabaseEvent, EventTrigger, Firing, Name, Subject};
    use crate::manifest::spanned::{
        ManifestObject, ManifestReader, SpannedString, absent, maybe, name, no, presence, text, word,
    };
    use serde::{Deserialize, Serialize};
    use std::ops::Range;
    use toml::Spanned;

    /// Serialized form of [`EventTrigger`].
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(missing_docs, reason = "each is that of EventTrigger")]
    pub struct EventTriggerSpec {
        pub name: SpannedString,
        #[serde(default, skip_serializing_if = "no")]
        pub absent: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<SpannedString>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub event: Option<DatabaseEvent>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub function: Option<TriggerFunctionSpec>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tags: Option<Vec<SpannedString>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub enabled: Option<Firing>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub comment: Option<SpannedString>,
    }

    /// Serialized form of the function of an event trigger.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(missing_docs, reason = "each is that of the function")]
    pub struct TriggerFunctionSpec {
        pub schema: SpannedString,
        pub name: SpannedString,
    }

    impl ManifestObject for EventTriggerSpec {
        type Form = EventTrigger;

        fn name(&self) -> &SpannedString {
            &self.name
        }

        fn form(&self, reader: &mut dyn ManifestReader) -> EventTrigger {
            let function = self.function.as_ref();
            let function = function
                .and_then(|written| Some((reader.name(&written.schema)?, reader.name(&written.name)?)));
            let mut tag = |tag: &SpannedString| {
                let upper = Spanned::new(tag.span(), tag.as_ref().to_ascii_uppercase());
                reader.text(Some(&upper))
            };
            let tags = self.tags.as_ref().map(|all| all.iter().filter_map(&mut tag).collect());
            EventTrigger {
                presence: presence(self.absent),
                owner: reader.maybe(self.owner.as_ref()),
                event: self.event,
                function,
                tags,
                enabled: self.enabled,
                comment: reader.text(self.comment.as_ref()),
            }
        }

        fn subject(database: Name, name: Name) -> Subject {
            Subject::EventTrigger(database, name)
        }

        fn fields(&self) -> Vec<(&'static str, Range<usize>)> {
            self.owner.iter().map(|owner| ("owner", Spanned::span(owner))).collect()
        }

        fn of(of: &Name, trigger: &EventTrigger) -> Self {
            let function = trigger.function.as_ref();
            let tags = trigger.tags.as_ref();
            Self {
                name: name(of),
                absent: absent(trigger.presence),
                owner: maybe(trigger.owner.as_ref()),
                event: trigger.event,
                function: function
                    .map(|(schema, called)| TriggerFunctionSpec { schema: name(schema), name: name(called) }),
                tags: tags.map(|all| all.iter().map(|tag| word(tag.as_str())).collect()),
                enabled: trigger.enabled,
                comment: text(trigger.comment.as_ref()),
            }
        }
    }
}

#[cfg(feature = "manifest")]
pub use written::{EventTriggerSpec, TriggerFunctionSpec};
