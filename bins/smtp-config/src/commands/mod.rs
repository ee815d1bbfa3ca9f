//! Subcommands that read and write files.

mod apply;
mod check;
mod explain;
mod migrate;
mod render;

use crate::args::{Args, Command};
use crate::manual::MANUAL;
use crate::{examine, trace};
use cli_support::outcome::{Done, Failure};
use smtp_config::Version;
use std::time::SystemTime;

/// Runs the subcommand, and prints its result and a caveat about the version of Forgejo.
///
/// # Errors
/// Returns the [`Failure`] of the subcommand.
pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    match &args.command {
        Command::Generate(what) => return what.outcome(<Args as clap::CommandFactory>::command(), &MANUAL),
        Command::Doctor { as_forgejo: Some(version), .. } => caveat(Version(*version), args.json),
        _ => caveat(args.version(), args.json),
    }
    match &args.command {
        Command::Generate(what) => what.outcome(<Args as clap::CommandFactory>::command(), &MANUAL),
        Command::Render { settings, to, format } => render::run(settings, *to, *format, args),
        Command::Check { file, user, fail_on } => check::run(file, user.as_deref(), *fail_on, args),
        Command::Explain { file } => explain::run(file, args),
        Command::Apply { app_ini, dry_run, run_user, settings } => {
            apply::run(app_ini, *dry_run, run_user.as_deref(), settings, args)
        }
        Command::Migrate { app_ini, to, dry_run } => migrate::run(app_ini, *to, *dry_run, args),
        Command::Doctor { what, wire, as_forgejo: Some(version), .. } => {
            examine::as_forgejo(what, wire, Version(*version), args)
        }
        Command::Doctor { what, wire, recipient, selectors, no_dns, no_ports, .. } => {
            let options = examine::DoctorOptions { recipient, selectors, dns: !no_dns, ports: !no_ports };
            examine::doctor(what, wire, options, args)
        }
        Command::SendTest { what, wire, to } => examine::send_test(what, wire, to, args),
        Command::Trace { what, wire, server } => trace::trace(what, wire, *server, args),
    }
}

/// Prints a note on standard error if the version of Forgejo is unknown, out of support by today's date, or not
/// examined as released. Nothing is printed if the output is JSON or the process is quiet.
fn caveat(version: Version, json: bool) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let date = smtp_config::date(now);
    let words: Vec<&str> = date.split(' ').collect();
    let [_, _, month, year, ..] = words[..] else { return };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month).and_then(|at| u32::try_from(at + 1).ok());
    let (Some(month), Ok(year)) = (month, year.parse()) else { return };
    if let Some(caveat) = version.caveat(year, month).filter(|_| !json) {
        cli_support::verbosity::note(&caveat.to_string());
    }
}
