//! The steps that put the new cluster into use.

use super::across::take_inventory;
use super::beside::NamedFiles;
use super::condition::committed;
use super::configuration::{self, access_files};
use super::encoding::{decode, encode};
use super::error::{UpgradeError, WithPath};
use super::files;
use super::isolation::isolated;
use super::queries;
use super::run::Run;
use super::server::{self, start_public};
use super::tools::{client, output};
use crate::facts::HbaComparison;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes the converted configuration, the access rules, and the files that they name to the new cluster. In a
/// rehearsal, settings that isolate the cluster are added. Compares `pg_hba.conf` under both versions, and records
/// the edits and the remaining tasks.
///
/// # Errors
/// Returns an error if the configuration cannot be converted, the new version rejects `pg_hba.conf`, or a file
/// cannot be read or written.
pub(super) fn carry(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    let (request, layout) = (run.request, run.layout);
    let configuration = configuration::configuration(request, layout, Some(&choices.new_bin))?;
    let staging = &choices.staging;
    // As initdb made the folder: with access for the group if the old cluster has it.
    let mode = fs::metadata(staging).at(staging, "cannot be looked at")?.permissions().mode();
    let mode = if mode & 0o040 == 0 { 0o600 } else { 0o640 };
    for file in &configuration.files {
        let path = staging.join(&file.name);
        path.parent().map_or(Ok(()), files::make)?;
        files::replace(&path, &encode(&file.text), mode)?;
    }
    if !configuration.files.iter().any(|file| file.name == Path::new("postgresql.auto.conf")) {
        // Settings that only the transfer needed are removed.
        files::replace(&staging.join("postgresql.auto.conf"), b"", mode)?;
    }
    if run.request.rehearsal {
        let path = staging.join("postgresql.auto.conf");
        let text = decode(&fs::read(&path).at(&path, "cannot be read")?);
        files::replace(&path, &encode(&isolated(&text, run.work())), mode)?;
    }
    let (hba, ident) = access_files(request, layout, run.record.catalog.as_ref());
    let mut carried: Vec<String> =
        configuration.files.iter().map(|file| file.name.display().to_string()).collect();
    for (path, name) in [(&hba, "pg_hba.conf"), (&ident, "pg_ident.conf")] {
        if let Ok(text) = fs::read(path) {
            files::replace(&staging.join(name), &text, mode)?;
            carried.push(name.to_owned());
        }
    }
    let beside = NamedFiles::of(&choices.old_data, &[&hba, &ident], &configuration);
    for (folder, name) in beside.files {
        let (old, new) = (folder.join(&name), staging.join(&name));
        let mode = fs::metadata(&old).at(&old, "cannot be looked at")?.permissions().mode() & 0o777;
        let content = fs::read(&old).at(&old, "cannot be read")?;
        new.parent().map_or(Ok(()), files::make)?;
        files::replace(&new, &content, mode)?;
        carried.push(name.display().to_string());
    }
    let mut left = configuration.left;
    left.extend(beside.left);
    match run.hba.check(&hba, request.from, request.to) {
        HbaComparison::Refused(why) => {
            return Err(UpgradeError::Other(format!("{} refuses pg_hba.conf: {why}", request.to)));
        }
        HbaComparison::Same => run.note("pg_hba.conf decides every connection as before"),
        HbaComparison::Changed(example) => {
            run.note(format!("pg_hba.conf means something else now: {example}"));
        }
        HbaComparison::Unknown(why) => run.note(format!("pg_hba.conf was not compared: {why}")),
        HbaComparison::Unchecked => {}
    }
    run.record.edits = configuration.edits;
    run.record.remarks.retain(|known| !left.contains(known));
    run.record.remarks.extend(left);
    run.note(format!("carried over: {}", carried.join(", ")));
    Ok(())
}

/// Renames the staging directory to the new data directory. No effect if it has been renamed already.
///
/// # Errors
/// Returns an error if the rename fails, as for a data directory with content.
pub(super) fn commit(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    if committed(&choices) {
        run.note("the new folder had its name already");
        return Ok(());
    }
    choices.new_data.parent().map_or(Ok(()), files::make)?;
    // An existing empty folder is replaced; a folder with content makes the rename fail.
    files::rename(&choices.staging, &choices.new_data)?;
    run.note(format!("{} is now {}", choices.staging.display(), choices.new_data.display()));
    Ok(())
}

/// Starts the new server by its unit or by `pg_ctl`, and waits up to ten minutes until it is ready.
///
/// # Errors
/// Returns an [`UpgradeError`] if the old server is running, has run since the transfer without being accepted, or
/// the new server does not start.
pub(super) fn start(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    if server::running_pid_file(&choices.old_data).is_some() {
        return Err(UpgradeError::Other(format!(
            "the old server runs again on {}: what clients write there is not in the new cluster; stop it, and run again",
            choices.old_data.display()
        )));
    }
    let accepted = run.request.accept.iter().any(|code| code == "old-was-used");
    if !accepted && run.old_was_used()? {
        return Err(UpgradeError::Other(format!(
            "the old server has run on {} since its data were transferred: what clients wrote there is not in the new \
             cluster; look what it is, then go on by --accept old-was-used",
            choices.old_data.display()
        )));
    }
    if server::running_pid_file(&choices.new_data).is_none() {
        let unit = run.request.start_service.clone().or_else(|| run.unit());
        match unit {
            Some(unit) => run.set_service(&unit, true)?,
            None => {
                let options = run.catalog()?.options.clone();
                start_public(&run.new_home(), &options)?;
            }
        }
    }
    let began = std::time::Instant::now();
    while !server::running_pid_file(&choices.new_data).is_some_and(|file| file.ready) {
        if began.elapsed() > std::time::Duration::from_secs(600) {
            return Err(UpgradeError::Other(format!("no server runs on {}", choices.new_data.display())));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    run.note(format!("a server runs on {}", choices.new_data.display()));
    Ok(())
}

/// Gathers planner statistics by `vacuumdb`. Before version 18 all are gathered; from 18 on, those that the
/// transfer did not carry over, after which all tables are analyzed.
///
/// # Errors
/// Returns an error if the server is not reachable, or `vacuumdb` cannot be run. That it fails is listed for the
/// operator.
pub(super) fn statistics(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let carries = run.record.choices.to >= 18;
    let rounds: &[&[&str]] = if carries {
        // Most statistics were carried over. The missing ones are gathered, then all tables are analyzed for
        // autovacuum.
        &[&["--analyze-in-stages", "--missing-stats-only"], &["--analyze-only"]]
    } else {
        &[&["--analyze-in-stages"]]
    };
    for round in rounds {
        let socket = server::running_server(&run.record.choices.new_data, &run.catalog()?.superuser)?;
        let mut program = client(&run.record.choices.new_bin, "vacuumdb", &run.record.id, socket.major);
        program.args(["--all", "--quiet", "--no-password", "-j", &run.record.choices.jobs.to_string()]);
        program.args(["-h", &socket.host, "-p", &socket.port.to_string(), "-U", &socket.user]);
        match output(program.args(*round)) {
            Ok(_) => {}
            // The cluster works without statistics, and the failure may be that of a function of an index, which is the
            // operator's to correct.
            Err(why @ UpgradeError::Program { .. }) => {
                run.note("not all gathered");
                let again = "run vacuumdb --all --analyze-in-stages";
                run.remark([format!(
                    "statistics are not complete: {why}; {again} once the cause is removed"
                )]);
                return Ok(());
            }
            Err(why) => return Err(why),
        }
    }
    run.note(if carries { "carried over by pg_upgrade, the missing ones gathered" } else { "gathered anew" });
    Ok(())
}

/// Updates outdated extensions in every database that accepts connections. A failed update is listed for the
/// operator, not returned as an error. Also lists that the old cluster still exists.
///
/// # Errors
/// Returns an error if the server is not reachable, or a query fails.
pub(super) fn extensions(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    let socket = server::running_server(&choices.new_data, &run.catalog()?.superuser)?;
    let id = run.record.id.clone();
    let inventory = {
        let mut names = Vec::new();
        for database in &run.catalog()?.databases {
            if database.connectable {
                names.push(database.name.clone());
            }
        }
        names
    };
    let mut count = 0;
    for database in inventory {
        let text = socket.ask(&choices.new_bin, &id, &database, queries::OUTDATED)?;
        for row in text.lines() {
            let columns: Vec<&str> = row.split('\t').collect();
            let [name, old, new] = columns[..] else { continue };
            // Event triggers are off in sessions of this program for those at login only.
            let triggers = if socket.major >= 17 { "SET event_triggers = on; " } else { "" };
            let sql = format!("{triggers}ALTER EXTENSION \"{}\" UPDATE;", name.replace('"', "\"\""));
            match socket.ask(&choices.new_bin, &id, &database, &sql) {
                Ok(_) => {
                    count += 1;
                    run.note(format!("{database}: {name} {old} is now {new}"));
                }
                // The cluster works with the old version of the extension, so this is left to the operator.
                Err(why) => {
                    let left = format!("{database}: {name} stays at {old}, not {new}: {why}");
                    if !run.record.remarks.contains(&left) {
                        run.record.remarks.push(left);
                    }
                }
            }
        }
    }
    if count == 0 {
        run.note("all have the version that they should");
    }
    let old = format!(
        "the old cluster is still in {}: `upgrade-pg-cluster gc --older-than 30d` removes it once it is that old",
        choices.old_data.display()
    );
    if !run.record.remarks.contains(&old) {
        run.record.remarks.push(old);
    }
    Ok(())
}

/// Takes the inventory of the server that runs on the data directory `data`, by the programs in the directory `bin` and
/// as the role `superuser`.
///
/// # Errors
/// Returns an [`UpgradeError`] if no server runs, the role cannot connect, or a query fails.
pub fn inventory_of(bin: &Path, data: &Path, superuser: &str) -> Result<crate::Inventory, UpgradeError> {
    take_inventory(bin, "inventory", &server::running_server(data, superuser)?)
}
