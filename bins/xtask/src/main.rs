//! The project's own commands. `cargo xtask test` does everything a change must pass, on a fresh machine too.

mod clients;
mod icu;
mod judges;
mod postgres;
mod purity;
mod steps;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test          install what the tests need, then run every check
  judges        what others wrote to find fault with servers, against edge-proxyd and nginx; writes edge-proxy/JUDGES.md
  tools         only install what the tests need
  purity        only prove that the pure cores have no runtime in their dependency tree
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let extra: Vec<String> = args.collect();
    let outcome = match (command.as_deref(), extra.as_slice()) {
        (Some("test"), []) => steps::test(),
        (Some("judges"), []) => judges::all(),
        (Some("tools"), []) => tools::install(),
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
