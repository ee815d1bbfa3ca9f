//! A major upgrade of a cluster that cannot lose data.
//!
//! The decisions are here and pure: which step is next and what a kill in the middle of one means ([`Machine`]), what
//! stands in the way ([`preflight`]), how a configuration is carried over ([`carried`]), what differs between two
//! inventories ([`Inventory`]), and the report ([`report`]). With the feature `upgrade` there is also the shell that
//! reads folders, runs PostgreSQL's own programs and keeps the journal.
//!
//! What it rests on:
//!
//! - Every step is written to a journal before it begins and after it ends, each time by a file that is synced and
//!   renamed. A run that finds a step begun and not ended undoes that step's traces and does it again.
//! - The old cluster is never removed. In the modes `copy`, `clone` and `copy-file-range` it stays whole. `link` and
//!   `swap` cost it, so there the backup is taken when nothing can be written any more.
//! - The new cluster is made under another name and gets its own by one rename, after it has been compared with what was
//!   in the old one. Until that rename there is a way back.
//! - If somebody starts the old server after its data were transferred, the transfer is done again.

mod conf;
mod control;
mod facts;
mod html;
mod inventory;
mod machine;
mod mode;
mod preflight;
mod record;
mod report;
#[cfg(feature = "upgrade")]
mod shell;
mod step;
mod version;

pub use conf::{Carrying, Edit, Fate, Setting, carried, fate, quoted, refusals, settings};
pub use control::{ControlData, ControlError, control_data};
pub use facts::{
    Asked, Backup, Catalog, Database, Facts, Hba, OldFolder, Programs, Room, Running, Stopping, Tablespace,
    Target,
};
pub use html::html;
pub use inventory::{Difference, Inventory};
pub use machine::{Cleanup, Machine, Old, Recovery, Refused, State};
pub use mode::{Mode, UnknownMode};
pub use preflight::{Finding, NEW_PROGRAMS, OLD_PROGRAMS, Severity, passes, preflight};
pub use record::{Amcheck, Choices, Entry, Recollated, Record};
pub use report::{report, span};
#[cfg(feature = "upgrade")]
pub use shell::*;
pub use step::{Reindexing, Step, UnknownStep, order};
pub use version::{Major, UnknownMajor, version_in_banner, versions_in_name};
