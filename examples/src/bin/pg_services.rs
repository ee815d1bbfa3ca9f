//! The services of a host, from one list: ensures their roles and databases, and writes a `pg_hba.conf` that admits
//! each service to its own database. Prints first who will be able to log in from where.
//!
//! ```text
//! pg_services "host=/run/postgresql user=postgres" vaultwarden headscale forgejo
//! ```
//!
//! Run it on the machine of the server, as it writes the server's file.

use pg_ensure::client::{ApplyOptions, Event, Observer, Outcome, Server};
use pg_ensure::{DesiredState, Name};
use pg_hba::{Attempt, EmptyEnvironment, Policy, TAILNET_V4, TAILNET_V6, Tls, install};
use std::error::Error;
use tokio_postgres::{Client, Config, NoTls};

/// An observer that ignores all events.
struct SilentObserver;

impl Observer for SilentObserver {
    fn event(&mut self, _: &Event<'_>) {}
}

/// Connects to a server without TLS.
///
/// # Errors
/// Returns an error if the connection fails.
async fn login(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let connect = arguments.next().ok_or("usage: pg_services CONNECTION SERVICE…")?;
    let services: Vec<String> = arguments.collect();
    let config: Config = connect.parse()?;

    // A rule for TLS never matches on a server without TLS, and a file with such a rule would not be installed.
    let client = login(&config).await?;
    let ssl: String = client.query_one("SHOW ssl", &[]).await?.get(0);
    let tls = if ssl == "on" { Tls::OutsideTailnet } else { Tls::Optional };

    // One list for roles, databases and access rules.
    let mut desired = DesiredState::new();
    let mut policy = Policy::new().tls(tls).tailnet_ranges([TAILNET_V4.parse()?, TAILNET_V6.parse()?]);
    for service in &services {
        desired.ensure(&Name::new(service)?, None);
        policy = policy.service(service, service);
    }

    let attempts = |database: &str, role: &str| {
        [
            Attempt::local(database, role),
            Attempt::tcp(database, role, [100, 64, 0, 9].into()),
            Attempt::tcp(database, role, [203, 0, 113, 7].into()),
            Attempt::tls(database, role, [203, 0, 113, 7].into()),
        ]
    };
    for database in &services {
        for role in &services {
            for attempt in attempts(database, role) {
                println!("{attempt}: {}", policy.decide(&attempt, &EmptyEnvironment).method);
            }
        }
    }

    let server = Server::new(config.clone(), NoTls);
    if let Outcome::Applied(applied) =
        server.apply(&desired, &ApplyOptions::default(), &mut SilentObserver).await?
    {
        println!("{} steps, {} blocked", applied.done.len(), applied.left.blocked.len());
    }
    let prepared = install::prepare(&client, &policy).await?;
    let old = std::fs::read(&prepared.path)?;
    std::fs::write(&prepared.path, &prepared.text)?;
    // A login that must succeed, or the old file is restored.
    let mut own = config.clone();
    if let Some(service) = services.first() {
        own.user(service).dbname(service);
    }
    let canary = async { login(&own).await.map(drop).map_err(|why| why.to_string()) };
    if let Err(why) = install::activate(&client, &prepared, canary).await {
        std::fs::write(&prepared.path, old)?;
        install::reload(&client).await?;
        return Err(format!("{why}; the old file is back").into());
    }
    println!("{} is in force", prepared.path.display());
    Ok(())
}
