//! Facts about a host and its clusters before an upgrade. The shell gathers them, and [`preflight`] evaluates them.
//!
//! [`preflight`]: super::preflight

use super::control::ControlData;
use super::machine::State;
use super::mode::Mode;
use super::version::Major;
use std::path::PathBuf;

/// The programs of one PostgreSQL major version, as found on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// Directory of the programs. `None` if none was found.
    pub folder: Option<PathBuf>,
    /// Version of `postgres`, such as `17.10`. `None` if it cannot be run.
    pub version: Option<String>,
    /// Names of required programs that are missing in the directory.
    pub missing: Vec<String>,
    /// Descriptions of the places that were searched in vain. Empty if the directory was found or given.
    pub searched: Vec<String>,
    /// Configure options of the build, from `pg_config --configure`. `None` if unknown.
    pub built_with: Option<String>,
    /// Names of the extensions that can be installed. `None` if unknown.
    pub extensions: Option<Vec<String>>,
}

/// State of the server on the old data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerState {
    /// No server runs.
    #[default]
    Stopped,
    /// A `postmaster.pid` exists, but no server process belongs to it.
    StalePidFile,
    /// A server runs.
    Running {
        /// Process id of the postmaster.
        pid: u32,
        /// systemd unit of the process. `None` if it has none.
        unit: Option<String>,
    },
}

/// Method by which a running server is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum StopMethod {
    /// The server is not stopped. The upgrade requires that no server runs.
    #[default]
    Refuse,
    /// `pg_ctl stop -m fast`.
    PgCtl,
    /// `systemctl stop` of this unit, and `systemctl start` of it afterwards.
    Service(String),
}

/// State of the new data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NewFolderState {
    /// The directory does not exist.
    #[default]
    Absent,
    /// The directory is empty.
    Empty,
    /// The directory is not empty.
    Occupied,
    /// The directory is on another file system than the staging directory, so that it cannot be renamed.
    OtherFileSystem,
}

/// A tablespace of the old cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tablespace {
    /// OID of the tablespace, the name of its symbolic link.
    pub oid: String,
    /// Location of the tablespace. `None` for a directory inside the data directory.
    pub location: Option<PathBuf>,
    /// Size of the files at the location in bytes, on disk. 0 without a location.
    pub bytes: u64,
    /// Names of directories of the new version that already exist in the tablespace.
    pub leftovers: Vec<String>,
}

/// A file system to which the upgrade writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// An existing directory on the file system: the one to write to, or the nearest above it.
    pub folder: PathBuf,
    /// Free space for this account, in bytes.
    pub free: u64,
    /// Size of the data files that a transfer by copying writes to it, in bytes, whatever the mode is.
    pub data: u64,
    /// Estimated size of the backup that is written to it, in bytes.
    pub backup: u64,
}

/// The old data directory, with its control file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldFolder {
    /// Content of `PG_VERSION`. `None` if the file is missing.
    pub version: Option<String>,
    /// Content of the control file, or the reason why it cannot be read. `None` if it was not read.
    pub control: Option<Result<ControlData, String>>,
    /// State of the server.
    pub running: ServerState,
    /// Name of the account that owns the directory.
    pub owner: String,
    /// `true` if this process runs as the owner.
    pub owned: bool,
    /// Names of entries of the directory that belong to another account.
    pub foreign: Vec<String>,
    /// Permission bits of the directory.
    pub mode: u32,
    /// Names of those of `standby.signal`, `recovery.signal` and `backup_label` that exist.
    pub signals: Vec<String>,
    /// Tablespaces of the cluster.
    pub tablespaces: Vec<Tablespace>,
}

/// Kind and location of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Backup {
    /// `pg_basebackup` into this directory, verified by `pg_verifybackup`.
    Base(PathBuf),
    /// `pg_dumpall` into this file.
    Dump(PathBuf),
    /// None is made, since the operator states that one exists; the statement.
    Asserted(String),
}

/// Properties of the old cluster, queried from its server. If that was stopped, a private server was queried instead,
/// and `wal_senders`, `ssl`, `hba_file` and `ident_file` are those of the private server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Catalog {
    /// Name of the bootstrap superuser.
    pub superuser: String,
    /// The databases of the cluster.
    pub databases: Vec<Database>,
    /// Names of installed extensions, each with its databases.
    pub extensions: Vec<(String, Vec<String>)>,
    /// Names of logical replication slots, without temporary ones.
    pub logical_slots: Vec<String>,
    /// Names of logical replication slots that are invalidated.
    pub invalid_slots: Vec<String>,
    /// Names of physical replication slots, without temporary ones.
    pub physical_slots: Vec<String>,
    /// Identifiers of prepared transactions.
    pub prepared: Vec<String>,
    /// Number of client sessions on the old server, besides the one that queries it.
    pub sessions: u64,
    /// Age of the oldest open transaction of another client session, in seconds. 0 if there is none.
    pub longest: u64,
    /// Value of `wal_level`.
    pub wal_level: String,
    /// Value of `max_wal_senders`; 4, that of the private server, if the old one was stopped.
    pub wal_senders: u64,
    /// Value of `shared_preload_libraries`.
    pub preload: String,
    /// Value of `max_locks_per_transaction`.
    pub locks: u64,
    /// Value of `default_toast_compression`.
    pub toast_compression: String,
    /// `true` if a column or the default uses the compression method lz4.
    pub lz4: bool,
    /// `true` if the server accepts TLS connections.
    pub ssl: bool,
    /// Path of `postgresql.conf` (`config_file`).
    pub config_file: String,
    /// Path of `pg_hba.conf` (`hba_file`); that of the private server if the old one was stopped.
    pub hba_file: String,
    /// Path of `pg_ident.conf` (`ident_file`).
    pub ident_file: String,
    /// Command-line options of the running server, without its data directory and configuration file. Empty if it was
    /// stopped.
    pub options: Vec<String>,
    /// Databases with unlogged tables, whose rows are not part of a base backup.
    pub unlogged: Vec<String>,
    /// Names of column options in use, such as `n_distinct`. Those of the system's own relations are not transferred
    /// and thus omitted.
    pub column_options: Vec<String>,
    /// Settings stored for roles, databases and functions.
    #[cfg_attr(feature = "shell", serde(default))]
    pub settings: Vec<StoredSetting>,
    /// Logical slots without a consumer that have unread changes, each with the reason if that is uncertain.
    #[cfg_attr(feature = "shell", serde(default))]
    pub unread_slots: Vec<(String, Option<String>)>,
    /// Databases that use collations of a provider other than libc in columns, domains or indexes: database and
    /// provider (`i` or `b`).
    #[cfg_attr(feature = "shell", serde(default))]
    pub collations: Vec<(String, String)>,
    /// Columns whose types `pg_upgrade` cannot transfer: database, and column with its type.
    #[cfg_attr(feature = "shell", serde(default))]
    pub columns: Vec<(String, String)>,
    /// Libraries that functions in C and settings load: names in the library directory, or absolute paths, some with a
    /// suffix. Those of extensions' functions are omitted.
    #[cfg_attr(feature = "shell", serde(default))]
    pub libraries: Vec<String>,
    /// Subscriptions with a table whose synchronization has begun and is not complete: database and subscription.
    #[cfg_attr(feature = "shell", serde(default))]
    pub subscriptions: Vec<(String, String)>,
    /// Names of databases, roles and tablespaces with a carriage return or line feed, which version 19 rejects.
    #[cfg_attr(feature = "shell", serde(default))]
    pub broken_names: Vec<String>,
    /// Indexes of `btree_gist` on inet or cidr, which version 19 rejects: database and index.
    #[cfg_attr(feature = "shell", serde(default))]
    pub inet_indexes: Vec<(String, String)>,
    /// Columns that may be null although the column of the parent table may not, which version 18 rejects: database and
    /// column.
    #[cfg_attr(feature = "shell", serde(default))]
    pub nullable: Vec<(String, String)>,
    /// User-defined encoding conversions and postfix operators, which version 14 rejects: database and object.
    #[cfg_attr(feature = "shell", serde(default))]
    pub removed: Vec<(String, String)>,
    /// Roles whose stored password is an MD5 hash.
    #[cfg_attr(feature = "shell", serde(default))]
    pub md5_roles: Vec<String>,
    /// Configuration parameters on which privileges are granted (from version 15): name, and the statement that revokes
    /// them.
    #[cfg_attr(feature = "shell", serde(default))]
    pub parameter_grants: Vec<(String, String)>,
    /// Invalid indexes, which the transfer leaves out: database and index.
    #[cfg_attr(feature = "shell", serde(default))]
    pub invalid_indexes: Vec<(String, String)>,
    /// Indexes for full text search and of `pg_trgm` in databases whose locale provider is not libc: database and index.
    #[cfg_attr(feature = "shell", serde(default))]
    pub text_indexes: Vec<(String, String)>,
    /// Constraints that are not for NOT NULL but have the name that version 18 gives to one for NOT NULL of the same
    /// table: database, and table with constraint.
    #[cfg_attr(feature = "shell", serde(default))]
    pub not_null_names: Vec<(String, String)>,
    /// Names (`application_name`) of attached standbys.
    #[cfg_attr(feature = "shell", serde(default))]
    pub standbys: Vec<String>,
    /// Value of `synchronous_standby_names`, also if the old server was stopped.
    #[cfg_attr(feature = "shell", serde(default))]
    pub synchronous_standby_names: String,
    /// `true` if the database `template1` is not marked as a template, which `pg_upgrade` needs.
    #[cfg_attr(feature = "shell", serde(default))]
    pub template1_unmarked: bool,
    /// `true` if the configuration, a role or a database sets `client_encoding`.
    #[cfg_attr(feature = "shell", serde(default))]
    pub client_encoding_is_set: bool,
}

/// A setting of a role, database or function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct StoredSetting {
    /// Role, database or function that the setting belongs to, such as `role "n" in database "d"`.
    pub holder: String,
    /// Name of the parameter.
    pub name: String,
    /// Value of the setting.
    pub value: String,
    /// SQL statement that removes the setting.
    pub reset: String,
}

/// A database of the old cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Database {
    /// Name of the database.
    pub name: String,
    /// The character encoding.
    pub encoding: String,
    /// Locale provider: `c` for libc, `i` for ICU, `b` for builtin.
    pub provider: String,
    /// Value of LC_COLLATE.
    pub collate: String,
    /// Value of LC_CTYPE.
    pub ctype: String,
    /// Locale of the ICU or builtin provider. `None` for libc.
    pub locale: Option<String>,
    /// Recorded version of the collation. `None` without one.
    pub collation_recorded: Option<String>,
    /// Actual version of the collation. `None` without one.
    pub collation_actual: Option<String>,
    /// `true` if connections are permitted (`datallowconn`).
    pub connectable: bool,
    /// `true` if the database is invalid after an interrupted `DROP DATABASE` (`datconnlimit` -2).
    #[cfg_attr(feature = "shell", serde(default))]
    pub invalid: bool,
}

impl Database {
    /// Returns `true` if the upgrade can connect to the database.
    #[must_use]
    pub fn open(&self) -> bool {
        self.connectable && !self.invalid
    }
}

/// Result of querying the properties of the old cluster from its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CatalogQuery {
    /// The server was not queried: it does not run and must not be started for that, or the old programs or the old
    /// data directory are not usable.
    #[default]
    NotRun,
    /// The queries succeeded; their results.
    Succeeded(Box<Catalog>),
    /// The running server rejected the login or a query; its last message.
    Failed(String),
}

/// Result of comparing `pg_hba.conf` under both versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HbaComparison {
    /// The file was not compared.
    #[default]
    Unchecked,
    /// Both versions decide every connection in the same way.
    Same,
    /// The versions decide some connection differently; an example.
    Changed(String),
    /// The new version rejects the file; the reason.
    Refused(String),
    /// The comparison could not be completed; the reason.
    Unknown(String),
}

/// All facts that the preflight checks evaluate.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The old version.
    pub from: Major,
    /// The new version.
    pub to: Major,
    /// Path of the old data directory.
    pub old_data: PathBuf,
    /// Path of the new data directory.
    pub new_data: PathBuf,
    /// Directory in which the new cluster is prepared.
    pub staging: PathBuf,
    /// `true` if the staging directory exists. With an upgrade in progress, it belongs to that.
    pub staging_exists: bool,
    /// Installation of the old version.
    pub old_programs: Programs,
    /// Installation of the new version.
    pub new_programs: Programs,
    /// The old data directory. `None` if it does not exist.
    pub old: Option<OldFolder>,
    /// State of the new data directory.
    pub target: NewFolderState,
    /// `true` if this account can write to the directory that contains the staging directory.
    pub base_writable: bool,
    /// Transfer mode to be used.
    pub mode: Mode,
    /// `true` if the request names the mode, `false` if it was chosen by [`Mode::choose`].
    pub mode_requested: bool,
    /// `true` if the file system of the staging directory supports cloning files (reflinks).
    pub clones: bool,
    /// File systems to which the upgrade writes.
    pub disk_space: Vec<DiskSpace>,
    /// Kind and location of the backup.
    pub backup: Backup,
    /// `true` if a file or directory exists at the location of the backup.
    pub backup_exists: bool,
    /// Result of a replication login as for `pg_basebackup`. `None` if it was not tried, since no server runs.
    pub replication_login: Option<Result<(), String>>,
    /// Properties of the old cluster, as the result of querying its server.
    pub catalog: CatalogQuery,
    /// Method by which the old server is stopped.
    pub stopping: StopMethod,
    /// Edits that the conversion of the configuration files makes.
    pub edits: Vec<super::conf::Edit>,
    /// Result of comparing `pg_hba.conf`.
    pub hba: HbaComparison,
    /// Those of [`Catalog::column_options`] that the new server does not support.
    pub unknown_options: Vec<String>,
    /// Settings of roles, databases and functions that the new server rejects, each with its reason.
    pub refused_settings: Vec<(StoredSetting, String)>,
    /// Configuration parameters with privileges that the new server does not know: name, and the statement that revokes
    /// the privileges.
    pub unknown_parameters: Vec<(String, String)>,
    /// Those of [`Catalog::libraries`] that the new installation does not have.
    pub missing_libraries: Vec<String>,
    /// Files of different folders and contents that would have one path in the new data directory: that path, relative,
    /// and the paths of two of them.
    pub colliding_files: Vec<(PathBuf, PathBuf, PathBuf)>,
    /// WAL directories. `None` if that of the old cluster is in its data directory, and no other is requested for the
    /// new one.
    pub wal: Option<WalFolder>,
    /// State of this upgrade if it has begun and is neither complete nor rolled back. `None` otherwise.
    pub in_progress: Option<State>,
}

/// The WAL directories of both clusters, at least one of them outside of its data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalFolder {
    /// Directory to which the old `pg_wal` points; `pg_wal` itself if it is not a link.
    pub old: PathBuf,
    /// Requested directory for the new cluster's WAL. `None` for the one in its data directory.
    pub new: Option<PathBuf>,
    /// `true` if the new directory exists and is not empty.
    pub occupied: bool,
}
