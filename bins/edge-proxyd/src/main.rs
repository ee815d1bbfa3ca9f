//! The edge proxy daemon.

mod acme;
mod cli;
mod commands;
mod config;
mod demo;
mod log;
mod status;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::parse().command {
        cli::Command::Check(args) => commands::check::run(&args).into(),
        cli::Command::Demo(args) => demo::run(&args),
        cli::Command::Explain(args) => commands::explain::run(&args).into(),
        cli::Command::Status(args) => commands::status::run(&args).into(),
        cli::Command::Run(args) => commands::run::run(&args).into(),
    }
}
