// Links of the README to items: the first definition of a link counts.
#![doc = include_str!("links.md")]
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

pub use conf::{
    Edit, ParameterChange, Setting, SettingsConversion, convert_settings, parameter_change, quoted, refusals,
    settings,
};
pub use control::{ControlData, ControlError, control_data};
pub use facts::{
    Backup, Catalog, CatalogQuery, Database, DiskSpace, Facts, HbaComparison, NewFolderState, OldFolder,
    Programs, ServerState, StopMethod, StoredSetting, Tablespace, WalFolder,
};
pub use html::html;
pub use inventory::{Difference, Inventory};
pub use machine::{
    Cleanup, Machine, NewClusterState, OldClusterState, Recovery, RestorableBackup, State, TransitionError,
};
pub use mode::{FileCopy, Mode, UnknownMode};
pub use preflight::{BACKUP_PROGRAMS, Finding, NEW_PROGRAMS, OLD_PROGRAMS, Severity, passes, preflight};
pub use record::{Amcheck, ChangedCollations, Entry, Record, ResolvedOptions};
pub use report::{report, span};
#[cfg(feature = "shell")]
pub use shell::*;
pub use step::{Reindexing, Step, UnknownStep, order};
pub use version::{Major, UnknownMajor, version_in_banner, versions_in_name};
