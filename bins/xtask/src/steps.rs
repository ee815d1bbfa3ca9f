//! The steps of `cargo xtask test`, ordered so that the cheapest failures come first.

use crate::process::{Outcome, cargo, root, step, tools_folder};
use crate::registry::LIBRARIES;
use crate::{
    applications, book, boot, conformance, cycles, dist, flake, homelab, instructions, nix, package, prose,
    purity, registry, testing, tools,
};
use std::process::Command;
use std::time::Instant;

/// Runs every step.
pub(crate) fn test() -> Outcome {
    let began = Instant::now();
    // It waits for downloads while the checks below keep the processors busy.
    let installing = std::thread::spawn(tools::install);
    step("formatting", cargo(&["fmt", "--all", "--check"]))?;
    step(
        "clippy",
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    purity::check()?;
    prose::check()?;
    cycles::check()?;
    for library in LIBRARIES {
        let args =
            ["clippy", "--locked", "--no-default-features", "--package", library, "--", "-D", "warnings"];
        step(&format!("clippy {library} without its features"), cargo(&args))?;
    }
    // Clippy has checked the benchmarks; they are built only to measure.
    step("build", cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]))?;
    installing.join().map_err(|_| "installing the tools panicked".to_owned())??;
    book::check()?;
    testing::run()?;
    // They mostly wait.
    let scenarios = [("homelab", &[][..]), ("homelab-two-edges", &["--two-edges"])];
    let scenarios = scenarios.into_iter().map(|(name, form)| homelab::Scenario::begin(name, form));
    let mut scenarios = scenarios.collect::<Result<Vec<_>, _>>()?;
    scenarios.push(applications::begin()?);
    instructions::run(&[])?;
    package::prove()?;
    dist::debug()?;
    boot::prove()?;
    boot::read_book()?;
    nix::prove(None)?;
    flake::prove()?;
    conformance::quick()?;
    step(
        "documentation",
        cargo(&["doc", "--workspace", "--all-features", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    deny()?;
    registry::prove()?;
    for scenario in scenarios {
        scenario.end()?;
    }
    println!("xtask: everything passed in {} s", began.elapsed().as_secs());
    Ok(())
}

/// Checks licenses, bans and sources always, and advisories if their database can be reached.
fn deny() -> Outcome {
    let program = tools_folder().join("bin/cargo-deny");
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--all-features", "--locked", "check", "--hide-inclusion-graph"]).args(what);
        command.current_dir(root());
        command
    };
    step("cargo-deny: licenses, bans, sources", &mut check(&["licenses", "bans", "sources"]))?;
    let reached = Command::new("git")
        .args(["ls-remote", "--exit-code", "https://github.com/rustsec/advisory-db", "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .is_ok_and(|output| output.status.success());
    if reached {
        step("cargo-deny: advisories", &mut check(&["advisories"]))
    } else {
        println!(
            "xtask: cargo-deny: advisories: not checked, since their database cannot be reached from here"
        );
        Ok(())
    }
}
