//! Integration test of all programs: the hosts of a small installation in network namespaces on one machine, and a
//! scenario of checks with a report.
//!
//! `cargo xtask homelab` builds the programs and runs this program. It requires root for the namespaces.

mod desec;
mod edges;
mod external;
mod facts;
mod front;
mod host;
mod internet;
mod lab;
mod postgres;
mod programs;
mod report;
mod scenario;
mod topology;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Text of the usage.
const USAGE: &str = "Usage: homelab [--two-edges] [--quick] [--report FILE]

  --two-edges     the scenario with two edges that share state, and lose a database and each other
  --quick         cut the tailnet for 4 s instead of 30 s
  --report FILE   file for the report; pages of the programs are saved beside it (default: in cargo's target folder)
";

/// Arguments of the command line, and the folder of the programs.
struct Arguments {
    two_edges: bool,
    quick: bool,
    report: PathBuf,
    programs: PathBuf,
}

/// Parses the command line, and checks that all programs exist.
///
/// # Errors
/// Returns the usage, or what is missing.
fn arguments() -> Result<Arguments, String> {
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let programs = program.parent().ok_or("this program has no parent folder")?.to_owned();
    let mut arguments =
        Arguments { two_edges: false, quick: false, report: PathBuf::new(), programs: programs.clone() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--two-edges" => arguments.two_edges = true,
            "--quick" => arguments.quick = true,
            "--report" => arguments.report = given.next().ok_or("--report requires a file")?.into(),
            _ => return Err(USAGE.to_owned()),
        }
    }
    if arguments.report.as_os_str().is_empty() {
        let name = if arguments.two_edges { "homelab-two-edges.html" } else { "homelab.html" };
        arguments.report = programs.join(name);
    }
    for name in ["edge-proxyd", "pg-ensure", "pg-hba", "upgrade-pg-cluster", "smtp-config"] {
        let path = arguments.programs.join(name);
        if !path.exists() {
            return Err(format!(
                "{} does not exist: run `cargo xtask homelab`, which builds it",
                path.display()
            ));
        }
    }
    for (path, package) in [
        ("/usr/bin/tcpdump", "tcpdump"),
        ("/usr/bin/knsupdate", "knot-dnsutils"),
        ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "libfaketime"),
    ] {
        if !PathBuf::from(path).exists() {
            return Err(format!("{path} does not exist (package {package}): run `cargo xtask tools` first"));
        }
    }
    Ok(arguments)
}

/// Runs a scenario, and writes its report. Returns `true` if all checks passed.
///
/// # Errors
/// Returns the reason why the scenario could not begin, or the report could not be written.
fn run() -> Result<bool, String> {
    let arguments = arguments()?;
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces require root: run `sudo cargo xtask homelab`".to_owned());
    }
    let folder =
        tempfile::Builder::new().prefix("homelab-").tempdir_in("/tmp").map_err(|why| why.to_string())?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(|why| why.to_string())?;
    let facts = facts::Facts::new();
    let topology = topology::Topology::new(folder.path(), &arguments.programs, arguments.two_edges)?;
    let (ended, text) = if arguments.two_edges {
        two_edges(topology, &facts)?
    } else {
        one_edge(topology, &facts, &arguments)?
    };
    std::fs::write(&arguments.report, text)
        .map_err(|why| format!("{}: {why}", arguments.report.display()))?;
    if let Err(why) = ended {
        println!("homelab: stopped early: {why}");
        return Ok(false);
    }
    println!(
        "homelab: {} checks, {} failed, {:.0} s; {}",
        facts.all().len(),
        facts.failed(),
        facts.elapsed().as_secs_f64(),
        arguments.report.display()
    );
    Ok(facts.failed() == 0)
}

/// Result of a scenario, an error if it ended early, and its report as HTML.
type ScenarioResult = (Result<(), String>, String);

/// Runs the scenario with one edge.
///
/// # Errors
/// Returns a description if the hosts cannot be started. A failed check is part of the result.
fn one_edge(
    topology: topology::Topology,
    facts: &facts::Facts,
    arguments: &Arguments,
) -> Result<ScenarioResult, String> {
    let lab = lab::Lab::new(topology)?;
    println!("homelab: eight hosts are up after {:.1} s", facts.elapsed().as_secs_f64());
    let pace = scenario::Pace {
        tailnet_away: Duration::from_secs(if arguments.quick { 4 } else { 30 }),
        pages: arguments.report.parent().unwrap_or(Path::new("")).to_owned(),
    };
    let ended = scenario::run(&lab, facts, &pace);
    Ok((ended, report::html(&report::ONE_EDGE, facts, &lab.topology, &lab.external)))
}

/// Runs the scenario with two edges.
///
/// # Errors
/// Returns a description if the hosts cannot be started. A failed check is part of the result.
fn two_edges(topology: topology::Topology, facts: &facts::Facts) -> Result<ScenarioResult, String> {
    let edges = edges::TwoEdgeLab::new(topology)?;
    println!("homelab: two edges and two nodes are up after {:.1} s", facts.elapsed().as_secs_f64());
    let ended = edges::run(&edges, facts);
    Ok((ended, report::html(&report::TWO_EDGES, facts, &edges.topology, &edges.external)))
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("init") {
        host::init();
    }
    // The internet of `cargo xtask boot`.
    if let [_, mode, folder] = std::env::args().collect::<Vec<_>>().as_slice()
        && mode == "internet"
    {
        return match internet::serve(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("homelab internet: {why}");
                ExitCode::FAILURE
            }
        };
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("homelab: {}", why.trim_end());
            ExitCode::from(2)
        }
    }
}
