//! Comparison of current and desired state, which yields a plan.

mod contents;
mod databases;
mod grants;
mod leaving;
mod memberships;
mod owners;
mod permission;
mod roles;

use crate::acl::{Grantee, Privileges};
use crate::current::CurrentState;
use crate::desired::DesiredState;
use crate::model;
use crate::name::Name;
use crate::object::Object;
use crate::plan::{
    BlockedChange, Change, Consent, DestructibleObject, Digest, Obstacle, Options, Plan, Step,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Plans the fewest changes that bring a cluster to its desired state, in a valid order. Executes nothing.
///
/// A change that the session is not permitted to make, that PostgreSQL cannot make, or that destroys something without
/// consent is reported as blocked; all other changes are planned. The desired state should have been
/// [validated](DesiredState::validate).
#[must_use]
pub fn diff(current: &CurrentState, desired: &DesiredState, consent: &Consent) -> Plan {
    let mut planner = Planner {
        now: Cow::Borrowed(current),
        desired,
        consent,
        steps: Vec::new(),
        blocked: Vec::new(),
        notes: Vec::new(),
        opaque: BTreeSet::new(),
    };
    planner.roles();
    planner.memberships();
    planner.role_settings();
    planner.create_databases();
    planner.databases();
    planner.cluster_grants();
    for database in desired.looks_into() {
        planner.contents(&database);
    }
    planner.drop_databases();
    planner.drop_roles();
    let Planner { steps, blocked, notes, .. } = planner;
    let digest = Digest::of(current, desired, &steps, &blocked);
    Plan { version: current.version, steps, blocked, notes, digest }
}

/// Returns the role or database that a change creates. `None` for other changes.
fn created_object(change: &Change) -> Option<&Name> {
    match change {
        Change::CreateRole { name, .. } => Some(name),
        Change::CreateDatabase(new) => Some(&new.name),
        _ => None,
    }
}

/// Returns the database in which a change creates objects whose names are not known in advance. `None` for other
/// changes.
fn makes_objects(change: &Change) -> Option<&Name> {
    match change {
        Change::InitialSql { database, .. } => Some(database),
        Change::Inside { database, change } => change.brings_objects().then_some(database),
        _ => None,
    }
}

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

impl Planner<'_> {
    /// Adds a step and applies the change to the model. Returns `false` if the change was reported as blocked instead,
    /// because the session lacks a permission, the model rejects the change, or it creates a role or database whose
    /// name contains a line end, which PostgreSQL 19 rejects.
    fn emit(&mut self, change: Change, reason: impl Into<String>) -> bool {
        let what = || change.sql(self.now.version);
        if self.now.version.refuses_line_ends()
            && let Some(name) = created_object(&change).filter(|name| name.as_str().contains(['\r', '\n']))
        {
            let why =
                format!("{name:?} has a line end, which names cannot have from PostgreSQL 19 on: rename it");
            self.blocked.push(BlockedChange { what: what(), why: Obstacle::Refused(why) });
            return false;
        }
        if let Err(why) = permission::permitted(&self.now, &change) {
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
    fn block(&mut self, what: impl Into<String>, why: Obstacle) {
        self.blocked.push(BlockedChange { what: what.into(), why });
    }

    /// Returns `true` if the operator consents to destroying `named`; otherwise reports `what` as blocked.
    fn may_destroy(&mut self, what: &str, named: DestructibleObject) -> bool {
        let may = self.consent.destroy.contains(&named);
        if !may {
            self.block(what, Obstacle::NotNamed(named));
        }
        may
    }

    /// Returns `true` if the session is permitted to grant `privileges` on an object, by its memberships at this point
    /// of the plan.
    fn may_grant(&self, on: &Object, privileges: Privileges) -> bool {
        let grant = Change::Grant { on: on.clone(), to: Grantee::Public, privileges, grantable: false };
        permission::permitted(&self.now, &grant).is_ok()
    }

    /// Plans a membership of the session's role in `role`, if the session needs the membership to act for that role and
    /// is permitted to grant it. No effect for a superuser, for a role that does not exist or is `pg_database_owner`,
    /// and if the desired state declares this membership or, before PostgreSQL 16, the session is a member already.
    fn act_as(&mut self, role: &Name) {
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
        let grant = Change::GrantRole {
            role: role.clone(),
            member: user.clone(),
            options: Options { admin: None, inherit: Some(true), set: Some(true) },
            grantor: None,
        };
        if permission::permitted(&self.now, &grant).is_ok() {
            self.emit(grant, format!("{user} needs it to act for {role}, since it is not a superuser"));
        }
    }
}
