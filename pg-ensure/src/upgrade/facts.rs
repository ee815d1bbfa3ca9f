//! What is known about a machine and its clusters before an upgrade. A shell gathers it, [`preflight`] judges it.
//!
//! [`preflight`]: super::preflight

use super::control::ControlData;
use super::mode::Mode;
use super::version::Major;
use std::path::PathBuf;

/// Programs that an upgrade runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// Their folder, if one was found.
    pub folder: Option<PathBuf>,
    /// The version of its `postgres`, such as `17.10`.
    pub version: Option<String>,
    /// Programs that are not in it.
    pub missing: Vec<String>,
    /// Where else was looked.
    pub looked: Vec<String>,
    /// What the server was built with, as `pg_config --configure` says; `None` when that is not known.
    pub built_with: Option<String>,
    /// The extensions that can be installed; `None` when that is not known.
    pub extensions: Option<Vec<String>>,
}

/// Whether a server runs on the old folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Running {
    /// No.
    #[default]
    No,
    /// There is a pid file, and no server that it belongs to.
    StalePidFile,
    /// Yes.
    Live {
        /// Its process.
        pid: u32,
        /// The unit of systemd it belongs to, where there is one.
        unit: Option<String>,
    },
}

/// Who stops a live server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "upgrade",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Stopping {
    /// Nobody: it must be stopped already.
    #[default]
    Refuse,
    /// `pg_ctl stop -m fast`.
    PgCtl,
    /// `systemctl stop`, and `systemctl start` afterwards.
    Service(String),
}

/// The folder that the new cluster will have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// It is not there.
    #[default]
    Absent,
    /// It is an empty folder.
    Empty,
    /// Something is in it.
    Occupied,
    /// It is on another file system, so that no folder can be renamed to it.
    OtherFileSystem,
}

/// A tablespace of the old cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tablespace {
    /// Its number, the name of its link.
    pub oid: String,
    /// Where it is. `None` where it is a folder within the cluster.
    pub location: Option<PathBuf>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Folders of the new version that are in it already.
    pub leftovers: Vec<String>,
}

/// A file system that an upgrade writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// A folder on it.
    pub folder: PathBuf,
    /// Bytes that are free for this account.
    pub free: u64,
    /// Bytes of data files that a transfer would put there.
    pub data: u64,
    /// Bytes that the backup would put there.
    pub backup: u64,
}

/// What the old folder and its control file say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldFolder {
    /// What is in `PG_VERSION`; `None` without that file.
    pub version: Option<String>,
    /// The control file, or why it cannot be read.
    pub control: Option<Result<ControlData, String>>,
    /// Whether a server runs on it.
    pub running: Running,
    /// The account that owns it.
    pub owner: String,
    /// Whether this process acts as that account.
    pub owned: bool,
    /// Entries that belong to another account.
    pub foreign: Vec<String>,
    /// Its permission bits.
    pub mode: u32,
    /// `standby.signal`, `recovery.signal` or `backup_label`, where they are there.
    pub signals: Vec<String>,
    /// Its tablespaces.
    pub tablespaces: Vec<Tablespace>,
}

/// How a backup is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "upgrade",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Backup {
    /// `pg_basebackup` into a folder, then `pg_verifybackup`.
    Base(PathBuf),
    /// `pg_dumpall` into a file.
    Dump(PathBuf),
    /// The owner has one, and says so.
    Asserted(String),
}

/// What the old server says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "upgrade", derive(serde::Serialize, serde::Deserialize))]
pub struct Catalog {
    /// The name of the role that `initdb` made.
    pub superuser: String,
    /// The databases.
    pub databases: Vec<Database>,
    /// Extensions that are installed, each with its databases.
    pub extensions: Vec<(String, Vec<String>)>,
    /// Logical replication slots.
    pub logical_slots: Vec<String>,
    /// Logical slots that are of no use any more.
    pub invalid_slots: Vec<String>,
    /// Physical replication slots.
    pub physical_slots: Vec<String>,
    /// Prepared transactions, by name.
    pub prepared: Vec<String>,
    /// Sessions other than the one that asks.
    pub sessions: u64,
    /// The longest transaction, in seconds.
    pub longest: u64,
    /// `wal_level`.
    pub wal_level: String,
    /// `max_wal_senders`.
    pub wal_senders: u64,
    /// `shared_preload_libraries`.
    pub preload: String,
    /// `max_locks_per_transaction`.
    pub locks: u64,
    /// `default_toast_compression`.
    pub toast_compression: String,
    /// Whether any column or the default asks for lz4.
    pub lz4: bool,
    /// Whether TLS is on.
    pub ssl: bool,
    /// The file `postgresql.conf`.
    pub config_file: String,
    /// The file `pg_hba.conf`.
    pub hba_file: String,
    /// The file `pg_ident.conf`.
    pub ident_file: String,
    /// The options that the server was started with, beside its folder.
    pub options: Vec<String>,
    /// Databases with unlogged tables, which no base backup has the rows of.
    pub unlogged: Vec<String>,
    /// Options of columns that are in use, such as `n_distinct`.
    pub column_options: Vec<String>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "upgrade", derive(serde::Serialize, serde::Deserialize))]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its encoding.
    pub encoding: String,
    /// `c` libc, `i` ICU, `b` builtin.
    pub provider: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale of ICU or of the builtin provider.
    pub locale: Option<String>,
    /// The version of its collation when it was made.
    pub collation_recorded: Option<String>,
    /// That version now.
    pub collation_actual: Option<String>,
    /// Whether anybody may connect.
    pub connectable: bool,
}

/// Whether a live server lets the upgrade in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// It was not asked: it does not run, and nothing may be touched.
    #[default]
    No,
    /// It was.
    Yes(Box<Catalog>),
    /// It refused.
    Refused(String),
}

/// What a checker found about `pg_hba.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hba {
    /// Nobody looked.
    #[default]
    Unchecked,
    /// Both versions decide every connection alike.
    Same,
    /// The new version decides some connections otherwise: the text shows one.
    Changed(String),
    /// The new version refuses the file.
    Refused(String),
    /// Neither could be shown.
    Unknown(String),
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The old version.
    pub from: Major,
    /// The new version.
    pub to: Major,
    /// The old folder.
    pub old_data: PathBuf,
    /// The new folder.
    pub new_data: PathBuf,
    /// Where the new cluster is made.
    pub staging: PathBuf,
    /// Whether something is there already that this run did not make.
    pub staging_there: bool,
    /// The old version's programs.
    pub old_programs: Programs,
    /// The new version's programs.
    pub new_programs: Programs,
    /// The old folder; `None` where it is not there.
    pub old: Option<OldFolder>,
    /// The new folder.
    pub target: Target,
    /// Whether this account may write beside the folders.
    pub base_writable: bool,
    /// The mode that is to be used.
    pub mode: Mode,
    /// Whether it was asked for by name.
    pub mode_asked: bool,
    /// Whether files can share blocks here.
    pub clones: bool,
    /// The file systems.
    pub rooms: Vec<Room>,
    /// The backup that is to be made.
    pub backup: Backup,
    /// Whether there is something at the backup's place.
    pub backup_there: bool,
    /// Whether the server lets `pg_basebackup` in; `None` when it was not asked.
    pub replication_login: Option<Result<(), String>>,
    /// What the old server says.
    pub asked: Asked,
    /// Who stops it.
    pub stopping: Stopping,
    /// What changes in the configuration files.
    pub edits: Vec<super::conf::Edit>,
    /// What became of `pg_hba.conf`.
    pub hba: Hba,
    /// Options of columns that the new server does not know.
    pub unknown_options: Vec<String>,
}
