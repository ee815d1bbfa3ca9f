//! Preflight checks of the transfer mode, disk space and the backup.

use super::BACKUP_PROGRAMS;
use super::finding::FindingList;
use crate::facts::{Backup, Facts};
use crate::mode::Mode;

/// Size in bytes of a new cluster without data, including the WAL that the transfer writes.
const NEW_CLUSTER_SIZE: u64 = 160 << 20;

impl FindingList<'_> {
    /// Adds blockers for a mode that the new version does not have, and for cloning on a file system that cannot. Adds
    /// a warning for a mode that destroys the old cluster, or else a note with the mode.
    pub(super) fn mode(&mut self, facts: &Facts) {
        if facts.mode.since() > facts.to {
            self.blocker(
                "mode",
                format!("mode {} came with {}", facts.mode, facts.mode.since()),
                "take copy, or leave --mode out",
            );
        }
        if facts.mode == Mode::Clone && !facts.clones {
            self.blocker(
                "mode",
                "this file system cannot clone files".to_owned(),
                "leave --mode out, and the best that it can is taken",
            );
        }
        let why = if facts.mode_requested { "as asked" } else { "the best that the file system allows" };
        match facts.mode.warning() {
            Some(warning) => self.warning("mode", format!("mode {}: {warning}", facts.mode), ""),
            None => self.note("mode", format!("mode {}, {why}; the old cluster stays whole", facts.mode)),
        }
    }

    /// Compares the free space of each file system with the sizes of data, backup and new cluster, plus 5 % of data and
    /// backup: a blocker if it does not suffice, otherwise a note. In modes that share blocks or files, only 1 % of the
    /// data is needed.
    pub(super) fn disk_space(&mut self, facts: &Facts) {
        let beside = facts.staging.parent();
        for room in &facts.disk_space {
            let data = if facts.mode.needs_disk_space() { room.data } else { room.data / 100 };
            let new = if Some(room.folder.as_path()) == beside { NEW_CLUSTER_SIZE } else { 0 };
            let backup = if matches!(facts.backup, Backup::Asserted(_)) { 0 } else { room.backup };
            // 5 % are added for what is written meanwhile.
            let need = (data + backup) / 20 + data + backup + new;
            let text = format!(
                "{}: {} MB free, {} MB needed (data {}, backup {}, new cluster {})",
                room.folder.display(),
                room.free >> 20,
                need >> 20,
                data >> 20,
                backup >> 20,
                new >> 20
            );
            if room.free < need {
                self.blocker(
                    "disk-space",
                    text,
                    "free that much, put the backup elsewhere by --backup, or take a mode that shares blocks or files",
                );
            } else {
                self.note("disk-space", text);
            }
        }
    }

    /// Checks the backup: its location, the programs it needs, and the login for `pg_basebackup`. An asserted backup
    /// needs a reason.
    pub(super) fn backup(&mut self, facts: &Facts) {
        match &facts.backup {
            Backup::Asserted(reason) if reason.trim().is_empty() => self.blocker(
                "backup",
                "a backup is asserted without a reason".to_owned(),
                "say what it is: --backup-exists 'pgBackRest, restored into staging on Monday'",
            ),
            Backup::Asserted(reason) => {
                self.warning("backup", format!("no backup is made; its owner says: {reason}"), "");
            }
            Backup::Base(path) | Backup::Dump(path) if facts.backup_exists && facts.in_progress.is_none() => {
                self.blocker(
                    "backup",
                    format!("{} is there already", path.display()),
                    "move it away, or name another place by --backup",
                );
            }
            Backup::Base(path) => {
                self.note("backup", format!("pg_basebackup into {}, then pg_verifybackup", path.display()));
                let missing: Vec<&str> = BACKUP_PROGRAMS
                    .iter()
                    .filter(|program| facts.old_programs.missing.iter().any(|missing| missing == *program))
                    .copied()
                    .collect();
                if !missing.is_empty() {
                    self.blocker(
                        "backup",
                        format!("a base backup of {} needs {}", facts.from, missing.join(" and ")),
                        "install the client programs of that version, or take --backup-dump or --backup-exists",
                    );
                }
            }
            Backup::Dump(path) => self.note("backup", format!("pg_dumpall into {}", path.display())),
        }
        if let Some(Err(why)) = &facts.replication_login
            && matches!(facts.backup, Backup::Base(_))
        {
            self.blocker(
                "backup",
                format!("the old server does not let pg_basebackup in: {why}"),
                "allow it by a line `local replication <superuser> peer`, take --backup-dump, or stop the server: it is \
                 then backed up on a private socket",
            );
        }
    }
}
