//! Gathering of the facts that the preflight evaluates.

use super::account::name_of;
use super::beside::NamedFiles;
use super::configuration::{self, access_files, config_folder, configuration};
use super::error::UpgradeError;
use super::files;
use super::journal::{Layout, WorkFolder};
use super::old_server::ask;
use super::request::{HbaChecker, Request};
use super::server;
use super::tools::{self, command, output};
use crate::control::{ControlData, control_data};
use crate::facts::{
    Backup, CatalogQuery, DiskSpace, Facts, HbaComparison, NewFolderState, OldFolder, Programs, ServerState,
    Tablespace, WalFolder,
};
use crate::mode::{FileCopy, Mode};
use crate::preflight::{BACKUP_PROGRAMS, NEW_PROGRAMS, OLD_PROGRAMS};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Reads a cluster's control file by `pg_controldata`. The error is a description.
pub(super) fn control(bin: &Path, data: &Path) -> Result<ControlData, String> {
    let text =
        output(command(bin, "pg_controldata", "").arg("-D").arg(data)).map_err(|why| why.to_string())?;
    control_data(&text).map_err(|why| why.to_string())
}

/// Finds the programs of the old and the new version, in this order, with the names of those that are missing. The
/// programs that only one kind of backup needs are [`BACKUP_PROGRAMS`].
pub(super) fn programs(request: &Request) -> (Programs, Programs) {
    let old = tools::find(request.from, request.old_bin.as_deref(), OLD_PROGRAMS, BACKUP_PROGRAMS);
    let new = tools::find(request.to, request.new_bin.as_deref(), NEW_PROGRAMS, &[]);
    (old, new)
}

/// Examines the old data directory. `None` if it does not exist. Without programs `bin`, the control file is not read.
fn old_folder(request: &Request, layout: &Layout, bin: Option<&Path>) -> Option<OldFolder> {
    let data = &layout.old_data;
    let about = fs::metadata(data).ok().filter(fs::Metadata::is_dir)?;
    let owned = about.uid() == rustix::process::geteuid().as_raw();
    let foreign = files::names(data)
        .into_iter()
        .filter(|name| {
            fs::symlink_metadata(data.join(name))
                .is_ok_and(|entry| !entry.is_symlink() && entry.uid() != about.uid())
        })
        .collect();
    let running = match server::running_pid_file(data) {
        Some(file) => ServerState::Running { pid: file.pid, unit: unit(file.pid) },
        None if data.join("postmaster.pid").exists() => ServerState::StalePidFile,
        None => ServerState::Stopped,
    };
    let signals = ["standby.signal", "recovery.signal", "backup_label"]
        .into_iter()
        .filter(|name| data.join(name).exists())
        .map(str::to_owned)
        .collect();
    let tablespaces = files::names(&data.join("pg_tblspc"))
        .into_iter()
        .map(|oid| {
            let location = fs::read_link(data.join("pg_tblspc").join(&oid)).ok();
            let there = location.as_deref().map(files::names).unwrap_or_default();
            let prefix = format!("PG_{}_", request.to);
            let leftovers = there.into_iter().filter(|name| name.starts_with(&prefix)).collect();
            let bytes = location.as_deref().map_or(0, |location| files::bytes(location, &[]));
            Tablespace { oid, location, bytes, leftovers }
        })
        .collect();
    Some(OldFolder {
        version: fs::read_to_string(data.join("PG_VERSION")).ok().map(|text| text.trim().to_owned()),
        control: bin.map(|bin| control(bin, data)),
        running,
        owner: name_of(about.uid()),
        owned,
        foreign,
        mode: about.mode() & 0o777,
        signals,
        tablespaces,
    })
}

/// Returns the systemd service of a process, if the service's name contains `postgres`. `None` otherwise.
fn unit(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut units = path.split('/').filter(|part| part.ends_with(".service"));
    // A server that was started from a shell belongs to the service of the shell.
    units.rfind(|unit| unit.contains("postgres")).map(str::to_owned)
}

/// Returns the state of the new data directory. Content takes precedence over its file system, which must be that of
/// the staging directory.
fn target(layout: &Layout) -> NewFolderState {
    let there = fs::symlink_metadata(&layout.new_data).is_ok();
    let device = |path: &Path| files::device(path).map(|(_, device)| device);
    if there && !files::names(&layout.new_data).is_empty() {
        NewFolderState::Occupied
    } else if device(&layout.new_data) != device(&layout.staging) {
        NewFolderState::OtherFileSystem
    } else if there {
        NewFolderState::Empty
    } else {
        NewFolderState::Absent
    }
}

/// Returns the WAL directories of the old and the new cluster. `None` if the old one is in the data directory, and no
/// other is requested for the new one.
fn wal_folder(request: &Request, layout: &Layout) -> Option<WalFolder> {
    let link = layout.old_data.join("pg_wal");
    let old = fs::read_link(&link).ok().map(|to| link.parent().unwrap_or(&link).join(to));
    let new = request.wal_dir.clone();
    let occupied = new.as_deref().is_some_and(|new| !files::names(new).is_empty());
    match (old, new) {
        (Some(old), new) => Some(WalFolder { old, new, occupied }),
        (None, Some(new)) => Some(WalFolder { old: link, new: Some(new), occupied }),
        (None, None) => None,
    }
}

/// Returns the file systems to which the upgrade writes, each once by its device, with the free space, the size of the
/// data that a copying transfer writes (without WAL), and that of the backup (a base backup with up to 64 MB of WAL).
fn disk_space(layout: &Layout, backup: &Backup, spaces: &[Tablespace]) -> Vec<DiskSpace> {
    let mut disk_space: BTreeMap<u64, DiskSpace> = BTreeMap::new();
    let mut add = |path: &Path, data: u64, backup: u64| {
        let Some((folder, device)) = files::device(path) else { return };
        let free = files::free(&folder).unwrap_or(0);
        let room = disk_space.entry(device).or_insert(DiskSpace { folder, free, data: 0, backup: 0 });
        room.data += data;
        room.backup += backup;
    };
    let own = files::bytes(&layout.old_data, &["pg_wal"]);
    let log = files::bytes(&layout.old_data.join("pg_wal"), &[]);
    add(layout.staging.parent().unwrap_or(Path::new("/")), own, 0);
    for space in spaces {
        if let Some(location) = &space.location {
            add(location, space.bytes, 0);
        }
    }
    let all = own + spaces.iter().map(|space| space.bytes).sum::<u64>();
    match backup {
        Backup::Base(path) => add(path.parent().unwrap_or(Path::new("/")), 0, all + log.min(64 << 20)),
        // A dump contains neither indexes nor dead rows, but text needs more space: the size of the data is a
        // reasonable bound.
        Backup::Dump(path) => add(path.parent().unwrap_or(Path::new("/")), 0, all),
        Backup::Asserted(_) => {}
    }
    disk_space.into_values().collect()
}

/// Gathers the facts that the preflight evaluates. With `may_start`, a stopped server is started privately to be
/// queried.
///
/// # Errors
/// Returns an [`UpgradeError`] if a required program cannot be run, or a server cannot be started or queried.
pub(super) fn facts(
    request: &Request,
    layout: &Layout,
    hba: &dyn HbaChecker,
    id: &str,
    may_start: bool,
) -> Result<Facts, UpgradeError> {
    let (old_programs, new_programs) = programs(request);
    let old = old_folder(request, layout, old_programs.folder.as_deref());
    let base = layout.staging.parent().unwrap_or(Path::new("/"));
    let copy = files::file_copy(base);
    let mode = request.mode.unwrap_or_else(|| Mode::choose(request.to, copy));
    let backup = request.backup.clone().unwrap_or_else(|| Backup::Base(layout.backup()));
    let backup_exists = match &backup {
        Backup::Base(path) | Backup::Dump(path) => fs::symlink_metadata(path).is_ok(),
        Backup::Asserted(_) => false,
    };
    let (mut query, mut replication_login) = (CatalogQuery::NotRun, None);
    let (mut edits, mut colliding_files) = (Vec::new(), Vec::new());
    let mut verdict = HbaComparison::Unchecked;
    // Without the new programs, the old ones are used for queries, and rejected settings are known from tables only.
    let new_bin = new_programs.folder.as_ref().filter(|_| new_programs.version.is_some());
    if let (Some(old), Some(old_bin)) = (&old, &old_programs.folder)
        && old_programs.version.is_some()
        && old.version.as_deref() == Some(request.from.to_string().as_str())
    {
        (query, replication_login) =
            ask(request, layout, old, old_bin, new_bin.unwrap_or(old_bin), id, may_start)?;
        let converted = configuration(request, layout, new_bin.map(PathBuf::as_path))?;
        let catalog = if let CatalogQuery::Succeeded(catalog) = &query { Some(&**catalog) } else { None };
        let (hba_file, ident_file) = access_files(request, layout, catalog);
        let folder = config_folder(request, layout).unwrap_or_else(|| layout.old_data.clone());
        let named = NamedFiles::of(&layout.old_data, &[&hba_file, &ident_file], &converted);
        colliding_files = named.collisions(&folder, &hba_file, &ident_file, &converted);
        edits = converted.edits;
        verdict = hba.check(&hba_file, request.from, request.to);
    }
    let spaces = old.as_ref().map(|old| old.tablespaces.clone()).unwrap_or_default();
    let (mut refused_settings, mut unknown_parameters) = (Vec::new(), Vec::new());
    let mut missing_libraries = Vec::new();
    if let CatalogQuery::Succeeded(catalog) = &query {
        refused_settings = configuration::refused_settings(
            &catalog.settings,
            (request.from, request.to),
            new_bin.map(PathBuf::as_path),
        )?;
        unknown_parameters = configuration::unknown_parameters(
            &catalog.parameter_grants,
            (request.from, request.to),
            new_bin.map(PathBuf::as_path),
        )?;
    }
    if let (CatalogQuery::Succeeded(catalog), Some(new_bin)) = (&query, new_bin)
        && let Some(folder) = tools::library_folder(new_bin)
    {
        let lacks = |library: &&String| !tools::has_library(&folder, library);
        missing_libraries = catalog.libraries.iter().filter(lacks).cloned().collect();
    }
    let unknown_options = match (&query, &new_programs.folder) {
        (CatalogQuery::Succeeded(catalog), Some(folder)) => unknown_options(&catalog.column_options, folder),
        _ => Vec::new(),
    };
    Ok(Facts {
        from: request.from,
        to: request.to,
        old_data: layout.old_data.clone(),
        new_data: layout.new_data.clone(),
        staging: layout.staging.clone(),
        staging_exists: fs::symlink_metadata(&layout.staging).is_ok(),
        old_programs,
        new_programs,
        old,
        target: target(layout),
        base_writable: tempfile::tempfile_in(base).is_ok(),
        mode,
        mode_requested: request.mode.is_some(),
        clones: copy == FileCopy::Clone,
        disk_space: disk_space(layout, &backup, &spaces),
        backup,
        backup_exists,
        replication_login,
        catalog: query,
        stopping: request.stopping.clone(),
        edits,
        hba: verdict,
        unknown_options,
        refused_settings,
        unknown_parameters,
        missing_libraries,
        colliding_files,
        wal: wal_folder(request, layout),
        in_progress: None,
    })
}

/// Returns the column options whose names do not occur in the new server's executable. Empty if that cannot be read. A
/// security fix of the old version may have added an option that an older minor version of the new one rejects during
/// the transfer.
fn unknown_options(options: &[String], bin: &Path) -> Vec<String> {
    if options.is_empty() {
        return Vec::new();
    }
    let Ok(program) = fs::read(bin.join("postgres")) else { return Vec::new() };
    let known =
        |option: &&String| !option.is_empty() && memchr::memmem::find(&program, option.as_bytes()).is_none();
    options.iter().filter(known).cloned().collect()
}

/// Creates the private folder of a work folder, which only this account may access.
///
/// # Errors
/// Returns an error if it cannot be created, or belongs to another account.
pub(super) fn private_folder(work: &WorkFolder) -> Result<(), UpgradeError> {
    files::make_own(&work.private())
}
