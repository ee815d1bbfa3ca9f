//! The upgrade-pg-cluster program: a major upgrade of a PostgreSQL cluster that cannot lose data.

mod account;
mod args;
mod commands;
mod concern;
mod hba;
mod manual;
mod progress;
mod service;
mod views;

use std::process::ExitCode;

/// Name of the program.
const NAME: &str = "upgrade-pg-cluster";

fn main() -> ExitCode {
    cli_support::pipe::exit_on_broken_pipe();
    let called = std::env::args().next().unwrap_or_default();
    let concern::Line { args, unused } = cli_support::usage::parse(NAME);
    args.verbosity.apply();
    if !account::is_child() {
        unused.iter().for_each(|unused| cli_support::verbosity::note(unused));
    }
    match commands::run(&args, &called) {
        Ok(code) => code,
        Err(failure) => failure.exit(NAME, args.json),
    }
}
