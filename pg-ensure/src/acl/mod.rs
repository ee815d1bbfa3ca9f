//! Access control lists: which grantee holds which privileges, granted by whom.

mod parse;
mod privilege;

pub use parse::AclError;
pub use privilege::{ObjectKind, Privilege, Privileges, UnknownPrivilege};

use crate::name::Name;
use crate::version::Version;
use std::collections::BTreeMap;
use std::fmt;

/// The receiver of a privilege: a role, or everyone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grantee {
    /// `PUBLIC`: all roles, including those created later.
    Public,
    /// A role by name.
    Role(Name),
}

impl Grantee {
    /// Returns the grantee as in SQL: `PUBLIC`, or the quoted role name.
    #[must_use]
    pub fn sql(&self) -> String {
        match self {
            Self::Public => "PUBLIC".to_owned(),
            Self::Role(name) => name.quoted(),
        }
    }

    /// Returns the role, or `None` for `PUBLIC`.
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

/// Privileges of a grantee: those of one ACL entry, or the union of those of all its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPrivileges {
    /// Privileges that the grantee holds.
    pub privileges: Privileges,
    /// Privileges held with the grant option, a subset of `privileges`.
    pub grantable: Privileges,
}

impl EntryPrivileges {
    /// Adds the privileges of another entry.
    fn join(&mut self, other: Self) {
        self.privileges |= other.privileges;
        self.grantable |= other.grantable;
    }
}

/// An access control list: one entry per grantee and grantor. Equality ignores the order in which the server stores the
/// entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl(BTreeMap<(Grantee, Name), EntryPrivileges>);

impl Acl {
    /// Returns the default ACL of an object, as the server's `acldefault()` does: the default privileges of PUBLIC and,
    /// except on columns, all privileges of the owner, granted by the owner without grant options.
    #[must_use]
    pub fn default_of(kind: ObjectKind, owner: &Name, version: Version) -> Self {
        let mut acl = Self::default();
        acl.grant(&Grantee::Public, owner, kind.public_default(), Privileges::NONE);
        // The owner of a column has the privileges of the table.
        if kind != ObjectKind::Column {
            acl.grant(&owner.clone().into(), owner, kind.all(version), Privileges::NONE);
        }
        acl
    }

    /// Returns the entries as grantee, grantor and privileges, ordered by grantee and then by grantor.
    pub fn iter(&self) -> impl Iterator<Item = (&Grantee, &Name, EntryPrivileges)> {
        self.0.iter().map(|((grantee, grantor), rights)| (grantee, grantor, *rights))
    }

    /// Returns `true` if the list has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the union of a grantee's privileges over all grantors.
    #[must_use]
    pub fn privileges_of(&self, grantee: &Grantee) -> EntryPrivileges {
        let mut held = EntryPrivileges::default();
        self.grants_to(grantee).for_each(|(_, rights)| held.join(rights));
        held
    }

    /// Returns the entries of a grantee, each as grantor and privileges.
    pub fn grants_to(&self, grantee: &Grantee) -> impl Iterator<Item = (&Name, EntryPrivileges)> {
        self.0.iter().filter(move |((who, _), _)| who == grantee).map(|((_, by), rights)| (by, *rights))
    }

    /// Adds privileges to the entry of a grantee and grantor. Those in `grantable` are added with the grant option,
    /// even if `privileges` lacks them. Nothing is executed.
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
            entry.join(EntryPrivileges { privileges, grantable });
        }
    }

    /// Removes privileges, and their grant options, that `grantor` granted, as REVOKE … CASCADE does: also those that
    /// the grantee granted to others by grant options that it no longer has from anyone. `owner` is the object's owner,
    /// whose own grants are not affected. Nothing is executed.
    pub fn revoke(&mut self, grantee: &Grantee, grantor: &Name, privileges: Privileges, owner: &Name) {
        self.revoke_cascade(grantee, grantor, privileges, privileges, owner);
    }

    /// Removes the grant option for privileges that `grantor` granted, as REVOKE GRANT OPTION … CASCADE does: also the
    /// privileges that the grantee granted to others by it. `owner` is the object's owner. Nothing is executed.
    pub fn revoke_option(&mut self, grantee: &Grantee, grantor: &Name, grantable: Privileges, owner: &Name) {
        self.revoke_cascade(grantee, grantor, Privileges::NONE, grantable, owner);
    }

    /// Removes the privileges `gone` and the grant options `options` from the entry of a grantee and grantor, and then
    /// the privileges that the grantee granted by options that it no longer has.
    fn revoke_cascade(
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
        let lost = (before.grantable & options) - self.privileges_of(grantee).grantable;
        for dependent in self.dependents(who, lost) {
            self.revoke_cascade(&dependent, who, lost, lost, owner);
        }
    }

    /// Returns the grantees that hold at least one of these privileges from a grantor.
    #[must_use]
    pub fn dependents(&self, grantor: &Name, privileges: Privileges) -> Vec<Grantee> {
        self.0
            .iter()
            .filter(|((_, by), rights)| by == grantor && !(rights.privileges & privileges).is_empty())
            .map(|((who, _), _)| who.clone())
            .collect()
    }

    /// Returns the list after a change of the object's owner from `old` to `new`, as the server's `aclnewowner()` does:
    /// `new` takes the place of `old` as grantee and as grantor, and entries that become alike are joined.
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

    /// Removes the entries of which the role is grantee or grantor.
    pub(crate) fn forget(&mut self, role: &Name) {
        self.0.retain(|(grantee, grantor), _| grantee.role() != Some(role) && grantor != role);
    }

    /// Returns the roles in the list, grantees and grantors, with repetitions.
    pub fn roles(&self) -> impl Iterator<Item = &Name> {
        self.0.keys().flat_map(|(grantee, grantor)| grantee.role().into_iter().chain([grantor]))
    }
}
