//! The planner: the steps so far, and the state as they leave it.

use crate::acl::{Grantee, Privileges};
use crate::current::{Contents, CurrentState, MembershipKey, MembershipOptions};
use crate::desired::DesiredState;
use crate::model;
use crate::name::Name;
use crate::object::Object;
use crate::plan::{
    BlockedChange, Change, Consent, DatabaseChange, DestructibleObject, Digest, GrantChange,
    MembershipChange, Obstacle, Options, Plan, RoleChange, Step,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The planner, with the state as modelled after the steps so far.
pub(crate) struct Planner<'a> {
    /// State as the steps so far leave it.
    now: Cow<'a, CurrentState>,
    desired: &'a DesiredState,
    consent: &'a Consent,
    steps: Vec<Step>,
    blocked: Vec<BlockedChange>,
    notes: Vec<String>,
    /// Databases in which a step creates objects that only the server knows.
    opaque: BTreeSet<Name>,
}

impl<'a> Planner<'a> {
    /// Creates a planner without steps.
    pub(crate) fn new(current: &'a CurrentState, desired: &'a DesiredState, consent: &'a Consent) -> Self {
        Self {
            now: Cow::Borrowed(current),
            desired,
            consent,
            steps: Vec::new(),
            blocked: Vec::new(),
            notes: Vec::new(),
            opaque: BTreeSet::new(),
        }
    }

    /// Returns the plan for a current state.
    pub(crate) fn finish(self, current: &CurrentState) -> Plan {
        let Self { desired, steps, blocked, notes, .. } = self;
        let digest = Digest::of(current, desired, &steps, &blocked);
        Plan { version: current.version, steps, blocked, notes, digest }
    }

    /// Returns the state as the steps so far leave it.
    pub(crate) fn now(&self) -> &CurrentState {
        &self.now
    }

    /// Returns the desired state.
    pub(crate) fn desired(&self) -> &'a DesiredState {
        self.desired
    }

    /// Returns the contents of a database as the steps so far leave them. `None` if the database does not exist or was
    /// not inspected.
    pub(crate) fn inside(&self, database: &Name) -> Option<&Contents> {
        self.now.databases.get(database)?.contents.as_ref()
    }

    /// Returns `true` if a step creates objects in this database that only the server knows.
    pub(crate) fn is_opaque(&self, database: &Name) -> bool {
        self.opaque.contains(database)
    }

    /// Returns `true` if a step creates this database.
    pub(crate) fn creates_database(&self, database: &Name) -> bool {
        let create = |change: &Change| matches!(change, Change::Database(DatabaseChange::Create(new)) if new.name == *database);
        self.steps.iter().any(|step| create(&step.change))
    }

    /// Adds a remark about the current state that no step addresses.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds a step and applies the change to the model. Returns `false` if the change was reported as blocked instead,
    /// because the session lacks a permission, the model rejects the change, or it creates a role or database whose
    /// name contains a line end, which PostgreSQL 19 rejects.
    pub(crate) fn emit(&mut self, change: impl Into<Change>, reason: impl Into<String>) -> bool {
        let change = change.into();
        let what = || change.sql(self.now.version);
        if self.now.version.refuses_line_ends()
            && let Some(name) = creates(&change).filter(|name| name.as_str().contains(['\r', '\n']))
        {
            let why =
                format!("{name:?} has a line end, which names cannot have from PostgreSQL 19 on: rename it");
            self.blocked.push(BlockedChange { what: what(), why: Obstacle::Refused(why) });
            return false;
        }
        if let Err(why) = change.permitted(&self.now) {
            self.blocked.push(BlockedChange { what: what(), why: Obstacle::NotPermitted(why) });
            return false;
        }
        let what = what();
        if let Err(why) = model::change(self.now.to_mut(), &change) {
            self.blocked.push(BlockedChange { what, why: Obstacle::Missing(why.0) });
            return false;
        }
        self.opaque.extend(makes_objects(&change).cloned());
        self.steps.push(Step { change, reason: reason.into() });
        true
    }

    /// Reports a change as blocked.
    pub(crate) fn block(&mut self, what: impl Into<String>, why: Obstacle) {
        self.blocked.push(BlockedChange { what: what.into(), why });
    }

    /// Reports a change as blocked, since the version does not support it.
    pub(crate) fn unsupported(&mut self, what: impl Into<String>, why: &str) {
        self.block(what, Obstacle::Unsupported(why.to_owned()));
    }

    /// Returns `true` if the operator consents to destroying `named`; otherwise reports `what` as blocked.
    pub(crate) fn may_destroy(&mut self, what: &str, named: DestructibleObject) -> bool {
        let may = self.consent.destroy.contains(&named);
        if !may {
            self.block(what, Obstacle::NotNamed(named));
        }
        may
    }

    /// Returns `true` if the session is permitted to grant `privileges` on an object, by its memberships at this point
    /// of the plan.
    pub(crate) fn may_grant(&self, on: &Object, privileges: Privileges) -> bool {
        let (on, to) = (on.clone(), Grantee::Public);
        let grant = Change::from(GrantChange::Grant { on, to, privileges, grantable: false });
        grant.permitted(&self.now).is_ok()
    }

    /// Plans the memberships that the session needs to act for `roles`, as [`act_as`](Self::act_as) does, and a change.
    /// If the change is reported as blocked, the memberships are withdrawn; then returns `false`.
    pub(crate) fn emit_as(
        &mut self,
        roles: &[&Name],
        change: impl Into<Change>,
        reason: impl Into<String>,
    ) -> bool {
        let before = self.checkpoint(roles);
        roles.iter().for_each(|role| self.act_as(role));
        let emitted = self.emit(change, reason);
        if !emitted {
            self.withdraw(before);
        }
        emitted
    }

    /// Returns the result of a check of the state with the memberships that the session needs to act for `roles`. Plans
    /// nothing. The check leaves the state as it is, apart from changes that it undoes itself.
    pub(crate) fn check_as<T>(&mut self, roles: &[&Name], check: impl FnOnce(&mut CurrentState) -> T) -> T {
        let (before, blocked) = (self.checkpoint(roles), self.blocked.len());
        roles.iter().for_each(|role| self.act_as(role));
        let result = check(self.now.to_mut());
        self.withdraw(before);
        self.blocked.truncate(blocked);
        result
    }

    /// Returns the number of steps and the memberships in `roles`, for [`withdraw`](Self::withdraw).
    fn checkpoint(&self, roles: &[&Name]) -> Checkpoint {
        let members = |role: &&Name| -> Vec<_> {
            self.now.members(role).map(|(key, options)| (key.clone(), *options)).collect()
        };
        Checkpoint {
            steps: self.steps.len(),
            roles: roles.iter().map(|role| (*role).clone()).collect(),
            memberships: roles.iter().flat_map(members).collect(),
        }
    }

    /// Removes the steps since a checkpoint, all of which are grants of memberships in its roles, and their effect.
    fn withdraw(&mut self, to: Checkpoint) {
        if self.steps.len() == to.steps {
            return;
        }
        self.steps.truncate(to.steps);
        let state = self.now.to_mut();
        for role in &to.roles {
            let keys: Vec<MembershipKey> = state.members(role).map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| {
                state.memberships.remove(key);
            });
        }
        state.memberships.extend(to.memberships);
    }

    /// Plans a membership of the session's role in `role`, if the session needs the membership to act for that role and
    /// is permitted to grant it. No effect for a superuser, for a role that does not exist or is `pg_database_owner`,
    /// and if the desired state declares this membership or, before PostgreSQL 16, the session is a member already.
    pub(crate) fn act_as(&mut self, role: &Name) {
        let (user, superuser) = (self.now.session.user.clone(), self.now.superuser());
        if superuser || !self.now.roles.contains_key(role) || *role == "pg_database_owner" {
            return;
        }
        if self.now.can_set(&user, role) && self.now.has_privileges_of(&user, role) {
            return;
        }
        // A declared membership takes precedence.
        if self.desired.memberships.contains_key(&(role.clone(), user.clone())) {
            return;
        }
        // Before PostgreSQL 16, membership has no options that could be missing.
        if !self.now.version.membership_options() && self.now.is_member(&user, role) {
            return;
        }
        let grant = Change::from(MembershipChange::Grant {
            role: role.clone(),
            member: user.clone(),
            options: Options { admin: None, inherit: Some(true), set: Some(true) },
            grantor: None,
        });
        if grant.permitted(&self.now).is_ok() {
            self.emit(grant, format!("{user} needs it to act for {role}, since it is not a superuser"));
        }
    }
}

/// The state of a planner before it plans memberships in some roles.
struct Checkpoint {
    /// Number of steps.
    steps: usize,
    /// The roles whose memberships are planned.
    roles: Vec<Name>,
    /// All memberships in these roles.
    memberships: Vec<(MembershipKey, MembershipOptions)>,
}

/// Returns the role or database that a change creates. `None` for other changes.
fn creates(change: &Change) -> Option<&Name> {
    match change {
        Change::Role(RoleChange::Create { name, .. }) => Some(name),
        Change::Database(DatabaseChange::Create(new)) => Some(&new.name),
        _ => None,
    }
}

/// Returns the database in which a change creates objects whose names are not known in advance. `None` for other
/// changes.
fn makes_objects(change: &Change) -> Option<&Name> {
    match change {
        Change::Database(DatabaseChange::InitialSql { name, .. }) => Some(name),
        Change::Inside { database, change } => change.brings_objects().then_some(database),
        _ => None,
    }
}
