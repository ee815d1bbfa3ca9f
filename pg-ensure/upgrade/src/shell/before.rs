//! The steps that do not affect clients: backup, creation of the new cluster, `pg_upgrade --check`.

use super::condition::old_condition;
use super::error::{UpgradeError, WithPath};
use super::files;
use super::gather::{account, control};
use super::isolation::isolated;
use super::run::Run;
use super::server::{self, PrivateServer, ServerAddress, rules_for_shell, write_rules};
use super::tools::{command, output, tail};
use crate::facts::Backup;
use crate::machine::OldClusterState;
use crate::version::Major;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

/// A server that accepts connections: the running one, or a private one that has to be stopped afterwards.
pub(super) enum ReachableServer {
    Public(ServerAddress),
    Private(PrivateServer),
}

impl ReachableServer {
    /// Returns the address of the server.
    pub(super) fn socket(&self) -> &ServerAddress {
        match self {
            Self::Public(socket) => socket,
            Self::Private(private) => &private.socket,
        }
    }

    /// Stops a private server. A public one continues to run.
    ///
    /// # Errors
    /// Returns an error if the server cannot be stopped.
    pub(super) fn stop_if_private(self) -> Result<(), UpgradeError> {
        match self {
            Self::Public(_) => Ok(()),
            Self::Private(private) => private.stop(),
        }
    }
}

impl Run<'_> {
    /// Returns the old server: the running one, otherwise a private one, which is started with the settings `more`.
    ///
    /// # Errors
    /// Returns an error if the server is not reachable, or cannot be started.
    fn reach_old(&self, more: &[&str]) -> Result<ReachableServer, UpgradeError> {
        let choices = &self.record.choices;
        let superuser = &self.catalog()?.superuser;
        if server::running_pid_file(&choices.old_data).is_some() {
            return server::running_server(&choices.old_data, superuser).map(ReachableServer::Public);
        }
        self.private_old(more).map(ReachableServer::Private)
    }

    /// Starts a private server on the old cluster, with the settings `more`.
    ///
    /// # Errors
    /// Returns an error if the rules cannot be written, or the server does not start.
    pub(super) fn private_old(&self, more: &[&str]) -> Result<PrivateServer, UpgradeError> {
        let superuser = &self.catalog()?.superuser;
        write_rules(self.work(), &account(), std::slice::from_ref(superuser))?;
        PrivateServer::start(
            &self.old_home(),
            self.work(),
            superuser,
            &self.record.id,
            self.record.choices.from,
            more,
        )
    }

    /// Makes and verifies the backup as requested, unless it was made before: none if the operator asserts that one
    /// exists, a base backup, or a dump.
    ///
    /// # Errors
    /// Returns an error if the backup fails or cannot be verified.
    pub(super) fn backup(&mut self) -> Result<(), UpgradeError> {
        if self.record.backup_made {
            self.note("made and verified before, and nothing was written since");
            return Ok(());
        }
        match self.record.choices.backup.clone() {
            Backup::Asserted(reason) => self.note(format!("none made; its owner says: {reason}")),
            Backup::Base(path) => self.base_backup(&path)?,
            Backup::Dump(path) => self.dump(&path)?,
        }
        self.record.backup_made = !matches!(self.record.choices.backup, Backup::Asserted(_));
        if self.record.fingerprint.is_some() {
            // The backup was made after the old server was stopped, by a private server that changed the control file.
            self.remember_old()?;
        }
        Ok(())
    }

    /// Makes a base backup by `pg_basebackup`, verifies it by `pg_verifybackup`, and renames it to `path`. Tablespaces
    /// are put beside it.
    ///
    /// # Errors
    /// Returns an error if `path` exists, or a program fails.
    fn base_backup(&mut self, path: &Path) -> Result<(), UpgradeError> {
        let (partial, spaces) = (files::beside(path, ".partial"), files::beside(path, ".tablespaces"));
        if path.exists() {
            return Err(UpgradeError::Other(format!("{} is there already: move it away", path.display())));
        }
        path.parent().map_or(Ok(()), files::make)?;
        // No other level is set, since the cluster's slots may need a higher one.
        let level = if self.catalog()?.wal_level == "minimal" { &["wal_level=replica"][..] } else { &[] };
        let reached = self.reach_old(level)?;
        let choices = &self.record.choices;
        let mut program = command(&choices.old_bin, "pg_basebackup", &self.record.id);
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
        output(command(&choices.old_bin, "pg_verifybackup", &self.record.id).arg("--quiet").arg(&partial))?;
        files::rename(&partial, path)?;
        let size = files::bytes(path, &[]) + files::bytes(&spaces, &[]);
        self.note(format!("{} MB in {}, verified by pg_verifybackup", size >> 20, path.display()));
        Ok(())
    }

    /// Makes a dump by `pg_dumpall` of the old version, or of the new one if that is missing, checks that it is
    /// complete, and renames it to `path`.
    ///
    /// # Errors
    /// Returns an error if `path` exists, the server is not reachable, `pg_dumpall` fails, or the dump is incomplete.
    fn dump(&mut self, path: &Path) -> Result<(), UpgradeError> {
        let partial = files::beside(path, ".partial");
        if path.exists() {
            return Err(UpgradeError::Other(format!("{} is there already: move it away", path.display())));
        }
        path.parent().map_or(Ok(()), files::make)?;
        let reached = self.reach_old(&[])?;
        let choices = &self.record.choices;
        // The old version's program makes a dump that the old version can read; the new one's is used if it is missing.
        let bin =
            if choices.old_bin.join("pg_dumpall").exists() { &choices.old_bin } else { &choices.new_bin };
        let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&partial);
        let file = file.at(&partial, "cannot be made")?;
        let copy = file.try_clone().at(&partial, "cannot be made")?;
        let mut program = command(bin, "pg_dumpall", &self.record.id);
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
        let databases = self.catalog()?.databases.iter().filter(|database| database.connectable).count();
        let size = whole_dump(&partial, databases)?;
        files::rename(&partial, path)?;
        self.note(format!(
            "{} MB in {}, whole to its last line, {databases} databases",
            size >> 20,
            path.display()
        ));
        Ok(())
    }

    /// Creates the new cluster in the staging directory by `initdb`, with the old one's superuser, WAL segment size,
    /// data checksums, group access, and encoding and locale of `template0`. Writes the settings that the transfer
    /// needs, and records the directories that it will create in tablespaces.
    ///
    /// # Errors
    /// Returns an error if the control file cannot be read, `initdb` fails, or the settings cannot be written.
    pub(super) fn prepare(&mut self) -> Result<(), UpgradeError> {
        let choices = &self.record.choices;
        let (from, to) = (choices.from, Major::try_from(choices.to).unwrap_or(Major::NEWEST));
        let old = control(&choices.old_bin, &choices.old_data).map_err(UpgradeError::Other)?;
        let catalog = self.catalog()?;
        let mut initdb = command(&choices.new_bin, "initdb", &self.record.id);
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
        let mode = fs::metadata(&choices.old_data)
            .at(&choices.old_data, "cannot be looked at")?
            .permissions()
            .mode();
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
        if self.request.rehearsal {
            text = isolated(&text, self.work());
        }
        files::replace(&choices.staging.join("postgresql.auto.conf"), text.as_bytes(), 0o600)?;
        let new = control(&choices.new_bin, &choices.staging).map_err(UpgradeError::Other)?;
        let links = choices.old_data.join("pg_tblspc");
        let folder = format!("PG_{to}_{}", new.catalog);
        let spaces = files::names(&links).into_iter().filter_map(|oid| fs::read_link(links.join(oid)).ok());
        let spaces = spaces.map(|location| location.join(&folder)).collect();
        let staging = choices.staging.display().to_string();
        self.record.tablespaces = spaces;
        self.note(format!("made in {staging}"));
        Ok(())
    }

    /// Runs `pg_upgrade --check`, unless the old server is stopped or has no Unix-domain socket.
    ///
    /// # Errors
    /// Returns an error if the check fails.
    pub(super) fn check(&mut self) -> Result<(), UpgradeError> {
        if server::running_pid_file(&self.record.choices.old_data).is_none() {
            // The check is only useful while clients would wait for a failing transfer, which begins with the same
            // checks.
            self.note("left to the transfer, which begins with the same checks: no client waits");
            return Ok(());
        }
        if server::running_pid_file(&self.record.choices.old_data)
            .is_some_and(|file| file.tcp_host().is_some())
        {
            self.note("left to the transfer: pg_upgrade reaches a running server by its Unix socket, and there is none");
            return Ok(());
        }
        self.pg_upgrade(true)
    }

    /// Runs `pg_upgrade`, with `--check` if `check` is set. Its servers use the access rules of private servers. The
    /// output is logged.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] with the messages of `pg_upgrade`'s logs if it fails.
    pub(super) fn pg_upgrade(&mut self, check: bool) -> Result<(), UpgradeError> {
        let superuser = self.catalog()?.superuser.clone();
        write_rules(self.work(), &account(), std::slice::from_ref(&superuser))?;
        let choices = &self.record.choices;
        let folder = self.work().folder.join("pg_upgrade");
        files::remove(&folder)?;
        files::make(&folder)?;
        let mut program = command(&choices.new_bin, "pg_upgrade", &self.record.id);
        program.current_dir(&folder).arg("-b").arg(&choices.old_bin).arg("-B").arg(&choices.new_bin);
        let home = self.old_home();
        program.arg("-d").arg(home.config.as_ref().unwrap_or(&home.data));
        program.arg("-D").arg(&choices.staging).args(["-U", &superuser]);
        program.arg("-s").arg(self.work().private()).args(["-p", "50432", "-P", "50433"]);
        program.args(["-j", &choices.jobs.to_string()]);
        let rules = rules_for_shell(self.work());
        let alone = "-c external_pid_file= -c archive_mode=off -c ssl=off -c logging_collector=off -c synchronous_standby_names=";
        program.arg("-o").arg(format!("{rules} {alone}")).arg("-O").arg(format!("{rules} {alone}"));
        program.args(choices.mode.option());
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
        files::make(&self.work().logs())?;
        let log = self.work().logs().join(if check { "pg_upgrade-check.log" } else { "pg_upgrade.log" });
        files::replace(&log, text.as_bytes(), 0o600)?;
        // The folder contains a script that would delete the old cluster.
        files::remove(&folder)?;
        Ok(())
    }

    /// Records the fingerprint of the stopped old cluster, which changes if a server runs on it.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the old server was not shut down cleanly.
    pub(super) fn remember_old(&mut self) -> Result<(), UpgradeError> {
        let choices = &self.record.choices;
        let found = control(&choices.old_bin, &choices.old_data).map_err(UpgradeError::Other)?;
        if !found.clean() {
            let state = found.state;
            return Err(UpgradeError::Other(format!(
                "the old server did not stop in an orderly way: {state}"
            )));
        }
        self.record.fingerprint = Some(found.fingerprint());
        Ok(())
    }

    /// Returns the state of the old cluster's directory.
    pub(super) fn old(&self) -> OldClusterState {
        old_condition(&self.record.choices)
    }
}

/// Returns the error messages of the latest run of `pg_upgrade` in `staging`: the last eight lines of each of its
/// lists, and the last three errors of each log. Empty without a run.
fn complaints(staging: &Path) -> String {
    let root = staging.join("pg_upgrade_output.d");
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
