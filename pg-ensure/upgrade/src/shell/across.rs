//! The steps without a server for clients: inventory and comparison.

use super::error::{UpgradeError, WithPath};
use super::queries;
use super::run::Run;
use super::server::{self, ServerAddress};
use super::tools::{client, output};
use super::{cleanup, files, reach};
use crate::facts::StopMethod;
use crate::inventory::Inventory;
use crate::record::{Amcheck, ChangedCollations};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Maximum number of pages of 8 KB that `pg_amcheck` reads in a sample: 32 MB.
const MAX_SAMPLE_PAGES: u64 = 4096;

/// Stops the old server, takes the inventory on a private read-only one, and records the fingerprint of the stopped
/// cluster. In modes that destroy the old cluster, discards a backup if the server has run since it was made.
///
/// # Errors
/// Returns an error if the server cannot be stopped, started privately or queried, or the journal cannot be
/// written.
pub(super) fn quiesce(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    if server::running_pid_file(&choices.old_data).is_some() {
        if run.record.fingerprint.take().is_some() && !choices.mode.keeps_the_old() {
            // Clients may have written since the backup, which is the only way back in these modes. The journal is
            // written before the backup is removed, so that an interrupted run does not rely on a missing backup.
            run.record.backup_made = false;
            run.save()?;
            cleanup::clean(run, crate::Cleanup::DiscardBackup)?;
        }
        stop_old(run)?;
    }
    let began = Instant::now();
    let private = reach::private_old(run, &[])?;
    let inventory = take_inventory(&choices.new_bin, &run.record.id, &private.socket);
    private.stop()?;
    let inventory = inventory?;
    let text = serde_json::to_vec(&inventory)
        .map_err(|why| UpgradeError::Other(format!("the inventory cannot be written: {why}")))?;
    files::replace(&run.work().inventory(), &text, 0o600)?;
    run.remember_old()?;
    let (facts, databases) = (inventory.facts.len(), inventory.databases().len());
    run.note(format!(
        "{facts} facts about {databases} databases written down in {} ms",
        began.elapsed().as_millis()
    ));
    Ok(())
}

/// Stops the old server by the method of this request, else by that of the journal, and waits up to ten minutes for
/// its end.
///
/// # Errors
/// Returns an [`UpgradeError`] if no method is permitted, or the server does not stop.
fn stop_old(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    match &run.request.stopping {
        StopMethod::Refuse if choices.stopping == StopMethod::Refuse => {
            return Err(UpgradeError::Other(
                "the old server runs, and nobody said that it may be stopped: --stop, --service, or stop it"
                    .to_owned(),
            ));
        }
        StopMethod::Service(unit) => stop_service(run, &unit.clone())?,
        StopMethod::PgCtl => server::stop_public(&choices.old_bin, &choices.old_data, &run.record.id)?,
        StopMethod::Refuse => match &choices.stopping {
            StopMethod::Service(unit) => stop_service(run, unit)?,
            _ => server::stop_public(&choices.old_bin, &choices.old_data, &run.record.id)?,
        },
    }
    let began = Instant::now();
    while server::running_pid_file(&choices.old_data).is_some() {
        if began.elapsed() > Duration::from_secs(600) {
            return Err(UpgradeError::Other("the old server does not stop".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    run.note("the old server is stopped");
    Ok(())
}

/// Stops a systemd unit.
///
/// # Errors
/// Returns an error if the service manager fails, or the operator has to stop the unit.
fn stop_service(run: &Run<'_>, unit: &str) -> Result<(), UpgradeError> {
    run.set_service(unit, false)
}

/// Compares the inventory of the new cluster with that of the old one, apart from the differences that the request
/// accepts by their names, determines changed collations, and runs `pg_amcheck`, all on a private server, which is
/// stopped afterwards. Records the numbers of compared facts and the changed collations.
///
/// # Errors
/// Returns [`UpgradeError::Differs`] if the inventories differ, or another error if the inventory cannot be read,
/// the server cannot be started, queried or stopped, or `pg_amcheck` finds damage.
pub(super) fn verify(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let text = fs::read(run.work().inventory()).at(&run.work().inventory(), "cannot be read")?;
    let before: Inventory = serde_json::from_slice(&text)
        .map_err(|why| UpgradeError::Journal { path: run.work().inventory(), why: why.to_string() })?;
    let choices = run.record.choices.clone();
    let private = reach::private_new(run, &[])?;
    let id = run.record.id.clone();
    let accept = run.request.accept.clone();
    let compare = || -> Result<Comparison, UpgradeError> {
        // An earlier attempt may have been interrupted while the extension was installed.
        drop_amcheck(&choices.new_bin, &id, &private.socket, &before)?;
        let mut after = take_inventory(&choices.new_bin, &id, &private.socket)?;
        after.without_fresh_postgres(&before);
        let fresh = after.without_fresh_contents(&before);
        let mut remarks: Vec<String> = fresh
            .iter()
            .map(|(name, drop)| {
                format!("{name} is there again, as in every new database; if not wanted: {drop}")
            })
            .collect();
        let (accepted, differences): (Vec<_>, Vec<_>) =
            before.differences(&after).into_iter().partition(|difference| accept.contains(&difference.name));
        if !differences.is_empty() {
            return Err(UpgradeError::Differs(differences));
        }
        remarks.extend(accepted.iter().map(|difference| format!("accepted difference: {difference}")));
        let recollated = recollated_databases(&choices.new_bin, &id, &private.socket, &after)?;
        let looked = amcheck(
            &choices.new_bin,
            &id,
            &private.socket,
            &after,
            choices.amcheck,
            &recollated,
            choices.jobs,
        )?;
        drop_amcheck(&choices.new_bin, &id, &private.socket, &before)?;
        Ok(Comparison { after, recollated, looked, remarks, accepted: accepted.len() })
    };
    let result = compare();
    let stopped = private.stop();
    let Comparison { after, recollated, looked, remarks, accepted } = result?;
    stopped?;
    run.record.compared = after.counts();
    for one in &recollated {
        let what = if one.itself { "its own collation".to_owned() } else { one.collations.join(", ") };
        run.note(format!("{}: the version of {what} has changed", one.database));
    }
    run.record.recollated = recollated;
    let count = after.facts.len();
    run.note(match accepted {
        0 => format!("{count} facts compared, all equal"),
        accepted => format!("{count} facts compared, equal but for {accepted} that were accepted"),
    });
    run.remark(remarks);
    for line in looked {
        run.note(line);
    }
    Ok(())
}

/// Result of comparing the clusters: the inventory of the new one, its changed collations, lines about `pg_amcheck`,
/// remarks, and the number of accepted differences.
struct Comparison {
    after: Inventory,
    recollated: Vec<ChangedCollations>,
    looked: Vec<String>,
    remarks: Vec<String>,
    accepted: usize,
}

/// Takes the inventory of a cluster: of the whole cluster, and of each database that accepts connections. `id` marks
/// the processes.
///
/// # Errors
/// Returns an error if a query fails.
pub(super) fn take_inventory(
    bin: &Path,
    id: &str,
    socket: &ServerAddress,
) -> Result<Inventory, UpgradeError> {
    let mut inventory = Inventory::default();
    inventory.add("cluster", &socket.ask(bin, id, "template1", queries::INVENTORY_CLUSTER)?);
    let connectable: Vec<String> = inventory
        .facts
        .iter()
        .filter(|(_, fact)| fact.contains(" connect=t"))
        .filter_map(|(name, _)| name.strip_prefix("cluster/database/").map(str::to_owned))
        .collect();
    for database in connectable {
        inventory.add(&database, &socket.ask(bin, id, &database, queries::INVENTORY_DATABASE)?);
    }
    Ok(inventory)
}

/// Returns the names of the databases in an inventory that accept connections.
pub(super) fn connectable(inventory: &Inventory) -> Vec<String> {
    let facts = inventory.facts.iter().filter(|(_, fact)| fact.contains(" connect=t"));
    facts.filter_map(|(name, _)| name.strip_prefix("cluster/database/").map(str::to_owned)).collect()
}

/// Returns the databases with collations whose recorded version differs from the current one.
///
/// # Errors
/// Returns an error if a query fails.
fn recollated_databases(
    bin: &Path,
    id: &str,
    socket: &ServerAddress,
    inventory: &Inventory,
) -> Result<Vec<ChangedCollations>, UpgradeError> {
    let mut found = Vec::new();
    for database in connectable(inventory) {
        let text = socket.ask(bin, id, &database, queries::RECOLLATED)?;
        if text.trim().is_empty() {
            continue;
        }
        let rows: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
        found.push(ChangedCollations {
            itself: rows.iter().any(|(kind, _)| *kind == "d"),
            collations: rows
                .iter()
                .filter(|(kind, _)| *kind == "c")
                .map(|(_, name)| (*name).to_owned())
                .collect(),
            database,
        });
    }
    Ok(found)
}

/// Drops the extension `amcheck` in databases that did not have it according to the inventory `before`.
///
/// # Errors
/// Returns an error if a statement fails.
fn drop_amcheck(
    bin: &Path,
    id: &str,
    socket: &ServerAddress,
    before: &Inventory,
) -> Result<(), UpgradeError> {
    for database in connectable(before) {
        if !before.facts.contains_key(&format!("{database}/extension/amcheck")) {
            socket.ask(
                bin,
                id,
                &database,
                "SET client_min_messages = error; DROP EXTENSION IF EXISTS amcheck;",
            )?;
        }
    }
    Ok(())
}

/// Runs `pg_amcheck` in every database that accepts connections, to the extent `depth`, with `jobs` parallel jobs. It
/// is not run if `depth` is `Off` or it is not installed. The extension `amcheck` is installed where it is missing.
/// Dependent indexes are not checked in databases with changed collations. Returns lines for the report.
///
/// # Errors
/// Returns an error if a program cannot be run, or finds damage.
fn amcheck(
    bin: &Path,
    id: &str,
    socket: &ServerAddress,
    inventory: &Inventory,
    depth: Amcheck,
    recollated: &[ChangedCollations],
    jobs: u32,
) -> Result<Vec<String>, UpgradeError> {
    if depth == Amcheck::Off {
        return Ok(vec!["pg_amcheck: left out, as asked".to_owned()]);
    }
    let there = socket.ask(
        bin,
        id,
        "template1",
        "SELECT count(*) FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck';",
    )?;
    if !bin.join("pg_amcheck").exists() || there.trim() == "0" {
        return Ok(vec!["pg_amcheck: not there, so pages were not looked at".to_owned()]);
    }
    let mut looked = Vec::new();
    let mut budget = MAX_SAMPLE_PAGES;
    for database in connectable(inventory) {
        let mut program = client(bin, "pg_amcheck", id, socket.major);
        program.args(["--no-password", "--install-missing=pg_catalog", "-j", &jobs.to_string()]);
        program.env("PGCLIENTENCODING", client_encoding(inventory, &database));
        program.args(["-h", &socket.host, "-p", &socket.port.to_string(), "-U", &socket.user]);
        if recollated.iter().any(|one| one.database == database) {
            // Indexes that are about to be rebuilt are known to be in the wrong order.
            program.arg("--no-dependent-indexes");
        }
        if depth == Amcheck::Sample {
            let tables = sample(inventory, &database, &mut budget);
            if tables.is_empty() {
                continue;
            }
            for table in &tables {
                program.arg("--table").arg(table);
            }
            let count = tables.len();
            let tables = if count == 1 { "table" } else { "tables" };
            looked.push(format!("pg_amcheck: {count} {tables} of {database} with the indexes"));
        } else {
            program.arg("--exclude-schema=pg_toast_temp*");
            looked.push(format!("pg_amcheck: all of {database}"));
        }
        program.arg(socket.conninfo(&database, ""));
        output(&mut program)?;
    }
    Ok(looked)
}

/// Returns the encoding for clients in which the names of the inventory are sent to a database: that of the inventory,
/// UTF-8, or that of the database if it cannot be converted.
fn client_encoding(inventory: &Inventory, database: &str) -> &'static str {
    let fact = inventory.facts.get(&format!("cluster/database/{database}")).map_or("", String::as_str);
    let fixed = ["encoding=SQL_ASCII ", "encoding=MULE_INTERNAL "];
    if fixed.iter().any(|encoding| fact.starts_with(encoding)) { "SQL_ASCII" } else { "UTF8" }
}

/// Returns the names of the tables of a database that fit into the remaining budget of 8 KB pages, largest first, at
/// most 200, and reduces the budget. Empty tables, those of other access methods than `heap`, and those whose names are
/// not known in UTF-8 are omitted. The names are patterns of `pg_amcheck`, in which quoted parts stand for themselves.
fn sample(inventory: &Inventory, database: &str, budget: &mut u64) -> Vec<String> {
    let prefix = format!("{database}/table/");
    let mut sizes: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (name, fact) in &inventory.facts {
        let bytes = fact.split("bytes=").nth(1).and_then(|bytes| bytes.parse::<u64>().ok());
        let is_known = fact.contains(" am=heap ") && !name.contains('\u{FFFD}');
        if let (Some(name), Some(bytes)) = (name.strip_prefix(&prefix), bytes.filter(|bytes| *bytes > 0))
            && is_known
        {
            sizes.entry(bytes / 8192).or_default().push(name);
        }
    }
    let mut chosen = Vec::new();
    for (pages, names) in sizes.into_iter().rev() {
        for name in names {
            if pages <= *budget && chosen.len() < 200 {
                *budget -= pages;
                chosen.push(name.to_owned());
            }
        }
    }
    chosen
}
