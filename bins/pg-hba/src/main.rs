//! The program pg-hba: renders, checks, explains, compares and installs `pg_hba.conf`.

mod args;
mod commands;
mod explain;
mod files;
mod hosts;
mod ident;
mod install;
mod manual;
mod matrix;
mod server;
mod structured;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli_support::pipe::exit_on_broken_pipe();
    let args: args::Args = cli_support::usage::parse("pg-hba");
    args.verbosity.apply();
    match commands::run(&args) {
        Ok(done) => done.into(),
        Err(failure) => failure.exit("pg-hba", args.json),
    }
}
