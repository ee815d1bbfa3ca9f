//! Reading of the configuration file, and the setup that results from it.

use crate::args::Args;
use acme_dns01::engine::{Certificate, Engine};
use acme_dns01_config::{LateSecrets, PendingParts, Settings, WORDS};
use cli_support::document::Source;
use cli_support::finding::{Finding, Findings};
use cli_support::journal::Priority;
use cli_support::outcome::Failure;
use std::path::PathBuf;
use std::sync::Arc;

/// The setup in use: the engine and its certificates.
#[derive(Clone)]
pub(crate) struct ActiveSetup {
    /// The engine, shared with the running task.
    pub(crate) engine: Arc<Engine>,
    /// Certificates of the configuration.
    pub(crate) certificates: Vec<Certificate>,
    /// Configured groups that do not exist on this machine.
    pub(crate) unknown_groups: Vec<String>,
    /// Names of the credentials and variables that the configuration refers to, as `credential:NAME` and `env:NAME`.
    pub(crate) given: Vec<String>,
    /// Parts that were not ready when the file was read.
    pub(crate) parts: PendingParts,
    /// Faults of these parts, by the path of the part.
    pub(crate) late: Vec<(String, Finding)>,
}

impl ActiveSetup {
    /// Prints each fault of a part that was not ready, with its consequence, unless the output is JSON.
    pub(crate) fn print_pending(&self, args: &Args) {
        for (part, (_, fault)) in self.parts.all().iter().zip(&self.late).filter(|_| !args.json) {
            Priority::Error.print_plain(format_args!("{fault}: {}", part.consequence()));
        }
    }
}

/// Reads and checks the configuration file, and returns its certificates. No secret is read.
///
/// # Errors
/// Returns a [`Failure`] with all findings if the file cannot be read or is not valid, or with the first error of a
/// certificate.
pub(crate) fn read(args: &Args) -> Result<Vec<Certificate>, Failure> {
    let file = args.config.display().to_string();
    let text = text(args)?;
    let settings = Settings::read(&Source::parse(&file, &text, WORDS)?, "")?;
    settings.certificates().map_err(|error| Failure::because(&error))
}

/// Returns the folder of certificates as an absolute path. No secret is read.
///
/// # Errors
/// Returns a [`Failure`] if the configuration file cannot be read or is not valid.
pub(crate) fn folder(args: &Args) -> Result<PathBuf, Failure> {
    let file = args.config.display().to_string();
    let text = text(args)?;
    let folder = Settings::read(&Source::parse(&file, &text, WORDS)?, "")?.folder;
    Ok(std::path::absolute(&folder).unwrap_or(folder))
}

/// Returns the text of the configuration file.
///
/// # Errors
/// Returns a [`Failure`] if it cannot be read or is not UTF-8.
fn text(args: &Args) -> Result<String, Failure> {
    let read = std::fs::read_to_string(&args.config);
    read.map_err(|why| Findings::unreadable(&args.config.display().to_string(), &why).into())
}

/// Reads the configuration file and its secrets, opens the store, and creates the engine, whose events are printed to
/// the log unless the output is JSON or quiet. Groups that do not exist are always printed as warnings. A DNS provider,
/// an authority, an alert sink or the database with a file that cannot be read is not an error, but not ready.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read, a setting is not valid, or the store cannot be opened. The failure
/// of one secret names all secrets that cannot be read.
pub(crate) fn load(args: &Args) -> Result<ActiveSetup, Failure> {
    let file = args.config.display().to_string();
    let text = text(args)?;
    let source = Source::parse(&file, &text, WORDS)?;
    let settings = Settings::read(&source, "")?;
    let given = settings.given();
    let setup = settings.build(LateSecrets::Files).map_err(|error| match error.finding(&source, "") {
        Some(finding) => {
            // The first secret that cannot be read ends the build; the others are named with it.
            let others = settings.unreadable();
            let others = others.iter().filter_map(|other| other.finding(&source, ""));
            Failure::from(Findings::new(others.chain([finding]).collect()))
        }
        None => Failure::Failed(error.to_string()),
    })?;
    let quiet = args.json || cli_support::verbosity::is_quiet();
    for group in &setup.unknown_groups {
        Priority::Warning.print(
            "acme-dns01",
            format_args!("there is no group `{group}`: files keep the group of the account"),
        );
    }
    let engine = setup.engine.observer(Arc::new(move |id, event| {
        if !quiet {
            let priority = if event.needs_attention() { Priority::Warning } else { Priority::Info };
            priority.print("acme-dns01", format_args!("{id}: {event}"));
        }
    }));
    let parts = setup.late;
    let late =
        parts.all().iter().filter_map(|part| Some((part.part.clone(), part.error.finding(&source, "")?)));
    let late = late.collect();
    let (certificates, unknown_groups) = (setup.certificates, setup.unknown_groups);
    Ok(ActiveSetup { engine: Arc::new(engine), certificates, unknown_groups, given, parts, late })
}
