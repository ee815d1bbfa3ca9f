//! The steps of `cargo xtask test`, in the order in which a mistake is cheapest to find.

use crate::{homelab, instructions, judges, nix, package, purity, registry, testing, tools};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The libraries that are published.
pub(crate) const LIBRARIES: &[&str] = &["acme-dns01", "edge-proxy", "pg-ensure", "pg-hba", "smtp-config"];

/// The programs that are published.
pub(crate) const PROGRAMS: &[&str] = &[
    "acme-dns01-cli",
    "cli-support",
    "edge-proxyd",
    "pg-ensure-cli",
    "pg-hba-cli",
    "smtp-config-cli",
    "upgrade-pg-cluster",
];

/// A failed step, as one line.
pub(crate) type Outcome = Result<(), String>;

/// Runs everything.
pub(crate) fn test() -> Outcome {
    let began = Instant::now();
    tools::install()?;
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
    for library in LIBRARIES {
        let args =
            ["clippy", "--locked", "--no-default-features", "--package", library, "--", "-D", "warnings"];
        step(&format!("clippy {library} without its features"), cargo(&args))?;
    }
    // Benchmarks were looked at by clippy; they are built when somebody measures.
    step("build", cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]))?;
    testing::run()?;
    // They wait more than they work.
    let days = [("homelab", &[][..]), ("homelab-two-edges", &["--two-edges"])];
    let days = days.into_iter().map(|(name, form)| homelab::Day::begin(name, form));
    let days = days.collect::<Result<Vec<_>, _>>()?;
    instructions::run(&[])?;
    package::prove()?;
    nix::prove(None)?;
    judges::quick()?;
    step(
        "documentation",
        cargo(&["doc", "--workspace", "--all-features", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    deny()?;
    registry::prove()?;
    for day in days {
        day.end()?;
    }
    println!("xtask: everything passed in {} s", began.elapsed().as_secs());
    Ok(())
}

/// Licences, bans and sources always; advisories where their database can be reached.
fn deny() -> Outcome {
    let program = tools::directory().join("bin/cargo-deny");
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--all-features", "--locked", "check", "--hide-inclusion-graph"]).args(what);
        command.current_dir(root());
        command
    };
    step("cargo-deny: licences, bans, sources", &mut check(&["licenses", "bans", "sources"]))?;
    let reached = Command::new("git")
        .args(["ls-remote", "--exit-code", "https://github.com/rustsec/advisory-db", "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .is_ok_and(|output| output.status.success());
    if reached {
        step("cargo-deny: advisories", &mut check(&["advisories"]))
    } else {
        println!("xtask: cargo-deny: advisories: their database cannot be reached from here, so not checked");
        Ok(())
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace exists")
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A cargo command at the root of the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs one command, says what and how long, and fails with the command's own words above.
pub(crate) fn step(what: &str, mut command: impl std::borrow::BorrowMut<Command>) -> Outcome {
    let command = command.borrow_mut();
    println!("xtask: {what} …");
    let began = Instant::now();
    let status = command.status().map_err(|why| format!("{what}: cannot run {command:?}: {why}"))?;
    if !status.success() {
        return Err(format!("{what}: {command:?} ended with {status}"));
    }
    println!("xtask: {what}: passed in {} s", began.elapsed().as_secs());
    Ok(())
}
