//! The smtp-config program: Forgejo's mailer settings rendered, checked, explained and applied; its server examined.

mod args;
mod commands;
mod examine;
mod files;
mod settings;
mod trace;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(&args) {
        Ok(done) => done.into(),
        Err(failure) => failure.exit("smtp-config", args.json),
    }
}
