//! Validation and planning of event triggers.

use super::{DatabaseEvent, EventTrigger, EventTriggerChange, Firing};
use crate::comment;
use crate::desired::InvalidReason;
use crate::inside::{DatabasePlanner, DeclarationValidation, DeclaredObjects, InsideChange};
use crate::name::{Name, Text};
use crate::presence::Presence;
use crate::subject::{DestructibleObject, Subject};

impl EventTrigger {
    /// Plans the creation of an event trigger, or its changes. One with another event, function or set of tags is
    /// dropped and created anew, since these cannot be altered; what is not declared is kept. No effect on one that is
    /// declared absent.
    pub(in crate::inside) fn plan(&self, name: &Name, work: &mut dyn DatabasePlanner) {
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

    /// Plans the end of an event trigger that fires now: its removal if it is declared absent and the operator
    /// consents, `ALTER EVENT TRIGGER … DISABLE` if it is declared disabled.
    pub(in crate::inside) fn plan_end(&self, name: &Name, work: &mut dyn DatabasePlanner) {
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
    pub(in crate::inside) fn check(
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

/// Adds a step with a change of an event trigger.
fn emit(work: &mut dyn DatabasePlanner, change: EventTriggerChange, reason: &str) {
    work.emit(InsideChange::EventTrigger(change), reason.to_owned());
}
