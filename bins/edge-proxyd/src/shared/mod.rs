//! The section `[shared]`: state that several instances share through PostgreSQL, so that clients can resume sessions
//! at each of them, and early data is accepted only once by all of them.

mod postgres;
mod settings;

pub(crate) use settings::SharedSection;

use crate::journal;
use crate::key_fault::KeyFault;
use edge_proxy::{Shared, SharedEvent};
use postgres::Postgres;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// The name of the section.
const SECTION: &str = "shared";

/// Reads the secrets and files of the section and creates the shared state, without connecting to the database.
///
/// # Errors
/// The fault of the first key that has one.
pub(crate) fn prepare(section: &SharedSection) -> Result<Shared, KeyFault> {
    with_database(section, read_database(section)?.expose_secret())
}

/// Reads the secrets and files of the section, without connecting to the database. Returns at most two faults: that of
/// reading `database`, and the first other one. Empty if there is none.
pub(crate) fn faults(section: &SharedSection) -> Vec<KeyFault> {
    let (database, of_database) = match read_database(section) {
        Ok(database) => (database, None),
        Err(why) => ("host=/run/postgresql".into(), Some(why)),
    };
    of_database.into_iter().chain(with_database(section, database.expose_secret()).err()).collect()
}

/// Reads the connection string of the database.
///
/// # Errors
/// [`KeyFault`] if it cannot be read.
fn read_database(section: &SharedSection) -> Result<SecretString, KeyFault> {
    section.database.read().map_err(|why| KeyFault::of_secret(SECTION, "database", &why))
}

/// Creates the shared state from the connection string `database`, and reads the other secrets and files of the
/// section.
///
/// # Errors
/// [`KeyFault`] for the first key that cannot be read or is not valid.
fn with_database(section: &SharedSection, database: &str) -> Result<Shared, KeyFault> {
    let store = Postgres::new(database, section.roots.as_deref())?;
    let secret = section.secret.read().map_err(|why| KeyFault::of_secret(SECTION, "secret", &why))?;
    let shared = Shared::new(Arc::new(store), secret.expose_secret().trim().as_bytes());
    let shared = shared.map_err(|why| KeyFault::new(SECTION, "secret", why).value(&section.secret))?;
    Ok(shared.schedule(section.schedule).wait(section.wait))
}

/// Logs a change of the state of the shared store: as a warning if the database is away, as information if it is
/// reached again, and as an error if another instance uses another secret. Other events are ignored.
pub(crate) fn tell(event: &SharedEvent) {
    match event {
        SharedEvent::Away(why) => journal::warning(format_args!(
            "[shared] {why}; sessions of other edges cannot be resumed, so clients make full handshakes"
        )),
        SharedEvent::Reached => journal::info("[shared] connected to the database"),
        SharedEvent::OtherSecret => journal::error(
            "[shared] the database has keys sealed with another secret: use the same secret on all edges, and delete the rows of \
             edge_proxy_ticket_key",
        ),
        _ => {}
    }
}
