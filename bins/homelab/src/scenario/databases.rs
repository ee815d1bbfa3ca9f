//! PostgreSQL on the first node: its state after boot, logins, and rotation of passwords.

use crate::facts::{Facts, ensure, until};
use crate::host::Host;
use crate::lab::Lab;
use crate::postgres;
use std::time::Duration;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Databases";

/// Command that applies the declaration of the databases, as the systemd unit does.
const APPLY: &str = "pg-ensure apply /srv/lab-matrix/databases.toml --hba /srv/lab-matrix/hba.toml \
    --connect 'host=/run/postgresql user=postgres'";

/// Creates and starts the server, applies the declaration, and starts the applications of both nodes. Adds the results
/// of the checks to `facts`.
///
/// # Errors
/// Returns an error if the server or an application does not start, or there are no databases, so that the other
/// chapters cannot run.
pub(crate) fn boot(lab: &Lab, facts: &Facts) -> Result<(), String> {
    let matrix = &lab.topology.matrix;
    let (chain, key) = lab.topology.public_authority.issue(&["lab-matrix", "db.example.org"]);
    postgres::init(matrix, 17, (&chain, &key))?;
    matrix.ask("mkdir -p /run/forgejo")?;
    postgres::control(&lab.topology.matrix, 17, "start")?;
    let booted = facts.fact(CHAPTER, "at boot, one command creates the users and databases and applies the declared policy", || {
        let said = matrix.ask(&postgres::as_account(APPLY))?;
        let owners = lab.sql("postgres", "SELECT string_agg(datname || ' of ' || pg_get_userbyid(datdba), ', ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")?;
        ensure(owners == "forgejo of forgejo, headscale of headscale, vaultwarden of vaultwarden", || format!("{owners}\n{said}"))?;
        Ok(owners)
    });
    ensure(booted, || "no databases: the other checks cannot run".to_owned())?;
    facts.fact(CHAPTER, "a second run changes nothing", || {
        let said = matrix.ask(&postgres::as_account(APPLY))?;
        ensure(!said.contains("installed:") && said.contains("unchanged:"), || said.clone())?;
        matrix.ask(&postgres::as_account("pg-ensure check /srv/lab-matrix/databases.toml --connect 'host=/run/postgresql user=postgres'"))
            .map(|said| said.lines().last().unwrap_or_default().to_owned())
    });
    lab.start_node(matrix)?;
    lab.start_service(matrix, "forgejo unix:/run/forgejo/forgejo.sock")?;
    lab.start_service(matrix, "headscale 127.0.0.1:8080")?;
    lab.start_service(matrix, "grafana 127.0.0.1:3001")?;
    lab.start_service(matrix, "home 127.0.0.1:8123")?;
    lab.start_service(
        matrix,
        &format!("vaultwarden 127.0.0.1:8222 {}/psql vaultwarden", postgres::programs(18)),
    )?;
    lab.start_second_node()
}

/// Returns a psql command that logs in, with a password if given, and prints the current user. `to` is the host, with
/// further parameters of libpq.
fn login(to: &str, user: &str, database: &str, password: Option<&str>) -> String {
    let password = password.map(|password| format!("PGPASSWORD='{password}' ")).unwrap_or_default();
    format!(
        "{password}{}/psql -wqAtX 'host={to} user={user} dbname={database} connect_timeout=3' -c 'SELECT current_user'",
        postgres::programs(18)
    )
}

/// Runs a login that must succeed, and returns which user it is on which host.
///
/// # Errors
/// Returns the output and the status if the login fails.
fn comes_in(host: &Host, command: &str) -> Result<String, String> {
    host.ask(command).map(|user| format!("{} is {user}", host.name))
}

/// Runs a login that must fail, and returns the server's reason: the line after the last `FATAL:`.
///
/// # Errors
/// Returns the output if the login succeeds.
fn stays_out(host: &Host, command: &str) -> Result<String, String> {
    let why = host.expect_failure(command)?;
    Ok(why.rsplit("FATAL:").next().unwrap_or_default().trim().lines().next().unwrap_or_default().to_owned())
}

/// Checks which logins succeed by host, role and database, and adds the results to `facts`.
pub(crate) fn logins(lab: &Lab, facts: &Facts) {
    let topology = &lab.topology;
    facts.fact(
        CHAPTER,
        "applications of the host log in without a password, over the socket and over loopback",
        || {
            for (to, name) in
                [("/run/postgresql", "vaultwarden"), ("127.0.0.1", "headscale"), ("127.0.0.1", "forgejo")]
            {
                comes_in(&topology.matrix, &login(to, name, name, None))?;
            }
            Ok("vaultwarden, headscale and forgejo are in".to_owned())
        },
    );
    facts.fact(CHAPTER, "each only into its own database, and the superuser not over TCP", || {
        let other = stays_out(&topology.matrix, &login("127.0.0.1", "forgejo", "vaultwarden", None))?;
        stays_out(&topology.matrix, &login("127.0.0.1", "postgres", "postgres", None))?;
        Ok(other)
    });
    facts.fact(CHAPTER, "a host of the tailnet logs in without a password, but not as superuser", || {
        let laptop = &topology.laptop;
        comes_in(laptop, &login("100.64.0.2", "forgejo", "forgejo", None))?;
        let why = stays_out(laptop, &login("100.64.0.2", "postgres", "postgres", None))?;
        Ok(format!("forgejo logged in; postgres: {why}"))
    });
    facts.fact(CHAPTER, "a host of the public network logs in only by SCRAM over TLS", || {
        let client = &topology.client;
        let tls = |password| {
            login("203.0.113.2 sslmode=require require_auth=scram-sha-256", "forgejo", "forgejo", password)
        };
        comes_in(client, &tls(Some("first of forgejo")))?;
        let wrong = stays_out(client, &tls(Some("guessed")))?;
        stays_out(client, &login("203.0.113.2 sslmode=require", "forgejo", "forgejo", None))?;
        let clear = login("203.0.113.2 sslmode=disable", "forgejo", "forgejo", Some("first of forgejo"));
        let plain = stays_out(client, &clear)?;
        Ok(format!("without TLS: {plain}; with a wrong password: {wrong}"))
    });
    facts.fact(CHAPTER, "an attacker cannot log in: as superuser, as a role, or with a forged tailnet address", || {
        let attacker = &topology.attacker;
        attacker.run("ip address replace 100.64.0.66/32 dev eth0; ip route replace 100.64.0.2/32 via 203.0.113.2 src 100.64.0.66");
        let mut said = Vec::new();
        for (to, user, password) in [
            ("203.0.113.2", "postgres", None),
            ("203.0.113.2", "postgres", Some("postgres")),
            ("203.0.113.2", "vaultwarden", None),
            ("100.64.0.2", "vaultwarden", None),
        ] {
            said.push(stays_out(attacker, &login(to, user, user, password))?);
        }
        Ok(format!("forged: {}", said.last().map_or("", String::as_str).rsplit("failed: ").next().unwrap_or_default()))
    });
    facts.fact(CHAPTER, "passwords are stored as SCRAM verifiers only, and no logged statement contains one", || {
        let kinds = lab.sql("postgres", "SELECT string_agg(DISTINCT split_part(rolpassword, chr(36), 1), ',') FROM pg_authid WHERE rolpassword IS NOT NULL")?;
        ensure(kinds == "SCRAM-SHA-256", || kinds.clone())?;
        let log = std::fs::read_to_string(topology.matrix.folder.join("var-lib/postgresql/log")).unwrap_or_default();
        ensure(!log.contains("first of"), || "the log has a password".to_owned())?;
        Ok(kinds)
    });
}

/// Checks that after a change of a password file and a run of pg-ensure only the new password is valid, and the other
/// passwords remain. Adds the result to `facts`.
pub(crate) fn rotation(lab: &Lab, facts: &Facts) {
    facts.fact(
        CHAPTER,
        "a changed password file: after the next run only the new password is valid; other passwords stay",
        || {
            let path = lab.topology.matrix.folder.join("run/secrets/forgejo-db");
            let verifier = |name: &str| {
                lab.sql("postgres", &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{name}'"))
            };
            let other = verifier("headscale")?;
            std::fs::write(&path, "second of forgejo\n").map_err(|why| why.to_string())?;
            lab.topology.matrix.ask(&postgres::as_account(APPLY))?;
            let to = "203.0.113.2 sslmode=require";
            comes_in(&lab.topology.client, &login(to, "forgejo", "forgejo", Some("second of forgejo")))?;
            let why =
                stays_out(&lab.topology.client, &login(to, "forgejo", "forgejo", Some("first of forgejo")))?;
            ensure(verifier("headscale")? == other, || "another password was touched".to_owned())?;
            Ok(format!("the old password: {why}"))
        },
    );
}

/// Checks that an application recovers from a restart of the server, and that its data is complete. Adds the result to
/// `facts`.
pub(crate) fn restart(lab: &Lab, facts: &Facts) {
    facts.fact(
        super::faults::CHAPTER,
        "PostgreSQL restarts: its application is back by itself, and everything kept is there",
        || {
            let before = lab.sql("vaultwarden", "SELECT count(*) FROM kept")?;
            postgres::control(&lab.topology.matrix, 18, "restart")?;
            until(Duration::from_secs(30), || {
                let tls = lab.tls();
                let (status, content) = lab
                    .topology
                    .client
                    .run_inside(|| lab.request(&tls, "POST", "vault.example.org", "/keep/900000001"))?;
                ensure(status == 200, || format!("{status} {content}"))
            })?;
            let after = lab.sql("vaultwarden", "SELECT count(*) FROM kept WHERE number < 900000000")?;
            ensure(after == before, || format!("{before} rows before, {after} after"))?;
            Ok(format!("{after} rows before and after, and a new one"))
        },
    );
}
