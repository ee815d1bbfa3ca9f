//! The project's own commands. `cargo xtask test` does everything a change must pass, on a fresh machine too.

mod bench;
mod clients;
mod icu;
mod postgres;
mod purity;
mod steps;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test          install what the tests need, then run every check
  tools         only install what the tests need
  bench [ARGS]  measure edge-proxyd beside nginx, HAProxy, Caddy and pingora; without arguments everything, written
                into edge-proxy/BENCHMARKS.md. --only WORKLOAD, --contender NAME, --rounds N, --seconds N
  purity        only prove that the pure cores have no runtime in their dependency tree
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let extra: Vec<String> = args.collect();
    let outcome = match (command.as_deref(), extra.as_slice()) {
        (Some("test"), []) => steps::test(),
        (Some("tools"), []) => tools::install(),
        (Some("bench"), extra) => bench::run(extra),
        (Some("purity"), []) => purity::check(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
