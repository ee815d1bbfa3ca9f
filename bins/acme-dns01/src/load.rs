//! The configuration file, read and put together.

use crate::args::Args;
use acme_dns01::engine::{Certificate, Engine};
use acme_dns01_config::{BuildError, Settings};
use cli_support::outcome::Failure;
use std::sync::Arc;

/// A configuration that is in use.
#[derive(Clone)]
pub(crate) struct ActiveSetup {
    /// The engine that does the work.
    pub(crate) engine: Arc<Engine>,
    /// Certificates that the engine keeps.
    pub(crate) certificates: Vec<Certificate>,
    /// Configured groups that do not exist on this machine.
    pub(crate) unknown_groups: Vec<String>,
}

/// The configuration: its text, the settings, and the certificates that it asks for.
pub(crate) fn read(args: &Args) -> Result<(String, Settings, Vec<Certificate>), Failure> {
    let path = args.config.display();
    let text = std::fs::read_to_string(&args.config)
        .map_err(|error| Failure::Configuration(format!("{path}: {error} (give another with --config)")))?;
    let settings = Settings::parse(&text).map_err(|why| Failure::Configuration(format!("{path}: {why}")))?;
    let certificates = settings.certificates().map_err(|error| unusable(args, &text, &error))?;
    Ok((text, settings, certificates))
}

/// The configuration, with its secrets read and its store opened.
pub(crate) fn load(args: &Args) -> Result<ActiveSetup, Failure> {
    let (text, settings, _) = read(args)?;
    let setup = settings.build().map_err(|error| match error {
        BuildError::Environment(why) => Failure::Failed(why),
        error => unusable(args, &text, &error),
    })?;
    let quiet = args.json;
    for group in &setup.unknown_groups {
        eprintln!("acme-dns01: there is no group `{group}`: files keep the group of the account");
    }
    let engine = setup.engine.observer(Arc::new(move |id, event| {
        if !quiet {
            eprintln!("acme-dns01: {id}: {event}");
        }
    }));
    let (certificates, unknown_groups) = (setup.certificates, setup.unknown_groups);
    Ok(ActiveSetup { engine: Arc::new(engine), certificates, unknown_groups })
}

/// With the line that has to be changed.
fn unusable(args: &Args, text: &str, error: &BuildError) -> Failure {
    let path = args.config.display();
    let line = error.line(text).map_or_else(String::new, |line| format!("line {line}: "));
    Failure::Configuration(format!("{path}: {line}{}", cli_support::outcome::chain(error)))
}
