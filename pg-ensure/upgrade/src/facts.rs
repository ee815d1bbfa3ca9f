//! Facts about a machine and its clusters before an upgrade. A shell gathers them, [`preflight`] judges them.
//!
//! [`preflight`]: super::preflight

use super::control::ControlData;
use super::machine::State;
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
    /// The places that were searched.
    pub looked: Vec<String>,
    /// The configure options of the build, from `pg_config --configure`; `None` if unknown.
    pub built_with: Option<String>,
    /// The extensions that can be installed; `None` when that is not known.
    pub extensions: Option<Vec<String>>,
}

/// The state of the server on the old folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Running {
    /// No server runs.
    #[default]
    No,
    /// There is a pid file, and no server that it belongs to.
    StalePidFile,
    /// A server runs.
    Live {
        /// The process ID.
        pid: u32,
        /// The unit of systemd it belongs to, where there is one.
        unit: Option<String>,
    },
}

/// The way a running server is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
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
    /// Its location. `None` for a folder within the cluster.
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

/// The old data folder and its control file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldFolder {
    /// The content of `PG_VERSION`; `None` without that file.
    pub version: Option<String>,
    /// The control file, or why it cannot be read.
    pub control: Option<Result<ControlData, String>>,
    /// The state of its server.
    pub running: Running,
    /// The account that owns it.
    pub owner: String,
    /// True if this process acts as that account.
    pub owned: bool,
    /// Entries that belong to another account.
    pub foreign: Vec<String>,
    /// Its permission bits.
    pub mode: u32,
    /// `standby.signal`, `recovery.signal` or `backup_label`, where they are there.
    pub signals: Vec<String>,
    /// The cluster's tablespaces.
    pub tablespaces: Vec<Tablespace>,
}

/// The kind and place of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Backup {
    /// `pg_basebackup` into a folder, then `pg_verifybackup`.
    Base(PathBuf),
    /// `pg_dumpall` into a file.
    Dump(PathBuf),
    /// The owner has one, and says so.
    Asserted(String),
}

/// The old server's answers about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Catalog {
    /// The name of the role that `initdb` made.
    pub superuser: String,
    /// The databases of the cluster.
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
    /// The setting `wal_level`.
    pub wal_level: String,
    /// The setting `max_wal_senders`.
    pub wal_senders: u64,
    /// The setting `shared_preload_libraries`.
    pub preload: String,
    /// The setting `max_locks_per_transaction`.
    pub locks: u64,
    /// The setting `default_toast_compression`.
    pub toast_compression: String,
    /// True if any column or the default asks for lz4.
    pub lz4: bool,
    /// True if TLS is on.
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
    /// Settings that the catalog holds for roles, databases and functions.
    #[cfg_attr(feature = "shell", serde(default))]
    pub settings: Vec<StoredSetting>,
    /// Logical slots without a consumer that have changes to be read, each with the reason if that is not certain.
    #[cfg_attr(feature = "shell", serde(default))]
    pub unread_slots: Vec<(String, Option<String>)>,
    /// Databases that columns, domains or indexes use collations of a provider in: database, provider (`i` or `b`).
    #[cfg_attr(feature = "shell", serde(default))]
    pub collations: Vec<(String, String)>,
    /// Columns whose types `pg_upgrade` cannot transfer: database, column with its type.
    #[cfg_attr(feature = "shell", serde(default))]
    pub columns: Vec<(String, String)>,
    /// Libraries that functions and settings load, without folder and suffix.
    #[cfg_attr(feature = "shell", serde(default))]
    pub libraries: Vec<String>,
    /// Subscriptions whose tables are not synchronized: database, subscription.
    #[cfg_attr(feature = "shell", serde(default))]
    pub subscriptions: Vec<(String, String)>,
    /// Names with a carriage return or a line feed, which 19 refuses.
    #[cfg_attr(feature = "shell", serde(default))]
    pub broken_names: Vec<String>,
    /// Indexes by `btree_gist` over inet or cidr, which 19 refuses: database, index.
    #[cfg_attr(feature = "shell", serde(default))]
    pub inet_indexes: Vec<(String, String)>,
    /// Columns that may be null where a parent table's may not, which 18 refuses: database, column.
    #[cfg_attr(feature = "shell", serde(default))]
    pub nullable: Vec<(String, String)>,
    /// Conversions of encodings and postfix operators that users made, which 14 refuses: database, object.
    #[cfg_attr(feature = "shell", serde(default))]
    pub removed: Vec<(String, String)>,
    /// Roles whose password is stored as an MD5 hash.
    #[cfg_attr(feature = "shell", serde(default))]
    pub md5_roles: Vec<String>,
}

/// A setting that the catalog holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct StoredSetting {
    /// The role, database or function, such as `role "n" in database "d"`.
    pub holder: String,
    /// The parameter's name.
    pub name: String,
    /// The stored value.
    pub value: String,
    /// The statement that removes it.
    pub reset: String,
}

/// A database object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Database {
    /// The object's name.
    pub name: String,
    /// The character encoding.
    pub encoding: String,
    /// `c` libc, `i` ICU, `b` builtin.
    pub provider: String,
    /// The setting `LC_COLLATE`.
    pub collate: String,
    /// The setting `LC_CTYPE`.
    pub ctype: String,
    /// The locale of ICU or of the builtin provider.
    pub locale: Option<String>,
    /// The version of its collation when it was made.
    pub collation_recorded: Option<String>,
    /// That version now.
    pub collation_actual: Option<String>,
    /// True if anybody may connect.
    pub connectable: bool,
    /// True if an interrupted `DROP DATABASE` has left it unusable (`datconnlimit` -2).
    #[cfg_attr(feature = "shell", serde(default))]
    pub invalid: bool,
}

impl Database {
    /// Returns true if the upgrade can connect to it.
    #[must_use]
    pub fn open(&self) -> bool {
        self.connectable && !self.invalid
    }
}

/// The result of asking the old server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// It was not asked: it does not run, and nothing may be touched.
    #[default]
    No,
    /// The server answered.
    Yes(Box<Catalog>),
    /// The server refused.
    Refused(String),
}

/// The result of comparing `pg_hba.conf` under both versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hba {
    /// It was not compared.
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
    /// The folder in which the new cluster is prepared.
    pub staging: PathBuf,
    /// True if something is there already that this run did not make.
    pub staging_there: bool,
    /// The old version's programs.
    pub old_programs: Programs,
    /// The new version's programs.
    pub new_programs: Programs,
    /// The old folder; `None` where it is not there.
    pub old: Option<OldFolder>,
    /// The new folder.
    pub target: Target,
    /// True if this account may write beside the folders.
    pub base_writable: bool,
    /// The mode that is to be used.
    pub mode: Mode,
    /// True if it was asked for by name.
    pub mode_asked: bool,
    /// True if files can share blocks here.
    pub clones: bool,
    /// The file systems.
    pub rooms: Vec<Room>,
    /// The backup that is to be made.
    pub backup: Backup,
    /// True if there is something at the backup's place.
    pub backup_there: bool,
    /// The result of a replication login for `pg_basebackup`; `None` when it was not tried.
    pub replication_login: Option<Result<(), String>>,
    /// The old server's answers.
    pub asked: Asked,
    /// The way the old server is stopped.
    pub stopping: Stopping,
    /// The edits of the configuration files.
    pub edits: Vec<super::conf::Edit>,
    /// The result for `pg_hba.conf`.
    pub hba: Hba,
    /// Options of columns that the new server does not know.
    pub unknown_options: Vec<String>,
    /// Settings of the catalog that the new server refuses, each with its reason.
    pub refused_settings: Vec<(StoredSetting, String)>,
    /// Libraries that are not there for the new server.
    pub missing_libraries: Vec<String>,
    /// The location of the write-ahead log, where that is another folder than the data's.
    pub wal: Option<WalFolder>,
    /// The state of an upgrade that is under way.
    pub under_way: Option<State>,
}

/// A write-ahead log that lies outside of the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalFolder {
    /// The folder that the old cluster's `pg_wal` leads to.
    pub old: PathBuf,
    /// The folder for the new cluster's, if one was named.
    pub new: Option<PathBuf>,
    /// True if that folder exists and is not empty.
    pub occupied: bool,
}
