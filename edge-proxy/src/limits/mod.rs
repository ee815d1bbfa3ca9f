//! The rates and counters of clients and sites, shared by all workers. Counting takes no lock.

pub(crate) mod forward;
pub(crate) mod returning;
pub(crate) mod site;
pub(crate) mod sketch;
