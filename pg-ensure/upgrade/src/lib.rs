#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

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
#[cfg(feature = "shell")]
mod shell;
mod step;
mod version;

pub use conf::{Carrying, Edit, Fate, Setting, carried, fate, quoted, refusals, settings};
pub use control::{ControlData, ControlError, control_data};
pub use facts::{
    Asked, Backup, Catalog, Database, Facts, Hba, OldFolder, Programs, Room, Running, Stopping,
    StoredSetting, Tablespace, Target, WalFolder,
};
pub use html::html;
pub use inventory::{Difference, Inventory};
pub use machine::{Cleanup, Machine, Old, Recovery, Refused, State};
pub use mode::{Mode, UnknownMode};
pub use preflight::{Finding, NEW_PROGRAMS, OLD_PROGRAMS, Severity, passes, preflight};
pub use record::{Amcheck, Choices, Entry, Recollated, Record};
pub use report::{report, span};
#[cfg(feature = "shell")]
pub use shell::*;
pub use step::{Reindexing, Step, UnknownStep, order};
pub use version::{Major, UnknownMajor, version_in_banner, versions_in_name};
