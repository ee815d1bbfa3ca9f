//! Rates and counters of clients and sites, shared by all workers without a lock.

pub(crate) mod forward;
pub(crate) mod site;
pub(crate) mod sketch;
