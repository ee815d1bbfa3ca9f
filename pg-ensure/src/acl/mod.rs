//! Access control lists as sets: who holds what, granted by whom.

mod parse;
mod privilege;

pub use parse::AclError;
pub use privilege::{ObjectKind, Privilege, Privileges, UnknownPrivilege};

use crate::name::Name;
use crate::version::Version;
use std::collections::BTreeMap;
use std::fmt;

/// The recipient of a privilege.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grantee {
    /// Everybody, `PUBLIC` in SQL.
    Public,
    /// A role by name.
    Role(Name),
}

impl Grantee {
    /// Returns the SQL form.
    #[must_use]
    pub fn sql(&self) -> String {
        match self {
            Self::Public => "PUBLIC".to_owned(),
            Self::Role(name) => name.quoted(),
        }
    }

    /// The role, unless it is everybody.
    #[must_use]
    pub fn role(&self) -> Option<&Name> {
        match self {
            Self::Public => None,
            Self::Role(name) => Some(name),
        }
    }
}

impl From<Name> for Grantee {
    fn from(name: Name) -> Self {
        Self::Role(name)
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Role(name) => name.fmt(f),
        }
    }
}

/// The privileges that one grantee holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rights {
    /// The privileges held.
    pub privileges: Privileges,
    /// The privileges among them that carry the grant option.
    pub grantable: Privileges,
}

impl Rights {
    fn join(&mut self, other: Self) {
        self.privileges |= other.privileges;
        self.grantable |= other.grantable;
    }
}

/// An access control list. Equal lists mean the same, in whatever order the server keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl(BTreeMap<(Grantee, Name), Rights>);

impl Acl {
    /// The list of an object that has none, which is `acldefault()`.
    #[must_use]
    pub fn default_of(kind: ObjectKind, owner: &Name, version: Version) -> Self {
        let mut acl = Self::default();
        acl.grant(&Grantee::Public, owner, kind.public_default(), Privileges::NONE);
        // A column's owner has what the table gives.
        if kind != ObjectKind::Column {
            acl.grant(&owner.clone().into(), owner, kind.all(version), Privileges::NONE);
        }
        acl
    }

    /// Each grantee and grantor with what was granted.
    pub fn iter(&self) -> impl Iterator<Item = (&Grantee, &Name, Rights)> {
        self.0.iter().map(|((grantee, grantor), rights)| (grantee, grantor, *rights))
    }

    /// Returns true if it grants nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the privileges that a grantee holds from all grantors together.
    #[must_use]
    pub fn held(&self, grantee: &Grantee) -> Rights {
        let mut held = Rights::default();
        self.by_grantor(grantee).for_each(|(_, rights)| held.join(rights));
        held
    }

    /// Returns the privileges that a grantee holds, by grantor.
    pub fn by_grantor(&self, grantee: &Grantee) -> impl Iterator<Item = (&Name, Rights)> {
        self.0.iter().filter(move |((who, _), _)| who == grantee).map(|((_, by), rights)| (by, *rights))
    }

    /// Adds an entry that grants `privileges` to the grantee, those of them in `grantable` with the grant option. Nothing is executed.
    pub fn grant(
        &mut self,
        grantee: &Grantee,
        grantor: &Name,
        privileges: Privileges,
        grantable: Privileges,
    ) {
        let privileges = privileges | grantable;
        if !privileges.is_empty() {
            let entry = self.0.entry((grantee.clone(), grantor.clone())).or_default();
            entry.join(Rights { privileges, grantable });
        }
    }

    /// Takes privileges away, and with them what the grantee granted on by a right that it loses.
    pub fn revoke(&mut self, grantee: &Grantee, grantor: &Name, privileges: Privileges, owner: &Name) {
        self.take(grantee, grantor, privileges, privileges, owner);
    }

    /// Takes the grant option away, and with it what the grantee granted on.
    pub fn revoke_option(&mut self, grantee: &Grantee, grantor: &Name, grantable: Privileges, owner: &Name) {
        self.take(grantee, grantor, Privileges::NONE, grantable, owner);
    }

    fn take(
        &mut self,
        grantee: &Grantee,
        grantor: &Name,
        gone: Privileges,
        options: Privileges,
        owner: &Name,
    ) {
        let key = (grantee.clone(), grantor.clone());
        let Some(rights) = self.0.get_mut(&key) else { return };
        let before = *rights;
        rights.privileges = rights.privileges - gone;
        rights.grantable = rights.grantable - options;
        if rights.privileges.is_empty() {
            self.0.remove(&key);
        }
        let Grantee::Role(who) = grantee else { return };
        if who == owner {
            return;
        }
        let lost = (before.grantable & options) - self.held(grantee).grantable;
        for dependent in self.dependents(who, lost) {
            self.take(&dependent, who, lost, lost, owner);
        }
    }

    /// Returns the grantees that hold any of these privileges from a grantor.
    #[must_use]
    pub fn dependents(&self, grantor: &Name, privileges: Privileges) -> Vec<Grantee> {
        self.0
            .iter()
            .filter(|((_, by), rights)| by == grantor && !(rights.privileges & privileges).is_empty())
            .map(|((who, _), _)| who.clone())
            .collect()
    }

    /// The list after the object has got a new owner, as the server's `aclnewowner()` has it.
    #[must_use]
    pub fn with_owner(&self, old: &Name, new: &Name) -> Self {
        let swap = |name: &Name| if name == old { new.clone() } else { name.clone() };
        let mut acl = Self::default();
        for ((grantee, grantor), rights) in &self.0 {
            let grantee = match grantee {
                Grantee::Role(name) => Grantee::Role(swap(name)),
                Grantee::Public => Grantee::Public,
            };
            acl.0.entry((grantee, swap(grantor))).or_default().join(*rights);
        }
        acl
    }

    /// The list without a role, as `DROP OWNED` leaves it.
    pub(crate) fn forget(&mut self, role: &Name) {
        self.0.retain(|(grantee, grantor), _| grantee.role() != Some(role) && grantor != role);
    }

    /// Every role that it names.
    pub fn roles(&self) -> impl Iterator<Item = &Name> {
        self.0.keys().flat_map(|(grantee, grantor)| grantee.role().into_iter().chain([grantor]))
    }
}
