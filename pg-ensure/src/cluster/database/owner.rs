//! Plans changes of the owners of databases, and of the objects that the former owners have in them.

use super::change::DatabaseChange;
use crate::cluster::owned::{OwnedChange, not_for};
use crate::desired::Presence;
use crate::diff::planner::Planner;
use crate::name::Name;
use crate::object::Local;
use crate::plan::{Change, Obstacle};

/// A database whose declared owner differs from the current one.
struct OwnerChange<'a> {
    /// The name of the database.
    database: &'a Name,
    /// The current owner.
    before: Name,
    /// The declared owner.
    owner: &'a Name,
    /// `true` if the current owner has objects in the database that are to be reassigned to the declared owner.
    reassign: bool,
}

/// Plans the changes of the owners of existing, valid databases, and REASSIGN OWNED where `reassign_owned` is set.
///
/// REASSIGN OWNED also hands over all databases of the former owner. So all databases of one former owner change their
/// owner before the first REASSIGN OWNED by that role, and no database becomes one of that role before the last. If the
/// contents cannot be reassigned, the change of the owner is blocked too, since a later plan could not find out the
/// former owner.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    let mut changes = Vec::new();
    for (name, wanted) in &desired.databases {
        let (Some(owner), Some(found)) = (&wanted.owner, planner.now().databases.get(name)) else { continue };
        if wanted.presence == Presence::Present && !found.is_invalid() && *owner != found.owned.owner {
            let before = found.owned.owner.clone();
            let reassign = wanted.reassign_owned && owned_contents(planner, name, &before).is_some();
            changes.push(OwnerChange { database: name, before, owner, reassign });
        }
    }
    let mut open = block_refused(planner, changes);
    while let Some(first) = open.first() {
        let mut waiting = vec![first.before.clone()];
        let free = open.iter().find(|change| awaited(&open, &change.before).is_none());
        if let Some(before) = free.map(|change| change.before.clone()) {
            let group = open.extract_if(.., |change| change.before == before).collect();
            hand_over(planner, group);
            continue;
        }
        // Each former owner waits for another one, so that these lead to one that was there before.
        while let Some(next) = waiting.last().and_then(|last| awaited(&open, last)).cloned() {
            let repeated = waiting.contains(&next);
            waiting.push(next);
            if repeated {
                break;
            }
        }
        let before = waiting.pop();
        for change in open.extract_if(.., |change| change.reassign && Some(&change.before) == before.as_ref())
        {
            let OwnerChange { database, before, owner, .. } = &change;
            let why = format!(
                "databases exchange their owners, so that {before} becomes the owner of another one, which REASSIGN OWNED BY \
                 {before} would hand over too: {}",
                remedy(planner, database, before, owner)
            );
            planner.block(change.sql(planner.now().version), Obstacle::InUse(why));
        }
    }
}

/// Returns the former owner whose objects are to be reassigned before the databases of `before` change their owners,
/// since it becomes the owner of one of these. `None` if there is none.
fn awaited<'c>(open: &'c [OwnerChange<'_>], before: &Name) -> Option<&'c Name> {
    let reassigned = |role: &Name| open.iter().any(|change| change.reassign && change.before == *role);
    open.iter()
        .filter(|change| change.before == *before)
        .map(|change| change.owner)
        .find(|owner| reassigned(owner))
}

/// Plans the changes of the owners of all databases of one former owner, then REASSIGN OWNED or notes.
fn hand_over(planner: &mut Planner<'_>, group: Vec<OwnerChange<'_>>) {
    // The last change of an owner and REASSIGN OWNED in the same database are one transaction, so that a run that is cut
    // short leaves neither half.
    let (with, without): (Vec<_>, Vec<_>) = group.into_iter().partition(|change| change.reassign);
    let mut changed: Vec<_> = without.into_iter().chain(with).collect();
    changed.retain(|change| change_owner(planner, change));
    for change in &changed {
        if change.reassign { reassign(planner, change) } else { note_contents(planner, change) }
    }
}

/// Blocks the changes of owners with contents that cannot be reassigned, and returns the others. If a database of a
/// former owner keeps its owner, the contents of none of its databases can be reassigned.
fn block_refused<'a>(planner: &mut Planner<'_>, changes: Vec<OwnerChange<'a>>) -> Vec<OwnerChange<'a>> {
    let mut obstacles = Vec::new();
    for change in &changes {
        let mut why = None;
        if change.reassign {
            why = reassign_obstacle(planner, change, &changes).map(Obstacle::InUse);
            why = why.or_else(|| missing_permission(planner, change));
        }
        let kept = why.is_some() || !can_change(planner, change);
        obstacles.push((why, kept));
    }
    let kept: Vec<(&Name, &Name)> = changes
        .iter()
        .zip(&obstacles)
        .filter(|(_, (_, kept))| *kept)
        .map(|(change, _)| (change.database, &change.before))
        .collect();
    for (change, (why, _)) in changes.iter().zip(&mut obstacles) {
        let OwnerChange { database, before, owner, reassign } = change;
        let other = kept.iter().find(|(name, role)| name != database && *role == before);
        if let (None, true, Some((other, _))) = (&why, reassign, other) {
            *why = Some(Obstacle::InUse(format!(
                "{before} keeps database {other}, whose change of the owner is blocked too, and which REASSIGN OWNED would \
                 hand over: {}",
                remedy(planner, database, before, owner)
            )));
        }
    }
    let mut open = Vec::new();
    for (change, (why, _)) in changes.into_iter().zip(obstacles) {
        match why {
            Some(why) => planner.block(change.sql(planner.now().version), why),
            None => open.push(change),
        }
    }
    open
}

/// Returns `true` if the session can change the owner, with the memberships that it needs for it. Plans nothing.
fn can_change(planner: &mut Planner<'_>, change: &OwnerChange<'_>) -> bool {
    let statement = Change::from(change.statement());
    planner.check_as(&[&change.before, change.owner], |state| {
        statement.permitted(state).is_ok() && state.roles.contains_key(change.owner)
    })
}

/// Returns what the operator can do if REASSIGN OWNED is not possible, as part of a message.
fn remedy(planner: &Planner<'_>, database: &Name, before: &Name, owner: &Name) -> String {
    let what = owned_contents(planner, database, before).unwrap_or_default();
    format!("give {what} to {owner} by ALTER … OWNER TO, or leave reassign_owned out")
}

/// Plans ALTER DATABASE … OWNER TO, after the memberships that the session needs for it. Returns `false`, without
/// planning memberships, if the change is blocked.
fn change_owner(planner: &mut Planner<'_>, change: &OwnerChange<'_>) -> bool {
    let reason = format!("its owner is {}", change.before);
    planner.emit_as(&[&change.before, change.owner], change.statement(), reason)
}

/// Returns the reason why REASSIGN OWNED cannot be used for the objects of the former owner in a database: the former
/// owner is the bootstrap superuser, owns a tablespace, a database that is not in `changes` or a subscription of another
/// database whose contents do not go to the same new owner, or owns an object whose owner must be a superuser, which the
/// new owner is not. `None` if there is no obstacle.
fn reassign_obstacle(
    planner: &Planner<'_>,
    change: &OwnerChange<'_>,
    changes: &[OwnerChange<'_>],
) -> Option<String> {
    let OwnerChange { database, before, owner, .. } = change;
    if *before == planner.now().session.bootstrap {
        let remedy = remedy(planner, database, before, owner);
        return Some(format!("{before} owns the system's own objects: {remedy}"));
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
    // A subscription goes to the owner of the first REASSIGN OWNED.
    let goes_along = |place: &Name| {
        changes.iter().any(|change| {
            change.database == place && change.before == *before && change.owner == *owner && change.reassign
        })
    };
    let elsewhere = |place: &Name| *place != **database && !goes_along(place);
    let subscriptions =
        planner.now().subscriptions.iter().filter(|((place, _), owner)| *owner == before && elsewhere(place));
    let others: Vec<String> = databases
        .map(|(name, _)| format!("database {name}"))
        .chain(tablespaces.map(|(name, _)| format!("tablespace {name}")))
        .chain(subscriptions.map(|((place, name), _)| format!("subscription {name} in database {place}")))
        .collect();
    (!others.is_empty()).then(|| {
        let remedy = remedy(planner, database, before, owner);
        format!(
            "{before} also owns {}, which REASSIGN OWNED would hand over too: {remedy}",
            others.join(", ")
        )
    })
}

/// Returns the permission that the session lacks for REASSIGN OWNED after the change of the database's owner, with the
/// memberships that it needs for both. Plans nothing. `None` if no permission is lacking, or the owner cannot be changed.
fn missing_permission(planner: &mut Planner<'_>, change: &OwnerChange<'_>) -> Option<Obstacle> {
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
/// owns a database. Adds the note of [`note_defaults`].
fn reassign(planner: &mut Planner<'_>, change: &OwnerChange<'_>) {
    let OwnerChange { database, before, .. } = change;
    let reassign = change.reassignment();
    // No order of the steps leads here; a database that went to another owner by mistake would be worse than objects
    // that stay.
    let kept = planner.now().databases.iter().find(|(_, found)| found.owned.owner == *before);
    if let Some(why) = kept.map(|(name, _)| format!("{before} still owns database {name}")) {
        planner.block(reassign.sql(planner.now().version), Obstacle::InUse(why));
    } else {
        planner.emit(reassign, format!("{before} was the owner of database {database}"));
    }
    note_defaults(planner, change);
}

/// Appends a note if the former owner keeps objects in a database, and the note of [`note_defaults`].
fn note_contents(planner: &mut Planner<'_>, change: &OwnerChange<'_>) {
    let OwnerChange { database, before, owner, .. } = change;
    if let Some(what) = owned_contents(planner, database, before) {
        // REASSIGN OWNED is not possible for the bootstrap superuser.
        let reassign =
            if *before == planner.now().session.bootstrap { "" } else { "set reassign_owned = true, or " };
        planner.note(format!("{what} stay as they are: {reassign}give them to {owner} by ALTER … OWNER TO"));
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

/// Names of the languages that every database has from the beginning.
const INITIAL_LANGUAGES: [&str; 4] = ["c", "internal", "plpgsql", "sql"];

/// Returns the numbers of schemas and other objects that a role owns in a database, as part of a message. The objects
/// of [`Contents::other_owners`](crate::inside::Contents::other_owners), such as operators, count as one for each
/// schema. `None` if there are none, or the contents are unknown. What a new database contains does not count for the
/// bootstrap superuser.
fn owned_contents(planner: &Planner<'_>, database: &Name, role: &Name) -> Option<String> {
    let contents = planner.inside(database)?;
    // What every database has from the beginning stays with the bootstrap superuser.
    let is_bootstrap = *role == planner.now().session.bootstrap;
    let schemas = contents.schemas.iter().filter(|(name, _)| !(is_bootstrap && **name == "public"));
    let schemas = schemas.filter(|(_, schema)| schema.owned.owner == *role).count();
    let subscriptions = planner.now().subscriptions.iter().filter(|((place, _), _)| place == database);
    let is_initial =
        |local: &Local| matches!(local, Local::Language(name) if INITIAL_LANGUAGES.contains(&name.as_str()));
    let objects = contents.objects.iter().filter(|(local, _)| !(is_bootstrap && is_initial(local)));
    let owners = objects.map(|(_, owned)| &owned.owner);
    let extensions = contents.extensions.iter().filter(|(name, _)| !(is_bootstrap && **name == "plpgsql"));
    let owners = owners.chain(extensions.map(|(_, extension)| &extension.owner));
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
