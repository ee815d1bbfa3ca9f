//! Temporary PostgreSQL servers, with a version and a `pg_hba.conf`, deleted when dropped.
//!
//! The programs are in `<target>/tools/postgresql-<major>`, where `cargo xtask tools` installs them. The server refuses
//! to run as root, so that root starts it as another account, which must be able to read the programs (see
//! [`programs()`]).

mod programs;
mod session;

pub use programs::{account, as_account, programs, readable, readable_folder};
pub use session::Session;

use programs::cluster_template;

use crate::free_port;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// Major versions that the tests run on.
pub const MAJORS: [u32; 4] = [15, 17, 18, 19];

/// A running server. It is stopped and deleted when dropped.
#[derive(Debug)]
pub struct Postgres {
    major: u32,
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    account: Option<&'static str>,
    frozen: AtomicBool,
}

/// Options of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Major version, one of [`MAJORS`].
    pub major: u32,
    /// Initial content of `pg_hba.conf`.
    pub hba: String,
    /// Lines for `postgresql.conf`, after the common settings.
    pub settings: String,
    /// `true` if the server supports TLS, with a generated certificate for `localhost`. The server of version 18 in the
    /// tools folder cannot.
    pub tls: bool,
}

impl Options {
    /// Returns the options of a server of this major version that trusts everyone, without TLS and additional settings.
    #[must_use]
    pub fn new(major: u32) -> Self {
        Self {
            major,
            hba: "local all all trust\nhost all all all trust\n".to_owned(),
            settings: String::new(),
            tls: false,
        }
    }
}

impl Postgres {
    /// Creates a cluster with the superuser `postgres`, UTF-8 and the locale `C`, and starts it on a free port. It
    /// listens on all addresses and on a Unix-domain socket in its folder.
    ///
    /// # Panics
    /// Panics if the programs are missing, or the server does not start.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let programs = programs(&options.major.to_string());
        let (folder, account, port) = place();
        let server =
            Self { major: options.major, programs, folder, port, account, frozen: AtomicBool::default() };
        server.create(options);
        server.control(&["-w", "start", "-l", &server.log_path().display().to_string()]);
        server
    }

    /// Creates the data folder by initdb with the superuser `postgres` and `trust`.
    ///
    /// # Panics
    /// Panics if initdb fails.
    fn initialize(&self) {
        let data = self.data();
        std::fs::create_dir(&data).expect("a data folder");
        self.own(&data);
        let data = data.display().to_string();
        let args = [
            "-D",
            &data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "--no-instructions",
            "-E",
            "UTF8",
            "--locale=C",
        ];
        succeed(self.program("initdb").args(args));
    }

    /// Creates the data folder as a copy of a cluster that initdb created once for these programs, and writes settings,
    /// `pg_hba.conf` and, with TLS, a certificate. Clusters of one version have the same system identifier.
    ///
    /// # Panics
    /// Panics if initdb fails or a file cannot be written.
    fn create(&self, options: &Options) {
        let template = cluster_template(&self.programs, |partial| {
            self.initialize();
            succeed(Command::new("cp").arg("-a").arg(self.data()).arg(partial));
        });
        if !self.data().exists() {
            succeed(Command::new("cp").arg("-a").args([&template, &self.data()]));
        }
        let mut settings = format!(
            "port = {}\nlisten_addresses = '*'\nunix_socket_directories = '{}'\nfsync = off\nmax_wal_senders = 4\n\
             wal_level = logical\nshared_buffers = 16MB\nlog_min_messages = log\nauthentication_timeout = 5s\n",
            self.port,
            self.folder.path().display()
        );
        self.own(self.folder.path());
        if options.tls {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            for (name, pem) in
                [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())]
            {
                let path = self.data().join(name);
                std::fs::write(&path, pem).expect("a file");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
                self.own(&path);
            }
            settings.push_str("ssl = on\n");
        }
        settings.push_str(&options.settings);
        let path = self.data().join("postgresql.auto.conf");
        std::fs::write(path, settings).expect("settings");
        self.write_hba(&options.hba);
    }

    /// Creates a streaming standby of a server by pg_basebackup, and starts it on its own port.
    ///
    /// # Panics
    /// Panics if the standby cannot be created or started.
    #[must_use]
    pub fn standby_of(primary: &Self) -> Self {
        Self::copy_of(primary, &["-R"], "", None)
    }

    /// Starts a copy of a server, made by pg_basebackup, in archive recovery: it fetches files of the write-ahead log
    /// by `restore_command`, and accepts writes once the command finds no more.
    ///
    /// # Panics
    /// Panics if the copy cannot be created or started.
    #[must_use]
    pub fn restored_from(origin: &Self, restore_command: &str) -> Self {
        let settings = format!("restore_command = '{}'\n", restore_command.replace('\'', "''"));
        Self::copy_of(origin, &[], &settings, Some("recovery.signal"))
    }

    /// Creates a copy of a server by pg_basebackup with additional arguments, and starts it on its own port. `settings`
    /// are lines for its configuration, `signal` is the name of an empty file to create in the data folder.
    ///
    /// # Panics
    /// Panics if the copy cannot be created or started.
    fn copy_of(origin: &Self, args: &[&str], settings: &str, signal: Option<&str>) -> Self {
        let (folder, account, port) = place();
        let server = Self {
            major: origin.major,
            programs: origin.programs.clone(),
            folder,
            port,
            account,
            frozen: AtomicBool::default(),
        };
        server.own(server.folder.path());
        let (host, data) = (origin.folder.path().display().to_string(), server.data().display().to_string());
        let mut copy = server.program("pg_basebackup");
        copy.args(["-h", &host, "-p", &origin.port.to_string(), "-U", "postgres", "-D", &data]);
        succeed(copy.args(args).args(["-X", "stream", "-c", "fast", "--no-sync"]));
        let path = server.data().join("postgresql.auto.conf");
        let text = std::fs::read_to_string(&path).expect("settings");
        let own = format!(
            "{text}\nport = {}\nunix_socket_directories = '{}'\n{settings}",
            server.port,
            server.folder.path().display()
        );
        std::fs::write(&path, own).expect("settings");
        if let Some(signal) = signal {
            let path = server.data().join(signal);
            std::fs::write(&path, "").expect("a file");
            server.own(&path);
        }
        server.restart();
        server
    }

    /// Promotes the standby, and waits until it is a primary.
    ///
    /// # Panics
    /// Panics if the promotion fails.
    pub fn promote(&self) {
        self.control(&["-w", "promote"]);
    }

    /// Stops the postmaster and its children with SIGSTOP, like a paused machine: the port remains open, but nothing
    /// responds. A frozen server is killed when dropped.
    ///
    /// # Panics
    /// Panics if the server does not run.
    pub fn freeze(&self) {
        self.signal("-STOP");
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// Sends a signal, as an option of `kill` such as `-STOP`, to the postmaster and its children. Errors of `kill` are
    /// ignored. Returns the process ID of the postmaster.
    ///
    /// # Panics
    /// Panics if the server does not run.
    fn signal(&self, signal: &str) -> String {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("a server that runs");
        let pid = file.lines().next().expect("its process").trim().to_owned();
        let mut kill = Command::new("kill");
        kill.arg(signal).arg(&pid).args(children_of(&pid));
        let _ = kill.stderr(Stdio::null()).status();
        pid
    }

    /// Kills the postmaster and its children with SIGKILL, and waits until the postmaster has ended.
    ///
    /// # Panics
    /// Panics if the server does not run, or its postmaster does not end within 5 s.
    pub fn kill(&self) {
        let pid = self.signal("-9");
        // PostgreSQL refuses to start while shared memory of the data folder is in use.
        for _ in 0..500 {
            if !Path::new("/proc").join(&pid).exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("process {pid} does not end");
    }

    /// Starts a server that has stopped, for whatever reason, and waits until it accepts connections. Up to 20
    /// attempts, 250 ms apart.
    ///
    /// # Panics
    /// Panics if no attempt succeeds.
    pub fn restart(&self) {
        let log = self.log_path().display().to_string();
        for _ in 0..20 {
            let mut command = self.program("pg_ctl");
            command.arg("-D").arg(self.data()).args(["-w", "start", "-l", &log]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().expect("pg_ctl runs").success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        panic!("it does not start again: {}", self.log());
    }

    /// Returns the major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Returns the port for TCP, which is also the suffix of the socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of the Unix-domain socket.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the folder of the server's programs, such as `psql`.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Returns the data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the path of `pg_hba.conf`.
    #[must_use]
    pub fn hba_path(&self) -> PathBuf {
        self.data().join("pg_hba.conf")
    }

    /// Returns the path of the log.
    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Returns the content of the log. Empty if there is none.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Overwrites `pg_hba.conf`, which keeps its owner and mode if it exists. The server does not reload it.
    ///
    /// # Panics
    /// Panics if the file cannot be written.
    pub fn write_hba(&self, text: &str) {
        std::fs::write(self.hba_path(), text).expect("pg_hba.conf");
    }

    /// Makes the server reload its configuration, by a session of the superuser, and waits until it has.
    ///
    /// # Panics
    /// Panics if it does not reload within about 3 s.
    pub fn reload(&self, session: &Session) {
        let loaded =
            |session: &Session| session.query("SELECT pg_conf_load_time()").expect("a time")[0][0].clone();
        let before = loaded(session);
        session.query("SELECT pg_reload_conf()").expect("a reload");
        for _ in 0..500 {
            if loaded(session) != before {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the server has not reloaded: {}", self.log());
    }

    /// Opens a session of the superuser in the database `postgres`, over the Unix-domain socket.
    ///
    /// # Panics
    /// Panics if the connection fails.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::open(&format!(
            "host={} port={} user=postgres dbname=postgres",
            self.folder.path().display(),
            self.port
        ))
        .unwrap_or_else(|why| panic!("{why}\n{}", self.log()))
    }

    /// Opens a session of the superuser in a database, over the Unix-domain socket.
    ///
    /// # Panics
    /// Panics if the connection fails.
    #[must_use]
    pub fn session_in(&self, database: &str) -> Session {
        let folder = self.folder.path().display();
        Session::open(&format!("host={folder} port={} user=postgres dbname='{database}'", self.port))
            .unwrap_or_else(|why| panic!("{why}\n{}", self.log()))
    }

    /// Returns a command that runs a program, given by its path, with arguments as the account of the server.
    #[must_use]
    pub fn as_account(&self, program: &str, args: &[&str]) -> Command {
        let mut command = as_account(Path::new(program));
        command.args(args);
        command
    }

    /// Creates a folder in the server's temporary folder, owned by the server's account, and returns its path.
    ///
    /// # Panics
    /// Panics if the folder exists or cannot be created.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).expect("a folder");
        self.own(&path);
        path
    }

    /// Makes the server's account the owner of a path; no effect if the server runs as the test's account.
    ///
    /// # Panics
    /// Panics if the owner cannot be changed.
    fn own(&self, path: &Path) {
        if let Some(account) = self.account {
            succeed(Command::new("chown").arg(account).arg(path));
        }
    }

    /// Returns a command that runs one of the server's programs, given by its name, as the server's account.
    fn program(&self, program: &str) -> Command {
        as_account(&self.programs.join(program))
    }

    /// Runs `pg_ctl` with these arguments for the data folder.
    ///
    /// # Panics
    /// Panics if `pg_ctl` fails.
    fn control(&self, args: &[&str]) {
        let mut command = self.program("pg_ctl");
        command
            .arg("-D")
            .arg(self.data())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = command.status().expect("pg_ctl runs");
        assert!(status.success(), "{command:?}: {status}\n{}", self.log());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if *self.frozen.get_mut() {
            return self.kill();
        }
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Returns the process IDs of the children of a process.
fn children_of(pid: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let child = |folder: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(folder.path().join("stat")).ok()?;
        // The name, in parentheses, may contain any character; state and parent follow it.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
        (parent == pid).then(|| folder.file_name().to_string_lossy().into_owned())
    };
    processes.filter_map(child).collect()
}

/// Returns a new temporary folder that everyone may enter, the account that runs servers ([`account`]), and a free
/// port.
fn place() -> (TempDir, Option<&'static str>, u16) {
    let folder = tempfile::Builder::new().prefix("pg-").tempdir_in(data_root()).expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
    (folder, account(), free_port())
}

/// Returns the folder in which clusters are created: `/dev/shm` if it has 2 GiB free and the memory for it is available,
/// or else `/tmp`. A cluster has a thousand files, and ext4 searches for an inode that was not used in the last 35 s for
/// each of them, which was two thirds of the processor time of these tests.
fn data_root() -> &'static Path {
    static ROOT: OnceLock<&'static Path> = OnceLock::new();
    ROOT.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let enough = 2 << 20;
        let room = free_kib(memory).is_some_and(|free| free >= enough);
        let available = available_kib().is_some_and(|available| available >= enough);
        let writable = tempfile::tempdir_in(memory).is_ok();
        if room && available && writable { memory } else { Path::new("/tmp") }
    })
}

/// Returns the free space of the file system of a folder in KiB. `None` if `df` fails.
fn free_kib(folder: &Path) -> Option<u64> {
    let output = Command::new("df").args(["-k", "--output=avail"]).arg(folder).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().nth(1)?.trim().parse().ok()
}

/// Returns the memory that is available without swapping in KiB. `None` if the kernel does not say.
fn available_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Returns the folder into which `cargo xtask tools` installs: the nearest `tools` beside or above this program.
///
/// # Panics
/// Panics if there is none.
#[must_use]
pub fn tools() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let tools = program.ancestors().map(|folder| folder.join("tools")).find(|folder| folder.is_dir());
    tools.unwrap_or_else(|| {
        panic!("no tools folder above {}: run `cargo xtask tools` first", program.display())
    })
}

/// Runs a command without input, and returns its output.
///
/// # Panics
/// Panics if it cannot be run or fails.
fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
