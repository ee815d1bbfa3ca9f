//! The program edge-proxyd: parses the command line, and runs the command.

/// The global allocator of the program.
#[global_allocator]
static GLOBAL: allocator::BySize = allocator::BySize;

mod acme;
mod allocator;
mod authority;
mod cli;
mod commands;
mod config;
mod demo;
mod import;
mod journal;
mod key_fault;
mod log;
mod manual;
mod prove;
mod sandbox;
mod service;
mod shared;
mod status;
mod try_out;

use clap::CommandFactory;
use std::process::ExitCode;

/// Runs the launcher if this process was started as one; otherwise parses the command line and runs the command. Every
/// command except `run` exits when its output can no longer be written because the reader closed the pipe.
fn main() -> ExitCode {
    if let Some(code) = service::serve_as_launcher() {
        return code;
    }
    let mut cli = cli_support::usage::parse::<cli::Cli>("edge-proxyd");
    if let Err(failure) = cli.apply_json() {
        return failure.exit("edge-proxyd", true);
    }
    let cli::Cli { verbosity, json: _, command } = cli;
    verbosity.apply();
    // A daemon goes on when nobody reads its output.
    if !matches!(command, cli::Command::Run(_)) {
        cli_support::pipe::exit_on_broken_pipe();
    }
    match command {
        cli::Command::Check(args) => commands::check::run(&args).into(),
        cli::Command::Demo(args) => demo::run(&args),
        cli::Command::Explain(args) => commands::explain::run(*args).into(),
        cli::Command::Generate(what) => match what.run(cli::Cli::command(), &manual::MANUAL) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("edge-proxyd: {why}");
                ExitCode::FAILURE
            }
        },
        cli::Command::Import(args) => commands::import::run(&args).into(),
        cli::Command::Maintenance(args) => commands::maintenance::run(&args).into(),
        cli::Command::Reload(args) => commands::reload::run(&args).into(),
        cli::Command::Sandbox(args) => commands::sandbox::run(&args).into(),
        cli::Command::Schema => {
            // Contains only text and numbers, so serialisation cannot fail.
            println!("{}", serde_json::to_string_pretty(&config::schema()).unwrap_or_default());
            ExitCode::SUCCESS
        }
        cli::Command::Status(args) => commands::status::run(&args).into(),
        cli::Command::Try(args) => try_out::run(&args).into(),
        cli::Command::Run(args) => commands::run::run(&args).into(),
    }
}
