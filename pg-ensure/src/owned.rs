//! The owner and privileges of an object.

use crate::acl::{Acl, ObjectKind};
use crate::name::Name;
use crate::version::Version;

/// The owner and privileges of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The owner's name.
    pub owner: Name,
    /// The privileges, defaults filled in.
    pub acl: Acl,
}

impl Owned {
    /// An object as it is when it has just been made.
    #[must_use]
    pub fn new(kind: ObjectKind, owner: &Name, version: Version) -> Self {
        Self { owner: owner.clone(), acl: Acl::default_of(kind, owner, version) }
    }

    /// Makes a role the owner, with the privileges of the former one.
    pub(crate) fn give_to(&mut self, owner: &Name) {
        self.acl = self.acl.with_owner(&self.owner, owner);
        self.owner = owner.clone();
    }
}
