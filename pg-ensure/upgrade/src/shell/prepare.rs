//! The step that creates the new cluster.

use super::error::{UpgradeError, WithPath};
use super::files;
use super::gather::control;
use super::isolation::isolated;
use super::run::Run;
use super::tools::{command, output};
use crate::version::Major;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Creates the new cluster in the staging directory by `initdb`, with the old one's superuser, WAL segment size,
/// data checksums, group access, and encoding and locale of `template0`. Writes the settings that the transfer
/// needs, and records the directories that it will create in tablespaces.
///
/// # Errors
/// Returns an error if the control file cannot be read, `initdb` fails, or the settings cannot be written.
pub(super) fn prepare(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = &run.record.choices;
    let (from, to) = (choices.from, Major::try_from(choices.to).unwrap_or(Major::NEWEST));
    let old = control(&choices.old_bin, &choices.old_data).map_err(UpgradeError::Other)?;
    let catalog = run.catalog()?;
    let mut initdb = command(&choices.new_bin, "initdb", &run.record.id);
    initdb.arg("-D").arg(&choices.staging).args(["-U", &catalog.superuser, "--auth=reject"]);
    // pg_upgrade syncs the whole directory at its end.
    initdb.args(["--no-sync", "--no-instructions"]);
    initdb.arg(format!("--wal-segsize={}", old.wal_segment >> 20));
    if let Some(folder) = &choices.wal_dir {
        initdb.arg(format!("--waldir={}", folder.display()));
    }
    if old.checksums {
        initdb.arg("--data-checksums");
    } else if to.checksums_by_default() {
        initdb.arg("--no-data-checksums");
    }
    let mode =
        fs::metadata(&choices.old_data).at(&choices.old_data, "cannot be looked at")?.permissions().mode();
    if mode & 0o050 != 0 {
        initdb.arg("--allow-group-access");
    }
    let template = catalog.databases.iter().find(|database| database.name == "template0");
    if let Some(template) = template {
        initdb.args(["--encoding", &template.encoding]);
        initdb
            .arg(format!("--lc-collate={}", template.collate))
            .arg(format!("--lc-ctype={}", template.ctype));
        let locale = template.locale.as_deref().unwrap_or_default();
        match template.provider.as_str() {
            "i" => {
                initdb.arg("--locale-provider=icu").arg(format!("--icu-locale={locale}"));
            }
            "b" => {
                initdb.arg("--locale-provider=builtin").arg(format!("--builtin-locale={locale}"));
            }
            _ if to.records_collation_version() => {
                initdb.arg("--locale-provider=libc");
            }
            _ => {}
        }
    }
    output(&mut initdb)?;
    let mut text = String::new();
    // Settings for the transfer only; the old configuration replaces this file later.
    if !catalog.preload.is_empty() {
        text.push_str(&format!("shared_preload_libraries = {}\n", crate::quoted(&catalog.preload)));
    }
    text.push_str(&format!("max_locks_per_transaction = {}\n", catalog.locks.max(64)));
    if !catalog.logical_slots.is_empty() && from >= 17 {
        let slots = catalog.logical_slots.len().max(10);
        text.push_str(&format!("wal_level = logical\nmax_replication_slots = {slots}\n"));
    }
    if run.request.rehearsal {
        text = isolated(&text, run.work());
    }
    files::replace(&choices.staging.join("postgresql.auto.conf"), text.as_bytes(), 0o600)?;
    let new = control(&choices.new_bin, &choices.staging).map_err(UpgradeError::Other)?;
    let links = choices.old_data.join("pg_tblspc");
    let folder = format!("PG_{to}_{}", new.catalog);
    let spaces = files::names(&links).into_iter().filter_map(|oid| fs::read_link(links.join(oid)).ok());
    let spaces = spaces.map(|location| location.join(&folder)).collect();
    let staging = choices.staging.display().to_string();
    run.record.tablespaces = spaces;
    run.note(format!("made in {staging}"));
    Ok(())
}
