//! Queries of the old server: the running one, or a stopped one that is started privately.

use super::account::account;
use super::configuration::config_folder;
use super::error::UpgradeError;
use super::journal::Layout;
use super::queries;
use super::request::Request;
use super::server::{self, PrivateServer, ServerAddress, ServerFolder};
use super::tools::{self, command};
use crate::facts::{Catalog, CatalogQuery, OldFolder, ServerState, StoredSetting};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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
fn catalog(bin: &Path, id: &str, socket: &ServerAddress, from: u32) -> Result<Catalog, UpgradeError> {
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
                "i" => catalog.invalid_indexes.push(found()),
                "t" => catalog.text_indexes.push(found()),
                "k" => catalog.not_null_names.push(found()),
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
    if matches!(old.running, ServerState::Running { .. }) {
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
                    return Ok((CatalogQuery::Succeeded(Box::new(catalog)), Some(login)));
                }
                // The login was accepted.
                Err(UpgradeError::Other(why)) if why == NO_DATABASE => return Err(UpgradeError::Other(why)),
                // That a role does not exist says the least of all.
                Err(why) => {
                    let why = why.to_string();
                    if said.is_empty() || !why.contains("\" does not exist") {
                        said = why;
                    }
                }
            }
        }
        return Ok((CatalogQuery::Failed(said), None));
    }
    let clean = matches!(&old.control, Some(Ok(data)) if !data.standby()) && old.signals.is_empty();
    if !may_start || !clean || !old.owned {
        return Ok((CatalogQuery::NotRun, None));
    }
    let home = ServerFolder {
        bin: old_bin.to_owned(),
        data: layout.old_data.clone(),
        config: config_folder(request, layout),
    };
    let asked = ask_private(&home, layout, &candidates(request), new_bin, id, from)?;
    if let Some(catalog) = asked {
        return Ok((CatalogQuery::Succeeded(Box::new(catalog)), None));
    }
    let superuser = superuser(&home, id)?;
    let asked = ask_private(&home, layout, &[superuser], new_bin, id, from)?;
    let catalog = asked
        .ok_or_else(|| UpgradeError::Other("the superuser cannot log in on a private socket".to_owned()))?;
    Ok((CatalogQuery::Succeeded(Box::new(catalog)), None))
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
    let private = PrivateServer::start(home, &layout.work, "", id, from, &[])?;
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
