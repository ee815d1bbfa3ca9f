//! What stands in the way of an upgrade: everything at once, each with its fix.

use super::facts::{Asked, Backup, Facts, Hba, OldFolder, Programs, Running, Stopping, Target};
use super::mode::Mode;
use super::version::Major;
use std::fmt;
use std::path::Path;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "upgrade",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Severity {
    /// For the record.
    Note,
    /// It can go on; somebody should know.
    Warning,
    /// It goes on only when this finding is accepted by name.
    Consent,
    /// It cannot go on.
    Blocker,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Consent => "consent",
            Self::Blocker => "blocker",
        })
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "upgrade", derive(serde::Serialize, serde::Deserialize))]
pub struct Finding {
    /// Its name, such as `prepared-transactions`.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub what: String,
    /// What to do about it; empty for notes.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.severity, self.code, self.what)?;
        if !self.fix.is_empty() {
            write!(out, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// Whether an upgrade may go on with these findings.
#[must_use]
pub fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity < Severity::Consent)
}

/// Programs of the old version that an upgrade runs.
pub const OLD_PROGRAMS: &[&str] = &["postgres", "pg_ctl", "pg_controldata", "pg_resetwal", "psql"];

/// Programs of the new version that an upgrade runs.
pub const NEW_PROGRAMS: &[&str] = &[
    "postgres",
    "initdb",
    "pg_ctl",
    "pg_controldata",
    "pg_dump",
    "pg_dumpall",
    "pg_resetwal",
    "pg_restore",
    "pg_upgrade",
    "psql",
    "vacuumdb",
];

/// Bytes that a new cluster takes before there are data in it, with room for the log that the transfer writes.
const NEW_CLUSTER: u64 = 160 << 20;

/// Judges the facts. Findings in `accepted` that ask for consent become warnings.
#[must_use]
pub fn preflight(facts: &Facts, accepted: &[String]) -> Vec<Finding> {
    let mut list = List { findings: Vec::new(), accepted };
    list.versions(facts);
    list.folders(facts);
    if let Some(old) = &facts.old {
        list.old_folder(facts, old);
    }
    list.mode(facts);
    list.room(facts);
    list.backup(facts);
    match &facts.asked {
        Asked::Yes(catalog) => list.catalog(facts, catalog),
        Asked::Refused(why) => list.blocker(
            "login",
            format!("the old server does not let the account in over its socket: {why}"),
            "let it in by a line `local all <superuser> peer`, by ~/.pgpass, or stop the server: it is then asked on a \
             private socket",
        ),
        Asked::No => list.note(
            "not-asked",
            "the old server does not run, so extensions, slots, prepared transactions and collations are not known yet; \
             they are looked at before anything is changed"
                .to_owned(),
        ),
    }
    for edit in &facts.edits {
        list.warning(
            "settings",
            format!("{} line {}: {}: {}", edit.file, edit.line, edit.name, edit.what),
            "",
        );
    }
    list.hba(facts);
    list.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    list.findings
}

pub(super) struct List<'a> {
    findings: Vec<Finding>,
    accepted: &'a [String],
}

impl List<'_> {
    fn add(&mut self, code: &str, severity: Severity, what: String, fix: String) {
        self.findings.push(Finding { code: code.to_owned(), severity, what, fix });
    }

    pub(super) fn blocker(&mut self, code: &str, what: String, fix: impl Into<String>) {
        self.add(code, Severity::Blocker, what, fix.into());
    }

    pub(super) fn consent(&mut self, code: &str, what: String, fix: &str) {
        if self.accepted.iter().any(|accepted| accepted == code) {
            self.add(code, Severity::Warning, format!("{what} (accepted)"), String::new());
        } else {
            let join = if fix.is_empty() { "" } else { ", or " };
            self.add(code, Severity::Consent, what, format!("{fix}{join}accept it by --accept {code}"));
        }
    }

    pub(super) fn warning(&mut self, code: &str, what: String, fix: &str) {
        self.add(code, Severity::Warning, what, fix.to_owned());
    }

    pub(super) fn note(&mut self, code: &str, what: String) {
        self.add(code, Severity::Note, what, String::new());
    }

    fn versions(&mut self, facts: &Facts) {
        if facts.to <= facts.from {
            self.blocker(
                "versions",
                format!("{} is not newer than {}", facts.to, facts.from),
                "--from is the version that runs now, --to the newer one",
            );
        }
        self.programs("old", facts.from, &facts.old_programs, "--old-bin");
        self.programs("new", facts.to, &facts.new_programs, "--new-bin");
    }

    fn programs(&mut self, which: &str, major: Major, found: &Programs, flag: &str) {
        let Some(folder) = &found.folder else {
            return self.blocker(
                "programs",
                format!("no PostgreSQL {major} was found; looked in {}", found.looked.join(", ")),
                format!(
                    "install it (Debian: apt install postgresql-{major}; NixOS: pkgs.postgresql_{major}), or name its folder \
                     by {flag}"
                ),
            );
        };
        let version = found.version.as_deref().unwrap_or("unknown");
        let banner = format!("postgres (PostgreSQL) {version}");
        if super::version::version_in_banner(&banner).map(|(number, _)| number) != Some(major.number()) {
            self.blocker(
                "programs",
                format!("{} has version {version}, not {major}", folder.display()),
                format!("name the folder of {major} by {flag}"),
            );
        }
        if found.missing.is_empty() {
            self.note("programs", format!("{which} programs: {version} in {}", folder.display()));
        } else {
            self.blocker(
                "programs",
                format!("{} lacks {}", folder.display(), found.missing.join(", ")),
                format!("install the whole of PostgreSQL {major}, its client programs too, or name a folder by {flag}"),
            );
        }
    }

    fn folders(&mut self, facts: &Facts) {
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
            Target::Absent | Target::Empty => {}
            Target::Occupied => self.blocker(
                "target",
                format!("{} is there and not empty", facts.new_data.display()),
                "move it away if it is of no use; nothing is ever overwritten",
            ),
            Target::OtherFileSystem => self.blocker(
                "target",
                format!(
                    "{} is on another file system than {}: the switch is one rename and cannot cross",
                    facts.new_data.display(),
                    facts.staging.display()
                ),
                "mount the file system one folder higher, or take another --base",
            ),
        }
        if facts.staging_there {
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

    fn old_folder(&mut self, facts: &Facts, old: &OldFolder) {
        match &old.version {
            None => self.blocker(
                "old-folder",
                format!("{} is no cluster: it has no PG_VERSION", facts.old_data.display()),
                "name the right folder by --base or --old-data",
            ),
            Some(version) if *version != facts.from.to_string() => self.blocker(
                "old-folder",
                format!("{} is a cluster of {version}, not of {}", facts.old_data.display(), facts.from),
                format!("give --from {version}"),
            ),
            Some(_) => {}
        }
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
        for signal in &old.signals {
            let (what, fix) = if signal == "backup_label" {
                ("a backup was put back and never started", "start the old server once, so that it recovers")
            } else {
                ("it follows another server", "upgrade the primary; make its standbys anew from it")
            };
            self.blocker("recovery", format!("{signal} is there: {what}"), fix);
        }
        self.control(facts, old);
        match (&old.running, &facts.stopping) {
            (Running::No, _) => {}
            (Running::StalePidFile, _) => self.note(
                "stale-pid-file",
                "postmaster.pid is left from a server that no longer runs; the server itself clears it"
                    .to_owned(),
            ),
            (Running::Live { pid, unit }, Stopping::Refuse) => {
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
            (Running::Live { unit: Some(unit), .. }, Stopping::PgCtl) => self.consent(
                "unit",
                format!(
                    "the old server belongs to the unit {unit}, which may start it again when pg_ctl stops it"
                ),
                &format!("use --service {unit}"),
            ),
            (Running::Live { pid, .. }, _) => {
                self.note(
                    "live",
                    format!("the old server runs (process {pid}) and is stopped when its turn comes"),
                );
            }
        }
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
                Some(path) => {
                    self.note("tablespace", format!("{} is carried over in its place", path.display()));
                }
            }
        }
    }

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
        let told = if differs { ", which initdb is told" } else { "" };
        self.note("checksums", format!("data checksums are {on} and stay so{told}"));
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
        } else if matches!(old.running, Running::No | Running::StalePidFile) && !data.clean() {
            self.warning(
                "unclean",
                format!("the old server did not stop in an orderly way ({:?})", data.state),
                "it is started once on a private socket, so that it recovers, before anything is transferred",
            );
        }
    }

    fn mode(&mut self, facts: &Facts) {
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
        let why = if facts.mode_asked { "as asked" } else { "the best that the file system allows" };
        match facts.mode.warning() {
            Some(warning) => self.warning("mode", format!("mode {}: {warning}", facts.mode), ""),
            None => self.note("mode", format!("mode {}, {why}; the old cluster stays whole", facts.mode)),
        }
    }

    fn room(&mut self, facts: &Facts) {
        let beside = facts.staging.parent();
        for room in &facts.rooms {
            let data = if facts.mode.takes_room() { room.data } else { room.data / 100 };
            let new = if Some(room.folder.as_path()) == beside { NEW_CLUSTER } else { 0 };
            let backup = if matches!(facts.backup, Backup::Asserted(_)) { 0 } else { room.backup };
            // A twentieth more: what is written while it runs.
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

    fn backup(&mut self, facts: &Facts) {
        match &facts.backup {
            Backup::Asserted(reason) if reason.trim().is_empty() => self.blocker(
                "backup",
                "a backup is asserted without a reason".to_owned(),
                "say what it is: --backup-exists 'pgBackRest, restored into staging on Monday'",
            ),
            Backup::Asserted(reason) => {
                self.warning("backup", format!("no backup is made; its owner says: {reason}"), "");
            }
            Backup::Base(path) | Backup::Dump(path) if facts.backup_there => self.blocker(
                "backup",
                format!("{} is there already", path.display()),
                "move it away, or name another place by --backup",
            ),
            Backup::Base(path) => {
                self.note("backup", format!("pg_basebackup into {}, then pg_verifybackup", path.display()));
                for program in ["pg_basebackup", "pg_verifybackup"] {
                    if facts.old_programs.missing.iter().any(|missing| missing == program) {
                        self.blocker(
                            "backup",
                            format!("{program} of {} is not there", facts.from),
                            "install it, or take --backup-dump or --backup-exists",
                        );
                    }
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

    fn hba(&mut self, facts: &Facts) {
        match &facts.hba {
            Hba::Unchecked => {}
            Hba::Same => {
                self.note(
                    "hba",
                    format!(
                        "pg_hba.conf decides every connection alike under {} and {}",
                        facts.from, facts.to
                    ),
                );
            }
            Hba::Changed(example) => self.consent(
                "hba",
                format!("pg_hba.conf means something else under {}: {example}", facts.to),
                "rewrite that line so that it means the same under both",
            ),
            Hba::Refused(why) => self.blocker(
                "hba",
                format!("{} refuses pg_hba.conf: {why}", facts.to),
                "correct the line; the old server must still take it",
            ),
            Hba::Unknown(why) => self.warning(
                "hba",
                format!("whether pg_hba.conf means the same under {} could not be shown: {why}", facts.to),
                "",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Catalog, Database, Room};
    use super::*;
    use std::path::PathBuf;

    /// A machine on which nothing stands in the way.
    fn facts() -> Facts {
        let programs = |version: &str| Programs {
            folder: Some(PathBuf::from("/usr/lib/postgresql/bin")),
            version: Some(version.to_owned()),
            built_with: Some("--with-openssl --with-lz4".to_owned()),
            extensions: Some(vec!["plpgsql".to_owned()]),
            ..Programs::default()
        };
        let control = "Catalog version number: 1\nDatabase system identifier: 2\nDatabase cluster state: shut down\n\
            Latest checkpoint location: 0/1\npg_control last modified: now\nBytes per WAL segment: 16777216\n\
            Data page checksum version: 0\nDatabase block size: 8192\n";
        Facts {
            from: Major::try_from(17).unwrap(),
            to: Major::try_from(18).unwrap(),
            old_data: PathBuf::from("/srv/17"),
            new_data: PathBuf::from("/srv/18"),
            staging: PathBuf::from("/srv/.new-18"),
            staging_there: false,
            old_programs: programs("17.10"),
            new_programs: programs("18.6"),
            old: Some(OldFolder {
                version: Some("17".to_owned()),
                control: Some(Ok(super::super::control_data(control).unwrap())),
                owner: "postgres".to_owned(),
                owned: true,
                mode: 0o700,
                ..OldFolder::default()
            }),
            target: Target::Absent,
            base_writable: true,
            mode: Mode::Copy,
            mode_asked: false,
            clones: false,
            rooms: vec![Room {
                folder: PathBuf::from("/srv"),
                free: 1 << 40,
                data: 1 << 30,
                backup: 1 << 30,
            }],
            backup: Backup::Base(PathBuf::from("/srv/backup")),
            backup_there: false,
            replication_login: None,
            asked: Asked::Yes(Box::new(Catalog {
                superuser: "postgres".to_owned(),
                databases: vec![Database {
                    name: "app".to_owned(),
                    provider: "c".to_owned(),
                    ..Database::default()
                }],
                wal_level: "replica".to_owned(),
                wal_senders: 10,
                ..Catalog::default()
            })),
            stopping: Stopping::Refuse,
            edits: Vec::new(),
            hba: Hba::Same,
            unknown_options: Vec::new(),
        }
    }

    /// The code of the only finding in the way, which must have a fix.
    fn only(facts: &Facts, accepted: &[String]) -> Option<String> {
        let findings = preflight(facts, accepted);
        let standing: Vec<_> =
            findings.iter().filter(|finding| finding.severity >= Severity::Consent).collect();
        assert!(standing.len() <= 1, "{standing:?}");
        assert_eq!(passes(&findings), standing.is_empty());
        assert!(standing.iter().all(|finding| !finding.fix.is_empty()), "{standing:?}");
        standing.first().map(|finding| finding.code.clone())
    }

    type Change = fn(&mut Facts);

    #[test]
    fn each_obstacle_is_found_alone() {
        assert_eq!(only(&facts(), &[]), None);
        let cases: [(&str, Change); 14] = [
            ("disk-space", |facts| facts.rooms[0].free = 2 << 30),
            ("minor-version", |facts| facts.unknown_options = vec!["new_option".to_owned()]),
            ("target", |facts| facts.target = Target::OtherFileSystem),
            ("mode", |facts| facts.mode = Mode::Clone),
            ("base", |facts| facts.base_writable = false),
            ("staging", |facts| facts.staging_there = true),
            ("path", |facts| facts.staging = PathBuf::from("/srv/a b/.new-18")),
            ("backup", |facts| facts.backup_there = true),
            ("login", |facts| facts.asked = Asked::Refused("no".to_owned())),
            ("hba", |facts| facts.hba = Hba::Refused("line 1".to_owned())),
            ("hba", |facts| facts.hba = Hba::Changed("line 1".to_owned())),
            ("programs", |facts| facts.new_programs.missing = vec!["vacuumdb".to_owned()]),
            ("old-folder", |facts| facts.old.as_mut().unwrap().version = Some("16".to_owned())),
            ("control-file", |facts| facts.old.as_mut().unwrap().control = Some(Err("no".to_owned()))),
        ];
        for (code, change) in cases {
            let mut facts = facts();
            change(&mut facts);
            assert_eq!(only(&facts, &[]).as_deref(), Some(code));
        }
    }

    #[test]
    fn consent_makes_a_warning_and_nothing_else() {
        let accepted = ["hba".to_owned(), "prepared-transactions".to_owned()];
        let mut changed = facts();
        changed.hba = Hba::Changed("line 1".to_owned());
        assert_eq!(only(&changed, &accepted), None);
        // What would lose data is not for acceptance.
        let Asked::Yes(catalog) = &mut changed.asked else { unreachable!("it was asked") };
        catalog.prepared = vec!["forgotten".to_owned()];
        assert_eq!(only(&changed, &accepted).as_deref(), Some("prepared-transactions"));
    }

    #[test]
    fn what_the_new_programs_lack() {
        let mut lacking = facts();
        lacking.new_programs.built_with = Some("--without-icu --with-openssl --with-lz4".to_owned());
        assert_eq!(only(&lacking, &[]), None);
        let Asked::Yes(catalog) = &mut lacking.asked else { unreachable!("it was asked") };
        catalog.databases[0].provider = "i".to_owned();
        assert_eq!(only(&lacking, &[]).as_deref(), Some("locale"));
        let mut lacking = facts();
        lacking.new_programs.built_with = Some("--with-lz4".to_owned());
        let Asked::Yes(catalog) = &mut lacking.asked else { unreachable!("it was asked") };
        catalog.ssl = true;
        assert_eq!(only(&lacking, &[]).as_deref(), Some("tls"));
    }

    #[test]
    fn a_live_server_is_stopped_only_as_its_owner_says() {
        let mut live = facts();
        live.old.as_mut().unwrap().running =
            Running::Live { pid: 7, unit: Some("postgresql.service".to_owned()) };
        assert_eq!(only(&live, &[]).as_deref(), Some("live"));
        live.stopping = Stopping::PgCtl;
        assert_eq!(only(&live, &[]).as_deref(), Some("unit"));
        live.stopping = Stopping::Service("postgresql.service".to_owned());
        assert_eq!(only(&live, &[]), None);
    }
}
