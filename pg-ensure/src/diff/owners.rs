//! Plans changes of the owners of databases, and of the objects that the former owners have in them.

use super::Planner;
use crate::desired::Presence;
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

impl Planner<'_> {
    /// Plans the changes of the owners of existing, valid databases, and REASSIGN OWNED where `reassign_owned` is set.
    /// If several databases have one former owner, all their owners change before the first REASSIGN OWNED, which would
    /// also reassign databases. If the contents cannot be reassigned, the change of the owner is blocked too, since a
    /// later plan could not find out the former owner.
    pub(super) fn database_owners(&mut self) {
        let desired = self.desired;
        let mut changes = Vec::new();
        for (name, wanted) in &desired.databases {
            let (Some(owner), Some(found)) = (&wanted.owner, self.now.databases.get(name)) else { continue };
            if wanted.presence == Presence::Present && !found.is_invalid() && *owner != found.owned.owner {
                let (before, reassign) = (found.owned.owner.clone(), wanted.reassign_owned);
                changes.push(OwnerChange { database: name, before, owner, reassign });
            }
        }
        let mut handed = Vec::new();
        for change in &changes {
            let obstacle = if change.reassign { self.reassign_obstacle(change, &changes) } else { None };
            if let Some(why) = obstacle {
                self.block(change.sql(self.now.version), Obstacle::InUse(why));
                continue;
            }
            let alone = changes.iter().filter(|other| other.before == change.before).count() == 1;
            if change.reassign && alone {
                // Both are one transaction, so that a run that is cut short leaves neither half.
                if self.change_owner(change) {
                    self.reassign(change);
                }
            } else if self.change_owner(change) {
                handed.push(change);
            }
        }
        for change in handed {
            if change.reassign {
                self.reassign(change);
            } else {
                self.note_contents(change);
            }
        }
    }

    /// Plans ALTER DATABASE … OWNER TO, after the memberships that the session needs for it. Returns `false` if the
    /// session is not permitted to do it, so that the change is blocked.
    fn change_owner(&mut self, change: &OwnerChange<'_>) -> bool {
        self.act_as(&change.before);
        self.act_as(change.owner);
        let (name, owner) = (change.database.clone(), change.owner.clone());
        self.emit(Change::DatabaseOwner { name, owner }, format!("its owner is {}", change.before))
    }

    /// Returns the reason why REASSIGN OWNED cannot be used for the objects of the former owner in a database: the
    /// former owner is the bootstrap superuser, or owns a tablespace or a database that is not in `changes`. `None` if
    /// there is no obstacle, the former owner has no objects in the database, or the contents are unknown.
    fn reassign_obstacle(&self, change: &OwnerChange<'_>, changes: &[OwnerChange<'_>]) -> Option<String> {
        let OwnerChange { database, before, owner, .. } = change;
        let what = self.owned_contents(database, before)?;
        if *before == self.now.session.bootstrap {
            return Some(format!(
                "{before} owns the system's own objects: give {what} to {owner} by ALTER … OWNER TO, or leave \
                 reassign_owned out"
            ));
        }
        let changes_too = |name: &Name| changes.iter().any(|change| change.database == name);
        let databases =
            self.now.databases.iter().filter(|(name, found)| {
                found.owned.owner == *before && *name != *database && !changes_too(name)
            });
        let tablespaces = self.now.tablespaces.iter().filter(|(_, owned)| owned.owner == *before);
        let others: Vec<String> = databases
            .map(|(name, _)| format!("database {name}"))
            .chain(tablespaces.map(|(name, _)| format!("tablespace {name}")))
            .collect();
        (!others.is_empty()).then(|| {
            format!("{before} also owns {}, which REASSIGN OWNED would hand over too", others.join(", "))
        })
    }

    /// Plans REASSIGN OWNED for the objects of the former owner in a database, or blocks it if the former owner still
    /// owns a database. Plans nothing if there are no such objects or the contents are unknown. Adds the note of
    /// [`Self::note_defaults`].
    fn reassign(&mut self, change: &OwnerChange<'_>) {
        let OwnerChange { database, before, owner, .. } = change;
        if self.owned_contents(database, before).is_some() {
            let reassign = Change::ReassignOwned {
                database: (*database).clone(),
                from: before.clone(),
                to: (*owner).clone(),
            };
            // The change of another database's owner may have been refused.
            let kept = self.now.databases.iter().find(|(_, found)| found.owned.owner == *before);
            if let Some(why) = kept.map(|(name, _)| format!("{before} still owns database {name}")) {
                self.block(reassign.sql(self.now.version), Obstacle::InUse(why));
            } else {
                self.emit(reassign, format!("{before} was the owner of database {database}"));
            }
        }
        self.note_defaults(change);
    }

    /// Appends a note if the former owner keeps objects in a database, and the note of [`Self::note_defaults`].
    fn note_contents(&mut self, change: &OwnerChange<'_>) {
        let OwnerChange { database, before, owner, .. } = change;
        if let Some(what) = self.owned_contents(database, before) {
            self.notes.push(format!(
                "{what} stay as they are: set reassign_owned = true, or give them to {owner} by ALTER … OWNER TO"
            ));
        }
        self.note_defaults(change);
    }

    /// Appends a note if a database has default privileges for objects that the former owner creates and none for those
    /// of the new owner, and the desired state declares none for the new owner.
    fn note_defaults(&mut self, change: &OwnerChange<'_>) {
        let OwnerChange { database, before, owner, .. } = change;
        let defaults = self.inside(database).is_some_and(|inside| {
            let of = |creator: &Name| inside.defaults.keys().any(|key| key.creator == *creator);
            of(before) && !of(owner)
        });
        let declared =
            self.desired.defaults.iter().any(|one| one.database == **database && one.creator == **owner);
        if defaults && !declared {
            self.notes.push(format!(
                "default privileges in database {database} are for what {before} creates, and do not apply to what {owner} \
                 creates: declare [[default_privileges]] with creator = \"{owner}\""
            ));
        }
    }

    /// Returns the numbers of schemas and other objects that a role owns in a database, as part of a message. `None` if
    /// there are none, or the contents are unknown.
    fn owned_contents(&self, database: &Name, role: &Name) -> Option<String> {
        let contents = self.inside(database)?;
        let schemas = contents.schemas.values().filter(|schema| schema.owned.owner == *role).count();
        let objects = contents.objects.values().filter(|owned| owned.owner == *role).count();
        (schemas + objects > 0).then(|| {
            format!("{schemas} schemas and {objects} other objects of {role} in database {database}")
        })
    }
}

impl OwnerChange<'_> {
    /// Returns the statement that changes the owner.
    fn sql(&self, version: crate::version::Version) -> String {
        Change::DatabaseOwner { name: self.database.clone(), owner: self.owner.clone() }.sql(version)
    }
}
