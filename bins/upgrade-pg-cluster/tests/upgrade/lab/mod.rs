//! Real clusters of the old version, and the real program run on them.

#![allow(dead_code, reason = "the benchmark uses a part of it")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) use testkit::postgres::{account, as_account, programs};

/// The program, where the account of the clusters may read it.
pub(crate) fn program() -> PathBuf {
    testkit::postgres::readable(Path::new(env!("CARGO_BIN_EXE_upgrade-pg-cluster")))
}

pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Polls until it is true.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a cluster is made with.
#[derive(Clone, Debug)]
pub(crate) struct ClusterOptions<'m> {
    pub(crate) from: &'m str,
    pub(crate) to: &'m str,
    pub(crate) initdb: Vec<&'m str>,
    pub(crate) superuser: &'m str,
    pub(crate) settings: &'m str,
    pub(crate) checksums: bool,
}

impl<'m> ClusterOptions<'m> {
    pub(crate) fn new(from: &'m str, to: &'m str) -> Self {
        Self {
            from,
            to,
            initdb: vec!["--locale=C", "--encoding=UTF8"],
            superuser: "postgres",
            settings: "",
            checksums: false,
        }
    }
}

fn major(version: &str) -> &str {
    version.trim_end_matches("-icu")
}

/// A base folder with a cluster of the old version.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) base: PathBuf,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) old_bin: PathBuf,
    pub(crate) new_bin: PathBuf,
    pub(crate) superuser: String,
    pub(crate) port: u16,
    sockets: TempDir,
    /// Gone before what it is mounted on.
    _folder: Option<TempDir>,
}

/// A folder for a lab: in memory, since syncing is not what is tested, and the same clusters are written many times.
pub(crate) fn folder() -> TempDir {
    let root = Path::new("/dev/shm");
    let root = if tempfile::tempdir_in(root).is_ok() { root } else { Path::new("/tmp") };
    let folder = tempfile::Builder::new().prefix("up-").tempdir_in(root).expect("a temporary folder");
    own(folder.path());
    folder
}

pub(crate) fn own(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    if let Some(account) = account() {
        succeed(Command::new("chown").arg(format!("{account}:nogroup")).arg(path));
    }
}

impl Lab {
    pub(crate) fn new(made: &ClusterOptions<'_>) -> Self {
        let folder = folder();
        let mut lab = Self::within(made, folder.path());
        lab._folder = Some(folder);
        lab
    }

    /// In a folder that is there.
    pub(crate) fn within(made: &ClusterOptions<'_>, base: &Path) -> Self {
        let sockets = tempfile::Builder::new().prefix("up-").tempdir_in("/tmp").expect("a folder");
        own(sockets.path());
        let lab = Self {
            base: base.to_owned(),
            from: major(made.from).to_owned(),
            to: major(made.to).to_owned(),
            old_bin: programs(made.from),
            new_bin: programs(made.to),
            superuser: made.superuser.to_owned(),
            port: testkit::free_port(),
            sockets,
            _folder: None,
        };
        let mut initdb = as_account(&lab.old_bin.join("initdb"));
        initdb.env("LC_ALL", "C").arg("-D").arg(lab.old()).args([
            "-U",
            made.superuser,
            "-A",
            "trust",
            "--no-sync",
        ]);
        initdb.arg("--no-instructions").args(&made.initdb);
        if made.checksums {
            initdb.arg("-k");
        } else if lab.from.parse::<u32>().expect("a version") >= 18 {
            initdb.arg("--no-data-checksums");
        }
        succeed(&mut initdb);
        let settings = format!(
            "port = {}\nlisten_addresses = ''\nunix_socket_directories = '{}'\nshared_buffers = 16MB\n{}\n",
            lab.port,
            lab.sockets.path().display(),
            made.settings
        );
        // Appended, so that the file is what a person would have.
        let path = lab.old().join("postgresql.conf");
        let text = fs::read_to_string(&path).expect("initdb made it");
        fs::write(&path, format!("{text}\n# ours\n{settings}")).expect("it can be written");
        lab
    }

    pub(crate) fn old(&self) -> PathBuf {
        self.base.join(&self.from)
    }

    pub(crate) fn new_data(&self) -> PathBuf {
        self.base.join(&self.to)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.base.join(format!("upgrade-{}-{}", self.from, self.to))
    }

    pub(crate) fn backup(&self) -> PathBuf {
        self.base.join(format!("backup-{}-before-{}", self.from, self.to))
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.base.join(format!(".new-{}", self.to))
    }

    pub(crate) fn start_old(&self) {
        self.pg_ctl(&self.old_bin, &self.old(), &["start", "-w", "-l", &self.log()]);
    }

    pub(crate) fn stop_old(&self) {
        self.pg_ctl(&self.old_bin, &self.old(), &["stop", "-w", "-m", "fast"]);
    }

    pub(crate) fn start_new(&self) {
        self.pg_ctl(&self.new_bin, &self.new_data(), &["start", "-w", "-l", &self.log()]);
    }

    fn log(&self) -> String {
        self.sockets.path().join("log").display().to_string()
    }

    pub(crate) fn pg_ctl(&self, bin: &Path, data: &Path, args: &[&str]) {
        let mut command = as_account(&bin.join("pg_ctl"));
        command
            .arg("-D")
            .arg(data)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = command.status().expect("pg_ctl runs");
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        assert!(status.success(), "{command:?}: {status}\n{log}");
    }

    pub(crate) fn live(&self, data: &Path) -> bool {
        let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let pid = text.lines().next().unwrap_or_default().to_owned();
        !pid.is_empty() && Path::new("/proc").join(pid).exists()
    }

    pub(crate) fn psql(&self) -> Command {
        let mut psql = as_account(&self.new_bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.sockets.path());
        psql.args(["-p", &self.port.to_string(), "-U", &self.superuser]);
        psql
    }

    /// The server's answer, by whichever server is there.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> String {
        let output = succeed(self.psql().args(["-d", database, "-c", sql]));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The logical content of the running server, by the new version's pg_dumpall, without what names versions.
    pub(crate) fn dump(&self) -> String {
        let mut dump = as_account(&self.new_bin.join("pg_dumpall"));
        dump.args(["-h"]).arg(self.sockets.path()).args([
            "-p",
            &self.port.to_string(),
            "-U",
            &self.superuser,
        ]);
        dump.args(["-l", "postgres"]);
        let text = String::from_utf8_lossy(&succeed(&mut dump).stdout).into_owned();
        let kept = text.lines().filter(|line| {
            !line.starts_with("-- Dumped")
                && !line.starts_with("\\restrict")
                && !line.starts_with("\\unrestrict")
        });
        // From 16 on a membership says more, which older ones have by default.
        kept.map(|line| {
            line.replace(", INHERIT TRUE GRANTED BY postgres", "")
                .replace(&format!(", INHERIT TRUE GRANTED BY \"{}\"", self.superuser), "")
                + "\n"
        })
        .collect()
    }

    pub(crate) fn socket_folder(&self) -> &Path {
        self.sockets.path()
    }

    /// The program, as the account, with what it needs to find this lab.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = as_account(&program());
        self.arguments(&mut command, args);
        command
    }

    pub(crate) fn arguments(&self, command: &mut Command, args: &[&str]) {
        command.args(["--from", &self.from, "--to", &self.to, "--base"]).arg(&self.base);
        command.arg("--old-bin").arg(&self.old_bin).arg("--new-bin").arg(&self.new_bin).args(args);
        command.stdin(Stdio::null());
    }

    pub(crate) fn run(&self, args: &[&str]) -> ProgramOutput {
        ProgramOutput::of(&mut self.program(args))
    }

    pub(crate) fn journal(&self) -> Value {
        let text = fs::read(self.work().join("journal.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The state in the journal, such as `running transfer`.
    pub(crate) fn state(&self) -> String {
        state(&self.journal())
    }
}

/// The state in a journal, such as `running transfer`.
pub(crate) fn state(journal: &Value) -> String {
    let state = &journal["state"];
    format!("{} {}", state["is"].as_str().unwrap_or(""), state["step"].as_str().unwrap_or(""))
        .trim()
        .to_owned()
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (bin, data) in [(&self.old_bin, self.old()), (&self.new_bin, self.new_data())] {
            if data.join("postmaster.pid").exists() {
                let mut stop = as_account(&bin.join("pg_ctl"));
                stop.arg("-D").arg(data).args(["stop", "-m", "immediate"]);
                let _ = stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct ProgramOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl ProgramOutput {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {}\n{}", self.out, self.err))
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "{text:?} is not in\n{}\n{}",
            self.out,
            self.err
        );
    }
}

/// Compares two dumps, and shows where they differ.
#[track_caller]
pub(crate) fn same(before: &str, after: &str) {
    let lines = before.lines().zip(after.lines()).filter(|(one, other)| one != other).take(5);
    let shown: String = lines.map(|(one, other)| format!("- {one}\n+ {other}\n")).collect();
    assert!(before == after, "the contents differ:\n{shown}");
}

/// A little of everything that a database has.
pub(crate) const DATA: &str = "
CREATE ROLE alice LOGIN PASSWORD 'x' CONNECTION LIMIT 7;
CREATE ROLE \"team members\" NOLOGIN;
GRANT \"team members\" TO alice WITH ADMIN OPTION;
CREATE DATABASE app OWNER alice;
ALTER DATABASE app SET work_mem = '7MB';
COMMENT ON DATABASE app IS 'ours';
\\connect app
CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION citext;
CREATE SCHEMA shop AUTHORIZATION alice;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN shop.positive AS int CHECK (VALUE > 0);
CREATE TABLE shop.orders (id bigserial PRIMARY KEY, name citext NOT NULL, tags hstore, mood shop.mood DEFAULT 'ok',
  amount shop.positive, body text, made timestamptz DEFAULT '2026-01-01');
ALTER TABLE shop.orders OWNER TO alice;
INSERT INTO shop.orders (name, tags, amount, body) SELECT 'n' || i, hstore('k', i::text), i, repeat(md5(i::text), i % 300)
  FROM generate_series(1, 2000) i;
UPDATE shop.orders SET mood = 'happy' WHERE id % 7 = 0; DELETE FROM shop.orders WHERE id % 11 = 0;
CREATE INDEX ON shop.orders USING gin (body gin_trgm_ops);
CREATE UNIQUE INDEX ON shop.orders (lower(name::text)) WHERE amount > 5;
CREATE TABLE shop.\"odd 'name\" (a int, b text) PARTITION BY RANGE (a);
CREATE TABLE shop.part1 PARTITION OF shop.\"odd 'name\" FOR VALUES FROM (0) TO (100);
INSERT INTO shop.\"odd 'name\" SELECT i, 'é' || i FROM generate_series(0, 99) i;
CREATE VIEW shop.v AS SELECT o.id, o.name FROM shop.orders o, shop.part1 p WHERE o.amount > 10 AND p.a = o.id;
CREATE MATERIALIZED VIEW shop.m AS SELECT o.mood, count(*) AS n FROM shop.orders o, shop.part1 p WHERE p.a = 1 GROUP BY o.mood;
CREATE FUNCTION shop.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION shop.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.t();
CREATE UNLOGGED TABLE shop.u AS SELECT 1 AS x;
CREATE SEQUENCE shop.s START 100; SELECT nextval('shop.s'); SELECT nextval('shop.s');
SELECT lo_from_bytea(0, 'a large object');
GRANT SELECT ON shop.orders TO \"team members\";
CREATE PUBLICATION p FOR TABLE shop.orders;
";

/// Puts [`DATA`] into the running old server.
pub(crate) fn fill(lab: &Lab) {
    feed(lab, "postgres", DATA);
}

/// Feeds a script.
pub(crate) fn feed(lab: &Lab, database: &str, sql: &str) {
    let path = lab.socket_folder().join("script.sql");
    fs::write(&path, sql).expect("a script");
    succeed(lab.psql().args(["-d", database, "-f"]).arg(&path));
}

/// A file system of its own in a folder, gone when dropped.
#[derive(Debug)]
pub(crate) struct LoopMount {
    pub(crate) path: PathBuf,
    folder: TempDir,
}

impl LoopMount {
    /// Memory of a size.
    pub(crate) fn memory(megabytes: u32) -> Self {
        Self::mount(|at| {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(at);
            mount
        })
    }

    /// One whose files can share blocks.
    pub(crate) fn reflinks() -> Self {
        Self::mount(|at| {
            let image = at.with_extension("img");
            assert!(
                Path::new("/usr/sbin/mkfs.xfs").exists(),
                "mkfs.xfs is not there: run `cargo xtask tools` first"
            );
            fs::File::create(&image).and_then(|file| file.set_len(600 << 20)).expect("an image");
            succeed(Command::new("/usr/sbin/mkfs.xfs").arg("-q").arg(&image));
            let mut mount = Command::new("mount");
            mount.args(["-o", "loop"]).arg(image).arg(at);
            mount
        })
    }

    fn mount(command: impl FnOnce(&Path) -> Command) -> Self {
        assert!(account().is_some(), "this test mounts a small file system, which takes root");
        let folder = folder();
        let path = folder.path().join("m");
        fs::create_dir(&path).expect("a folder");
        succeed(&mut command(&path));
        own(&path);
        Self { path, folder }
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        let _ = &self.folder;
    }
}
