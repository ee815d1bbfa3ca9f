//! The serialized form of event triggers.

use super::{DatabaseEvent, EventTrigger, Firing};
use crate::manifest::spanned::{
    ManifestObject, ManifestReader, SpannedString, absent, maybe, name, no, presence, text, word,
};
use crate::name::Name;
use crate::subject::Subject;
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
        let function =
            function.and_then(|written| Some((reader.name(&written.schema)?, reader.name(&written.name)?)));
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
