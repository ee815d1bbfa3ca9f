//! The subcommand `install`: rules are checked before, compared afterwards, and the previous file is restored on
//! failure.

use crate::files;
use cli_support::outcome::{Done, Failure, chain};
use cli_support::replace::replace;
use cli_support::usage;
use cli_support::verbosity::note;
use pg_hba::install::{self, InstallError, Prepared};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

/// Time limit for connecting to the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Installs the rules of a policy on a running server, on a runtime of its own. Blocks until it has completed.
/// Arguments and result are those of [`install`].
///
/// # Errors
/// Returns the errors of [`install`], or an error if the runtime cannot be created.
pub(crate) fn run(
    policy: &Path,
    connect: &str,
    canary: &str,
    dry_run: bool,
    as_json: bool,
) -> Result<Done, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::Failed(format!("no runtime: {why}")))?;
    runtime.block_on(install(policy, connect, canary, dry_run, as_json))
}

/// Installs the rules of a policy, unless the file already has them or `dry_run` is set, and prints the result, for a
/// dry run with the difference. `connect` is the superuser's connection, `canary` a connection that must succeed
/// afterwards. Returns [`Done::Differences`] for a dry run with changes, else [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if the policy is not valid or would lock out the superuser, the server cannot be queried, the
/// file cannot be read or replaced, or activation fails; in the last case the previous file is restored and reloaded.
async fn install(
    policy: &Path,
    connect: &str,
    canary: &str,
    dry_run: bool,
    as_json: bool,
) -> Result<Done, Failure> {
    let (connect, canary) = (parameters("--connect", connect)?, parameters("--canary", canary)?);
    let client = login(&connect).await?;
    let version = install::version(&client).await.map_err(|why| Failure::because(&why))?;
    let policy = files::policy(policy, version)?;
    let prepared = install::prepare(&client, &policy).await.map_err(|why| install_failure(&why))?;
    let text = &prepared.text;
    let file = ActiveFile::read(&prepared.path)?;
    if file.text == text.as_bytes() {
        say(as_json, "unchanged", &file.path, &prepared);
        return Ok(Done::Fine);
    }
    let old = String::from_utf8_lossy(&file.text);
    let changes = cli_support::diff::unified(&old, text, &file.path.display().to_string());
    if dry_run {
        if as_json {
            let (file, privileged) = (&file.path, &prepared.privileged);
            println!(
                "{}",
                json!({"result": "would change", "file": file, "privileged": privileged, "diff": changes})
            );
        } else {
            say(as_json, "would change", &file.path, &prepared);
            print!("{changes}");
        }
        return Ok(Done::Differences);
    }
    file.write(text.as_bytes())?;
    let canary = async { login(&canary).await.map(drop).map_err(|why| why.to_string()) };
    if let Err(why) = install::activate(&client, &prepared, canary).await {
        file.write(&file.text)?;
        install::reload(&client).await.map_err(|why| Failure::because(&why))?;
        return Err(Failure::Failed(format!("{why}; the old file is back")));
    }
    say(as_json, "installed", &file.path, &prepared);
    Ok(Done::Fine)
}

/// Converts an error: a policy that is impossible, locks out the superuser, is refused by the server or cannot be
/// rendered is an error of the configuration (exit code 2), any other a failure (1).
fn install_failure(why: &InstallError) -> Failure {
    match why {
        InstallError::Impossible { .. }
        | InstallError::LockedOut(_)
        | InstallError::Refused { .. }
        | InstallError::Render(_) => Failure::Configuration(chain(why)),
        _ => Failure::because(why),
    }
}

/// Prints a result with the path of the file, and the privileged roles of the server that the policy does not name, as
/// text or JSON.
fn say(as_json: bool, what: &str, path: &Path, prepared: &Prepared) {
    if as_json {
        println!("{}", json!({"result": what, "file": path, "privileged": prepared.privileged}));
    } else {
        if !prepared.privileged.is_empty() {
            note(&format!("privileged on the server, so not trusted: {}", prepared.privileged.join(", ")));
        }
        println!("{what}: {}", path.display());
    }
}

/// Parses the connection string of an option, as in libpq, but with the database `postgres` unless it names one.
///
/// # Errors
/// Returns a [`Failure`] with exit code 2 if the text is not valid or names no server.
pub(crate) fn parameters(option: &str, text: &str) -> Result<Config, Failure> {
    let mut config: Config = text.parse().map_err(|why| usage::fault("value", option, &chain(&why)))?;
    if config.get_dbname().is_none() {
        // A database of the user's name is often not there.
        config.dbname("postgres");
    }
    if install::address(&config).is_empty() {
        let why = "names no server: write host=/run/postgresql for a socket, or host=NAME";
        return Err(usage::fault("value", option, why));
    }
    Ok(config)
}

/// Connects to a server without TLS, and closes the connection when the client is dropped.
///
/// # Errors
/// Returns a [`Failure`] with host and port, or the socket, if the connection fails or takes more than 10 s.
pub(crate) async fn login(config: &Config) -> Result<Client, Failure> {
    let server = install::address(config);
    let failed = |why: String| Failure::Failed(format!("cannot connect to {server}: {why}"));
    let (client, connection) = tokio::time::timeout(CONNECT_TIMEOUT, config.connect(NoTls))
        .await
        .map_err(|_| failed(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs())))?
        .map_err(|why| failed(why.as_db_error().map_or_else(|| chain(&why), ToString::to_string)))?;
    tokio::spawn(connection);
    Ok(client)
}

/// The server's pg_hba.conf: its path with symbolic links resolved, and its content as it was read.
struct ActiveFile {
    path: PathBuf,
    text: Vec<u8>,
}

impl ActiveFile {
    /// Reads the file at a path, after resolving symbolic links, which are kept by a replacement.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the file does not exist or cannot be read.
    fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |why: std::io::Error| Failure::Failed(format!("{}: {why}", path.display()));
        // A symbolic link is kept: its target is replaced.
        let real = path.canonicalize().map_err(failed)?;
        let text = std::fs::read(&real).map_err(failed)?;
        Ok(Self { path: real, text })
    }

    /// Replaces the content of the file atomically; mode and owner are kept.
    ///
    /// # Errors
    /// Returns a [`Failure`] if it cannot be written.
    fn write(&self, text: &[u8]) -> Result<(), Failure> {
        replace(&self.path, text).map_err(|why| Failure::because(&why))
    }
}
