//! The owner's hosts on one machine, in namespaces of the kernel, and a day of theirs: a line a fact, a report at the end.
//!
//! `cargo xtask homelab` builds the programs and runs this. It takes root, for the namespaces.

mod day;
mod edges;
mod facts;
mod front;
mod host;
mod lab;
mod outside;
mod postgres;
mod programs;
mod report;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: homelab [--two-edges] [--quick] [--report FILE]

  --two-edges     the other form: two edges that share what they know, and lose a database, and each other
  --quick         the tailnet is away for 4 s instead of 30
  --report FILE   where the report is written, and pages of the programs beside it; beside what cargo builds unless given
";

struct Arguments {
    two_edges: bool,
    quick: bool,
    report: PathBuf,
    programs: PathBuf,
}

fn arguments() -> Result<Arguments, String> {
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let programs = program.parent().ok_or("no folder of programs")?.to_owned();
    let mut arguments =
        Arguments { two_edges: false, quick: false, report: PathBuf::new(), programs: programs.clone() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--two-edges" => arguments.two_edges = true,
            "--quick" => arguments.quick = true,
            "--report" => arguments.report = given.next().ok_or("--report takes a file")?.into(),
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
                "{} is not there: run `cargo xtask homelab`, which builds it",
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
            return Err(format!("{path} ({package}) is not there: run `cargo xtask tools` first"));
        }
    }
    Ok(arguments)
}

fn run() -> Result<bool, String> {
    let arguments = arguments()?;
    if !rustix::process::geteuid().is_root() {
        return Err("namespaces take root: sudo cargo xtask homelab".to_owned());
    }
    let folder =
        tempfile::Builder::new().prefix("homelab-").tempdir_in("/tmp").map_err(|why| why.to_string())?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(|why| why.to_string())?;
    let facts = facts::Facts::new();
    let world = world::World::new(folder.path(), &arguments.programs, arguments.two_edges)?;
    let (ended, text) =
        if arguments.two_edges { two_edges(world, &facts)? } else { day(world, &facts, &arguments)? };
    std::fs::write(&arguments.report, text)
        .map_err(|why| format!("{}: {why}", arguments.report.display()))?;
    if let Err(why) = ended {
        println!("homelab: it ended early: {why}");
        return Ok(false);
    }
    println!(
        "homelab: {} facts, {} fail, {:.0} s; {}",
        facts.all().len(),
        facts.failed(),
        facts.elapsed().as_secs_f64(),
        arguments.report.display()
    );
    Ok(facts.failed() == 0)
}

/// How a form ended, and its report.
type Ended = (Result<(), String>, String);

fn day(world: world::World, facts: &facts::Facts, arguments: &Arguments) -> Result<Ended, String> {
    let lab = lab::Lab::new(world)?;
    println!("homelab: eight hosts and the internet are up after {:.1} s", facts.elapsed().as_secs_f64());
    let pace = day::Pace {
        tailnet_away: Duration::from_secs(if arguments.quick { 4 } else { 30 }),
        pages: arguments.report.parent().unwrap_or(Path::new("")).to_owned(),
    };
    let ended = day::run(&lab, facts, &pace);
    Ok((ended, report::html(&report::DAY, facts, &lab.world, &lab.outside)))
}

fn two_edges(world: world::World, facts: &facts::Facts) -> Result<Ended, String> {
    let edges = edges::Edges::new(world)?;
    println!(
        "homelab: two edges, two nodes and the internet are up after {:.1} s",
        facts.elapsed().as_secs_f64()
    );
    let ended = edges::run(&edges, facts);
    Ok((ended, report::html(&report::TWO_EDGES, facts, &edges.world, &edges.outside)))
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("init") {
        host::init();
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
