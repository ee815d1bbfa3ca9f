//! The project's own commands. `cargo xtask test` does everything a change must pass, on a fresh machine too.

mod bench;
mod clients;
mod fuzz;
mod homelab;
mod icu;
mod instructions;
mod judges;
mod nix;
mod package;
mod postgres;
mod purity;
mod registry;
mod screenshots;
mod soak;
mod steps;
mod testing;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test          install what the tests need, then run every check
  homelab [-- --two-edges]
                build the programs and run a day of the owner's hosts in namespaces of this machine, or one of two edges that
                share what they know; ends with a report
  package       build the programs as they are released, and a Debian package of each; with --static linked with musl, so
                that they run on any Linux; with --prove package what is built for tests, install it into a root of its own,
                look at it there, and purge it
  nix [--lib NIXPKGS/lib]
                build the programs and prove the NixOS modules: whole hosts evaluated, by nixpkgs' own lib where one is named
  fuzz [--minutes N] [--at-once] [TARGET…]
                every fuzz target, or these, N minutes each (1), one after another or at the same time
  judges        what others wrote to find fault with servers, against edge-proxyd and nginx; writes edge-proxy/JUDGES.md
  screenshots [--again]
                the pictures in the documentation: a short day of the hosts, or the last one, and Chromium
  soak [--minutes N]
                everything at once for N minutes (10)
  tools         only install what the tests need
  bench [ARGS]  measure edge-proxyd beside nginx, HAProxy, Caddy and pingora; without arguments everything, written
                into edge-proxy/BENCHMARKS.md. --only WORKLOAD, --contender NAME, --rounds N, --seconds N
  instructions [--record]
                count the instructions of the hot paths against bins/hot-paths/instructions.txt, or record them there
  registry      only make the packages that are published, and prove that they hold what they need
  purity        only prove that the pure cores have no runtime in their dependency tree
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let extra: Vec<String> = args.collect();
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    let outcome = match (command.as_deref(), extra.as_slice()) {
        (Some("test"), []) => steps::test(),
        (Some("homelab"), ["--", arguments @ ..] | arguments) => homelab::whole(arguments),
        (Some("package"), []) => package::release(),
        (Some("package"), ["--static"]) => package::release_static(),
        (Some("package"), ["--prove"]) => package::prove(),
        (Some("nix"), []) => nix::whole(None),
        (Some("nix"), ["--lib", lib]) => nix::whole(Some(lib)),
        (Some("fuzz"), arguments) => fuzz::Session::parse(arguments).and_then(|session| fuzz::run(&session)),
        (Some("soak"), []) => soak::run(10),
        (Some("soak"), ["--minutes", minutes]) => number(minutes).and_then(soak::run),
        (Some("screenshots"), []) => screenshots::take(true),
        (Some("screenshots"), ["--again"]) => screenshots::take(false),
        (Some("judges"), []) => judges::all(),
        (Some("tools"), []) => tools::install(),
        (Some("bench"), extra) => bench::run(extra),
        (Some("instructions"), extra) => instructions::run(extra),
        (Some("registry"), []) => registry::prove(),
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

fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=1440).contains(number))
        .ok_or_else(|| format!("{text} is no number of minutes from 1 to 1440"))
}
