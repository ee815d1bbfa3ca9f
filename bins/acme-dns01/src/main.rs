//! The acme-dns01 program: certificates by DNS-01, obtained, renewed, deployed and watched.

mod args;
mod commands;
mod daemon;
mod identity;
mod list;
mod load;
mod manual;
mod metrics;
mod reload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: args::Args = cli_support::usage::parse("acme-dns01");
    args.verbosity.apply();
    if !matches!(args.command, args::Command::Run { .. }) {
        cli_support::pipe::exit_on_broken_pipe();
    }
    match commands::run(&args) {
        Ok(done) => done.into(),
        Err(failure) => failure.exit("acme-dns01", args.json),
    }
}
