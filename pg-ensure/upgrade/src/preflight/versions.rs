//! Preflight checks of the versions, their programs, pg_hba.conf, and the files that are carried over with it.

use super::BACKUP_PROGRAMS;
use super::finding::FindingList;
use crate::facts::{Facts, HbaComparison, Programs};
use crate::version::{Major, version_in_banner};

impl FindingList<'_> {
    /// Checks that the new version is newer than the old one, and that the programs of both are installed. A new
    /// version that was not tested requires consent.
    pub(super) fn versions(&mut self, facts: &Facts) {
        if facts.to <= facts.from {
            self.blocker(
                "versions",
                format!("{} is not newer than {}", facts.to, facts.from),
                "--from is the version that runs now, --to the newer one",
            );
        }
        if facts.to > Major::TESTED {
            self.consent(
                "untested-version",
                format!(
                    "what {} changes is known from its release notes alone: this program was not tested against a server of it",
                    facts.to
                ),
                &format!("rehearse the upgrade on a copy, or upgrade to {}", Major::TESTED),
            );
        }
        self.programs("old", facts.from, &facts.old_programs, "--old-bin");
        self.programs("new", facts.to, &facts.new_programs, "--new-bin");
    }

    /// Checks that the programs of a version were found, have that version and are complete; if so, adds a note.
    /// `which` is `old` or `new`, `flag` the option that names their folder.
    fn programs(&mut self, which: &str, major: Major, found: &Programs, flag: &str) {
        let Some(folder) = &found.folder else {
            return self.blocker(
                "programs",
                format!("no PostgreSQL {major} was found; looked in {}", found.searched.join(", ")),
                format!(
                    "install it (Debian: apt install postgresql-{major}; NixOS: pkgs.postgresql_{major}), or name its folder \
                     by {flag}"
                ),
            );
        };
        let version = found.version.as_deref().unwrap_or("unknown");
        let banner = format!("postgres (PostgreSQL) {version}");
        if version_in_banner(&banner).map(|(number, _)| number) != Some(major.number()) {
            self.blocker(
                "programs",
                format!("{} has version {version}, not {major}", folder.display()),
                format!("name the folder of {major} by {flag}"),
            );
        }
        // Programs of backups are the subject of the findings about the backup.
        let missing: Vec<&str> = found.missing.iter().map(String::as_str).collect();
        let missing: Vec<&str> =
            missing.into_iter().filter(|program| !BACKUP_PROGRAMS.contains(program)).collect();
        if missing.is_empty() {
            self.note("programs", format!("{which} programs: {version} in {}", folder.display()));
        } else {
            self.blocker(
                "programs",
                format!("{} lacks {}", folder.display(), missing.join(", ")),
                format!("install the whole of PostgreSQL {major}, its client programs too, or name a folder by {flag}"),
            );
        }
    }

    /// Reports files that would overwrite each other in the new data directory.
    pub(super) fn carried_files(&mut self, facts: &Facts) {
        for (name, first, second) in &facts.colliding_files {
            self.blocker(
                "colliding-files",
                format!(
                    "{} and {} differ, and both would be {} in the new data directory",
                    first.display(),
                    second.display(),
                    name.display()
                ),
                "rename one of them, with the line that names it, and reload the old server",
            );
        }
    }

    /// Adds the result of comparing `pg_hba.conf` under both versions: a note if it decides alike, a finding that
    /// requires consent if not, a blocker if the new version rejects it, a warning if it is not known, and nothing if
    /// it was not compared.
    pub(super) fn hba(&mut self, facts: &Facts) {
        match &facts.hba {
            HbaComparison::Unchecked => {}
            HbaComparison::Same => {
                self.note(
                    "hba",
                    format!(
                        "pg_hba.conf decides every connection alike under {} and {}",
                        facts.from, facts.to
                    ),
                );
            }
            HbaComparison::Changed(example) => self.consent(
                "hba",
                format!("pg_hba.conf means something else under {}: {example}", facts.to),
                "rewrite that line so that it means the same under both",
            ),
            HbaComparison::Refused(why) => self.blocker(
                "hba",
                format!("{} refuses pg_hba.conf: {why}", facts.to),
                "correct the line; the old server must still take it",
            ),
            HbaComparison::Unknown(why) => self.warning(
                "hba",
                format!("whether pg_hba.conf means the same under {} could not be shown: {why}", facts.to),
                "",
            ),
        }
    }
}
