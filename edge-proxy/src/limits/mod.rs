//! Rates and counts of clients and sites that all workers share without a lock.

pub(crate) mod site;
pub(crate) mod sketch;
