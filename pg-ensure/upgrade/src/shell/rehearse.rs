//! Rehearsal: the whole upgrade of a copy, beside the running server. The copy is removed afterwards.
//!
//! The copy is isolated from other systems. Before its first start it gets its own configuration: no TCP, a socket in a
//! folder of this account only, no archiving and no background workers, so that neither subscriptions nor libraries of
//! extensions have an effect, and no files that the running server writes.

use super::account::account;
use super::after::inventory_of;
use super::configuration::config_folder;
use super::encoding::{decode, encode};
use super::error::{UpgradeError, WithPath};
use super::isolation::isolated;
use super::journal::{Layout, WorkFolder, layout, now};
use super::outage::{Meter, RUNS, TimedRun, expected_outage, is_repeated};
use super::outcome::Outcome;
use super::request::{HbaChecker, Observer, Request, Services};
use super::server::{self, PrivateServer, ServerFolder, stop_public, write_rules};
use super::tools::{client, output};
use super::upgrade::{Plan, Upgrade};
use super::{files, gather, leftovers};
use crate::conf::{quoted, settings};
use crate::facts::{Backup, Catalog, CatalogQuery, ServerState, StopMethod};
use crate::mode::Mode;
use crate::preflight::{Finding, Severity};
use crate::record::Record;
use crate::report::span;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Space in bytes that a rehearsal needs in addition to the data: WAL of two clusters, and the catalogs of the new one.
const MIN_FREE_SPACE: u64 = 512 << 20;

/// Options of a rehearsal, the upgrade of a copy of the running cluster.
#[derive(Clone, Debug, Default)]
pub struct RehearsalOptions {
    /// Directory for the copy. `None` selects the base directory of the clusters.
    pub at: Option<PathBuf>,
    /// Maximum rate of the copy, in the format of `pg_basebackup --max-rate`. `None` for no limit.
    pub max_rate: Option<String>,
    /// Maximum number of runs of the steps without a server. `None` for 3. A run is repeated only if all runs together
    /// take at most a minute, and never in the modes `link` and `swap`. With 1, the expected outage depends on a single
    /// run, which may be slow by chance.
    pub max_runs: Option<NonZeroU32>,
}

/// The result of a successful rehearsal: the record of the upgraded copy, and the outage to expect.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Rehearsal {
    /// Findings of the preflight for the running server.
    pub findings: Vec<Finding>,
    /// Record of the first upgrade of the copy.
    pub record: Record,
    /// Size of the copy in bytes.
    pub copied: u64,
    /// Duration of copying, in milliseconds.
    pub copying: u64,
    /// Time without a server in the rehearsal, the median of its runs, in milliseconds.
    pub measured: u64,
    /// Time without a server in each run, in milliseconds. Short runs are repeated.
    pub runs: Vec<u64>,
    /// Minimum and maximum of the expected outage, in this order, in milliseconds.
    pub outage: (u64, u64),
}

impl Upgrade {
    /// Rehearses the upgrade on a copy of the running cluster, which is removed afterwards in any case. The running
    /// server is only read. Findings that require consent are accepted.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the upgrade has obstacles, an upgrade is in progress, the old server is not
    /// running, or the rehearsal fails.
    pub fn rehearse(
        &self,
        rehearsing: &RehearsalOptions,
        hba: &dyn HbaChecker,
        services: &dyn Services,
        observer: &mut dyn Observer,
    ) -> Result<Rehearsal, UpgradeError> {
        let stopping = match &self.request.stopping {
            StopMethod::Refuse => StopMethod::PgCtl,
            said => said.clone(),
        };
        let asked = Self::new(Request {
            stopping,
            backup: Some(Backup::Asserted("a rehearsal needs none".to_owned())),
            ..self.request.clone()
        });
        let plan = asked.plan(hba)?;
        if plan.facts.in_progress.is_some() {
            return Err(UpgradeError::Other(
                "an upgrade is under way: finish it or roll it back first".to_owned(),
            ));
        }
        // Consent is required for the upgrade itself only.
        if plan.findings.iter().any(|finding| finding.severity > Severity::Consent) {
            return Err(UpgradeError::Blocked(plan.findings));
        }
        let old = plan.facts.old.as_ref();
        if !old.is_some_and(|old| matches!(old.running, ServerState::Running { .. })) {
            return Err(UpgradeError::Other(
                "the old server does not run: a rehearsal copies it while it serves".to_owned(),
            ));
        }
        let rehearsal = Stage::new(&self.request, &self.layout, rehearsing)?;
        let _lock = rehearsal.lock()?;
        rehearsal.clear()?;
        let result = rehearsal.play(&plan, hba, services, observer);
        let cleared = rehearsal.clear().and_then(|()| files::remove(&rehearsal.folder));
        // The first error is reported.
        let result = result?;
        cleared?;
        Ok(result)
    }
}

/// The directory of a rehearsal, and the upgrade in it.
struct Stage<'r> {
    request: &'r Request,
    real: &'r Layout,
    max_rate: Option<&'r str>,
    max_runs: NonZeroU32,
    folder: PathBuf,
    layout: Layout,
    /// Mark of the processes that the rehearsal starts itself.
    id: String,
}

impl<'r> Stage<'r> {
    /// Creates the directory of a rehearsal, which only this account may access.
    ///
    /// # Errors
    /// Returns an error if it cannot be created, or belongs to another account.
    fn new(
        request: &'r Request,
        real: &'r Layout,
        rehearsing: &'r RehearsalOptions,
    ) -> Result<Self, UpgradeError> {
        let suffix = real.cluster.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
        let name = format!("rehearsal-{}-{}{suffix}", request.from, request.to);
        let folder = rehearsing.at.as_deref().unwrap_or(&request.base).join(name);
        files::make_own(&folder)?;
        let copy = folder.join(request.from.to_string());
        let layout = layout(&folder, request.from, request.to, None, Some(&copy), None);
        let mut hasher = DefaultHasher::new();
        folder.hash(&mut hasher);
        let id = format!("rehearsal-{:x}", hasher.finish());
        let (max_rate, max_runs) = (rehearsing.max_rate.as_deref(), rehearsing.max_runs.unwrap_or(RUNS));
        Ok(Self { request, real, max_rate, max_runs, folder, layout, id })
    }

    /// Returns the working folder of the rehearsal.
    fn work(&self) -> &WorkFolder {
        &self.layout.work
    }

    /// Returns the directory of the copy's configuration. `None` if the cluster's configuration is in its data
    /// directory.
    fn configuration(&self) -> Option<PathBuf> {
        config_folder(self.request, self.real).map(|_| self.folder.join("configuration"))
    }

    /// Locks the directory against other rehearsals.
    ///
    /// # Errors
    /// Returns an error if another rehearsal holds the lock, or the file cannot be opened.
    fn lock(&self) -> Result<File, UpgradeError> {
        WorkFolder { folder: self.folder.clone() }.lock()
    }

    /// Ends the processes of this or an earlier rehearsal, and removes everything in its directory except the lock.
    ///
    /// # Errors
    /// Returns an error if a process cannot be ended, or something cannot be removed.
    fn clear(&self) -> Result<(), UpgradeError> {
        let folders = [&self.layout.old_data, &self.layout.new_data, &self.layout.staging];
        let folders: Vec<&Path> = folders.iter().map(|folder| folder.as_path()).collect();
        let record = self.work().load().ok().flatten();
        leftovers::stop(self.work(), &self.id, &folders)?;
        if let Some(record) = record {
            leftovers::stop(self.work(), &record.id, &folders)?;
        }
        let private = self.work().private();
        if !private.starts_with(&self.folder) {
            files::remove(&private)?;
        }
        for name in files::names(&self.folder) {
            if name != "lock" {
                files::remove(&self.folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Copies the running cluster, upgrades the copy, and checks that the new server answers. Returns the durations.
    ///
    /// # Errors
    /// Returns an error if the rehearsal cannot be made, or a step of it fails.
    fn play(
        &self,
        plan: &Plan,
        hba: &dyn HbaChecker,
        services: &dyn Services,
        observer: &mut dyn Observer,
    ) -> Result<Rehearsal, UpgradeError> {
        let (old, new) = gather::programs(self.request);
        if old.missing.iter().any(|program| program == "pg_basebackup") {
            return Err(UpgradeError::Other(format!(
                "pg_basebackup of {} is missing, which copies the cluster: install the client programs of that version",
                self.request.from
            )));
        }
        let missing = || UpgradeError::Blocked(plan.findings.clone());
        let (old_bin, new_bin) =
            (old.folder.clone().ok_or_else(missing)?, new.folder.clone().ok_or_else(missing)?);
        let CatalogQuery::Succeeded(catalog) = &plan.facts.catalog else { return Err(missing()) };
        let choose = || Mode::choose(self.request.to, files::file_copy(&self.folder));
        let mode = self.request.mode.unwrap_or_else(choose);
        self.ensure_disk_space(mode.needs_disk_space())?;
        let began = now();
        self.copy(&old_bin, catalog)?;
        let copied =
            files::bytes(&self.layout.old_data, &[]) + files::bytes(&self.folder.join("spaces"), &[]);
        let copying = now().saturating_sub(began);
        observer.note(&format!("{} MB copied", copied >> 20));
        self.recover(&old_bin, catalog)?;
        let mut request = Request {
            base: self.folder.clone(),
            cluster: None,
            old_data: Some(self.layout.old_data.clone()),
            new_data: Some(self.layout.new_data.clone()),
            old_config: self.configuration(),
            wal_dir: None,
            old_bin: Some(old_bin),
            new_bin: Some(new_bin.clone()),
            mode: Some(mode),
            backup: Some(Backup::Asserted("a rehearsal needs none".to_owned())),
            stopping: StopMethod::PgCtl,
            start_service: None,
            starting: true,
            superuser: Some(catalog.superuser.clone()),
            until: None,
            rehearsal: true,
            ..self.request.clone()
        };
        let began = Instant::now();
        let (record, first) = self.upgrade_copy(&mut request, hba, services, Some(&mut *observer))?;
        // The new server must answer, as it would to clients.
        inventory_of(&new_bin, &self.layout.new_data, &catalog.superuser)?;
        let mut runs = vec![first];
        while mode.keeps_the_old() && is_repeated(runs.len(), self.max_runs, began.elapsed()) {
            self.discard_new(&new_bin, &record)?;
            runs.push(self.upgrade_copy(&mut request, hba, services, None)?.1);
        }
        let (measured, outage) = expected_outage(&runs);
        let runs: Vec<u64> = runs.iter().map(|run| run.took).collect();
        let texts: Vec<String> = runs.iter().map(|took| span(*took)).collect();
        observer.note(&format!("without a server: {}", texts.join(", ")));
        Ok(Rehearsal { findings: plan.findings.clone(), record, copied, copying, measured, runs, outage })
    }

    /// Upgrades the copy, and adds the consents that it requires to the request. Returns the record and the time.
    ///
    /// # Errors
    /// Returns an error if a step fails, or the upgrade does not end.
    fn upgrade_copy(
        &self,
        request: &mut Request,
        hba: &dyn HbaChecker,
        services: &dyn Services,
        mut observer: Option<&mut dyn Observer>,
    ) -> Result<(Record, TimedRun), UpgradeError> {
        loop {
            let upgrade = Upgrade::new(request.clone());
            let reported: Option<&mut dyn Observer> = match &mut observer {
                Some(observer) => Some(&mut **observer),
                None => None,
            };
            let mut meter = Meter::new(&self.real.old_data, reported);
            match (upgrade.run(hba, services, &mut meter), meter.run) {
                (Ok((record, Outcome::Done)), Some(run)) => return Ok((record, run)),
                (Ok((_, outcome)), _) => {
                    return Err(UpgradeError::Other(format!("the rehearsal ended early: {outcome:?}")));
                }
                (Err(UpgradeError::Blocked(findings)), _) => {
                    let consents = findings.iter().filter(|finding| finding.severity == Severity::Consent);
                    let fresh: Vec<String> = consents
                        .map(|finding| finding.code.clone())
                        .filter(|code| !request.accept.contains(code))
                        .collect();
                    if fresh.is_empty() || findings.iter().any(|finding| finding.severity > Severity::Consent)
                    {
                        return Err(UpgradeError::Blocked(findings));
                    }
                    request.accept.extend(fresh);
                }
                (Err(why), _) => return Err(why),
            }
        }
    }

    /// Stops the new server of the copy, and removes everything that its upgrade has made.
    ///
    /// # Errors
    /// Returns an error if the server does not stop, or something cannot be removed.
    fn discard_new(&self, new_bin: &Path, record: &Record) -> Result<(), UpgradeError> {
        stop_public(new_bin, &self.layout.new_data, &self.id)?;
        let made = [&self.layout.new_data, &self.layout.staging, &self.work().folder];
        made.into_iter().chain(&record.tablespaces).try_for_each(|path| files::remove(path))
    }

    /// Checks the free space before the copy. With `twice`, the transfer needs the size of the data again.
    ///
    /// # Errors
    /// Returns an error if the space does not suffice, or cannot be determined.
    fn ensure_disk_space(&self, twice: bool) -> Result<(), UpgradeError> {
        let links = self.real.old_data.join("pg_tblspc");
        let spaces = files::names(&links).into_iter().filter_map(|oid| fs::read_link(links.join(oid)).ok());
        let data = files::bytes(&self.real.old_data, &[])
            + spaces.map(|space| files::bytes(&space, &[])).sum::<u64>();
        let (needed, free) = (data * if twice { 2 } else { 1 } + MIN_FREE_SPACE, files::free(&self.folder)?);
        if free < needed {
            return Err(UpgradeError::Other(format!(
                "{} has {} MB free, and the rehearsal needs {} MB: free some, or name another folder by --at",
                self.folder.display(),
                free >> 20,
                needed >> 20
            )));
        }
        Ok(())
    }

    /// Copies the running cluster by `pg_basebackup`, and isolates the copy.
    ///
    /// # Errors
    /// Returns an error if the server is not reachable, the copy fails, or a file cannot be written.
    fn copy(&self, bin: &Path, catalog: &Catalog) -> Result<(), UpgradeError> {
        let copy = &self.layout.old_data;
        let socket = server::running_server(&self.real.old_data, &catalog.superuser)?;
        let mut program = client(bin, "pg_basebackup", &self.id, socket.major);
        program.args(["--checkpoint=fast", "--wal-method=stream", "--no-password", "-D"]).arg(copy);
        program.arg("-d").arg(socket.conninfo("postgres", ""));
        if let Some(rate) = self.max_rate {
            program.arg(format!("--max-rate={rate}"));
        }
        let links = self.real.old_data.join("pg_tblspc");
        for oid in files::names(&links) {
            let location = fs::read_link(links.join(&oid)).at(&links.join(&oid), "cannot be read")?;
            let escape = |path: &Path| path.display().to_string().replace('=', "\\=");
            let space = self.folder.join("spaces").join(&oid);
            files::make(&self.folder.join("spaces"))?;
            program.arg(format!("--tablespace-mapping={}={}", escape(&location), escape(&space)));
        }
        output(&mut program)?;
        if let (Some(from), Some(to)) = (config_folder(self.request, self.real), self.configuration()) {
            copy_configuration(&from, &to, true)?;
            return self.isolate(&to);
        }
        // Files behind symbolic links, as on NixOS, are not part of a base backup.
        copy_configuration(&self.real.old_data, copy, false)?;
        self.isolate(copy)
    }

    /// Writes the settings that isolate the copy, so that they override all others. `folder` is that of the
    /// configuration.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or written.
    fn isolate(&self, folder: &Path) -> Result<(), UpgradeError> {
        let private = self.work().private();
        let path = folder.join("postgresql.conf");
        let text = decode(&fs::read(&path).at(&path, "cannot be read")?);
        let files = [
            ("data_directory", self.layout.old_data.clone()),
            ("hba_file", private.join("hba.conf")),
            ("ident_file", private.join("ident.conf")),
        ];
        let mut text = without(&text, &["data_directory", "hba_file", "ident_file", "external_pid_file"]);
        for (name, path) in files {
            text.push_str(&format!("{name} = {}\n", quoted(&path.display().to_string())));
        }
        files::replace(&path, &encode(&text), 0o600)?;
        // The server reads this file last.
        let path = self.layout.old_data.join("postgresql.auto.conf");
        let mut text = isolated(&decode(&fs::read(&path).unwrap_or_default()), self.work());
        if self.request.from.number() < 15 {
            // Both servers would write to one folder, such as Debian's below /run.
            text.push_str("stats_temp_directory = 'pg_stat_tmp'\n");
        }
        files::replace(&path, &encode(&text), 0o600)
    }

    /// Starts the copy once and stops it, so that it is in the state of a cleanly stopped cluster.
    ///
    /// # Errors
    /// Returns an error if the copy does not start or stop.
    fn recover(&self, bin: &Path, catalog: &Catalog) -> Result<(), UpgradeError> {
        let superuser = &catalog.superuser;
        write_rules(self.work(), &account(), std::slice::from_ref(superuser))?;
        let home = ServerFolder {
            bin: bin.to_owned(),
            data: self.layout.old_data.clone(),
            config: self.configuration(),
        };
        PrivateServer::start(&home, self.work(), superuser, &self.id, self.request.from.number(), &[])?.stop()
    }
}

/// Copies the `.conf` files of a configuration directory that do not exist at the destination, recursively for
/// directories named `*.d`, or for all with `below`. Symbolic links are followed.
///
/// # Errors
/// Returns an error if a file cannot be read or written.
fn copy_configuration(from: &Path, to: &Path, below: bool) -> Result<(), UpgradeError> {
    files::make(to)?;
    for name in files::names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            if below || name.ends_with(".d") {
                copy_configuration(&from, &to, below)?;
            }
        } else if name.ends_with(".conf")
            && !to.exists()
            && let Ok(text) = fs::read(&from)
        {
            files::replace(&to, &text, 0o600)?;
        }
    }
    Ok(())
}

/// Returns the text of a configuration in which the settings with these names are commented out.
fn without(text: &str, names: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let named = settings(line).iter().any(|setting| names.contains(&setting.name.as_str()));
        out.push_str(if named { "# " } else { "" });
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_running_cluster_are_left_out() {
        let text =
            without("port = 1\ndata_directory = '/live'\n#hba_file = x\n", &["data_directory", "hba_file"]);
        assert_eq!(text, "port = 1\n# data_directory = '/live'\n#hba_file = x\n");
    }
}
