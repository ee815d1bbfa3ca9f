//! Rights of a session that is not a superuser's, according to the sources of PostgreSQL 13 to 19.

use crate::acl::{Privilege, Privileges};
use crate::current::{AvailableExtension, Contents, CurrentState, Owned, RoleState};
use crate::inside::SessionRights;
use crate::name::Name;
use crate::object::{Local, Object};
use std::collections::BTreeMap;

/// The rights of the session's role in a state of the cluster.
pub(crate) struct Rights<'a> {
    now: &'a CurrentState,
    user: &'a Name,
}

impl<'a> Rights<'a> {
    /// Returns the rights of the session of a state.
    pub(crate) fn of(now: &'a CurrentState) -> Self {
        Self { now, user: &now.session.user }
    }

    /// Returns the state of the cluster.
    pub(crate) fn now(&self) -> &CurrentState {
        self.now
    }

    /// Returns the session's role.
    pub(crate) fn user(&self) -> &Name {
        self.user
    }

    /// Returns the rights in one database.
    pub(crate) fn inside<'r>(&'r self, database: &'r Name) -> impl SessionRights + 'r {
        DatabaseRights { rights: self, database }
    }

    /// Returns the value of an attribute of the session's role; `false` if the role is not known.
    pub(crate) fn own(&self, attribute: fn(&RoleState) -> bool) -> bool {
        self.now.roles.get(self.user).is_some_and(attribute)
    }

    /// Checks that the session's role has CREATEROLE.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    pub(crate) fn createrole(&self) -> Result<(), String> {
        if self.own(|role| role.createrole) {
            Ok(())
        } else {
            Err(format!("{} has no CREATEROLE", self.user))
        }
    }

    /// Checks that the session's role has CREATEDB.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    pub(crate) fn createdb(&self) -> Result<(), String> {
        if self.own(|role| role.createdb) { Ok(()) } else { Err(format!("{} has no CREATEDB", self.user)) }
    }

    /// Checks that the session may alter a role: it needs CREATEROLE and, from PostgreSQL 16 on, ADMIN on the role. A
    /// superuser cannot be altered, nor, before PostgreSQL 16, a role with REPLICATION.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn manages(&self, role: &Name) -> Result<(), String> {
        self.createrole()?;
        let found = self.now.roles.get(role);
        if found.is_some_and(|found| found.superuser) {
            return Err(format!("{role} is a superuser"));
        }
        if !self.now.version.membership_options() {
            return match found {
                Some(found) if found.replication => {
                    Err(format!("{role} has REPLICATION, so it takes a superuser before PostgreSQL 16"))
                }
                _ => Ok(()),
            };
        }
        // A missing role is rejected by the model instead.
        if found.is_none() || self.now.is_admin_of(self.user, role) {
            return Ok(());
        }
        Err(format!("{} has no ADMIN option on {role}", self.user))
    }

    /// Checks that the session may grant or revoke membership in a role: it needs ADMIN on the role or, before
    /// PostgreSQL 16, CREATEROLE, and the privileges of `grantor` if there is one. The role must not be a superuser.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn grants_role(&self, role: &Name, grantor: Option<&Name>) -> Result<(), String> {
        if self.now.roles.get(role).is_some_and(|role| role.superuser) {
            return Err(format!("{role} is a superuser"));
        }
        let sixteen = self.now.version.membership_options();
        let may = self.now.is_admin_of(self.user, role) || !sixteen && self.own(|role| role.createrole);
        if !may && self.now.roles.contains_key(role) {
            return Err(format!("{} has no ADMIN option on {role}", self.user));
        }
        match grantor {
            Some(grantor) if !self.now.has_privileges_of(self.user, grantor) => {
                Err(format!("it was granted by {grantor}, whose privileges {} has not", self.user))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the session may make a role the owner of an object, as `check_can_set_role()` does. A missing role
    /// passes here and is rejected by the model.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn becomes(&self, role: &Name) -> Result<(), String> {
        if !self.now.roles.contains_key(role) || self.now.can_set(self.user, role) {
            return Ok(());
        }
        Err(format!("{} cannot SET ROLE to {role}", self.user))
    }

    /// Checks that the session has the privileges of a role. A missing role passes here and is rejected by the model.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn has(&self, role: &Name) -> Result<(), String> {
        if !self.now.roles.contains_key(role) || self.now.has_privileges_of(self.user, role) {
            return Ok(());
        }
        Err(format!("{} has not the privileges of {role}", self.user))
    }

    /// Checks that the session has the privileges of a database's owner.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    pub(crate) fn owns_database(&self, database: &Name) -> Result<(), String> {
        self.owns(&Object::Database(database.clone()))
    }

    /// Checks that the session has the privileges of an object's owner. A missing object passes here and is rejected by
    /// the model.
    ///
    /// # Errors
    /// Returns the owner as part of a message.
    pub(crate) fn owns(&self, object: &Object) -> Result<(), String> {
        let Some((owner, _)) = self.now.access(object) else { return Ok(()) };
        if self.has_or_implied(&owner, object.database()) {
            return Ok(());
        }
        Err(format!("{object} belongs to {owner}, whose privileges {} has not", self.user))
    }

    /// Checks that the session is permitted to grant `privileges` on an object: it has the privileges of the owner, or
    /// of one role with the grant option for all of them. Options of several roles do not add up, since the server uses
    /// one grantor (`select_best_grantor()`). Grant options on a table count for its columns.
    ///
    /// # Errors
    /// Returns the reason why the session is not permitted.
    pub(crate) fn grants(&self, object: &Object, privileges: Privileges) -> Result<(), String> {
        let not_owner = match self.owns(object) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        let mut options: BTreeMap<&Name, Privileges> = BTreeMap::new();
        // The grant options on a table count for its columns.
        let whole = if let Object::Inside(database, local @ Local::Column(..)) = object {
            self.now.access(&Object::Inside(database.clone(), local.owned()))
        } else {
            None
        };
        let own = self.now.access(object);
        for (_, acl) in own.iter().chain(&whole) {
            for (grantee, _, rights) in acl.iter() {
                if let Some(role) = grantee.role().filter(|role| self.now.has_privileges_of(self.user, role))
                {
                    *options.entry(role).or_default() |= rights.grantable;
                }
            }
        }
        if options.values().any(|granted| granted.includes(privileges)) {
            return Ok(());
        }
        if options.values().all(|granted| granted.is_empty()) {
            return Err(not_owner);
        }
        Err(format!(
            "{not_owner}, and no role of {} has the grant option for {}",
            self.user,
            privileges.sql()
        ))
    }

    /// Returns `true` if the session has the privileges of `owner`. `pg_database_owner` stands for the owner of
    /// `database`.
    pub(crate) fn has_or_implied(&self, owner: &Name, database: Option<&Name>) -> bool {
        if self.now.has_privileges_of(self.user, owner) {
            return true;
        }
        let database = database.and_then(|name| self.now.databases.get(name));
        *owner == "pg_database_owner"
            && database.is_some_and(|found| self.now.has_privileges_of(self.user, &found.owned.owner))
    }

    /// Checks that the session has CREATE on a database. A missing database passes.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn creates_in(&self, database: &Name) -> Result<(), String> {
        let Some(found) = self.now.databases.get(database) else { return Ok(()) };
        self.creates(&found.owned, &format!("database {database}"))
    }

    /// Checks that the session has CREATE on a tablespace. A missing tablespace passes.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn creates_in_tablespace(&self, name: &Name) -> Result<(), String> {
        let Some(found) = self.now.tablespaces.get(name) else { return Ok(()) };
        self.creates(found, &format!("tablespace {name}"))
    }

    /// Checks the permissions for the objects of `from` in a database that REASSIGN OWNED gives to `to`, for a session
    /// that is not a superuser's. For schemas and subscriptions the session needs CREATE on the database. For
    /// publications the new owner needs it, and must be a superuser if they are for all tables or for schemas. For
    /// routines and the objects of [`Contents::other_owners`](crate::inside::Contents::other_owners) the new owner
    /// needs CREATE on their schema. Nothing is checked if the contents are unknown.
    ///
    /// # Errors
    /// Returns a description of the first missing permission.
    pub(crate) fn reassigns(&self, database: &Name, from: &Name, to: &Name) -> Result<(), String> {
        let Some(found) = self.now.databases.get(database) else { return Ok(()) };
        let Some(contents) = &found.contents else { return Ok(()) };
        let subscribes = self.now.subscriptions.values().any(|owner| owner == from);
        if subscribes || contents.schemas.values().any(|schema| schema.owned.owner == *from) {
            self.creates_in(database)?;
        }
        let superuser = self.now.roles.get(to).is_some_and(|role| role.superuser);
        for (name, publication) in contents.publications.iter().filter(|(_, found)| found.owner == *from) {
            if !superuser && (publication.all_tables || publication.has_schemas) {
                return Err(format!(
                    "publication {name} is for all tables or for schemas, so that only a superuser can own it"
                ));
            }
            if !self.may_create(to, &found.owned, database) {
                return Err(format!(
                    "{to}, who would own publication {name}, may not create in database {database}"
                ));
            }
        }
        let closed = |schema: &Name| {
            contents.schemas.get(schema).is_some_and(|space| !self.may_create(to, &space.owned, database))
        };
        for (local, _) in contents.objects.iter().filter(|(_, owned)| owned.owner == *from) {
            let Local::Routine(schema, routine, _) = local else { continue };
            if closed(schema) {
                return Err(format!(
                    "{to}, who would own {schema}.{routine}, may not create in schema {schema}"
                ));
            }
        }
        let others = contents.other_owners.iter().filter(|(owner, _)| owner == from);
        if let Some(schema) = others.filter_map(|(_, schema)| schema.as_ref()).find(|schema| closed(schema)) {
            return Err(format!(
                "{to}, who would own objects of schema {schema}, such as operators, collations, text search \
                 configurations or statistics, may not create in schema {schema}"
            ));
        }
        Ok(())
    }

    /// Returns `true` if a role has CREATE on an object in a database, by its ACL or as its owner. `pg_database_owner`
    /// stands for the owner of the database.
    fn may_create(&self, who: &Name, owned: &Owned, database: &Name) -> bool {
        let owner = self.now.databases.get(database).map(|found| &found.owned.owner);
        let holds = |role: &Name| {
            self.now.has_privileges_of(who, role)
                || *role == "pg_database_owner"
                    && owner.is_some_and(|owner| self.now.has_privileges_of(who, owner))
        };
        let granted = owned.acl.iter().any(|(grantee, _, rights)| {
            rights.privileges.contains(Privilege::Create) && grantee.role().is_none_or(holds)
        });
        granted || holds(&owned.owner)
    }

    /// Checks that the session has CREATE on an object, by its ACL or as its owner.
    ///
    /// # Errors
    /// Returns a description of the missing right, with `what` as the name of the object.
    pub(crate) fn creates(&self, owned: &Owned, what: &str) -> Result<(), String> {
        let granted = owned.acl.iter().any(|(grantee, _, rights)| {
            rights.privileges.contains(Privilege::Create)
                && grantee.role().is_none_or(|role| self.now.has_privileges_of(self.user, role))
        });
        if granted || self.now.has_privileges_of(self.user, &owned.owner) {
            return Ok(());
        }
        Err(format!("{} may not create in {what}", self.user))
    }
}

/// The permissions of the session in one database.
struct DatabaseRights<'r> {
    rights: &'r Rights<'r>,
    database: &'r Name,
}

impl SessionRights for DatabaseRights<'_> {
    fn contents(&self) -> Option<&Contents> {
        self.rights.now.databases.get(self.database).and_then(|found| found.contents.as_ref())
    }

    fn available(&self, extension: &Name) -> Option<&AvailableExtension> {
        self.rights.now.available.get(extension)
    }

    fn owns(&self, object: &Local) -> Result<(), String> {
        self.rights.owns(&Object::Inside(self.database.clone(), object.clone()))
    }

    fn owns_database(&self) -> Result<(), String> {
        self.rights.owns_database(self.database)
    }

    fn creates(&self) -> Result<(), String> {
        self.rights.creates_in(self.database)
    }

    fn has(&self, role: &Name) -> Result<(), String> {
        self.rights.has(role)
    }

    fn becomes(&self, role: &Name) -> Result<(), String> {
        self.rights.becomes(role)
    }
}
