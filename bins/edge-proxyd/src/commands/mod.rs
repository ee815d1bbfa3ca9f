//! The commands of the program, one per module. `demo` and `try` have modules of their own.

pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod maintenance;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod status;
