//! Where changes are executed.

use crate::name::Name;

/// Connection and transaction in which a change is executed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExecutionScope {
    /// In a transaction, in any database.
    Cluster,
    /// Outside of a transaction, in any database.
    Alone,
    /// In a transaction, in this database.
    In(Name),
}
