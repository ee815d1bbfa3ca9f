//! The difference between the privileges that a grantee holds and those that are desired.

use crate::acl::{Acl, Grantee, Privileges};
use crate::name::Name;

/// The difference between the privileges that a grantee holds and those desired. `extra` is `true` if some are to be
/// revoked; `missing` are to be granted, `options` to be granted with the grant option.
pub(crate) struct PrivilegeDifference {
    wanted: Privileges,
    wanted_options: Privileges,
    pub(crate) extra: bool,
    pub(crate) missing: Privileges,
    pub(crate) options: Privileges,
}

impl PrivilegeDifference {
    /// Computes the difference for a grantee. `grantable` selects whether the privileges are desired with the grant
    /// option.
    pub(crate) fn of(acl: &Acl, to: &Grantee, wanted: Privileges, grantable: bool, owner: &Name) -> Self {
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
    pub(crate) fn is_empty(&self) -> bool {
        !self.extra && self.missing.is_empty() && self.options.is_empty()
    }

    /// Returns the privileges to revoke from one grantor's entry, and then the grant options to revoke from privileges
    /// that are kept.
    pub(crate) fn to_revoke(
        &self,
        privileges: Privileges,
        grantable: Privileges,
    ) -> (Privileges, Privileges) {
        let extra = privileges - self.wanted;
        (extra, grantable - extra - self.wanted_options)
    }
}
