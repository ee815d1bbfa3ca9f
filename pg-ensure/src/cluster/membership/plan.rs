//! Planning of memberships. Since PostgreSQL 16 several grantors can grant the same membership, each with options of
//! its own.

use super::change::{MembershipChange, Options};
use super::{Membership, MembershipKey, MembershipOptions};
use crate::desired::Presence;
use crate::diff::planner::Planner;
use crate::name::Name;

/// Plans the changes of memberships, removals before additions.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    // Removals come first, since a remaining membership could form a cycle with an added one.
    for ((role, member), wanted) in &desired.memberships {
        if wanted.presence == Presence::Absent {
            leave(planner, role, member);
        }
    }
    for ((role, member), wanted) in &desired.memberships {
        if wanted.presence == Presence::Present {
            join(planner, role, member, *wanted);
        }
    }
}

/// Returns the existing memberships of a member in a role, one per grantor.
fn rows(planner: &Planner<'_>, role: &Name, member: &Name) -> Vec<(MembershipKey, MembershipOptions)> {
    let found = planner.now().members(role).filter(|(key, _)| key.member == *member);
    found.map(|(key, options)| (key.clone(), *options)).collect()
}

/// Plans the removal of all memberships of a member in a role.
fn leave(planner: &mut Planner<'_>, role: &Name, member: &Name) {
    for (key, _) in rows(planner, role, member) {
        // An earlier step may have removed the membership by cascade.
        if !planner.now().memberships.contains_key(&key) {
            continue;
        }
        let cascade = depends(planner, &key);
        let change = MembershipChange::Revoke {
            role: role.clone(),
            member: member.clone(),
            grantor: grantor(planner, &key),
            cascade,
        };
        planner.emit(change, "the membership is to go");
    }
}

/// Plans the membership of a member in a role, and changes of its options. Before PostgreSQL 16, values of INHERIT
/// and SET other than those in effect are reported as unsupported.
fn join(planner: &mut Planner<'_>, role: &Name, member: &Name, wanted: Membership) {
    let rows = rows(planner, role, member);
    let has = |which: fn(&MembershipOptions) -> bool| rows.iter().any(|(_, options)| which(options));
    let grant = |options, grantor| MembershipChange::Grant {
        role: role.clone(),
        member: member.clone(),
        options,
        grantor,
    };
    let said = |wanted: Membership| Options { admin: wanted.admin, inherit: wanted.inherit, set: wanted.set };
    if !planner.now().version.membership_options() {
        let inherits = planner.now().roles.get(member).is_none_or(|member| member.inherit);
        let strange = wanted.inherit.is_some_and(|wanted| wanted != inherits) || wanted.set == Some(false);
        if strange {
            let what = format!("options INHERIT and SET of the membership of {member} in {role}");
            planner.unsupported(what, "PostgreSQL 16 is the first to have them");
        }
        let options = Options { admin: wanted.admin, inherit: None, set: None };
        if rows.is_empty() {
            planner.emit(grant(options, None), "it is not a member");
        } else if wanted.admin == Some(true) && !has(|row| row.admin) {
            planner.emit(grant(options, None), "it has no ADMIN option");
        } else if wanted.admin == Some(false) && has(|row| row.admin) {
            let change = MembershipChange::RevokeAdmin {
                role: role.clone(),
                member: member.clone(),
                grantor: None,
                cascade: false,
            };
            planner.emit(change, "it has the ADMIN option");
        }
        return;
    }
    if rows.is_empty() {
        planner.emit(grant(said(wanted), None), "it is not a member");
        return;
    }
    let lacks = |wanted: Option<bool>, which| wanted == Some(true) && !has(which);
    let admin = lacks(wanted.admin, |row| row.admin);
    let inherit = lacks(wanted.inherit, |row| row.inherit);
    let set = lacks(wanted.set, |row| row.set);
    if admin || inherit || set {
        let own = own_grantor(planner);
        let words = [(admin, "ADMIN"), (inherit, "INHERIT"), (set, "SET")];
        let words: Vec<&str> = words.into_iter().filter(|(lacks, _)| *lacks).map(|(_, word)| word).collect();
        let reason = format!("it lacks {}", words.join(", "));
        let yes = |lacks: bool| lacks.then_some(true);
        let change = if rows.iter().any(|(key, _)| key.grantor == own) {
            grant(Options { admin: yes(admin), inherit: yes(inherit), set: yes(set) }, None)
        } else {
            // A separate membership by this grantor, with only the missing options.
            grant(Options { admin: yes(admin), inherit: Some(inherit), set: Some(set) }, None)
        };
        planner.emit(change, reason);
    }
    for (key, options) in &rows {
        if wanted.admin == Some(false) && options.admin {
            let change = MembershipChange::RevokeAdmin {
                role: role.clone(),
                member: member.clone(),
                grantor: grantor(planner, key),
                cascade: depends(planner, key),
            };
            planner.emit(change, "it has the ADMIN option");
        }
        let off = |wanted: Option<bool>, has: bool| (wanted == Some(false) && has).then_some(false);
        let (inherit, set) = (off(wanted.inherit, options.inherit), off(wanted.set, options.set));
        if inherit.is_some() || set.is_some() {
            let change = grant(Options { admin: None, inherit, set }, grantor(planner, key));
            planner.emit(change, "it has options that it is not to have");
        }
    }
}

/// Returns the role that is recorded as grantor of the session's grants: the bootstrap superuser for a superuser,
/// else the session's role.
fn own_grantor(planner: &Planner<'_>) -> Name {
    let session = &planner.now().session;
    if planner.now().superuser() { session.bootstrap.clone() } else { session.user.clone() }
}

/// Returns the grantor to name in the statement. `None` if it is the default grantor, or the server, before
/// PostgreSQL 16, does not distinguish grantors.
fn grantor(planner: &Planner<'_>, key: &MembershipKey) -> Option<Name> {
    let own = own_grantor(planner);
    (planner.now().version.membership_options() && key.grantor != own).then(|| key.grantor.clone())
}

/// Returns `true` if the member has granted the role to others, so that removing the membership requires CASCADE.
/// Always `false` before PostgreSQL 16.
fn depends(planner: &Planner<'_>, key: &MembershipKey) -> bool {
    planner.now().version.membership_options()
        && planner.now().members(&key.role).any(|(other, _)| other.grantor == key.member && other != key)
}
