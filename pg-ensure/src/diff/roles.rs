//! Planning of roles, their passwords, comments and settings.

use super::Planner;
use crate::comment;
use crate::current::{RoleState, StoredPassword};
use crate::desired::{self, Password, Presence};
use crate::name::{Name, Text};
use crate::object::Setting;
use crate::plan::{Attributes, Change, Commented, Obstacle};
use std::num::NonZeroU32;

impl Planner<'_> {
    /// Plans the creation and change of roles that are to exist, then their passwords and comments.
    pub(super) fn roles(&mut self) {
        let present = || self.desired.roles.iter().filter(|(_, wanted)| wanted.presence == Presence::Present);
        for (name, wanted) in present() {
            match self.now.roles.get(name) {
                None => {
                    let attributes = changed_attributes(&RoleState::default(), wanted);
                    self.emit(Change::CreateRole { name: name.clone(), attributes }, "there is no such role");
                }
                Some(found) => {
                    let attributes = changed_attributes(found, wanted);
                    if !attributes.is_empty() {
                        self.alter(name, attributes);
                    }
                }
            }
        }
        for (name, wanted) in present() {
            if let (Some(password), Some(found)) = (&wanted.password, self.now.roles.get(name)) {
                self.password(name, password, &found.password.clone());
            }
        }
        for (name, wanted) in present() {
            let Some(found) = self.now.roles.get(name) else { continue };
            if let Some(text) = comment::changed(found.comment.as_ref(), wanted.comment.as_ref()) {
                let on = Commented::Role(name.clone());
                self.emit(Change::Comment { on, text }, "the comment differs");
            }
        }
    }

    /// Plans one statement that changes the attributes of a role, or one per group of attributes if the session may
    /// change only some of them; the others are then reported as blocked.
    fn alter(&mut self, name: &Name, attributes: Attributes) {
        let whole = Change::AlterRole { name: name.clone(), attributes };
        if super::permission::permitted(&self.now, &whole).is_ok() {
            let Change::AlterRole { attributes, .. } = &whole else { return };
            let reason = format!("it is not {}", attributes.words().join(", "));
            self.emit(whole, reason);
            return;
        }
        let Change::AlterRole { attributes: all, .. } = whole else { return };
        let none = Attributes::default;
        let parts = [
            Attributes { superuser: all.superuser, ..none() },
            Attributes { createdb: all.createdb, ..none() },
            Attributes { createrole: all.createrole, ..none() },
            Attributes { replication: all.replication, ..none() },
            Attributes { bypassrls: all.bypassrls, ..none() },
            Attributes {
                inherit: all.inherit,
                login: all.login,
                connection_limit: all.connection_limit,
                valid_until: all.valid_until,
                ..none()
            },
        ];
        for attributes in parts.into_iter().filter(|part| !part.is_empty()) {
            let reason = format!("it is not {}", attributes.words().join(", "));
            self.emit(Change::AlterRole { name: name.clone(), attributes }, reason);
        }
    }

    /// Plans to set or clear the password of a role, or notes that its state cannot be determined.
    fn password(&mut self, name: &Name, wanted: &Password, stored: &StoredPassword) {
        match judge(wanted, stored, self.now.iterations) {
            Verdict::Fine => {}
            Verdict::Unseen => {
                self.notes
                    .push(format!("whether {name} has a password cannot be seen, so it is left as it is"));
            }
            Verdict::Clear => {
                self.emit(Change::ClearPassword { name: name.clone() }, "it is to have no password");
            }
            Verdict::Set(why) => {
                self.emit(Change::SetPassword { name: name.clone() }, why);
            }
        }
    }

    /// Plans the changes of settings that apply in all databases.
    pub(super) fn role_settings(&mut self) {
        let own = self.desired.settings.iter().filter(|(key, _)| key.database.is_none());
        for (key, settings) in own {
            for (setting, value) in settings {
                self.setting(key.role.as_ref(), None, setting, value.as_ref());
            }
        }
    }

    /// Plans the change of one setting of this scope, unless it has the desired value. A value that the server rejects
    /// is reported as blocked.
    pub(super) fn setting(
        &mut self,
        role: Option<&Name>,
        database: Option<&Name>,
        setting: &Setting,
        value: Option<&Text>,
    ) {
        let found = self.now.setting(role, database, setting);
        let reason = match (found, value) {
            (None, None) => return,
            (Some(found), Some(value)) if setting.same(found, value) => return,
            (None, Some(_)) => "it is not set".to_owned(),
            (Some(found), _) => format!("it is {found:?}"),
        };
        let (role, database) = (role.cloned(), database.cloned());
        let refused = value.and_then(|value| self.now.refused.get(&(setting.clone(), value.clone())));
        if let Some(why) = refused.cloned() {
            let change = Change::Set { role, database, setting: setting.clone(), value: value.cloned() };
            let what = change.sql(self.now.version);
            return self.block(what, Obstacle::Refused(why));
        }
        self.emit(Change::Set { role, database, setting: setting.clone(), value: value.cloned() }, reason);
    }

    /// Reports a change as blocked, since the version does not support it.
    pub(super) fn unsupported(&mut self, what: impl Into<String>, why: &str) {
        self.block(what, Obstacle::Unsupported(why.to_owned()));
    }
}

/// Result of comparing a password: nothing to do, not determinable, to be cleared, or to be set for a reason.
enum Verdict {
    Fine,
    Unseen,
    Clear,
    Set(String),
}

/// Compares a declared password with the stored one. A verifier with fewer iterations than `least`, an MD5 hash, and a
/// password whose state is unknown are to be replaced; a declared verifier is stored whatever its iterations are.
fn judge(wanted: &Password, stored: &StoredPassword, least: NonZeroU32) -> Verdict {
    let set = |why: &str| Verdict::Set(why.to_owned());
    let weak = |count: NonZeroU32| {
        (count < least).then(|| format!("it is hashed with {count} iterations instead of {least}"))
    };
    match (wanted, stored) {
        (Password::None, StoredPassword::None) => Verdict::Fine,
        (Password::None, StoredPassword::Unknown) => Verdict::Unseen,
        (Password::None, _) => Verdict::Clear,
        (_, StoredPassword::None) => set("it has no password"),
        (_, StoredPassword::Md5) => set("its password is hashed by MD5"),
        (_, StoredPassword::Wrong) => set("its password differs"),
        (_, StoredPassword::Unknown) => {
            set("its password cannot be read, and no record says that it was set")
        }
        (Password::Secret(secret), StoredPassword::Scram(verifier)) => match weak(verifier.iterations()) {
            Some(why) => Verdict::Set(why),
            None if verifier.matches(secret) => Verdict::Fine,
            None => set("its password differs"),
        },
        (Password::Verifier(wanted), StoredPassword::Scram(stored)) if wanted == stored => Verdict::Fine,
        (Password::Verifier(_), StoredPassword::Scram(_)) => set("its password differs"),
        (Password::Secret(_), StoredPassword::Right(Some(count))) => {
            weak(*count).map_or(Verdict::Fine, Verdict::Set)
        }
        (_, StoredPassword::Right(_)) => Verdict::Fine,
    }
}

/// Returns the declared attributes that differ from the current ones.
fn changed_attributes(found: &RoleState, wanted: &desired::Role) -> Attributes {
    /// Returns the desired value if it differs from the current one. `None` if they are equal, or none is desired.
    fn other<T: PartialEq + Copy>(found: T, wanted: Option<T>) -> Option<T> {
        wanted.filter(|wanted| *wanted != found)
    }
    Attributes {
        superuser: other(found.superuser, wanted.superuser),
        createdb: other(found.createdb, wanted.createdb),
        createrole: other(found.createrole, wanted.createrole),
        inherit: other(found.inherit, wanted.inherit),
        login: other(found.login, wanted.login),
        replication: other(found.replication, wanted.replication),
        bypassrls: other(found.bypassrls, wanted.bypassrls),
        connection_limit: other(found.connection_limit, wanted.connection_limit),
        valid_until: other(found.valid_until, wanted.valid_until),
    }
}
