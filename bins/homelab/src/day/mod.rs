//! The owner's day, a chapter a file.

mod certificates;
mod clients;
mod databases;
mod early;
mod early_quic;
mod faults;
mod mail;
mod pages;
mod silence;
mod upgrade;

use crate::facts::Facts;
use crate::lab::Lab;
use std::path::PathBuf;
use std::time::Duration;

/// How a day is run.
pub(crate) struct Pace {
    /// How long the tailnet is away.
    pub(crate) tailnet_away: Duration,
    /// Where pages are kept.
    pub(crate) pages: PathBuf,
}

/// All of it. What does not depend on each other goes on at the same time.
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
            early::run(lab, facts);
            faults::node_dies(lab, facts);
            // What renews waits its minute meanwhile.
            certificates::renewal(lab, facts);
        });
    });
    pages::keep(lab, facts, &pace.pages);
    faults::run(lab, facts, pace);
    Ok(())
}
