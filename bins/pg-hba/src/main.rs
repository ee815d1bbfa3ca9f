//! The pg-hba program: render, check, explain, compare and install `pg_hba.conf`.

mod args;
mod commands;
mod files;
mod install;
mod matrix;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(&args) {
        Ok(done) => done.into(),
        Err(failure) => failure.exit("pg-hba", args.json),
    }
}
