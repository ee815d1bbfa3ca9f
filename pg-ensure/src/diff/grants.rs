//! Planning of privileges: comparison with the desired sets, and the smallest changes between them.

use super::Planner;
use crate::acl::{Acl, Grantee, ObjectKind, Privileges};
use crate::current::{CurrentState, DefaultKey};
use crate::desired::{Grant, GrantTarget, PrivilegeSet};
use crate::name::Name;
use crate::object::{Local, Object};
use crate::plan::{Change, Obstacle};
use std::collections::BTreeSet;

impl Planner<'_> {
    /// Plans the changes of privileges on shared objects.
    pub(super) fn cluster_grants(&mut self) {
        let desired = self.desired;
        for grant in desired.grants.iter().filter(|grant| grant.on.database().is_none()) {
            if let GrantTarget::One(object) = &grant.on {
                self.grant(object, grant);
            }
        }
    }

    /// Plans the changes of privileges on objects in a database. Columns come after their tables, which affect them.
    pub(super) fn grants(&mut self, database: &Name) {
        let desired = self.desired;
        let here = || desired.grants.iter().filter(|grant| grant.on.database() == Some(database));
        let mut named: BTreeSet<(&Object, &Grantee)> = BTreeSet::new();
        // Columns come last, since a REVOKE on a table also affects its columns.
        let mut columns = Vec::new();
        for grant in here() {
            if let GrantTarget::One(object) = &grant.on {
                named.insert((object, &grant.to));
                if object.kind() == ObjectKind::Column {
                    columns.push((object, grant));
                } else {
                    self.grant(object, grant);
                }
            }
        }
        for grant in here() {
            let GrantTarget::AllIn { schema, kind, .. } = &grant.on else { continue };
            let Some(inside) = self.inside(database) else { break };
            let what = format!("privileges of {} on {}", grant.to, grant.on);
            let there = inside.schemas.contains_key(schema);
            // In a schema that is not there nobody holds anything.
            let nothing = grant.privileges == PrivilegeSet::Only(Privileges::NONE);
            if self.opaque.contains(database) {
                self.later(&what);
            } else if !there && !nothing {
                self.block(what, Obstacle::Missing(format!("there is no schema {schema}")));
            }
            if !there {
                continue;
            }
            let Some(inside) = self.inside(database) else { break };
            let all =
                inside.objects.keys().filter(|local| local.kind() == *kind && local.schema() == Some(schema));
            let all: Vec<Object> = all.map(|local| Object::Inside(database.clone(), local.clone())).collect();
            for object in all.iter().filter(|object| !named.contains(&(*object, &grant.to))) {
                self.grant(object, grant);
            }
        }
        for (object, grant) in columns {
            self.grant(object, grant);
        }
    }

    /// Adds a note that the privileges depend on objects that an extension or a script of this plan creates.
    fn later(&mut self, what: &str) {
        self.notes.push(format!(
            "{what}: which objects an extension or initial_sql of this plan makes is not known yet; apply goes on with what is \
             to be granted, and leaves what is to be revoked to the next run, as a saved plan leaves both"
        ));
    }

    /// Returns the desired privileges for a kind of object. `None` if this version lacks one of them, which is reported
    /// as unsupported for `what`.
    fn wanted(&mut self, what: &str, set: PrivilegeSet, kind: ObjectKind) -> Option<Privileges> {
        let version = self.now.version;
        let wanted = set.expand(kind, version);
        let strange = wanted - kind.all(version);
        if !strange.is_empty() {
            self.unsupported(what, &format!("{} on a {kind}", strange.sql()));
            return None;
        }
        Some(wanted)
    }

    /// Plans the changes that give a grantee exactly the desired privileges on one object. An object that does not
    /// exist, or a version that lacks a privilege, is reported as blocked, unless nothing has to be revoked.
    fn grant(&mut self, object: &Object, grant: &Grant) {
        let to = &grant.to;
        let what = format!("privileges of {to} on {object}");
        if matches!(object, Object::Parameter(_)) && !self.now.version.parameter_grants() {
            return self.unsupported(what, "privileges on parameters came with PostgreSQL 15");
        }
        let Some(wanted) = self.wanted(&what, grant.privileges, object.kind()) else { return };
        let Some((owner, acl)) = list(&self.now, object) else {
            if object.database().is_some_and(|database| self.opaque.contains(database)) {
                self.later(&what);
            } else if !wanted.is_empty() {
                self.block(what, Obstacle::Missing(format!("there is no {object}")));
            }
            return;
        };
        // A role that does not exist has no privileges to revoke.
        if wanted.is_empty() && acl.privileges_of(to).privileges.is_empty() {
            return;
        }
        let differs = PrivilegeDifference::of(&acl, to, wanted, grant.grantable, &owner);
        let granted = differs.missing | differs.options;
        if differs.extra || !granted.is_empty() && !self.may_grant(object, granted) {
            self.act_as(&owner);
        }
        for (grantor, rights) in acl.grants_to(to) {
            let (extra, options) = differs.to_revoke(rights.privileges, rights.grantable);
            let foreign = (*grantor != owner).then(|| grantor.clone());
            for (privileges, option_only) in [(extra, false), (options, true)] {
                if privileges.is_empty() {
                    continue;
                }
                let dependent = acl.privileges_of(to).grantable & privileges;
                let cascade = to
                    .role()
                    .is_some_and(|role| *role != owner && !acl.dependents(role, dependent).is_empty());
                let change = Change::Revoke {
                    on: object.clone(),
                    from: to.clone(),
                    privileges,
                    option_only,
                    grantor: foreign.clone(),
                    cascade,
                };
                let reason = match (option_only, cascade) {
                    (true, false) => "it is not to grant it on".to_owned(),
                    (false, false) => format!("{to} is not to have it"),
                    (_, true) => format!("{to} is not to have it, nor those whom it granted it to"),
                };
                self.emit(change, reason);
            }
        }
        // Privileges that a cascade revoked as well are granted again.
        let Some((_, acl)) = list(&self.now, object) else { return };
        let differs = PrivilegeDifference::of(&acl, to, wanted, grant.grantable, &owner);
        for (privileges, grantable) in [(differs.missing, false), (differs.options, true)] {
            if !privileges.is_empty() {
                let change = Change::Grant { on: object.clone(), to: to.clone(), privileges, grantable };
                self.emit(change, format!("{to} lacks it"));
            }
        }
    }

    /// Plans the changes of default privileges in a database. Large objects have them from PostgreSQL 18 on.
    pub(super) fn default_grants(&mut self, database: &Name) {
        let desired = self.desired;
        for grant in desired.defaults.iter().filter(|grant| grant.database == *database) {
            let (to, kind) = (&grant.to, grant.kind);
            let what = format!("default privileges of {to} on {} of {}", kind.sql(), grant.creator);
            if kind == crate::current::DefaultKind::LargeObjects && !self.now.version.large_object_defaults()
            {
                self.unsupported(what, "default privileges of large objects came with PostgreSQL 18");
                continue;
            }
            let Some(wanted) = self.wanted(&what, grant.privileges, kind.object()) else { continue };
            let key = DefaultKey { creator: grant.creator.clone(), schema: grant.schema.clone(), kind };
            let owner = grant.creator.clone();
            let version = self.now.version;
            let list = |planner: &Self| {
                let inside = planner.inside(database);
                inside
                    .and_then(|inside| inside.defaults.get(&key).cloned())
                    .unwrap_or_else(|| key.base(version))
            };
            let acl = list(self);
            let differs = PrivilegeDifference::of(&acl, to, wanted, grant.grantable, &owner);
            if differs.is_empty() {
                continue;
            }
            self.act_as(&owner);
            let held = acl.privileges_of(to);
            let (extra, options) = differs.to_revoke(held.privileges, held.grantable);
            for (privileges, option_only) in [(extra, false), (options, true)] {
                if !privileges.is_empty() {
                    let change = Change::RevokeDefault {
                        database: database.clone(),
                        key: key.clone(),
                        from: to.clone(),
                        privileges,
                        option_only,
                    };
                    self.emit(change, format!("{to} is not to get it"));
                }
            }
            for (privileges, grantable) in [(differs.missing, false), (differs.options, true)] {
                if !privileges.is_empty() {
                    let change = Change::GrantDefault {
                        database: database.clone(),
                        key: key.clone(),
                        to: to.clone(),
                        privileges,
                        grantable,
                    };
                    self.emit(change, format!("{to} does not get it; what exists already is not touched"));
                }
            }
        }
    }
}

/// The difference between the privileges that a grantee holds and those desired. `extra` is `true` if some are to be
/// revoked; `missing` are to be granted, `options` to be granted with the grant option.
struct PrivilegeDifference {
    wanted: Privileges,
    wanted_options: Privileges,
    extra: bool,
    missing: Privileges,
    options: Privileges,
}

impl PrivilegeDifference {
    /// Computes the difference for a grantee. `grantable` selects whether the privileges are desired with the grant
    /// option.
    fn of(acl: &Acl, to: &Grantee, wanted: Privileges, grantable: bool, owner: &Name) -> Self {
        let held = acl.privileges_of(to);
        let is_owner = to.role() == Some(owner);
        // The owner always has grant options, whatever the list says.
        let wanted_options = match (is_owner, grantable) {
            (true, _) => held.grantable & wanted,
            (false, true) => wanted,
            (false, false) => Privileges::NONE,
        };
        let options = wanted_options - held.grantable;
        let missing = wanted - held.privileges - options;
        let extra = !(held.privileges - wanted).is_empty() || !(held.grantable - wanted_options).is_empty();
        Self { wanted, wanted_options, extra, missing, options }
    }

    /// Returns `true` if nothing has to be granted or revoked.
    fn is_empty(&self) -> bool {
        !self.extra && self.missing.is_empty() && self.options.is_empty()
    }

    /// Returns the privileges to revoke from one grantor's entry, and then the grant options to revoke from privileges
    /// that are kept.
    fn to_revoke(&self, privileges: Privileges, grantable: Privileges) -> (Privileges, Privileges) {
        let extra = privileges - self.wanted;
        (extra, grantable - extra - self.wanted_options)
    }
}

/// Returns the owner and the ACL of an object. `None` if it does not exist or was not inspected.
pub(super) fn list(now: &CurrentState, object: &Object) -> Option<(Name, Acl)> {
    let both = |owned: &crate::current::Owned| (owned.owner.clone(), owned.acl.clone());
    match object {
        Object::Database(name) => now.databases.get(name).map(|found| both(&found.owned)),
        Object::Tablespace(name) => now.tablespaces.get(name).map(both),
        Object::Parameter(name) => {
            let owner = now.session.bootstrap.clone();
            let acl = now.parameters.get(name).cloned();
            let acl = acl.unwrap_or_else(|| Acl::default_of(ObjectKind::Parameter, &owner, now.version));
            Some((owner, acl))
        }
        Object::Inside(database, local) => {
            let inside = now.databases.get(database)?.contents.as_ref()?;
            match local {
                Local::Schema(name) => inside.schemas.get(name).map(|schema| both(&schema.owned)),
                local => inside.objects.get(local).map(both),
            }
        }
    }
}
