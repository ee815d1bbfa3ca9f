//! The owner and privileges of an object.

use crate::acl::{Acl, ObjectKind};
use crate::name::Name;
use crate::version::Version;

/// Owner and ACL of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Name of the owner.
    pub owner: Name,
    /// ACL; the default ACL if the catalog has NULL.
    pub acl: Acl,
}

impl Owned {
    /// Creates the owner and default ACL of a new object.
    #[must_use]
    pub fn new(kind: ObjectKind, owner: &Name, version: Version) -> Self {
        Self { owner: owner.clone(), acl: Acl::default_of(kind, owner, version) }
    }

    /// Changes the owner, and transfers the privileges that the former owner has or has granted to the new one.
    pub(crate) fn give_to(&mut self, owner: &Name) {
        self.acl = self.acl.with_owner(&self.owner, owner);
        self.owner = owner.clone();
    }
}
