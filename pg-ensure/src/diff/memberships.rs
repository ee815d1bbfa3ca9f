//! Planning of memberships. Since PostgreSQL 16 several grantors can grant the same membership, each with options of
//! its own.

use super::Planner;
use crate::current::{MembershipKey, MembershipOptions};
use crate::desired::{Membership, Presence};
use crate::name::Name;
use crate::plan::{Change, Options};

impl Planner<'_> {
    /// Plans the changes of memberships, removals before additions.
    pub(super) fn memberships(&mut self) {
        let desired = self.desired;
        // Removals come first, since a remaining membership could form a cycle with an added one.
        for ((role, member), wanted) in &desired.memberships {
            if wanted.presence == Presence::Absent {
                self.leave(role, member);
            }
        }
        for ((role, member), wanted) in &desired.memberships {
            if wanted.presence == Presence::Present {
                self.join(role, member, *wanted);
            }
        }
    }

    /// Returns the existing memberships of a member in a role, one per grantor.
    fn rows(&self, role: &Name, member: &Name) -> Vec<(MembershipKey, MembershipOptions)> {
        let found = self.now.members(role).filter(|(key, _)| key.member == *member);
        found.map(|(key, options)| (key.clone(), *options)).collect()
    }

    /// Plans the removal of all memberships of a member in a role.
    fn leave(&mut self, role: &Name, member: &Name) {
        for (key, _) in self.rows(role, member) {
            // An earlier step may have removed the membership by cascade.
            if !self.now.memberships.contains_key(&key) {
                continue;
            }
            let cascade = self.depends(&key);
            let change = Change::RevokeRole {
                role: role.clone(),
                member: member.clone(),
                grantor: self.grantor(&key),
                cascade,
            };
            self.emit(change, "the membership is to go");
        }
    }

    /// Plans the membership of a member in a role, and changes of its options. Before PostgreSQL 16, values of INHERIT
    /// and SET other than those in effect are reported as unsupported.
    fn join(&mut self, role: &Name, member: &Name, wanted: Membership) {
        let rows = self.rows(role, member);
        let has = |which: fn(&MembershipOptions) -> bool| rows.iter().any(|(_, options)| which(options));
        let grant = |options, grantor| Change::GrantRole {
            role: role.clone(),
            member: member.clone(),
            options,
            grantor,
        };
        let said =
            |wanted: Membership| Options { admin: wanted.admin, inherit: wanted.inherit, set: wanted.set };
        if !self.now.version.membership_options() {
            let inherits = self.now.roles.get(member).is_none_or(|member| member.inherit);
            let strange =
                wanted.inherit.is_some_and(|wanted| wanted != inherits) || wanted.set == Some(false);
            if strange {
                let what = format!("options INHERIT and SET of the membership of {member} in {role}");
                self.unsupported(what, "PostgreSQL 16 is the first to have them");
            }
            let options = Options { admin: wanted.admin, inherit: None, set: None };
            if rows.is_empty() {
                self.emit(grant(options, None), "it is not a member");
            } else if wanted.admin == Some(true) && !has(|row| row.admin) {
                self.emit(grant(options, None), "it has no ADMIN option");
            } else if wanted.admin == Some(false) && has(|row| row.admin) {
                let change = Change::RevokeAdmin {
                    role: role.clone(),
                    member: member.clone(),
                    grantor: None,
                    cascade: false,
                };
                self.emit(change, "it has the ADMIN option");
            }
            return;
        }
        if rows.is_empty() {
            self.emit(grant(said(wanted), None), "it is not a member");
            return;
        }
        let lacks = |wanted: Option<bool>, which| wanted == Some(true) && !has(which);
        let admin = lacks(wanted.admin, |row| row.admin);
        let inherit = lacks(wanted.inherit, |row| row.inherit);
        let set = lacks(wanted.set, |row| row.set);
        if admin || inherit || set {
            let own = self.own_grantor();
            let words = [(admin, "ADMIN"), (inherit, "INHERIT"), (set, "SET")];
            let words: Vec<&str> =
                words.into_iter().filter(|(lacks, _)| *lacks).map(|(_, word)| word).collect();
            let reason = format!("it lacks {}", words.join(", "));
            let yes = |lacks: bool| lacks.then_some(true);
            let change = if rows.iter().any(|(key, _)| key.grantor == own) {
                grant(Options { admin: yes(admin), inherit: yes(inherit), set: yes(set) }, None)
            } else {
                // A separate membership by this grantor, with only the missing options.
                grant(Options { admin: yes(admin), inherit: Some(inherit), set: Some(set) }, None)
            };
            self.emit(change, reason);
        }
        for (key, options) in &rows {
            if wanted.admin == Some(false) && options.admin {
                let change = Change::RevokeAdmin {
                    role: role.clone(),
                    member: member.clone(),
                    grantor: self.grantor(key),
                    cascade: self.depends(key),
                };
                self.emit(change, "it has the ADMIN option");
            }
            let off = |wanted: Option<bool>, has: bool| (wanted == Some(false) && has).then_some(false);
            let (inherit, set) = (off(wanted.inherit, options.inherit), off(wanted.set, options.set));
            if inherit.is_some() || set.is_some() {
                let change = grant(Options { admin: None, inherit, set }, self.grantor(key));
                self.emit(change, "it has options that it is not to have");
            }
        }
    }

    /// Returns the role that is recorded as grantor of the session's grants: the bootstrap superuser for a superuser,
    /// else the session's role.
    fn own_grantor(&self) -> Name {
        let session = &self.now.session;
        if self.now.superuser() { session.bootstrap.clone() } else { session.user.clone() }
    }

    /// Returns the grantor to name in the statement. `None` if it is the default grantor, or the server, before
    /// PostgreSQL 16, does not distinguish grantors.
    fn grantor(&self, key: &MembershipKey) -> Option<Name> {
        let own = self.own_grantor();
        (self.now.version.membership_options() && key.grantor != own).then(|| key.grantor.clone())
    }

    /// Returns `true` if the member has granted the role to others, so that removing the membership requires CASCADE.
    /// Always `false` before PostgreSQL 16.
    fn depends(&self, key: &MembershipKey) -> bool {
        self.now.version.membership_options()
            && self.now.members(&key.role).any(|(other, _)| other.grantor == key.member && other != key)
    }
}
