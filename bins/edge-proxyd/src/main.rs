//! The edge proxy daemon.

mod acme;
mod cli;
mod commands;
mod config;
mod demo;
mod log;
mod service;
mod status;

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::parse().command {
        cli::Command::Check(args) => commands::check::run(&args).into(),
        cli::Command::Demo(args) => demo::run(&args),
        cli::Command::Explain(args) => commands::explain::run(&args).into(),
        cli::Command::Generate(what) => match what.run(cli::Cli::command()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("edge-proxyd: {why}");
                ExitCode::FAILURE
            }
        },
        cli::Command::Status(args) => commands::status::run(&args).into(),
        cli::Command::Run(args) => commands::run::run(&args).into(),
    }
}
