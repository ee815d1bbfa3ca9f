//! Servers: private ones, to which only this program can connect, and those that clients use.
//!
//! Queries are sent by `psql`: peer authentication checks the account of the connecting process, libpq finds passwords,
//! and each version's own client supports old servers. A query takes some milliseconds more, of which there are few.

use super::error::{UpgradeError, WithPath};
use super::files;
use super::journal::WorkFolder;
use super::tools::{client, command, name, output, tail};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Port of a private server, which is part of the name of its socket.
const PORT: u16 = 50432;

/// Time limit for the start of a server, including crash recovery.
const START_TIMEOUT: Duration = Duration::from_secs(3600);

/// Address of a server, with the role to log in as.
#[derive(Clone, Debug)]
pub(super) struct ServerAddress {
    /// Folder of the socket, or host name or address.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// Major version of the server.
    pub(super) major: u32,
}

impl ServerAddress {
    /// Returns the connection string for a database, followed by the parameters `more`.
    pub(super) fn conninfo(&self, database: &str, more: &str) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        format!(
            "host={} port={} user={} dbname={} application_name=upgrade-pg-cluster {more}",
            quote(&self.host),
            self.port,
            quote(&self.user),
            quote(database)
        )
    }

    /// Executes SQL by `psql` without JIT. Returns the rows, with columns separated by tabs and rows by line ends. `id`
    /// marks the process.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if `psql` cannot be run or fails.
    pub(super) fn ask(
        &self,
        bin: &Path,
        id: &str,
        database: &str,
        sql: &str,
    ) -> Result<String, UpgradeError> {
        // The estimated costs of the queries would start JIT, whose library is often not installed.
        self.ask_with(bin, id, database, &format!("SET jit = off;\n{sql}"), "")
    }

    /// Executes SQL by `psql` like [`ask`](Self::ask), with additional connection parameters and without disabling JIT.
    /// The result is in UTF-8, or in the encoding of the database if that cannot be converted, such as MULE_INTERNAL, or
    /// names in SQL_ASCII that are not UTF-8.
    ///
    /// # Errors
    /// Returns an error with the messages of `psql` if it fails.
    pub(super) fn ask_with(
        &self,
        bin: &Path,
        id: &str,
        database: &str,
        sql: &str,
        more: &str,
    ) -> Result<String, UpgradeError> {
        let mut psql = client(bin, "psql", id, self.major);
        psql.arg("-d").arg(self.conninfo(database, more)).env("PGCLIENTENCODING", "UTF8");
        match execute(psql, database, sql) {
            Err(UpgradeError::Program { words, .. })
                if words.contains("conversion between UTF8 and ")
                    || words.contains("invalid byte sequence for encoding \"UTF8\"") =>
            {
                let mut psql = client(bin, "psql", id, self.major);
                psql.arg("-d").arg(self.conninfo(database, more)).env("PGCLIENTENCODING", "SQL_ASCII");
                execute(psql, database, sql)
            }
            outcome => outcome,
        }
    }
}

/// Executes SQL by a prepared `psql` command. Returns the rows, with columns separated by tabs and rows by line ends.
///
/// # Errors
/// Returns an [`UpgradeError`] if `psql` cannot be run or fails.
fn execute(mut psql: Command, database: &str, sql: &str) -> Result<String, UpgradeError> {
    psql.args(["-X", "-q", "-A", "-t", "-w", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
    psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = |source| UpgradeError::Run { program: "psql".to_owned(), source };
    let mut child = psql.spawn().map_err(run)?;
    let mut input = child.stdin.take().expect("it is piped");
    let sql = sql.to_owned();
    let writer = std::thread::spawn(move || {
        // If psql ends early, its own error is reported.
        let _ = input.write_all(sql.as_bytes());
    });
    let output = child.wait_with_output().map_err(run)?;
    let _ = writer.join();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(UpgradeError::Program {
        program: format!("psql in {database}"),
        status: output.status.to_string(),
        words: tail(&String::from_utf8_lossy(&output.stderr), 4),
    })
}

/// Content of `postmaster.pid`: process id, port, socket folder (empty without one), listen address, and `true` in
/// `ready` if the server accepts connections.
#[derive(Clone, Debug)]
pub(super) struct PidFile {
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) socket: String,
    pub(super) listen: String,
    pub(super) ready: bool,
}

impl PidFile {
    /// Returns the host to connect to if the server has no Unix-domain socket. `None` if it has one.
    pub(super) fn tcp_host(&self) -> Option<String> {
        self.socket.is_empty().then(|| match self.listen.as_str() {
            "" | "*" | "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "::1".to_owned(),
            address => address.to_owned(),
        })
    }
}

/// Reads `postmaster.pid` in a data directory. `None` if it is missing or has no process id. Other missing or malformed
/// lines give port 0, empty texts, and `false`.
pub(super) fn pid_file(data: &Path) -> Option<PidFile> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let line = |at: usize| lines.get(at).map_or("", |line| line.trim());
    Some(PidFile {
        pid: line(0).trim_start_matches('-').parse().ok()?,
        port: line(3).parse().unwrap_or(0),
        socket: line(4).to_owned(),
        listen: line(5).to_owned(),
        ready: line(7) == "ready",
    })
}

/// Returns the content of `postmaster.pid` of the server that runs on the data directory. `None` if no server runs,
/// also if the file is stale because its process id belongs to another program.
pub(super) fn running_pid_file(data: &Path) -> Option<PidFile> {
    let file = pid_file(data)?;
    let process = PathBuf::from(format!("/proc/{}", file.pid));
    // The working directory of another account's process cannot be read, so the name of the process decides.
    let here = match fs::read_link(process.join("cwd")) {
        Ok(cwd) => data.canonicalize().is_ok_and(|data| data == cwd),
        Err(_) => fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.starts_with("postgres")),
    };
    here.then_some(file)
}

/// Returns the address of the server that runs on the data directory, for connections as `user`.
///
/// # Errors
/// Returns an [`UpgradeError`] if no server runs on `data`.
pub(super) fn running_server(data: &Path, user: &str) -> Result<ServerAddress, UpgradeError> {
    let Some(file) = running_pid_file(data) else {
        return Err(UpgradeError::Other(format!("no server runs on {}", data.display())));
    };
    let host = file.tcp_host().unwrap_or(file.socket);
    let version = fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
    let major = version.trim().parse().unwrap_or_default();
    Ok(ServerAddress { host, port: file.port, user: user.to_owned(), major })
}

/// Programs and directories of a server. `config` is the directory of its configuration, `None` if that is the data
/// directory.
#[derive(Clone, Debug)]
pub(super) struct ServerFolder {
    pub(super) bin: PathBuf,
    pub(super) data: PathBuf,
    pub(super) config: Option<PathBuf>,
}

/// A running server to which only this account can connect, over a socket in a private folder. Dropping it stops the
/// server.
#[derive(Debug)]
pub(super) struct PrivateServer {
    child: Child,
    log: PathBuf,
    pub(super) socket: ServerAddress,
}

/// Returns the settings of a private server, which disable everything that would admit clients, wait for other servers,
/// or write outside of the data directory.
fn settings(work: &WorkFolder, major: u32) -> Vec<String> {
    let private = work.private();
    let mut settings = vec![
        format!("port={PORT}"),
        format!("unix_socket_directories={}", private.display()),
        format!("hba_file={}", private.join("hba.conf").display()),
        format!("ident_file={}", private.join("ident.conf").display()),
        "listen_addresses=".to_owned(),
        "unix_socket_permissions=0700".to_owned(),
        "external_pid_file=".to_owned(),
        "ssl=off".to_owned(),
        "autovacuum=off".to_owned(),
        "archive_mode=off".to_owned(),
        "synchronous_standby_names=".to_owned(),
        "max_wal_senders=4".to_owned(),
        "log_destination=stderr".to_owned(),
        "logging_collector=off".to_owned(),
        "restart_after_crash=off".to_owned(),
        "lc_messages=C".to_owned(),
        "default_transaction_read_only=off".to_owned(),
        "max_logical_replication_workers=0".to_owned(),
    ];
    if major >= 17 {
        settings.push("event_triggers=off".to_owned());
    }
    settings
}

/// Writes the access rules of private servers to their folder, which is created: this account may log in as the given
/// roles by `peer`, also for replication, and all other connections are rejected.
///
/// # Errors
/// Returns an error if the folder cannot be created or belongs to another account, or a file cannot be written.
pub(super) fn write_rules(work: &WorkFolder, account: &str, roles: &[String]) -> Result<(), UpgradeError> {
    let private = work.private();
    files::make_own(&private)?;
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let users: Vec<String> = roles.iter().map(|role| quote(role)).collect();
    let hba: String = ["all", "replication"]
        .iter()
        .map(|database| format!("local {database} {} peer map=upgrade\n", users.join(",")))
        .chain(["local all all reject\nhost all all all reject\n".to_owned()])
        .collect();
    let ident: String = users.iter().map(|user| format!("upgrade {} {user}\n", quote(account))).collect();
    files::replace(&private.join("hba.conf"), hba.as_bytes(), 0o600)?;
    files::replace(&private.join("ident.conf"), ident.as_bytes(), 0o600)
}

/// Returns the options with which `pg_upgrade` starts its servers under the private access rules, as one argument.
pub(super) fn rules_for_shell(work: &WorkFolder) -> String {
    let private = work.private();
    format!("-c hba_file={0}/hba.conf -c ident_file={0}/ident.conf", private.display())
}

impl PrivateServer {
    /// Starts a private server, and waits until it is ready, including crash recovery. `more` are further settings
    /// `name=value`; `id` marks the process.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the server cannot be started, ends, or is not ready within [`START_TIMEOUT`].
    pub(super) fn start(
        home: &ServerFolder,
        work: &WorkFolder,
        user: &str,
        id: &str,
        major: u32,
        more: &[&str],
    ) -> Result<Self, UpgradeError> {
        files::make(&work.logs())?;
        let log = work.logs().join(format!("private-{major}.log"));
        let file = File::options().create(true).append(true).open(&log).at(&log, "cannot be opened")?;
        let same = file.try_clone().at(&log, "cannot be opened")?;
        let mut postgres = command(&home.bin, "postgres", id);
        match &home.config {
            Some(config) => {
                postgres
                    .arg("-D")
                    .arg(config)
                    .arg("-c")
                    .arg(format!("data_directory={}", home.data.display()));
            }
            None => {
                postgres.arg("-D").arg(&home.data);
            }
        }
        for setting in settings(work, major).iter().map(String::as_str).chain(more.iter().copied()) {
            postgres.args(["-c", setting]);
        }
        postgres.stdout(file).stderr(same);
        let program = name(&postgres);
        let child = postgres.spawn().map_err(|source| UpgradeError::Run { program, source })?;
        let host = work.private().display().to_string();
        let socket = ServerAddress { host, port: PORT, user: user.to_owned(), major };
        let mut server = Self { child, log, socket };
        server.wait_until_ready(&home.data)?;
        Ok(server)
    }

    /// Waits until the pid file in `data` reports that the server is ready.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the server ends, or is not ready within [`START_TIMEOUT`].
    fn wait_until_ready(&mut self, data: &Path) -> Result<(), UpgradeError> {
        let began = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failed(&format!("{status}")));
            }
            if pid_file(data).is_some_and(|file| file.ready && file.pid == self.child.id()) {
                return Ok(());
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(self.failed("not ready after an hour"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Creates the error of a private server that failed, with the last lines of its log.
    fn failed(&self, status: &str) -> UpgradeError {
        let words = fs::read_to_string(&self.log).unwrap_or_default();
        UpgradeError::Program {
            program: "the private server".to_owned(),
            status: status.to_owned(),
            words: tail(&words, 8),
        }
    }

    /// Stops the server by a fast shutdown, and waits for its end without a time limit.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the server ends by a signal or with an exit status other than 0, or its end
    /// cannot be awaited.
    pub(super) fn stop(mut self) -> Result<(), UpgradeError> {
        self.interrupt(rustix::process::Signal::INT);
        let status = self
            .child
            .wait()
            .map_err(|source| UpgradeError::Run { program: "the private server".to_owned(), source })?;
        if status.success() { Ok(()) } else { Err(self.failed(&status.to_string())) }
    }

    /// Sends a signal to the server.
    fn interrupt(&self, signal: rustix::process::Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.interrupt(rustix::process::Signal::INT);
            let _ = self.child.wait();
        }
    }
}

/// Stops the server that runs on `data` by `pg_ctl` with a fast shutdown, within ten minutes.
///
/// # Errors
/// Returns an error with the messages of `pg_ctl` if it fails.
pub(super) fn stop_public(bin: &Path, data: &Path, id: &str) -> Result<(), UpgradeError> {
    let mut pg_ctl = command(bin, "pg_ctl", id);
    pg_ctl.args(["stop", "-m", "fast", "-w", "-t", "600", "-D"]).arg(data);
    output(&mut pg_ctl).map(|_| ())
}

/// Starts a server for clients by `pg_ctl`, with these command-line options, and waits up to ten minutes. Its output
/// goes to `server.log` in the data directory.
///
/// # Errors
/// Returns an error with the messages of `pg_ctl` or the end of the log if the server does not start.
pub(super) fn start_public(home: &ServerFolder, options: &[String]) -> Result<(), UpgradeError> {
    let mut pg_ctl = command(&home.bin, "pg_ctl", "");
    pg_ctl.env_remove(super::tools::MARK).args(["start", "-w", "-t", "600", "-D"]).arg(&home.data);
    let log = home.data.join("server.log");
    pg_ctl.arg("-l").arg(&log);
    let quote = |text: &String| format!("'{}'", text.replace('\'', "'\\''"));
    let mut joined: Vec<String> = options.iter().map(quote).collect();
    if let Some(config) = &home.config {
        joined.push(format!("-c config_file={}", config.join("postgresql.conf").display()));
    }
    if !joined.is_empty() {
        pg_ctl.arg("-o").arg(joined.join(" "));
    }
    // The server would keep a pipe open for as long as it runs.
    pg_ctl.stdout(Stdio::null()).stderr(Stdio::null());
    let status =
        pg_ctl.status().map_err(|source| UpgradeError::Run { program: "pg_ctl".to_owned(), source })?;
    if status.success() {
        return Ok(());
    }
    let words = tail(&fs::read_to_string(&log).unwrap_or_default(), 8);
    Err(UpgradeError::Program { program: "pg_ctl start".to_owned(), status: status.to_string(), words })
}
