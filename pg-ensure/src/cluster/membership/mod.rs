//! Memberships: desired and current form.

pub(crate) mod change;
pub(crate) mod plan;

use crate::name::Name;
use crate::presence::Presence;

/// Desired membership of one role in another. An option that is `None` is not managed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// `Absent` if the membership is to be revoked. Default: `Present`.
    pub presence: Presence,
    /// ADMIN: `true` if the member may grant the role to others.
    pub admin: Option<bool>,
    /// INHERIT: `true` if the member has the role's privileges without SET ROLE (from PostgreSQL 16).
    pub inherit: Option<bool>,
    /// SET: `true` if the member may SET ROLE to the role (from PostgreSQL 16).
    pub set: Option<bool>,
}

/// Key of a membership. From PostgreSQL 16 on, several grantors can grant the same membership.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MembershipKey {
    /// Role that the membership is in.
    pub role: Name,
    /// Name of the member.
    pub member: Name,
    /// Grantor of the membership. Before PostgreSQL 16 it is recorded as the bootstrap superuser and has no effect.
    pub grantor: Name,
}

/// Options of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MembershipOptions {
    /// ADMIN: the member may grant the role to others.
    pub admin: bool,
    /// INHERIT: the member has the role's privileges without SET ROLE. Before PostgreSQL 16 this field is `true`, and
    /// the member's attribute INHERIT applies.
    pub inherit: bool,
    /// SET: the member may SET ROLE to the role. Always `true` before PostgreSQL 16.
    pub set: bool,
}
