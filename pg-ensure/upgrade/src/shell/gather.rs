//! Gathering of the facts that the preflight evaluates.

use super::beside::NamedFiles;
use super::configuration::{self, access_files, config_folder, configuration};
use super::error::UpgradeError;
use super::files;
use super::journal::{Layout, WorkFolder};
use super::queries;
use super::request::{HbaChecker, Request};
use super::server::{self, PrivateServer, ServerAddress, ServerFolder};
use super::tools::{self, command, output};
use crate::control::{ControlData, control_data};
use crate::facts::{
    Backup, Catalog, CatalogQuery, DiskSpace, Facts, HbaComparison, NewFolderState, OldFolder, Programs,
    ServerState, StoredSetting, Tablespace, WalFolder,
};
use crate::mode::Mode;
use crate::preflight::{BACKUP_PROGRAMS, NEW_PROGRAMS, OLD_PROGRAMS};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Returns the name of the account of this process, or its number if it has no name.
pub(super) fn account() -> String {
    name_of(rustix::process::geteuid().as_raw())
}

/// Returns the name of a user id, or the number if it has no name.
fn name_of(uid: u32) -> String {
    let output = std::process::Command::new("id").args(["-un", &uid.to_string()]).output();
    let name = output.ok().filter(|output| output.status.success());
    let name = name.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| uid.to_string())
}

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
        Some(file) => ServerState::Live { pid: file.pid, unit: unit(file.pid) },
        None if data.join("postmaster.pid").exists() => ServerState::StalePidFile,
        None => ServerState::No,
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

/// Returns candidates for the superuser's name: the requested one, or the account's own and `postgres`.
fn candidates(request: &Request) -> Vec<String> {
    let mut names: Vec<String> = request.superuser.iter().cloned().collect();
    if names.is_empty() {
        names.extend([account(), "postgres".to_owned()]);
        names.dedup();
    }
    names
}

/// The error message if there is no database in which the server can be queried.
const NO_DATABASE: &str = "the databases postgres and template1 are both missing, and the server is queried in one of \
    them: connect to another database as a superuser, and run CREATE DATABASE postgres TEMPLATE template0";

/// Returns `true` if the message of a server is that a database does not exist. Only messages in English are known.
fn is_missing(database: &str, message: &str) -> bool {
    message.contains(&format!("database \"{database}\" does not exist"))
}

/// Queries everything that the preflight needs from a server, in all databases that accept connections. `from` is the
/// major version.
///
/// # Errors
/// Returns an error if a query fails.
pub(super) fn catalog(
    bin: &Path,
    id: &str,
    socket: &ServerAddress,
    from: u32,
) -> Result<Catalog, UpgradeError> {
    let mut answers = "postgres";
    let mut text = socket.ask(bin, id, answers, queries::CATALOG);
    if let Err(first) = &text {
        let first = first.to_string();
        answers = "template1";
        text = socket.ask(bin, id, answers, queries::CATALOG);
        if let Err(second) = &text
            && is_missing("postgres", &first)
            && is_missing("template1", &second.to_string())
        {
            return Err(UpgradeError::Other(NO_DATABASE.to_owned()));
        }
    }
    let mut catalog: Catalog = serde_json::from_str(text?.trim())
        .map_err(|why| UpgradeError::Other(format!("the server's answer cannot be read: {why}")))?;
    if from >= 15 {
        let actual = socket.ask(bin, id, answers, queries::ACTUAL)?;
        for (name, version) in actual.lines().filter_map(|line| line.split_once('\t')) {
            let version = (!version.is_empty()).then(|| version.to_owned());
            if let Some(database) = catalog.databases.iter_mut().find(|database| database.name == name) {
                database.collation_actual = version;
            }
        }
    }
    if from >= 15 {
        let granted = socket.ask(bin, id, answers, queries::PARAMETER_GRANTS)?;
        catalog.parameter_grants = serde_json::from_str(granted.trim())
            .map_err(|why| UpgradeError::Other(format!("the server's answer cannot be read: {why}")))?;
    }
    let mut extensions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let open: Vec<String> =
        catalog.databases.iter().filter(|one| one.open()).map(|one| one.name.clone()).collect();
    for database in &open {
        let text = socket.ask(bin, id, database, queries::EXTENSIONS)?;
        for (kind, name) in text.lines().filter_map(|line| line.split_once('\t')) {
            let found = || (database.clone(), name.to_owned());
            match kind {
                "e" => extensions.entry(name.to_owned()).or_default().push(database.clone()),
                "c" => catalog.collations.push(found()),
                "l" => catalog.libraries.push(name.to_owned()),
                "s" => catalog.subscriptions.push(found()),
                "g" => catalog.inet_indexes.push(found()),
                "n" => catalog.nullable.push(found()),
                "r" => catalog.removed.push(found()),
                "o" if !catalog.column_options.iter().any(|known| known == name) => {
                    catalog.column_options.push(name.to_owned());
                }
                "o" => {}
                "u" => catalog.unlogged.push(database.clone()),
                _ => catalog.lz4 = true,
            }
        }
        let settings = socket.ask(bin, id, database, queries::FUNCTION_SETTINGS)?;
        let settings: Vec<StoredSetting> = serde_json::from_str(settings.trim())
            .map_err(|why| UpgradeError::Other(format!("the server's answer cannot be read: {why}")))?;
        catalog.settings.extend(settings);
        let columns = socket.ask(bin, id, database, queries::COLUMN_TYPES)?;
        catalog.columns.extend(columns.lines().map(|column| (database.clone(), column.to_owned())));
    }
    // A role whose sessions load a library that is missing could not log in any more.
    for setting in &catalog.settings {
        if ["session_preload_libraries", "local_preload_libraries"].contains(&setting.name.as_str()) {
            let names = setting.value.split(',').map(|name| name.trim_matches([' ', '"']).to_owned());
            catalog.libraries.extend(names.filter(|name| !name.is_empty()));
        }
    }
    catalog.libraries.sort_unstable();
    catalog.libraries.dedup();
    catalog.unread_slots = unread_slots(bin, id, socket, answers)?;
    catalog.extensions = extensions.into_iter().collect();
    Ok(catalog)
}

/// Returns the logical slots without a consumer that have unread changes. The second value is the error if the plugin
/// could not be queried, `None` if the changes are certain. `answers` is a database that accepts connections.
fn unread_slots(
    bin: &Path,
    id: &str,
    socket: &ServerAddress,
    answers: &str,
) -> Result<Vec<(String, Option<String>)>, UpgradeError> {
    let idle = socket.ask(bin, id, answers, queries::IDLE_SLOTS)?;
    let mut unread = Vec::new();
    for row in idle.lines() {
        let columns: Vec<&str> = row.split('\t').collect();
        let [slot, database, "t"] = columns[..] else { continue };
        let literal = slot.replace('\'', "''");
        let peek = format!(
            "SELECT count(*) FROM (SELECT 1 FROM pg_catalog.pg_logical_slot_peek_binary_changes('{literal}', NULL, 1)) one;"
        );
        match socket.ask(bin, id, database, &peek) {
            Ok(count) if count.trim() == "0" => {}
            Ok(_) => unread.push((slot.to_owned(), None)),
            Err(why) => {
                let why = why.to_string();
                let words =
                    why.lines().find_map(|line| line.split_once("ERROR:").map(|(_, rest)| rest.trim()));
                unread
                    .push((slot.to_owned(), Some(words.unwrap_or("its plugin cannot be asked").to_owned())));
            }
        }
    }
    Ok(unread)
}

/// Returns the command-line options of a running server, without those for its data directory and configuration file.
fn options(data: &Path) -> Vec<String> {
    let text = fs::read_to_string(data.join("postmaster.opts")).unwrap_or_default();
    // The file quotes every option: `/bin/postgres "-D" "/data" "-p" "5433"`.
    let all: Vec<&str> =
        text.trim().split(" \"").skip(1).map(|option| option.trim_end_matches('"')).collect();
    let mut options = Vec::new();
    let mut at = all.iter().peekable();
    while let Some(option) = at.next() {
        match *option {
            "-D" => {
                at.next();
            }
            "-c" if at.peek().is_some_and(|value| {
                value.starts_with("config_file=") || value.starts_with("data_directory=")
            }) =>
            {
                at.next();
            }
            option if option.starts_with("-D") => {}
            option => options.push(option.to_owned()),
        }
    }
    options
}

/// Queries the old server: the running one, or with `may_start` a stopped one, which is started privately. A stopped
/// cluster is not queried if it is that of a standby or a restored backup, or belongs to another account. Also returns
/// the result of a replication login, `None` if it was not tried.
///
/// # Errors
/// Returns an error if the address of the running server cannot be determined, a private server does not start or stop,
/// no superuser can log in to it, or it has neither the database `postgres` nor `template1`. A running server that
/// rejects all logins is not an error.
pub(super) fn ask(
    request: &Request,
    layout: &Layout,
    old: &OldFolder,
    old_bin: &Path,
    new_bin: &Path,
    id: &str,
    may_start: bool,
) -> Result<(CatalogQuery, Option<Result<(), String>>), UpgradeError> {
    let from = request.from.number();
    if matches!(old.running, ServerState::Live { .. }) {
        let mut said = String::new();
        for user in candidates(request) {
            let socket = server::running_server(&layout.old_data, &user)?;
            match catalog(new_bin, id, &socket, from) {
                Ok(mut catalog) => {
                    catalog.options = options(&layout.old_data);
                    // Set by PGPORT, it is in no file, and the new server is not started with it.
                    let port = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'port' AND source = 'environment variable';";
                    let database =
                        catalog.databases.iter().find(|one| one.open()).map_or("postgres", |one| &one.name);
                    if let Ok(port) = socket.ask(new_bin, id, database, port)
                        && !port.trim().is_empty()
                    {
                        catalog.options.extend(["-p".to_owned(), port.trim().to_owned()]);
                    }
                    let socket = ServerAddress { user: catalog.superuser.clone(), ..socket };
                    let login =
                        socket.ask_with(new_bin, id, "postgres", "IDENTIFY_SYSTEM;", "replication=true");
                    let login = login.map(|_| ()).map_err(|why| why.to_string());
                    return Ok((CatalogQuery::Yes(Box::new(catalog)), Some(login)));
                }
                // The login was accepted.
                Err(UpgradeError::Other(why)) if why == NO_DATABASE => return Err(UpgradeError::Other(why)),
                Err(why) => said = why.to_string(),
            }
        }
        return Ok((CatalogQuery::Refused(said), None));
    }
    let clean = matches!(&old.control, Some(Ok(data)) if !data.standby()) && old.signals.is_empty();
    if !may_start || !clean || !old.owned {
        return Ok((CatalogQuery::No, None));
    }
    let home = ServerFolder {
        bin: old_bin.to_owned(),
        data: layout.old_data.clone(),
        config: config_folder(request, layout),
    };
    let asked = ask_private(&home, layout, &candidates(request), new_bin, id, from)?;
    if let Some(catalog) = asked {
        return Ok((CatalogQuery::Yes(Box::new(catalog)), None));
    }
    let superuser = superuser(&home, id)?;
    let asked = ask_private(&home, layout, &[superuser], new_bin, id, from)?;
    let catalog = asked
        .ok_or_else(|| UpgradeError::Other("the superuser cannot log in on a private socket".to_owned()))?;
    Ok((CatalogQuery::Yes(Box::new(catalog)), None))
}

/// Queries a private server as the first of these roles that is a superuser. `None` if none of them is.
///
/// # Errors
/// Returns an error if the rules cannot be written, or the server does not start or stop.
fn ask_private(
    home: &ServerFolder,
    layout: &Layout,
    roles: &[String],
    new_bin: &Path,
    id: &str,
    from: u32,
) -> Result<Option<Catalog>, UpgradeError> {
    server::write_rules(&layout.work, &account(), roles)?;
    let private =
        PrivateServer::start(home, &layout.work, "", id, from, &["default_transaction_read_only=on"])?;
    let mut asked = Ok(None);
    for role in roles {
        let socket = ServerAddress { user: role.clone(), ..private.socket.clone() };
        // A role that does not exist or cannot read pg_authid is not a superuser.
        let reads = |database| {
            let sql = "SELECT rolname FROM pg_catalog.pg_authid LIMIT 1;";
            socket.ask(new_bin, id, database, sql).is_ok()
        };
        if reads("template1") || reads("postgres") {
            asked = catalog(new_bin, id, &socket, from).map(Some);
            break;
        }
    }
    private.stop()?;
    asked
}

/// Returns the name of the bootstrap superuser, queried from the stopped server in single-user mode, which requires no
/// login, in the database `template1` or, if that does not exist, `postgres`.
///
/// # Errors
/// Returns an error if the program cannot be run, its output does not contain the name, or both databases are missing.
fn superuser(home: &ServerFolder, id: &str) -> Result<String, UpgradeError> {
    match superuser_by(home, id, "template1") {
        Err(UpgradeError::Program { words, .. }) if is_missing("template1", &words) => {}
        found => return found,
    }
    match superuser_by(home, id, "postgres") {
        Err(UpgradeError::Program { words, .. }) if is_missing("postgres", &words) => {
            Err(UpgradeError::Other(NO_DATABASE.to_owned()))
        }
        found => found,
    }
}

/// Returns the name of the bootstrap superuser, queried in single-user mode in one database.
///
/// # Errors
/// Returns an error if the program cannot be run, or its output does not contain the name.
fn superuser_by(home: &ServerFolder, id: &str, database: &str) -> Result<String, UpgradeError> {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut postgres = command(&home.bin, "postgres", id);
    postgres.arg("--single");
    match &home.config {
        Some(config) => {
            postgres.arg("-D").arg(config).arg("-c").arg(format!("data_directory={}", home.data.display()));
        }
        None => {
            postgres.arg("-D").arg(&home.data);
        }
    }
    postgres.args([
        "-c",
        "logging_collector=off",
        "-c",
        "log_destination=stderr",
        "-c",
        "external_pid_file=",
    ]);
    postgres.args(["-c", "archive_mode=off", "-c", "lc_messages=C", database]);
    postgres.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = |source| UpgradeError::Run { program: "postgres --single".to_owned(), source };
    let mut child = postgres.spawn().map_err(run)?;
    let mut input = child.stdin.take().expect("it is piped");
    let _ = input.write_all(b"SELECT rolname FROM pg_catalog.pg_authid WHERE oid = 10;\n");
    drop(input);
    let output = child.wait_with_output().map_err(run)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A row is printed as `1: rolname = "postgres" (typeid = ...)`; the heading has no value.
    let name = text
        .lines()
        .find_map(|line| line.split_once("rolname = \"")?.1.split_once("\"\t"))
        .map(|(name, _)| name);
    name.map(str::to_owned).ok_or_else(|| UpgradeError::Program {
        program: "postgres --single".to_owned(),
        status: output.status.to_string(),
        words: tools::tail(&String::from_utf8_lossy(&output.stderr), 8),
    })
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
    let clones = files::clones(base);
    let mode =
        request.mode.unwrap_or_else(|| Mode::choose(request.to, clones, files::copies_in_kernel(base)));
    let backup = request.backup.clone().unwrap_or_else(|| Backup::Base(layout.backup()));
    let backup_there = match &backup {
        Backup::Base(path) | Backup::Dump(path) => fs::symlink_metadata(path).is_ok(),
        Backup::Asserted(_) => false,
    };
    let (mut asked, mut replication_login) = (CatalogQuery::No, None);
    let (mut edits, mut colliding_files) = (Vec::new(), Vec::new());
    let mut verdict = HbaComparison::Unchecked;
    // Without the new programs, the old ones are used for queries, and rejected settings are known from tables only.
    let new_bin = new_programs.folder.as_ref().filter(|_| new_programs.version.is_some());
    if let (Some(old), Some(old_bin)) = (&old, &old_programs.folder)
        && old_programs.version.is_some()
        && old.version.as_deref() == Some(request.from.to_string().as_str())
    {
        (asked, replication_login) =
            ask(request, layout, old, old_bin, new_bin.unwrap_or(old_bin), id, may_start)?;
        let converted = configuration(request, layout, new_bin.map(PathBuf::as_path))?;
        let catalog = if let CatalogQuery::Yes(catalog) = &asked { Some(&**catalog) } else { None };
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
    if let CatalogQuery::Yes(catalog) = &asked {
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
    if let (CatalogQuery::Yes(catalog), Some(new_bin)) = (&asked, new_bin)
        && let Some(folder) = tools::library_folder(new_bin)
    {
        let lacks = |library: &&String| !tools::has_library(&folder, library);
        missing_libraries = catalog.libraries.iter().filter(lacks).cloned().collect();
    }
    let unknown_options = match (&asked, &new_programs.folder) {
        (CatalogQuery::Yes(catalog), Some(folder)) => unknown_options(&catalog.column_options, folder),
        _ => Vec::new(),
    };
    Ok(Facts {
        from: request.from,
        to: request.to,
        old_data: layout.old_data.clone(),
        new_data: layout.new_data.clone(),
        staging: layout.staging.clone(),
        staging_there: fs::symlink_metadata(&layout.staging).is_ok(),
        old_programs,
        new_programs,
        old,
        target: target(layout),
        base_writable: tempfile::tempfile_in(base).is_ok(),
        mode,
        mode_asked: request.mode.is_some(),
        clones,
        disk_space: disk_space(layout, &backup, &spaces),
        backup,
        backup_there,
        replication_login,
        asked,
        stopping: request.stopping.clone(),
        edits,
        hba: verdict,
        unknown_options,
        refused_settings,
        unknown_parameters,
        missing_libraries,
        colliding_files,
        wal: wal_folder(request, layout),
        under_way: None,
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
