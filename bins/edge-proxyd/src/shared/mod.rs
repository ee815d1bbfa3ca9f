//! The section `[shared]`: state shared by several edges through PostgreSQL, so that a client can resume its session at
//! any of them, and early data is accepted only once by all together.

mod postgres;
mod settings;

pub(crate) use settings::SharedSection;

use crate::journal;
use edge_proxy::{Shared, SharedEvent};
use postgres::Postgres;
use secrecy::ExposeSecret;
use std::sync::Arc;

/// Reads the secrets of the section, without connecting.
///
/// # Errors
/// A message with the key.
pub(crate) fn prepare(section: &SharedSection) -> Result<Shared, String> {
    let database = section.database.read().map_err(|why| format!("[shared] database: {}", words(&why)))?;
    let store = Postgres::new(database.expose_secret(), section.roots.as_deref())
        .map_err(|why| format!("[shared] {why}"))?;
    let secret = section.secret.read().map_err(|why| format!("[shared] secret: {}", words(&why)))?;
    let shared = Shared::new(Arc::new(store), secret.expose_secret().trim().as_bytes());
    let shared = shared.map_err(|why| format!("[shared] secret = \"{}\": {why}", section.secret))?;
    Ok(shared.schedule(section.schedule).wait(section.wait))
}

/// Writes a change of the database connection to the journal.
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

fn words(why: &dyn std::error::Error) -> String {
    why.source().map_or_else(|| why.to_string(), |below| format!("{why}: {below}"))
}
