//! Comparison with one psql process per item, as in the set-up script of NixOS, on the same server.
//!
//! `cargo bench -p pg-ensure --all-features --bench beside_psql`

use pg_ensure::client::{ApplyOptions, NoopObserver, Outcome, Server};
use pg_ensure::desired::Database;
use pg_ensure::{Consent, DesiredState, Name, Password, Role};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::postgres::{Options, Postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::{Config, NoTls};

/// Number of roles.
const ROLES: usize = 10_000;
/// Number of databases.
const DATABASES: usize = 1_000;
/// Number of roles that the manifest adds.
const NEW: usize = 1_000;
/// Number of items for which the script is timed. Its duration grows in proportion.
const SAMPLE: usize = 200;

fn main() {
    // The distribution's own build, on which such a script runs.
    let postgres = Postgres::start(&Options::new(15));
    let session = postgres.session();
    let roles = format!(
        "DO $$ BEGIN FOR i IN 0..{} LOOP EXECUTE format('CREATE ROLE %I LOGIN', 'role_' || i); END LOOP; END $$",
        ROLES - 1
    );
    session.query(&roles).expect("roles");
    // Rows without files: nothing that is measured accesses these databases, whose files would take 8 GB.
    session.query("SET allow_system_table_mods = on").expect("superuser");
    let columns = "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
                   WHERE attrelid = 'pg_database'::regclass AND attnum > 3";
    let columns = session.query(columns).expect("columns")[0][0].clone().expect("columns");
    let rows = format!(
        "INSERT INTO pg_database SELECT (1000000 + i)::oid, 'role_' || i, ('role_' || i)::regrole::oid, {columns}
         FROM generate_series(0, {}) i, pg_database WHERE datname = 'postgres'",
        DATABASES - 1
    );
    session.query(&rows).expect("databases");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");

    let mut wish = DesiredState::new();
    for number in 0..ROLES {
        let name = name(&format!("role_{number}"));
        wish.role(name.clone(), Role::new().login(true));
        if number < DATABASES {
            wish.database(name.clone(), Database::owned_by(&name));
        }
    }
    let server = Server::new(config(&postgres), NoTls);
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..15 {
        let began = Instant::now();
        let plan = runtime.block_on(server.plan(&wish, &Consent::none())).expect("a plan");
        times.push(began.elapsed());
        assert!(plan.is_empty(), "{}", plan.script());
    }
    times.sort();
    let ours = times[times.len() / 2];
    println!(
        "no-op over {ROLES} roles and {DATABASES} databases: {ours:?} (median of 15, connecting included)"
    );
    println!("  memory: at most {} MB, wish and state together", peak());

    let round_trips = runtime.block_on(count_round_trips(&postgres, &wish));
    println!("  round trips: {round_trips}");

    let mut lines = String::new();
    for number in 0..SAMPLE {
        let name = format!("role_{number}");
        // As many databases among the items as in the whole.
        if number % (ROLES / DATABASES + 1) == 0 {
            lines += &format!(
                "$PSQL -tAc \"SELECT 1 FROM pg_database WHERE datname = '{name}'\" | grep -q 1 || $PSQL -tAc 'CREATE DATABASE \"{name}\"'\n"
            );
        } else {
            lines += &user(&name, "LOGIN");
        }
    }
    let began = Instant::now();
    script(&postgres, &lines);
    let theirs = began.elapsed() * u32::try_from((ROLES + DATABASES) / SAMPLE).expect("a number");
    println!("  the script: {theirs:?}, from {SAMPLE} items; ratio {:.0}", ratio(theirs, ours));

    let mut fresh = DesiredState::new();
    for number in 0..NEW {
        let password = Password::secret(&format!("password {number}"));
        fresh.role(name(&format!("new_{number}")), Role::new().login(true).password(password));
    }
    let began = Instant::now();
    for number in 0..3 {
        let secret = format!("password {number}").into();
        pg_ensure::Verifier::derive(&secret, b"0123456789abcdef", pg_ensure::DEFAULT_ITERATIONS)
            .expect("a verifier");
    }
    println!("a verifier: {:?}", began.elapsed() / 3);
    let began = Instant::now();
    let outcome = runtime
        .block_on(server.apply(&fresh, &ApplyOptions::default(), &mut NoopObserver))
        .expect("it applies");
    let ours = began.elapsed();
    let Outcome::Applied(applied) = outcome else { panic!("no standby") };
    assert_eq!(applied.done.len(), 2 * NEW);
    println!("{NEW} roles with passwords created, and looked at again: {ours:?}");
    let lines: String = (0..SAMPLE)
        .map(|number| user(&format!("other_{number}"), &format!("LOGIN PASSWORD ''password {number}''")))
        .collect();
    let began = Instant::now();
    script(&postgres, &lines);
    let theirs = began.elapsed() * u32::try_from(NEW / SAMPLE).expect("a number");
    println!("  the script: {theirs:?}, from {SAMPLE} items; ratio {:.0}", ratio(theirs, ours));
}

/// Returns a valid name.
fn name(text: &str) -> Name {
    Name::new(text).expect(text)
}

/// Returns the connection to the test server as its superuser.
fn config(postgres: &Postgres) -> Config {
    let mut config = Config::new();
    config.host_path(postgres.socket_folder()).port(postgres.port()).user("postgres").dbname("postgres");
    config
}

/// Returns the ratio of two durations.
fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// Returns the lines of NixOS's script for a user: create the role if it is missing, then set `clauses`.
fn user(name: &str, clauses: &str) -> String {
    let clauses = clauses.replace("''", "'\\''");
    format!(
        "$PSQL -tAc \"SELECT 1 FROM pg_roles WHERE rolname='{name}'\" | grep -q 1 || $PSQL -tAc 'CREATE USER \"{name}\"'\n\
         $PSQL -tAc 'ALTER ROLE \"{name}\" {clauses}'\n"
    )
}

/// Runs lines of the script with `$PSQL` set.
///
/// # Panics
/// Panics if the script fails.
fn script(postgres: &Postgres, lines: &str) {
    let psql = postgres.programs().join("psql").display().to_string();
    let (folder, port) = (postgres.socket_folder().display(), postgres.port());
    let text = format!("set -e\nPSQL=\"{psql} -h {folder} -p {port} -U postgres -d postgres\"\n{lines}");
    let status = Command::new("bash").args(["-c", &text]).stdout(Stdio::null()).status();
    assert!(status.expect("bash runs").success());
}

/// Returns the peak memory of this process (VmHWM), in MB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
}

/// Returns the number of round trips of a run that changes nothing, without those of connecting: how often the
/// direction of traffic changes from the client to the server and back.
async fn count_round_trips(postgres: &Postgres, wish: &DesiredState) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = tokio::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
    let target = postgres.socket_folder().join(format!(".s.PGSQL.{}", postgres.port()));
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::UnixStream::connect(&target).await.expect("the server");
            let (mut from_client, mut from_server) = (vec![0; 1 << 20], vec![0; 1 << 20]);
            let mut asked = false;
            loop {
                tokio::select! {
                    read = client.read(&mut from_client) => match read {
                        Ok(length) if length > 0 => {
                            asked = true;
                            server.write_all(&from_client[..length]).await.expect("the server");
                        }
                        _ => break,
                    },
                    read = server.read(&mut from_server) => match read {
                        Ok(length) if length > 0 => {
                            counted.fetch_add(usize::from(std::mem::take(&mut asked)), Ordering::Relaxed);
                            client.write_all(&from_server[..length]).await.expect("the client");
                        }
                        _ => break,
                    },
                }
            }
        }
    });
    let mut config = Config::new();
    config.host_path(folder.path()).user("postgres").dbname("postgres");
    let server = Server::new(config, NoTls);
    server.wait().await.expect("a connection");
    let connecting = turns.swap(0, Ordering::Relaxed);
    let outcome = server.apply(wish, &ApplyOptions::default(), &mut NoopObserver).await.expect("it applies");
    assert!(matches!(outcome, Outcome::Applied(applied) if applied.done.is_empty()));
    turns.load(Ordering::Relaxed) - connecting
}
