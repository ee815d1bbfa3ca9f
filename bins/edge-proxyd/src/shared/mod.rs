//! `[shared]`: what several edges share through PostgreSQL, so that a client resumes its session at any of them, and early data is
//! accepted once by all together.

mod postgres;
mod settings;

pub(crate) use settings::Section;

use edge_proxy::{Shared, SharedEvent};
use postgres::Postgres;
use secrecy::ExposeSecret;
use std::sync::Arc;

/// Reads the secrets of the section. Nothing is connected to yet.
///
/// # Errors
/// In words, with the key.
pub(crate) fn prepare(section: &Section) -> Result<Shared, String> {
    let database = section.database.read().map_err(|why| format!("[shared] database: {}", words(&why)))?;
    let store = Postgres::new(database.expose_secret(), section.roots.as_deref())
        .map_err(|why| format!("[shared] {why}"))?;
    let secret = section.secret.read().map_err(|why| format!("[shared] secret: {}", words(&why)))?;
    let shared = Shared::new(Arc::new(store), secret.expose_secret().trim().as_bytes());
    let shared = shared.map_err(|why| format!("[shared] secret = \"{}\": {why}", section.secret))?;
    Ok(shared.schedule(section.schedule).wait(section.wait))
}

/// Says what became of the database.
pub(crate) fn tell(event: &SharedEvent) {
    match event {
        SharedEvent::Away(why) => eprintln!(
            "edge-proxyd: [shared] {why}; clients make full handshakes where they would resume a session of another edge"
        ),
        SharedEvent::Reached => eprintln!("edge-proxyd: [shared] the database answers"),
        SharedEvent::OtherSecret => eprintln!(
            "edge-proxyd: [shared] the database has keys under another secret: give all edges the same, and delete the rows of \
             edge_proxy_ticket_key"
        ),
        _ => {}
    }
}

fn words(why: &dyn std::error::Error) -> String {
    why.source().map_or_else(|| why.to_string(), |below| format!("{why}: {below}"))
}
