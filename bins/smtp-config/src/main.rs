//! The smtp-config program: render, check, explain and apply Forgejo's mailer settings.

mod args;
mod commands;
mod install;
mod report;
mod secret;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(&args) {
        Ok(done) => done.into(),
        Err(failure) => {
            failure.print(args.json);
            ExitCode::from(failure.code())
        }
    }
}
