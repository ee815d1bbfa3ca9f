//! Connection to the server that the command line names.

use crate::args::ServerArgs;
use crate::libpq::{Parameters, ProcessEnvironment};
use crate::record::Record;
use crate::tls::{self, Client, Mode};
use cli_support::outcome::Failure;
use pg_ensure::client::tls::{TlsConnector, TlsMode};
use pg_ensure::client::{Server, Timeouts};
use secrecy::ExposeSecret;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Connection parameters without `--connect`: the superuser `postgres` over the Unix-domain socket.
const DEFAULT: [(&str, &str); 3] = [DATABASE, ("host", "/run/postgresql"), ("user", "postgres")];

/// Database with which to begin, unless one is named. libpq takes that of the role.
const DATABASE: (&str, &str) = ("dbname", "postgres");

/// Returns the server of the command line, with the recorded verifiers of earlier runs. No connection is made.
///
/// # Errors
/// Returns a [`Failure`] if an option is not valid, or a password or the record cannot be read.
pub(crate) fn server(args: &ServerArgs) -> Result<Server<TlsConnector>, Failure> {
    let (config, connector) = config(args)?;
    let known = Record::read(args, &config)?.verifiers();
    let timeouts = Timeouts { connect: Duration::from_secs(args.timeout), ..Timeouts::default() };
    Ok(Server::new(config, connector).timeouts(timeouts).known_passwords(known))
}

/// Returns the connection parameters of the command line, with passwords read, and the TLS connector.
///
/// # Errors
/// Returns a [`Failure`] if an option is not valid, or a password, certificate or key cannot be read.
pub(crate) fn config(args: &ServerArgs) -> Result<(Config, TlsConnector), Failure> {
    let fallback = if args.connect.is_none() { &DEFAULT[..] } else { &[DATABASE] };
    // A reference on the command line counts before the environment, a service and the password file.
    let (mut config, connector) =
        configure(args.connect.as_deref().unwrap_or_default(), fallback, args, args.password.is_none())?;
    if let Some(reference) = &args.password {
        config.password(reference.read()?.expose_secret());
    }
    Ok((config, connector))
}

/// Returns the connection parameters of a second login, and its TLS connector. `--sslmode` and `--sslrootcert` apply to
/// it, `--password` does not.
///
/// # Errors
/// Returns a [`Failure`] if the text, the environment, a file that it names or an option is not valid.
pub(crate) fn login(text: &str, args: &ServerArgs) -> Result<(Config, TlsConnector), Failure> {
    configure(text, &[], args, true)
}

/// Returns the connection parameters of `text`, completed from service, environment, `fallback` and defaults, and the
/// TLS connector. The password file is read if `from_passfile` is `true`.
///
/// # Errors
/// Returns a [`Failure`] if a parameter, file or option is not valid.
fn configure(
    text: &str,
    fallback: &[(&str, &str)],
    args: &ServerArgs,
    from_passfile: bool,
) -> Result<(Config, TlsConnector), Failure> {
    let home = home();
    let around = ProcessEnvironment {
        variable: &|name| std::env::var(name).ok(),
        home: home.clone(),
        account: current_account(),
    };
    let mut parameters = Parameters::parse(text)?.complete(&around, fallback)?;
    if from_passfile {
        parameters = parameters.with_password(&around)?;
    }
    let beside = |name: &str| {
        let path = home.as_ref()?.join(".postgresql").join(name);
        path.exists().then_some(path)
    };
    let mode = mode(parameters.take("sslmode").as_deref())?;
    let root = args.sslrootcert.clone().or_else(|| parameters.take("sslrootcert").map(PathBuf::from));
    parameters.take("sslrootcert");
    let root = root.or_else(|| beside("root.crt"));
    let certificate = parameters.take("sslcert").map(PathBuf::from).or_else(|| beside("postgresql.crt"));
    let key = parameters.take("sslkey").map(PathBuf::from).or_else(|| beside("postgresql.key"));
    let mut config = parameters.config()?;
    // A Unix-domain socket neither needs nor supports TLS.
    let local = config.get_hostaddrs().is_empty()
        && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    let system = root.as_deref() == Some(Path::new("system"));
    let mode = match args.sslmode.or(mode) {
        _ if local => Mode::Disable,
        None if system => Mode::VerifyFull,
        None => Mode::Prefer,
        Some(weak) if system && weak != Mode::VerifyFull => {
            let why = "sslrootcert=system proves nothing with a weaker sslmode: use verify-full";
            return Err(Failure::Configuration(why.to_owned()));
        }
        Some(mode) => mode,
    };
    config.ssl_mode(TlsMode::from(mode).ssl_mode());
    let client = match (&certificate, &key) {
        _ if mode == Mode::Disable => None,
        (Some(certificate), Some(key)) => Some(Client { certificate, key }),
        (None, _) => None,
        (Some(certificate), None) => {
            let why = format!("{}: sslkey is missing for it", certificate.display());
            return Err(Failure::Configuration(why));
        }
    };
    Ok((config, tls::connector(mode, root.as_deref(), client)?))
}

/// Returns the home directory. `None` unless `HOME` is an absolute path.
fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| Path::new(home).is_absolute()).map(PathBuf::from)
}

/// Returns the name of the account of this process, by running `id`. `None` if it has no name.
fn current_account() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let output = std::process::Command::new("id").args(["-un", &uid]).output().ok()?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !name.is_empty()).then_some(name)
}

/// Parses a value of `sslmode`. `None` without a value.
///
/// # Errors
/// Returns a [`Failure`] if the value is unknown.
fn mode(text: Option<&str>) -> Result<Option<Mode>, Failure> {
    let Some(text) = text else { return Ok(None) };
    <Mode as clap::ValueEnum>::from_str(text, false).map(Some).map_err(|_| {
        let list = "disable, allow, prefer, require, verify-ca or verify-full";
        Failure::Configuration(format!("sslmode={text} is not valid: expected {list}"))
    })
}
