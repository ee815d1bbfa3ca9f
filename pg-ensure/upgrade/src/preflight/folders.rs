//! Preflight checks of the directories, and of the state of the old cluster.

use super::finding::{FindingList, listed};
use crate::facts::{Facts, NewFolderState, OldFolder, ServerState, StopMethod};
use crate::machine::State;
use std::path::Path;

/// Returns the state of an upgrade as a phrase, such as `next is backup`.
fn describe(state: State) -> String {
    match state {
        State::Ready(step) => format!("next is {step}"),
        State::Running(step) => format!("{step} was begun"),
        State::RollingBack(step) => format!("being rolled back from {step}"),
        State::RolledBack => "rolled back".to_owned(),
        State::Done => "done".to_owned(),
    }
}

impl FindingList<'_> {
    /// Checks the directories of the upgrade: that the old one exists, all have names that are safe in a shell, the new
    /// one is empty and on the file system of the staging directory, its WAL directory is named if the old cluster has
    /// one and is empty, the staging directory belongs to an upgrade in progress, and its parent can be written to.
    pub(super) fn folders(&mut self, facts: &Facts) {
        if facts.old.is_none() {
            self.blocker(
                "old-folder",
                format!("{} is not there", facts.old_data.display()),
                "name the folder above it by --base, or the folder itself by --old-data",
            );
        }
        for path in [&facts.old_data, &facts.new_data, &facts.staging] {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
            if !path.to_str().is_some_and(|text| text.chars().all(plain)) {
                self.blocker(
                    "path",
                    format!("{} has characters that pg_upgrade gives to a shell", path.display()),
                    "use a folder whose name has letters, digits, dots, dashes and underscores only",
                );
            }
        }
        match facts.target {
            NewFolderState::Absent | NewFolderState::Empty => {}
            NewFolderState::Occupied => self.blocker(
                "target",
                format!("{} is there and not empty", facts.new_data.display()),
                "move it away if it is of no use; nothing is ever overwritten",
            ),
            NewFolderState::OtherFileSystem => self.blocker(
                "target",
                format!(
                    "{} is on another file system than {}: the switch is one rename and cannot cross",
                    facts.new_data.display(),
                    facts.staging.display()
                ),
                "mount the file system one folder higher, or take another --base",
            ),
        }
        if let Some(wal) = &facts.wal {
            match &wal.new {
                None => self.consent(
                    "wal-folder",
                    format!(
                        "pg_wal of the old cluster is a link to {}; the new one would have its write-ahead log among its data",
                        wal.old.display()
                    ),
                    "name a folder for it by --waldir",
                ),
                Some(new) if wal.occupied => self.blocker(
                    "wal-folder",
                    format!("{} exists and is not empty", new.display()),
                    "name another folder by --waldir",
                ),
                Some(new) => self.note("wal-folder", format!("the new write-ahead log is put into {}", new.display())),
            }
        }
        if let Some(state) = facts.in_progress {
            self.note(
                "under-way",
                format!(
                    "an upgrade is under way, {}: `run` goes on with it, `rollback` leads back",
                    describe(state)
                ),
            );
        } else if facts.staging_exists {
            self.blocker(
                "staging",
                format!("{} is there, and no journal says why", facts.staging.display()),
                "look what it is, and move it away",
            );
        }
        if !facts.base_writable {
            let parent = facts.staging.parent().unwrap_or(Path::new("/"));
            self.blocker(
                "base",
                format!("{} cannot be written to by this account", parent.display()),
                "run as the cluster's owner or as root, or let the owner write there",
            );
        }
    }

    /// Checks the old cluster: version, owner of the directory and its entries, permissions, files of standbys and
    /// restored backups, control file, whether and how a running server may be stopped, and the locations of
    /// tablespaces.
    pub(super) fn old_folder(&mut self, facts: &Facts, old: &OldFolder) {
        self.old_version(facts, old);
        self.owner(facts, old);
        for signal in &old.signals {
            let (what, fix) = if signal == "backup_label" {
                ("a backup was put back and never started", "start the old server once, so that it recovers")
            } else {
                ("it follows another server", "upgrade the primary; make its standbys anew from it")
            };
            self.blocker("recovery", format!("{signal} is there: {what}"), fix);
        }
        self.control(facts, old);
        self.server(facts, old);
        self.tablespaces(facts, old);
    }

    /// Checks that the old directory contains a cluster of the old version.
    fn old_version(&mut self, facts: &Facts, old: &OldFolder) {
        match &old.version {
            None => self.blocker(
                "old-folder",
                format!("{} is not a cluster: it has no PG_VERSION", facts.old_data.display()),
                "name the right folder by --base or --old-data",
            ),
            Some(version) if *version != facts.from.to_string() => self.blocker(
                "old-folder",
                format!("{} is a cluster of {version}, not of {}", facts.old_data.display(), facts.from),
                format!("give --from {version}"),
            ),
            Some(_) => {}
        }
    }

    /// Checks the owner of the old directory and of its entries, and the permissions of the directory.
    fn owner(&mut self, facts: &Facts, old: &OldFolder) {
        if !old.owned {
            self.blocker(
                "owner",
                format!("{} belongs to {}", facts.old_data.display(), old.owner),
                format!("run as {} or as root", old.owner),
            );
        }
        if !old.foreign.is_empty() {
            self.blocker(
                "owner",
                format!(
                    "these in {} do not belong to {}: {}",
                    facts.old_data.display(),
                    old.owner,
                    old.foreign.join(", ")
                ),
                format!("chown -R {} {}", old.owner, facts.old_data.display()),
            );
        }
        if old.mode & 0o027 != 0 {
            self.blocker(
                "owner",
                format!(
                    "{} has mode {:o}, and the server starts only with 700 or 750",
                    facts.old_data.display(),
                    old.mode
                ),
                format!("chmod 700 {}", facts.old_data.display()),
            );
        }
    }

    /// Checks whether and how a running server may be stopped, and notes a stale pid file.
    fn server(&mut self, facts: &Facts, old: &OldFolder) {
        match (&old.running, &facts.stopping) {
            (ServerState::Stopped, _) => {}
            (ServerState::StalePidFile, _) => self.note(
                "stale-pid-file",
                "postmaster.pid is left from a server that no longer runs; the server itself clears it"
                    .to_owned(),
            ),
            (ServerState::Running { pid, unit }, StopMethod::Refuse) => {
                let by = unit.as_ref().map_or_else(
                    || "--stop has it stopped by pg_ctl when its turn comes".to_owned(),
                    |unit| format!("--service {unit} has it stopped when its turn comes"),
                );
                self.blocker(
                    "live",
                    format!("the old server runs (process {pid}), and nobody said that it may be stopped"),
                    format!("{by}; or stop it yourself"),
                );
            }
            (ServerState::Running { unit: Some(unit), .. }, StopMethod::PgCtl) => self.consent(
                "unit",
                format!(
                    "the old server belongs to the unit {unit}, which may start it again when pg_ctl stops it"
                ),
                &format!("use --service {unit}"),
            ),
            (ServerState::Running { pid, .. }, _) => {
                self.note(
                    "live",
                    format!("the old server runs (process {pid}) and is stopped when its turn comes"),
                );
            }
        }
    }

    /// Checks the locations of tablespaces, and that none has directories of the new version. Notes those that are
    /// carried over.
    fn tablespaces(&mut self, facts: &Facts, old: &OldFolder) {
        let mut carried = Vec::new();
        for space in &old.tablespaces {
            match &space.location {
                None => self.blocker(
                    "tablespace",
                    format!(
                        "tablespace {} is a folder within the cluster, which pg_upgrade does not transfer",
                        space.oid
                    ),
                    "move its tables to another tablespace and drop it",
                ),
                Some(path) if path.starts_with(&facts.old_data) => self.blocker(
                    "tablespace",
                    format!(
                        "{} lies in the old cluster's folder: the new one would keep needing that",
                        path.display()
                    ),
                    "move the tablespace out of it",
                ),
                Some(path) if !space.leftovers.is_empty() => self.blocker(
                    "tablespace",
                    format!("{} has {} from another try", path.display(), space.leftovers.join(", ")),
                    "look what it is, and remove it",
                ),
                Some(path) => carried.push(path.display().to_string()),
            }
        }
        match carried.as_slice() {
            [] => {}
            [one] => self.note("tablespace", format!("{one} is carried over in its place")),
            all => self.note(
                "tablespace",
                format!("{} tablespaces are carried over in their places: {}", all.len(), listed(all)),
            ),
        }
    }

    /// Checks the control file: readable, not of a standby, and cleanly shut down. Notes checksums and the size of WAL
    /// segments.
    fn control(&mut self, facts: &Facts, old: &OldFolder) {
        let data = match &old.control {
            None => return,
            Some(Err(why)) => {
                return self.blocker(
                    "control-file",
                    format!("the old cluster's control file cannot be read: {why}"),
                    "if global/pg_control.old is there, an earlier pg_upgrade --link or --swap has been here",
                );
            }
            Some(Ok(data)) => data,
        };
        let on = if data.checksums { "on" } else { "off" };
        let differs = data.checksums != facts.to.checksums_by_default();
        let passed = if differs { ", which initdb is told" } else { "" };
        self.note("checksums", format!("data checksums are {on} and stay so{passed}"));
        self.note(
            "wal-segment",
            format!("segments of the log have {} MB and stay so", data.wal_segment >> 20),
        );
        if data.standby() {
            self.blocker(
                "recovery",
                format!("the old cluster is {:?}: it follows another server", data.state),
                "upgrade the primary; make its standbys anew from it",
            );
        } else if matches!(old.running, ServerState::Stopped | ServerState::StalePidFile) && !data.clean() {
            self.warning(
                "unclean",
                format!("the old server did not stop in an orderly way ({:?})", data.state),
                "it is started once on a private socket, so that it recovers, before anything is transferred",
            );
        }
    }
}
