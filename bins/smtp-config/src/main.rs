//! The program smtp-config: renders, checks, explains, applies and migrates Forgejo's mailer settings, and examines its
//! mail servers.

mod args;
mod commands;
mod examine;
mod files;
mod manual;
mod open_quote;
mod password;
mod redaction;
mod reference;
mod settings;
mod settings_file;
mod trace;
mod written;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli_support::pipe::exit_on_broken_pipe();
    let args: args::Args = cli_support::usage::parse("smtp-config");
    args.verbosity.apply();
    match commands::run(&args) {
        Ok(done) => done.into(),
        Err(failure) => failure.exit("smtp-config", args.json),
    }
}
