//! The step that makes the backup.

use super::error::{UpgradeError, WithPath};
use super::files;
use super::reach;
use super::run::Run;
use super::tools::{client, command, output, tail};
use crate::facts::Backup;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

/// Makes and verifies the backup as requested, unless it was made before: none if the operator asserts that one
/// exists, a base backup, or a dump.
///
/// # Errors
/// Returns an error if the backup fails or cannot be verified.
pub(super) fn backup(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    if run.record.backup_made {
        run.note("made and verified before, and nothing was written since");
        return Ok(());
    }
    match run.record.choices.backup.clone() {
        Backup::Asserted(reason) => run.note(format!("none made; its owner says: {reason}")),
        Backup::Base(path) => base_backup(run, &path)?,
        Backup::Dump(path) => dump(run, &path)?,
    }
    run.record.backup_made = !matches!(run.record.choices.backup, Backup::Asserted(_));
    if run.record.fingerprint.is_some() {
        // The backup was made after the old server was stopped, by a private server that changed the control file.
        run.remember_old()?;
    }
    Ok(())
}

/// Makes a base backup by `pg_basebackup`, verifies it by `pg_verifybackup`, and renames it to `path`. Tablespaces
/// are put beside it.
///
/// # Errors
/// Returns an error if `path` exists, or a program fails.
fn base_backup(run: &mut Run<'_>, path: &Path) -> Result<(), UpgradeError> {
    let (partial, spaces) = (files::beside(path, ".partial"), files::beside(path, ".tablespaces"));
    if path.exists() {
        return Err(UpgradeError::Other(format!("{} is there already: move it away", path.display())));
    }
    path.parent().map_or(Ok(()), files::make)?;
    // No other level is set, since the cluster's slots may need a higher one.
    let level = if run.catalog()?.wal_level == "minimal" { &["wal_level=replica"][..] } else { &[] };
    let reached = reach::reach_old(run, level)?;
    let choices = &run.record.choices;
    let mut program = client(&choices.old_bin, "pg_basebackup", &run.record.id, choices.from);
    program.args(["--checkpoint=fast", "--wal-method=stream", "--no-password", "-D"]).arg(&partial);
    program.arg("-d").arg(reached.socket().conninfo("postgres", ""));
    let links = choices.old_data.join("pg_tblspc");
    for oid in files::names(&links) {
        let location = fs::read_link(links.join(&oid)).at(&links.join(&oid), "cannot be read")?;
        let escape = |path: &Path| path.display().to_string().replace('=', "\\=");
        files::make(&spaces)?;
        program.arg(format!("--tablespace-mapping={}={}", escape(&location), escape(&spaces.join(&oid))));
    }
    let made = output(&mut program);
    let left = reached.stop_if_private();
    made?;
    left?;
    output(command(&choices.old_bin, "pg_verifybackup", &run.record.id).arg("--quiet").arg(&partial))?;
    files::rename(&partial, path)?;
    let size = files::bytes(path, &[]) + files::bytes(&spaces, &[]);
    run.note(format!("{} MB in {}, verified by pg_verifybackup", size >> 20, path.display()));
    Ok(())
}

/// Makes a dump by `pg_dumpall` of the old version, or of the new one if that is missing, checks that it is
/// complete, and renames it to `path`.
///
/// # Errors
/// Returns an error if `path` exists, the server is not reachable, `pg_dumpall` fails, or the dump is incomplete.
fn dump(run: &mut Run<'_>, path: &Path) -> Result<(), UpgradeError> {
    let partial = files::beside(path, ".partial");
    if path.exists() {
        return Err(UpgradeError::Other(format!("{} is there already: move it away", path.display())));
    }
    path.parent().map_or(Ok(()), files::make)?;
    let reached = reach::reach_old(run, &[])?;
    let choices = &run.record.choices;
    // The old version's program makes a dump that the old version can read; the new one's is used if it is missing.
    let bin = if choices.old_bin.join("pg_dumpall").exists() { &choices.old_bin } else { &choices.new_bin };
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&partial);
    let file = file.at(&partial, "cannot be made")?;
    let copy = file.try_clone().at(&partial, "cannot be made")?;
    let mut program = client(bin, "pg_dumpall", &run.record.id, choices.from);
    program.args(["--no-password", "-d"]).arg(reached.socket().conninfo("template1", "")).stdout(copy);
    let ended = program.stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let left = reached.stop_if_private();
    let ended = ended.map_err(|source| UpgradeError::Run { program: "pg_dumpall".to_owned(), source })?;
    left?;
    if !ended.status.success() {
        return Err(UpgradeError::Program {
            program: "pg_dumpall".to_owned(),
            status: ended.status.to_string(),
            words: tail(&String::from_utf8_lossy(&ended.stderr), 8),
        });
    }
    file.sync_all().at(&partial, "cannot be synced")?;
    let databases = run.catalog()?.databases.iter().filter(|database| database.connectable).count();
    let size = whole_dump(&partial, databases)?;
    files::rename(&partial, path)?;
    run.note(format!(
        "{} MB in {}, whole to its last line, {databases} databases",
        size >> 20,
        path.display()
    ));
    Ok(())
}

/// Checks that a dump is complete: it has pg_dumpall's last line and a part for each of `databases` databases. Returns
/// its size in bytes.
///
/// # Errors
/// Returns an error if the file cannot be read, or the dump is incomplete.
fn whole_dump(path: &Path, databases: usize) -> Result<u64, UpgradeError> {
    let mut file = File::open(path).at(path, "cannot be read")?;
    let size = file.metadata().at(path, "cannot be looked at")?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(4096))).at(path, "cannot be read")?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).at(path, "cannot be read")?;
    if !String::from_utf8_lossy(&end).contains("-- PostgreSQL database cluster dump complete") {
        return Err(UpgradeError::Other(format!("{} does not end as a whole dump does", path.display())));
    }
    // template0 accepts no connections and is not part of a dump.
    let parts = count(path, b"\n-- PostgreSQL database dump complete")?;
    if parts < databases {
        return Err(UpgradeError::Other(format!("{} has {parts} databases of {databases}", path.display())));
    }
    Ok(size)
}

/// Counts the occurrences of a short byte string in a file, which is read in pieces.
///
/// # Errors
/// Returns an error if the file cannot be read.
fn count(path: &Path, needle: &[u8]) -> Result<usize, UpgradeError> {
    let mut file = File::open(path).at(path, "cannot be read")?;
    let mut piece = vec![0; 1 << 20];
    let (mut kept, mut found) = (0, 0);
    loop {
        let read = file.read(&mut piece[kept..]).at(path, "cannot be read")?;
        if read == 0 {
            return Ok(found);
        }
        let there = kept + read;
        found += piece[..there].windows(needle.len()).filter(|window| *window == needle).count();
        kept = (needle.len() - 1).min(there);
        piece.copy_within(there - kept..there, 0);
    }
}
