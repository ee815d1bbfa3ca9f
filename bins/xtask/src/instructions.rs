//! `cargo xtask instructions`: how many instructions the hot paths take, beside what was recorded. Times depend on who else is on a
//! machine; instructions do not.

use crate::steps::{Outcome, cargo, root, step, target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a path may take more than was recorded. A change elsewhere moves what is inlined by several percent, and other processors
/// have other vector instructions.
const TOLERANCE: f64 = 0.15;
/// How often a path is run: the difference of both is what is counted, so that what is done once is not.
const COUNTS: [u32; 2] = [200, 1200];

/// Counts, and compares or records.
pub(crate) fn run(record: bool) -> Outcome {
    let build = ["build", "--release", "--locked", "--quiet", "--package", "hot-paths"];
    step("hot-paths: building", cargo(&build))?;
    let program = target().join("release/hot-paths");
    let known = read()?;
    let mut found = BTreeMap::new();
    let mut worse = Vec::new();
    for path in paths(&program)? {
        let [few, many] = COUNTS.map(|count| counted(&program, &path, count));
        let each = (many? - few?) / u64::from(COUNTS[1] - COUNTS[0]);
        let before = known.get(&path).copied();
        let change = before.map_or(f64::NAN, |before| each as f64 / before as f64 - 1.0);
        println!("xtask: {path:<14} {each:>7} instructions, {:+.1} %", change * 100.0);
        if before.is_none() || change > TOLERANCE {
            worse.push(path.clone());
        }
        found.insert(path, each);
    }
    if record {
        let lines: Vec<String> = found.iter().map(|(path, each)| format!("{path} {each}\n")).collect();
        return std::fs::write(file(), lines.concat()).map_err(|why| format!("{}: {why}", file().display()));
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} took more than {:.0} % beyond what {} has: find out why, or record it by cargo xtask instructions --record",
        worse.join(", "),
        TOLERANCE * 100.0,
        file().display()
    ))
}

fn file() -> PathBuf {
    root().join("bins/hot-paths/instructions.txt")
}

/// What was recorded: a path and its instructions a line.
fn read() -> Result<BTreeMap<String, u64>, String> {
    let text = match std::fs::read_to_string(file()) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other.map_err(|why| format!("{}: {why}", file().display()))?,
    };
    let line = |line: &str| {
        line.split_once(' ').and_then(|(path, each)| Some((path.to_owned(), each.parse().ok()?)))
    };
    text.lines()
        .map(|text| line(text).ok_or_else(|| format!("{}: `{text}` is no path and number", file().display())))
        .collect()
}

fn paths(program: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(program).output().map_err(|why| format!("{}: {why}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// All instructions of one run.
fn counted(program: &Path, path: &str, count: u32) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).arg(path);
    let output = command.arg(count.to_string()).output().map_err(|why| format!("{command:?}: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let total = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    total.filter(|_| output.status.success()).ok_or_else(|| format!("{command:?}: {said}"))
}
