//! Plans changes of the owners of databases, and of the objects that the former owners have in them.

use super::change::DatabaseChange;
use crate::cluster::owned::{OwnedChange, not_for};
use crate::desired::Presence;
use crate::diff::planner::Planner;
use crate::name::Name;
use crate::plan::{Change, Obstacle};

/// A database whose declared owner differs from the current one.
struct OwnerChange<'a> {
    /// The name of the database.
    database: &'a Name,
    /// The current owner.
    before: Name,
    /// The declared owner.
    owner: &'a Name,
    /// `true` if the objects of the current owner in the database are to be reassigned to the declared owner.
    reassign: bool,
}

/// Plans the changes of the owners of existing, valid databases, and REASSIGN OWNED where `reassign_owned` is set.
/// If several databases have one former owner, all their owners change before the first REASSIGN OWNED, which would
/// also reassign databases. If the contents cannot be reassigned, the change of the owner is blocked too, since a
/// later plan could not find out the former owner.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    let mut changes = Vec::new();
    for (name, wanted) in &desired.databases {
        let (Some(owner), Some(found)) = (&wanted.owner, planner.now().databases.get(name)) else { continue };
        if wanted.presence == Presence::Present && !found.is_invalid() && *owner != found.owned.owner {
            let (before, reassign) = (found.owned.owner.clone(), wanted.reassign_owned);
            changes.push(OwnerChange { database: name, before, owner, reassign });
        }
    }
    let mut handed = Vec::new();
    for change in &changes {
        let mut obstacle = None;
        if change.reassign {
            obstacle = reassign_obstacle(planner, change, &changes).map(Obstacle::InUse);
            obstacle = obstacle.or_else(|| missing_permission(planner, change));
        }
        if let Some(why) = obstacle {
            planner.block(change.sql(planner.now().version), why);
            continue;
        }
        let alone = changes.iter().filter(|other| other.before == change.before).count() == 1;
        if change.reassign && alone {
            // Both are one transaction, so that a run that is cut short leaves neither half.
            if change_owner(planner, change) {
                reassign(planner, change);
            }
        } else if change_owner(planner, change) {
            handed.push(change);
        }
    }
    for change in handed {
        if change.reassign {
            reassign(planner, change);
        } else {
            note_contents(planner, change);
        }
    }
}

/// Plans ALTER DATABASE … OWNER TO, after the memberships that the session needs for it. Returns `false`, without
/// planning memberships, if the change is blocked.
fn change_owner(planner: &mut Planner<'_>, change: &OwnerChange<'_>) -> bool {
    let reason = format!("its owner is {}", change.before);
    planner.emit_as(&[&change.before, change.owner], change.statement(), reason)
}

/// Returns the reason why REASSIGN OWNED cannot be used for the objects of the former owner in a database: the former
/// owner is the bootstrap superuser, owns a tablespace, a database that is not in `changes` or a subscription of such a
/// database, or owns an object whose owner must be a superuser, which the new owner is not. `None` if there is no
/// obstacle, the former owner has no objects in the database, or the contents are unknown.
fn reassign_obstacle(
    planner: &Planner<'_>,
    change: &OwnerChange<'_>,
    changes: &[OwnerChange<'_>],
) -> Option<String> {
    let OwnerChange { database, before, owner, .. } = change;
    let what = owned_contents(planner, database, before)?;
    if *before == planner.now().session.bootstrap {
        return Some(format!(
            "{before} owns the system's own objects: give {what} to {owner} by ALTER … OWNER TO, or leave \
             reassign_owned out"
        ));
    }
    if let Some(special) = not_for(planner.now(), database, before, owner) {
        return Some(format!(
            "{owner} is not a superuser, as the owner of {special} must be: give {special} to another superuser, or leave \
             reassign_owned out"
        ));
    }
    let changes_too = |name: &Name| changes.iter().any(|change| change.database == name);
    let databases = planner
        .now()
        .databases
        .iter()
        .filter(|(name, found)| found.owned.owner == *before && *name != *database && !changes_too(name));
    let tablespaces = planner.now().tablespaces.iter().filter(|(_, owned)| owned.owner == *before);
    let elsewhere = |place: &Name| *place != **database && !changes_too(place);
    let subscriptions =
        planner.now().subscriptions.iter().filter(|((place, _), owner)| *owner == before && elsewhere(place));
    let others: Vec<String> = databases
        .map(|(name, _)| format!("database {name}"))
        .chain(tablespaces.map(|(name, _)| format!("tablespace {name}")))
        .chain(subscriptions.map(|((place, name), _)| format!("subscription {name} in database {place}")))
        .collect();
    (!others.is_empty()).then(|| {
        format!("{before} also owns {}, which REASSIGN OWNED would hand over too", others.join(", "))
    })
}

/// Returns the permission that the session lacks for REASSIGN OWNED after the change of the database's owner, with the
/// memberships that it needs for both. Plans nothing. `None` if no permission is lacking, there are no objects to
/// reassign, or the owner cannot be changed.
fn missing_permission(planner: &mut Planner<'_>, change: &OwnerChange<'_>) -> Option<Obstacle> {
    owned_contents(planner, change.database, &change.before)?;
    if planner.now().superuser() {
        return None;
    }
    let (statement, reassignment) = (Change::from(change.statement()), Change::from(change.reassignment()));
    let missing = planner.check_as(&[&change.before, change.owner], |state| {
        if statement.permitted(state).is_err() || !state.roles.contains_key(change.owner) {
            return None;
        }
        let owned = state.databases.get(change.database)?.owned.clone();
        state.databases.get_mut(change.database)?.owned.give_to(change.owner);
        let missing = reassignment.permitted(state).err();
        // A copy of the state for each database would be expensive.
        state.databases.get_mut(change.database)?.owned = owned;
        missing
    });
    missing.map(Obstacle::NotPermitted)
}

/// Plans REASSIGN OWNED for the objects of the former owner in a database, or blocks it if the former owner still
/// owns a database. Plans nothing if there are no such objects or the contents are unknown. Adds the note of
/// [`note_defaults`].
fn reassign(planner: &mut Planner<'_>, change: &OwnerChange<'_>) {
    let OwnerChange { database, before, .. } = change;
    if owned_contents(planner, database, before).is_some() {
        let reassign = change.reassignment();
        // The change of another database's owner may have been refused.
        let kept = planner.now().databases.iter().find(|(_, found)| found.owned.owner == *before);
        if let Some(why) = kept.map(|(name, _)| format!("{before} still owns database {name}")) {
            planner.block(reassign.sql(planner.now().version), Obstacle::InUse(why));
        } else {
            planner.emit(reassign, format!("{before} was the owner of database {database}"));
        }
    }
    note_defaults(planner, change);
}

/// Appends a note if the former owner keeps objects in a database, and the note of [`note_defaults`].
fn note_contents(planner: &mut Planner<'_>, change: &OwnerChange<'_>) {
    let OwnerChange { database, before, owner, .. } = change;
    if let Some(what) = owned_contents(planner, database, before) {
        planner.note(format!(
            "{what} stay as they are: set reassign_owned = true, or give them to {owner} by ALTER … OWNER TO"
        ));
    }
    note_defaults(planner, change);
}

/// Appends a note if a database has default privileges for objects that the former owner creates and none for those
/// of the new owner, and the desired state declares none for the new owner.
fn note_defaults(planner: &mut Planner<'_>, change: &OwnerChange<'_>) {
    let OwnerChange { database, before, owner, .. } = change;
    let defaults = planner.inside(database).is_some_and(|inside| {
        let of = |creator: &Name| inside.defaults.keys().any(|key| key.creator == *creator);
        of(before) && !of(owner)
    });
    let declared =
        planner.desired().defaults.iter().any(|one| one.database == **database && one.creator == **owner);
    if defaults && !declared {
        planner.note(format!(
            "default privileges in database {database} are for what {before} creates, and do not apply to what {owner} \
             creates: declare [[default_privileges]] with creator = \"{owner}\""
        ));
    }
}

/// Returns the numbers of schemas and other objects that a role owns in a database, as part of a message. The objects
/// of [`Contents::other_owners`](crate::inside::Contents::other_owners), such as operators, count as one for each
/// schema. `None` if there are none, or the contents are unknown.
fn owned_contents(planner: &Planner<'_>, database: &Name, role: &Name) -> Option<String> {
    let contents = planner.inside(database)?;
    let schemas = contents.schemas.values().filter(|schema| schema.owned.owner == *role).count();
    let subscriptions = planner.now().subscriptions.iter().filter(|((place, _), _)| place == database);
    let owners = contents.objects.values().map(|owned| &owned.owner);
    let owners = owners.chain(contents.extensions.values().map(|extension| &extension.owner));
    let owners = owners.chain(contents.publications.values().map(|publication| &publication.owner));
    let owners = owners.chain(contents.event_triggers.values().map(|trigger| &trigger.owner));
    let owners = owners.chain(subscriptions.map(|(_, owner)| owner));
    let objects = owners.filter(|owner| *owner == role).count();
    let others = contents.other_owners.iter().filter(|(owner, _)| owner == role).count();
    let count = if others == 0 { objects.to_string() } else { format!("at least {}", objects + others) };
    (schemas + objects + others > 0)
        .then(|| format!("{schemas} schemas and {count} other objects of {role} in database {database}"))
}

impl OwnerChange<'_> {
    /// Returns the change of the owner.
    fn statement(&self) -> DatabaseChange {
        DatabaseChange::Owner { name: self.database.clone(), owner: self.owner.clone() }
    }

    /// Returns the reassignment of the objects of the former owner in the database.
    fn reassignment(&self) -> OwnedChange {
        let (database, to) = (self.database.clone(), self.owner.clone());
        OwnedChange::Reassign { database, from: self.before.clone(), to }
    }

    /// Returns the SQL of the change of the owner.
    fn sql(&self, version: crate::version::Version) -> String {
        self.statement().sql(version)
    }
}
