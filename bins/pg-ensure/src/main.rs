//! The pg-ensure program: PostgreSQL's databases, roles, ownership and passwords, made true.

mod args;
mod commands;
mod connect;
mod hba;
mod libpq;
mod manifest;
mod manual;
mod record;
mod report;
mod runtime;
mod saved;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli_support::pipe::exit_on_broken_pipe();
    let args: args::Args = cli_support::usage::parse("pg-ensure");
    args.verbosity.apply();
    match commands::run(&args) {
        Ok(done) => done.into(),
        Err(failure) => failure.exit("pg-ensure", args.json),
    }
}
