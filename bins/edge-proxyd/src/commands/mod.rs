//! What the program does, a command a file.

pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod status;
