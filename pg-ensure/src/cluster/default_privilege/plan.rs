//! Planning of default privileges.

use super::change::DefaultPrivilegeChange;
use super::{DefaultKey, DefaultKind};
use crate::cluster::grant::difference::PrivilegeDifference;
use crate::cluster::grant::plan::wanted;
use crate::diff::planner::Planner;
use crate::name::Name;

/// Plans the changes of default privileges in a database. Large objects have them from PostgreSQL 18 on.
pub(crate) fn plan_in(planner: &mut Planner<'_>, database: &Name) {
    let desired = planner.desired();
    for grant in desired.defaults.iter().filter(|grant| grant.database == *database) {
        let (to, kind) = (&grant.to, grant.kind);
        let what = format!("default privileges of {to} on {} of {}", kind.sql(), grant.creator);
        if kind == DefaultKind::LargeObjects && !planner.now().version.large_object_defaults() {
            planner.unsupported(what, "default privileges of large objects came with PostgreSQL 18");
            continue;
        }
        let Some(wanted) = wanted(planner, &what, grant.privileges, kind.object()) else { continue };
        let key = DefaultKey { creator: grant.creator.clone(), schema: grant.schema.clone(), kind };
        let owner = grant.creator.clone();
        let version = planner.now().version;
        let list = |planner: &Planner<'_>| {
            let inside = planner.inside(database);
            inside.and_then(|inside| inside.defaults.get(&key).cloned()).unwrap_or_else(|| key.base(version))
        };
        let acl = list(planner);
        let differs = PrivilegeDifference::of(&acl, to, wanted, grant.grantable, &owner);
        if differs.is_empty() {
            continue;
        }
        let held = acl.privileges_of(to);
        let (extra, options) = differs.to_revoke(held.privileges, held.grantable);
        for (privileges, option_only) in [(extra, false), (options, true)] {
            if !privileges.is_empty() {
                let change = DefaultPrivilegeChange::Revoke {
                    database: database.clone(),
                    key: key.clone(),
                    from: to.clone(),
                    privileges,
                    option_only,
                };
                planner.emit_as(&[&owner], change, format!("{to} is not to get it"));
            }
        }
        for (privileges, grantable) in [(differs.missing, false), (differs.options, true)] {
            if !privileges.is_empty() {
                let change = DefaultPrivilegeChange::Grant {
                    database: database.clone(),
                    key: key.clone(),
                    to: to.clone(),
                    privileges,
                    grantable,
                };
                planner.emit_as(
                    &[&owner],
                    change,
                    format!("{to} does not get it; what exists already is not touched"),
                );
            }
        }
    }
}
