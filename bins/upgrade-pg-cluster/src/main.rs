//! The upgrade-pg-cluster program: a major upgrade of a PostgreSQL cluster that cannot lose data.

mod account;
mod args;
mod commands;
mod hba;
mod manual;
mod progress;
mod service;
mod views;

use std::process::ExitCode;

const NAME: &str = "upgrade-pg-cluster";

fn main() -> ExitCode {
    cli_support::pipe::exit_on_broken_pipe();
    let called = std::env::args().next().unwrap_or_default();
    let args: args::Args = cli_support::usage::parse(NAME);
    args.verbosity.apply();
    match commands::run(&args, &called) {
        Ok(code) => code,
        Err(failure) => failure.exit(NAME, args.json),
    }
}
