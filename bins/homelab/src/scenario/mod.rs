//! The scenario of the hosts with one edge, one file per chapter.

mod certificates;
mod clients;
mod databases;
mod early;
mod early_quic;
mod faults;
mod mail;
mod pages;
mod silence;
mod sites;
mod upgrade;

use crate::facts::Facts;
use crate::lab::Lab;
use std::path::PathBuf;
use std::time::Duration;

/// Parameters of a scenario.
pub(crate) struct Pace {
    /// Duration of the loss of the tailnet.
    pub(crate) tailnet_away: Duration,
    /// Folder for saved pages.
    pub(crate) pages: PathBuf,
}

/// Runs all chapters, and adds the results of their checks to `facts`; independent chapters run in parallel.
///
/// # Errors
/// Returns the reason why the remaining chapters cannot run.
pub(crate) fn run(lab: &Lab, facts: &Facts, pace: &Pace) -> Result<(), String> {
    databases::boot(lab, facts)?;
    certificates::issue(lab, facts)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            databases::logins(lab, facts);
            databases::rotation(lab, facts);
            upgrade::run(lab, facts);
            databases::restart(lab, facts);
        });
        scope.spawn(|| mail::run(lab, facts));
        scope.spawn(|| {
            clients::run(lab, facts);
            silence::run(lab, facts);
            sites::run(lab, facts);
            early::run(lab, facts);
            faults::node_dies(lab, facts);
            // The renewal may take more than a minute here.
            certificates::renewal(lab, facts);
        });
    });
    pages::keep(lab, facts, &pace.pages);
    faults::run(lab, facts, pace);
    Ok(())
}
