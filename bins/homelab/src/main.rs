//! The owner's hosts on one machine, in namespaces of the kernel, and a day of theirs: a line a fact, a report at the end.
//!
//! `cargo xtask homelab` builds the programs and runs this. It takes root, for the namespaces.

mod day;
mod facts;
mod front;
mod host;
mod lab;
mod report;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: homelab [--quick] [--report FILE]

  --quick         the tailnet is away for 4 s instead of 30
  --report FILE   where the report is written, and pages of the programs beside it; beside what cargo builds unless given
";

struct Arguments {
    quick: bool,
    report: PathBuf,
    programs: PathBuf,
}

fn arguments() -> Result<Arguments, String> {
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let programs = program.parent().ok_or("no folder of programs")?.to_owned();
    let mut arguments = Arguments { quick: false, report: programs.join("homelab.html"), programs };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--quick" => arguments.quick = true,
            "--report" => arguments.report = given.next().ok_or("--report takes a file")?.into(),
            _ => return Err(USAGE.to_owned()),
        }
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
    let lab = lab::Lab::new(world::World::new(folder.path(), &arguments.programs)?)?;
    println!("homelab: eight hosts and the internet are up after {:.1} s", facts.elapsed().as_secs_f64());
    let pace = day::Pace {
        tailnet_away: Duration::from_secs(if arguments.quick { 4 } else { 30 }),
        pages: arguments.report.parent().unwrap_or(Path::new("")).to_owned(),
    };
    let day = day::run(&lab, &facts, &pace);
    let text = report::html(&facts, &lab);
    std::fs::write(&arguments.report, text)
        .map_err(|why| format!("{}: {why}", arguments.report.display()))?;
    if let Err(why) = day {
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
