//! Classes of risk of changes.

use std::fmt;

/// Class of risk of a change, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Risk {
    /// `adds`: the change creates an object, grants privileges or a membership, adds a table to a publication, or runs
    /// the initial script of a database.
    Adds,
    /// `changes`: the change modifies an existing object without limiting anybody: a setting, a password, a comment,
    /// the schema of an extension, an attribute of a role or an option of a database that is not limited by it, or an
    /// option of a membership.
    Changes,
    /// `disturbs`: the change may affect sessions of others: a database is moved to another tablespace, an extension is
    /// updated, or an event trigger is created or enabled.
    Disturbs,
    /// `takes away`: the change may reduce permissions or what others receive: it revokes privileges or a membership,
    /// takes an attribute from a role or an option from a database, sets a connection limit or the expiry of a
    /// password, removes a password, changes an owner or what a publication publishes, or replaces or disables an event
    /// trigger.
    #[cfg_attr(feature = "serde", serde(rename = "takes away"))]
    Restricts,
    /// `destroys`: the change drops an object, or all objects of a role in a database, with data and definitions.
    /// Blocked without consent.
    Destroys,
}

impl Risk {
    /// Returns the stable, machine-readable name, such as `takes away`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adds => "adds",
            Self::Changes => "changes",
            Self::Disturbs => "disturbs",
            Self::Restricts => "takes away",
            Self::Destroys => "destroys",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Risk;
    use crate::name::Name;
    use crate::plan::{Attributes, Change, DatabaseChange, RoleChange};
    use crate::time::ValidUntil;

    fn name() -> Name {
        Name::new("n").expect("a name")
    }

    fn of_role(attributes: Attributes) -> Risk {
        Change::from(RoleChange::Alter { name: name(), attributes }).risk()
    }

    fn of_database(limit: Option<i32>, allow: Option<bool>, template: Option<bool>) -> Risk {
        let (connection_limit, allow_connections, is_template) = (limit, allow, template);
        let options =
            DatabaseChange::Options { name: name(), connection_limit, allow_connections, is_template };
        Change::from(options).risk()
    }

    #[test]
    fn limits_have_one_class_on_roles_and_databases() {
        for (limit, risk) in [(-1, Risk::Changes), (0, Risk::Restricts), (5, Risk::Restricts)] {
            assert_eq!(of_role(Attributes { connection_limit: Some(limit), ..Attributes::default() }), risk);
            assert_eq!(of_database(Some(limit), None, None), risk);
        }
        for (on, risk) in [(true, Risk::Changes), (false, Risk::Restricts)] {
            assert_eq!(of_role(Attributes { login: Some(on), ..Attributes::default() }), risk);
            assert_eq!(of_database(None, Some(on), None), risk);
            assert_eq!(of_database(None, None, Some(on)), risk);
        }
        for (until, risk) in [(ValidUntil::Forever, Risk::Changes), (ValidUntil::At(0), Risk::Restricts)] {
            assert_eq!(of_role(Attributes { valid_until: Some(until), ..Attributes::default() }), risk);
        }
    }
}
