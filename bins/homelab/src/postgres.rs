//! PostgreSQL on a host, run by its account.

use crate::host::Host;

/// Returns the folder of PostgreSQL's programs on the hosts, for a major version: that of the tools at /opt, or a copy
/// if other accounts cannot enter the tools folder.
pub(crate) fn programs(major: u32) -> String {
    // The 17 with ICU is from a suite with newer fixes than those of the 18; pg_upgrade rejects that combination.
    let version = if major == 17 { "17".to_owned() } else { format!("{major}-icu") };
    let readable = testkit::postgres::programs(&version);
    let is_copy = !testkit::tools().canonicalize().is_ok_and(|tools| readable.starts_with(tools));
    if is_copy { readable.display().to_string() } else { format!("/opt/postgresql-{version}/bin") }
}

/// Returns a shell command that runs another one as the PostgreSQL account, without capabilities and with the
/// credentials of the unit pg-ensure.
pub(crate) fn as_account(command: &str) -> String {
    format!(
        "setpriv --reuid postgres --regid postgres --clear-groups --inh-caps=-all --ambient-caps=-all \
         env CREDENTIALS_DIRECTORY=/run/credentials/pg-ensure.service {command}"
    )
}

/// Returns the user ID of the PostgreSQL account on a host, or 0 if the host has none.
pub(crate) fn postgres_uid(host: &Host) -> u32 {
    host.ask("id -u postgres").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Creates a cluster in `/var/lib/postgresql/MAJOR` with a certificate chain and its key in PEM, without starting it.
/// It listens on all addresses and accepts the local superuser only.
///
/// # Errors
/// Returns the output of the command that failed, or the error of writing a file.
pub(crate) fn init(host: &Host, major: u32, (chain, key): (&str, &str)) -> Result<(), String> {
    folders(host)?;
    let data = host.folder.join(format!("var-lib/postgresql/{major}"));
    host.ask(&as_account(&format!(
        "{}/initdb -D /var/lib/postgresql/{major} -U postgres -A peer --no-sync --no-instructions -E UTF8 --locale=C.UTF-8",
        programs(major)
    )))?;
    for (name, text) in [("server.crt", chain), ("server.key", key)] {
        std::fs::write(data.join(name), text).map_err(|why| why.to_string())?;
    }
    host.ask(&format!(
        "cd /var/lib/postgresql/{major} && chown postgres server.crt server.key && chmod 600 server.key"
    ))?;
    let conf = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&conf).map_err(|why| why.to_string())?;
    let settings = "listen_addresses = '*'\nunix_socket_directories = '/run/postgresql'\nssl = on\nshared_buffers = 32MB\n";
    std::fs::write(&conf, text + settings).map_err(|why| why.to_string())
}

/// Creates the folders of data and sockets, owned by the PostgreSQL account, that the Debian package creates.
///
/// # Errors
/// Returns the output and the status if a command fails.
pub(crate) fn folders(host: &Host) -> Result<(), String> {
    host.ask(
        "mkdir -p /run/postgresql /var/lib/postgresql && chown postgres:postgres /var/lib/postgresql /run/postgresql",
    )
    .map(drop)
}

/// Starts, stops, restarts or promotes a server, and waits for the end of it: `verb` is that of `pg_ctl`. A stop does
/// not wait for clients.
///
/// # Errors
/// Returns the status if `pg_ctl` fails.
pub(crate) fn control(host: &Host, major: u32, verb: &str) -> Result<(), String> {
    let command = format!(
        "{}/pg_ctl -D /var/lib/postgresql/{major} -m fast -w -l /var/lib/postgresql/log {verb} >/dev/null 2>&1",
        programs(major)
    );
    host.ask(&as_account(&command)).map(drop)
}

/// Executes SQL as superuser in a database, by psql, and returns the values without headings and alignment. The
/// statement must not contain double quotes, `$` or backquotes, since it is passed through a shell.
///
/// # Errors
/// Returns the output of psql if it fails.
pub(crate) fn sql(host: &Host, database: &str, statement: &str) -> Result<String, String> {
    let psql = format!("{}/psql", programs(18));
    let command = format!(
        "{psql} -qAtX -h /run/postgresql -U postgres -d {database} -v ON_ERROR_STOP=1 -c \"{statement}\""
    );
    host.ask(&as_account(&command))
}
