//! The upgrade-pg-cluster program: a major upgrade of a PostgreSQL cluster that cannot lose data.

mod account;
mod args;
mod commands;
mod hba;
mod progress;
mod service;
mod views;

use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;

const NAME: &str = "upgrade-pg-cluster";

fn main() -> ExitCode {
    cli_support::pipe::exit_on_broken_pipe();
    let called = std::env::args().next().unwrap_or_default();
    let matches = args::Args::command().get_matches();
    let args = match args::Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(why) => why.exit(),
    };
    match commands::run(&args, &called) {
        Ok(code) => code,
        Err(failure) => failure.exit(NAME, args.json),
    }
}
