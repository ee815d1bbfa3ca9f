//! Validation of a desired state, without a server.

use super::{DesiredState, GrantTarget, InvalidDeclaration, InvalidReason, Presence, PrivilegeSet};
use crate::acl::Grantee;
use crate::inside::DeclarationValidation;
use crate::name::Name;
use crate::object::Object;
use crate::script::transaction_end;
use crate::subject::Subject;
use crate::version::Version;
use std::collections::{BTreeMap, BTreeSet};

impl DesiredState {
    /// Returns all errors of the desired state, in the order roles, databases, memberships, grants, default grants,
    /// settings. Empty if it is valid. The server is not contacted.
    #[must_use]
    pub fn validate(&self) -> Vec<InvalidDeclaration> {
        let mut check = Check { desired: self, found: Vec::new() };
        check.roles();
        check.databases();
        check.memberships();
        check.grants();
        check.defaults();
        check.settings();
        check.found
    }
}

/// A validation in progress, with the errors found so far.
struct Check<'a> {
    desired: &'a DesiredState,
    found: Vec<InvalidDeclaration>,
}

impl DeclarationValidation for Check<'_> {
    fn add(&mut self, subject: &Subject, why: InvalidReason) {
        self.found.push(InvalidDeclaration { subject: subject.clone(), why });
    }

    fn require_role(&mut self, subject: &Subject, what: &'static str, role: &Name) {
        match self.desired.roles.get(role) {
            Some(known) if known.presence == Presence::Present => {}
            Some(_) => self.add(subject, InvalidReason::AbsentRole { what, role: role.clone() }),
            None => {
                let known = role.as_str().starts_with("pg_")
                    || *role == "postgres"
                    || self.desired.external.contains(role);
                if !known {
                    self.add(subject, InvalidReason::UnknownRole { what, role: role.clone() });
                }
            }
        }
    }
}

impl Check<'_> {
    /// Reports a database that is referenced and declared absent.
    fn database_stays(&mut self, subject: &Subject, database: &Name) {
        if self.desired.databases.get(database).is_some_and(|known| known.presence == Presence::Absent) {
            self.add(subject, InvalidReason::AbsentDatabase(database.clone()));
        }
    }

    /// Reports a schema that is referenced and declared absent in the database. No effect if one of them is `None`.
    fn schema_stays(&mut self, subject: &Subject, database: Option<&Name>, schema: Option<&Name>) {
        let (Some(database), Some(schema)) = (database, schema) else { return };
        let wanted =
            self.desired.databases.get(database).and_then(|database| database.inside.schemas.get(schema));
        if wanted.is_some_and(|wanted| wanted.presence == Presence::Absent) {
            self.add(subject, InvalidReason::Contradiction("its schema is declared absent"));
        }
    }

    /// Reports a connection limit below -1.
    fn limit(&mut self, subject: &Subject, limit: Option<i32>) {
        if let Some(limit) = limit.filter(|limit| *limit < -1) {
            self.add(subject, InvalidReason::ConnectionLimit(limit));
        }
    }

    /// Checks roles: reserved names, connection limits, clear-text passwords, and the role to which objects are
    /// reassigned.
    fn roles(&mut self) {
        for (name, role) in &self.desired.roles {
            let subject = Subject::Role(name.clone());
            if *name == "public" || *name == "none" || name.as_str().starts_with("pg_") {
                self.add(&subject, InvalidReason::Reserved(name.clone()));
            }
            self.limit(&subject, role.connection_limit);
            if let Some(super::Password::Secret(password)) = &role.password {
                use secrecy::ExposeSecret;
                if let Err(why) = crate::scram::prepare(password.expose_secret()) {
                    self.add(&subject, InvalidReason::Password(why));
                }
            }
            if let Some(heir) = &role.reassign_to {
                if role.presence == Presence::Present {
                    let why = "reassign_to is for a role that is absent";
                    self.add(&subject, InvalidReason::Contradiction(why));
                }
                self.require_role(&subject, "heir", heir);
            }
        }
    }

    /// Checks databases: of absent ones only whether the name is reserved; of others connection limits, owners and
    /// templates, locale options, scripts and declared objects. Also reports cycles of templates.
    fn databases(&mut self) {
        let mut templates: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for (name, database) in &self.desired.databases {
            let subject = Subject::Database(name.clone());
            if database.presence == Presence::Absent {
                if matches!(name.as_str(), "template0" | "template1" | "postgres") {
                    self.add(&subject, InvalidReason::Reserved(name.clone()));
                }
                continue;
            }
            self.limit(&subject, database.connection_limit);
            if let Some(owner) = &database.owner {
                self.require_role(&subject, "owner", owner);
            }
            if let Some(template) = &database.template {
                self.database_stays(&subject, template);
                templates.entry(name).or_default().push(template);
            }
            let icu = database.provider == Some(crate::current::Provider::Icu);
            if database.icu_rules.is_some() && !icu {
                self.add(&subject, InvalidReason::Contradiction("icu_rules need the provider icu"));
            }
            if database.provider.is_some_and(|provider| provider != crate::current::Provider::Libc)
                && database.locale.is_none()
            {
                self.add(&subject, InvalidReason::Contradiction("this locale provider needs a locale"));
            }
            let script = database.initial_sql.as_ref().map_or("", |script| script.as_str());
            if transaction_end(script).is_some() {
                let why = "initial_sql ends its transaction: leave COMMIT, END, ROLLBACK, ABORT and PREPARE TRANSACTION out";
                self.add(&subject, InvalidReason::Contradiction(why));
            }
            database.inside.check(name, self);
        }
        for circle in circles(&templates) {
            self.add(&Subject::Database(circle[0].clone()), InvalidReason::TemplateCycle(circle));
        }
    }

    /// Checks that the roles and members of memberships are declared, external or predefined, and that memberships have
    /// no cycles. Memberships that are to be revoked are left out.
    fn memberships(&mut self) {
        let mut edges: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for ((role, member), wanted) in &self.desired.memberships {
            if wanted.presence == Presence::Absent {
                continue;
            }
            let subject = Subject::Membership(role.clone(), member.clone());
            self.require_role(&subject, "role", role);
            self.require_role(&subject, "member", member);
            edges.entry(member).or_default().push(role);
        }
        for circle in circles(&edges) {
            let next = circle.get(1).unwrap_or(&circle[0]).clone();
            self.add(&Subject::Membership(next, circle[0].clone()), InvalidReason::MembershipCycle(circle));
        }
    }

    /// Reports the first privilege in a set that the kind of object does not support in PostgreSQL 18, and so in no
    /// version.
    fn privileges(&mut self, subject: &Subject, set: PrivilegeSet, kind: crate::acl::ObjectKind) {
        let PrivilegeSet::Only(privileges) = set else { return };
        let strange = privileges - kind.all(Version::major_version(18));
        if let Some(privilege) = strange.iter().next() {
            self.add(subject, InvalidReason::Privilege { privilege, kind });
        }
    }

    /// Checks the grantee of a grant: PUBLIC has no grant options, and a role must be declared, external or predefined.
    /// `nothing` is `true` for a grant that revokes everything, whose grantee may be declared absent.
    fn grantee(&mut self, subject: &Subject, to: &Grantee, grantable: bool, nothing: bool) {
        match to {
            Grantee::Public if grantable => self.add(subject, InvalidReason::PublicOption),
            Grantee::Public => {}
            // Privileges may be revoked from a role that is to be dropped.
            Grantee::Role(role) if nothing && self.desired.roles.contains_key(role) => {}
            Grantee::Role(role) => self.require_role(subject, "grantee", role),
        }
    }

    /// Checks grants: grantee, privileges, referenced databases and schemas, kinds of object, and duplicates.
    fn grants(&mut self) {
        use crate::acl::ObjectKind as Kind;
        let mut seen: BTreeMap<(&GrantTarget, &Grantee), usize> = BTreeMap::new();
        for (index, grant) in self.desired.grants.iter().enumerate() {
            let subject = Subject::Grant(index);
            let nothing = grant.privileges == PrivilegeSet::Only(crate::acl::Privileges::NONE);
            self.grantee(&subject, &grant.to, grant.grantable, nothing);
            self.privileges(&subject, grant.privileges, grant.on.kind());
            if let Some(database) = grant.on.database() {
                self.database_stays(&subject, database);
            }
            let schema = match &grant.on {
                GrantTarget::One(Object::Inside(_, crate::object::Local::Schema(schema))) => Some(schema),
                GrantTarget::One(Object::Inside(_, local)) => local.schema(),
                GrantTarget::AllIn { schema, .. } => Some(schema),
                GrantTarget::One(_) => None,
            };
            self.schema_stays(&subject, grant.on.database(), schema);
            match &grant.on {
                GrantTarget::One(Object::Database(database)) => self.database_stays(&subject, database),
                GrantTarget::AllIn { kind, .. }
                    if !matches!(kind, Kind::Table | Kind::Sequence | Kind::Routine | Kind::Type) =>
                {
                    self.add(&subject, InvalidReason::AllInSchema);
                }
                _ => {}
            }
            if let Some(before) = seen.insert((&grant.on, &grant.to), index) {
                self.add(&subject, InvalidReason::Duplicate(before));
            }
        }
    }

    /// Checks default grants: creator, grantee, privileges, referenced databases and schemas, and duplicates.
    fn defaults(&mut self) {
        use crate::current::DefaultKind as Kind;
        for (index, grant) in self.desired.defaults.iter().enumerate() {
            let subject = Subject::Default(index);
            let nothing = grant.privileges == PrivilegeSet::Only(crate::acl::Privileges::NONE);
            self.require_role(&subject, "creator", &grant.creator);
            self.grantee(&subject, &grant.to, grant.grantable, nothing);
            self.privileges(&subject, grant.privileges, grant.kind.object());
            self.database_stays(&subject, &grant.database);
            self.schema_stays(&subject, Some(&grant.database), grant.schema.as_ref());
            if grant.schema.is_some() && matches!(grant.kind, Kind::Schemas | Kind::LargeObjects) {
                self.add(&subject, InvalidReason::DefaultSchema);
            }
            let same = |other: &&super::DefaultGrant| {
                (&other.database, &other.creator, &other.schema, other.kind, &other.to)
                    == (&grant.database, &grant.creator, &grant.schema, grant.kind, &grant.to)
            };
            if let Some(before) = self.desired.defaults[..index].iter().position(|other| same(&other)) {
                self.add(&subject, InvalidReason::Duplicate(before));
            }
        }
    }

    /// Checks the scopes of settings: roles must be declared, external or predefined, and neither roles nor databases
    /// may be declared absent.
    fn settings(&mut self) {
        for (key, settings) in &self.desired.settings {
            for setting in settings.keys() {
                let subject = Subject::Setting(key.role.clone(), key.database.clone(), setting.clone());
                if let Some(role) = &key.role {
                    self.require_role(&subject, "role", role);
                }
                if let Some(database) = &key.database {
                    self.database_stays(&subject, database);
                }
            }
        }
    }
}

/// Returns cycles of a graph, each once and beginning with its smallest name. At least one is returned if there are
/// any.
fn circles(edges: &BTreeMap<&Name, Vec<&Name>>) -> Vec<Vec<Name>> {
    let mut done: BTreeSet<&Name> = BTreeSet::new();
    let mut found: Vec<Vec<Name>> = Vec::new();
    for start in edges.keys() {
        let mut path: Vec<(&Name, usize)> = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let following =
                if done.contains(node) { None } else { edges.get(node).and_then(|to| to.get(*next)) };
            *next += 1;
            let Some(following) = following else {
                done.insert(node);
                path.pop();
                continue;
            };
            if let Some(at) = path.iter().position(|(name, _)| name == following) {
                let mut circle: Vec<Name> = path[at..].iter().map(|(name, _)| (*name).clone()).collect();
                let least = (0..circle.len()).min_by_key(|index| &circle[*index]).unwrap_or(0);
                circle.rotate_left(least);
                if !found.contains(&circle) {
                    found.push(circle);
                }
            } else {
                path.push((following, 0));
            }
        }
    }
    found
}
