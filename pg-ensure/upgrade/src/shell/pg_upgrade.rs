//! The steps that `pg_upgrade` performs: its check, and the transfer of the data.

use super::account::account;
use super::condition::old_condition;
use super::error::{UpgradeError, WithPath};
use super::files;
use super::run::Run;
use super::server::{self, rules_for_shell, write_rules};
use super::tools::{output, tail, upgrader};
use crate::machine::OldClusterState;
use std::fs;
use std::path::Path;

/// Runs `pg_upgrade --check`, unless the old server is stopped or has no Unix-domain socket.
///
/// # Errors
/// Returns an error if the check fails.
pub(super) fn check(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    if server::running_pid_file(&run.record.choices.old_data).is_none() {
        // The check is only useful while clients would wait for a failing transfer, which begins with the same
        // checks.
        run.note("left to the transfer, which begins with the same checks: no client waits");
        return Ok(());
    }
    if server::running_pid_file(&run.record.choices.old_data).is_some_and(|file| file.tcp_host().is_some()) {
        run.note(
            "left to the transfer: pg_upgrade reaches a running server by its Unix socket, and there is none",
        );
        return Ok(());
    }
    pg_upgrade(run, true)
}

/// Runs `pg_upgrade`, with `--check` if `check` is set. Its servers use the access rules of private servers. The
/// output is logged.
///
/// # Errors
/// Returns an [`UpgradeError`] with the messages of `pg_upgrade`'s logs if it fails.
pub(super) fn pg_upgrade(run: &mut Run<'_>, check: bool) -> Result<(), UpgradeError> {
    let superuser = run.catalog()?.superuser.clone();
    write_rules(run.work(), &account(), std::slice::from_ref(&superuser))?;
    let choices = &run.record.choices;
    let folder = run.work().folder.join("pg_upgrade");
    files::remove(&folder)?;
    files::make(&folder)?;
    let mut program = upgrader(&choices.new_bin, &run.record.id, choices.from);
    program.current_dir(&folder).arg("-b").arg(&choices.old_bin).arg("-B").arg(&choices.new_bin);
    if run.catalog()?.client_encoding_is_set {
        // Names and definitions are read and written as they are stored, whatever clients get otherwise.
        program.env("PGCLIENTENCODING", "SQL_ASCII");
    }
    let home = run.old_home();
    program.arg("-d").arg(home.config.as_ref().unwrap_or(&home.data));
    program.arg("-D").arg(&choices.staging).args(["-U", &superuser]);
    program.arg("-s").arg(run.work().private()).args(["-p", "50432", "-P", "50433"]);
    program.args(["-j", &choices.jobs.to_string()]);
    let rules = rules_for_shell(run.work());
    let alone = "-c external_pid_file= -c archive_mode=off -c ssl=off -c logging_collector=off -c synchronous_standby_names=";
    for (option, version) in [("-o", choices.from), ("-O", choices.to)] {
        // A trigger at login could refuse the sessions.
        let triggers = if version >= 17 { " -c event_triggers=off" } else { "" };
        program.arg(option).arg(format!("{rules} {alone}{triggers}"));
    }
    program.args(choices.mode.option());
    // Its lists stay, also those of warnings.
    program.arg("--retain");
    if check {
        program.arg("--check");
    }
    let result = output(&mut program);
    let staging = choices.staging.clone();
    let text = match result {
        Ok(text) => text,
        Err(why) => {
            let words = complaints(&staging);
            let UpgradeError::Program { program, status, words: said } = why else { return Err(why) };
            return Err(UpgradeError::Program {
                program,
                status,
                words: format!("{said}\n{words}").trim().to_owned(),
            });
        }
    };
    files::make(&run.work().logs())?;
    let log = run.work().logs().join(if check { "pg_upgrade-check.log" } else { "pg_upgrade.log" });
    files::replace(&log, text.as_bytes(), 0o600)?;
    // The folder contains a script that would delete the old cluster.
    files::remove(&folder)?;
    keep_lists(&staging, &run.work().logs())?;
    files::remove(&staging.join(OUTPUT))?;
    for (warning, list) in warnings(&text) {
        let list = list.map(|list| format!(" {}", run.work().logs().join(list).display()));
        let warning = format!("pg_upgrade warns: {warning}{}", list.unwrap_or_default());
        run.note(warning.clone());
        run.remark([warning]);
    }
    Ok(())
}

/// Name of the folder in the new data directory in which `pg_upgrade` writes logs and lists.
const OUTPUT: &str = "pg_upgrade_output.d";

/// Copies the lists of the latest run of `pg_upgrade` in `staging` to the folder of the logs, in place of those of an
/// earlier run.
///
/// # Errors
/// Returns an error if a list cannot be read or written.
fn keep_lists(staging: &Path, logs: &Path) -> Result<(), UpgradeError> {
    for name in files::names(logs).iter().filter(|name| name.ends_with(".txt")) {
        files::remove(&logs.join(name))?;
    }
    let root = staging.join(OUTPUT);
    let Some(newest) = files::names(&root).pop() else { return Ok(()) };
    let folder = root.join(newest);
    for name in files::names(&folder).iter().filter(|name| name.ends_with(".txt")) {
        let list = fs::read(folder.join(name)).at(&folder.join(name), "cannot be read")?;
        files::replace(&logs.join(name), &list, 0o600)?;
    }
    Ok(())
}

/// Returns the warnings in an output of `pg_upgrade`: each check with the result `warning`, with the text that follows
/// it, in one line, and the file name of the list after it. The path of the list ends the text.
fn warnings(text: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(check) = line.trim_end().strip_suffix(" warning") else { continue };
        let mut words = Vec::new();
        let mut list = None;
        for line in lines.by_ref() {
            if line.starts_with("    ") {
                list = Path::new(line.trim()).file_name().map(|name| name.to_string_lossy().into_owned());
                break;
            }
            words.push(line.trim());
            if line.trim().is_empty() && words.len() > 1 {
                break;
            }
        }
        found.push((format!("{}: {}", check.trim(), words.join(" ").trim()), list));
    }
    found
}

/// Transfers the data by `pg_upgrade`. If the old cluster is still usable, its fingerprint is recorded again, since
/// `pg_upgrade` ran its server.
///
/// # Errors
/// Returns an error if `pg_upgrade` fails, or the old cluster's state cannot be read.
pub(super) fn transfer(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    pg_upgrade(run, false)?;
    if old_condition(&run.record.choices) == OldClusterState::Whole {
        // pg_upgrade has run the old server, which changed the control file.
        run.remember_old()?;
    }
    let note = format!("by {}", run.record.choices.mode);
    run.note(note);
    Ok(())
}

/// Returns the error messages of the latest run of `pg_upgrade` in `staging`: the last eight lines of each of its
/// lists, and the last three errors of each log. Empty without a run.
fn complaints(staging: &Path) -> String {
    let root = staging.join(OUTPUT);
    let Some(newest) = files::names(&root).pop() else { return String::new() };
    let folder = root.join(newest);
    let mut text = String::new();
    for name in files::names(&folder) {
        if name.ends_with(".txt")
            && let Ok(list) = fs::read_to_string(folder.join(&name))
        {
            text.push_str(&format!("{name}: {}\n", tail(&list, 8)));
        }
    }
    for name in files::names(&folder.join("log")) {
        if let Ok(log) = fs::read_to_string(folder.join("log").join(&name)) {
            let wrong =
                |line: &&str| ["ERROR", "FATAL", "PANIC", "rror:"].iter().any(|word| line.contains(word));
            let lines: Vec<&str> = log.lines().filter(wrong).collect();
            for line in lines.iter().rev().take(3).rev() {
                text.push_str(&format!("{name}: {line}\n"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_taken_from_the_output() {
        let text = "Performing Consistency Checks\n-----\n\
            Checking database user is the install user                    ok\n\
            Checking for objects affected by Unicode update               warning\n\n\
            Your installation contains relations.\nA list is in the file:\n    /new/x.txt\n\
            Checking for presence of required libraries                   ok\n";
        let expected = "Checking for objects affected by Unicode update: \
                        Your installation contains relations. A list is in the file:";
        assert_eq!(warnings(text), [(expected.to_owned(), Some("x.txt".to_owned()))]);
        assert!(warnings("Checking this    ok\n").is_empty());
    }
}
