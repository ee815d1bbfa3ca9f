//! `cargo xtask full`: the long form of every check, and its report in the tree.
//!
//! The report is a table with a row for each step: when and at which commit it last ran, the last line of its output,
//! and its duration. Steps that are named on the command line replace their rows only.

use crate::process::{Outcome, root};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A step: its name, the arguments of cargo that run it alone, and additional environment variables.
struct LongStep {
    name: &'static str,
    command: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

/// All steps, in the order in which they run.
const STEPS: &[LongStep] = &[
    xtask("test", &["xtask", "test"]),
    xtask("conformance", &["xtask", "conformance"]),
    xtask("homelab", &["xtask", "homelab"]),
    xtask("homelab-two-edges", &["xtask", "homelab", "--", "--two-edges"]),
    xtask("applications", &["xtask", "applications"]),
    xtask("network", &["xtask", "network"]),
    xtask("boot", &["xtask", "boot", "--full"]),
    xtask("dist", &["xtask", "dist"]),
    xtask("book", &["xtask", "book"]),
    xtask("import-random", &["xtask", "import-random", "2000"]),
    LongStep {
        name: "mailer-oracle",
        // Optimised, since it compares millions of sections.
        command: &[
            "--config",
            "profile.dev.package.smtp-config.opt-level=2",
            "test",
            "--locked",
            "-p",
            "smtp-config",
            "--all-features",
            "--test",
            "oracle",
            "--test",
            "sessions",
        ],
        env: &[("SMTP_CONFIG_ORACLE", "full")],
    },
    LongStep {
        name: "rehearsal",
        command: &["test", "--locked", "--workspace", "--all-features", "--test", "upgrade", "interval"],
        env: &[("UPGRADE_INTERVAL", "full")],
    },
    xtask("soak", &["xtask", "soak", "--minutes", "10"]),
    xtask("fuzz", &["xtask", "fuzz", "--minutes", "1"]),
    xtask("bench", &["xtask", "bench"]),
    xtask("bench-curves", &["xtask", "bench", "--curves"]),
];

/// Creates a step without environment variables.
const fn xtask(name: &'static str, command: &'static [&'static str]) -> LongStep {
    LongStep { name, command, env: &[] }
}

/// Beginning of the report.
const HEAD: &str = "\
# The long form of the tests

`cargo xtask full` runs the long form of every check and writes this table; `cargo xtask full STEP…` runs the named steps and
replaces their rows. A row holds for the commit that it names.

| step | command | result | seconds | commit | date | the last line that it printed |
|-|-|-|-|-|-|-|
";

/// Table of the last runs: the row of each step, by its name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report(Vec<(String, String)>);

impl Report {
    /// Parses the rows of a report. Rows of unknown steps are omitted.
    fn parse(text: &str) -> Self {
        let name = |line: &str| {
            line.strip_prefix("| ").and_then(|line| line.split_once(" |")).map(|(name, _)| name.to_owned())
        };
        let rows = text.lines().filter_map(|line| Some((name(line)?, line.to_owned())));
        Self(rows.filter(|(name, _)| STEPS.iter().any(|step| step.name == name)).collect())
    }

    /// Replaces the row of a step.
    fn set(&mut self, name: &str, row: String) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), row));
    }

    /// Formats the report, with its rows in the order of the steps.
    fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        for step in STEPS {
            match self.0.iter().find(|(name, _)| name == step.name) {
                Some((_, row)) => writeln!(text, "{row}"),
                None => writeln!(text, "| {} | `{}` | not run | | | | |", step.name, command_text(step)),
            }
            .expect("a string takes it");
        }
        text
    }
}

/// Runs every step, or the named ones, also after a failure, and writes the report after each.
///
/// # Errors
/// Returns the names of the failed steps, or an unknown name.
pub(crate) fn run(named: &[&str]) -> Outcome {
    if let Some(unknown) = named.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let known: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("{unknown} is not a step: {}", known.join(", ")));
    }
    let mut failed = Vec::new();
    for step in STEPS.iter().filter(|step| named.is_empty() || named.contains(&step.name)) {
        println!("xtask: full: {} …", step.name);
        let began = Instant::now();
        let (passed, last) = walk(step)?;
        if !passed {
            failed.push(step.name);
        }
        let row = format!(
            "| {} | `{}` | {} | {} | {} | {} | {} |",
            step.name,
            command_text(step),
            if passed { "passed" } else { "**failed**" },
            began.elapsed().as_secs(),
            commit()?,
            first_line("date", &["-u", "+%Y-%m-%d"])?,
            last.replace('|', "\\|"),
        );
        // Written after each step, so that its row is kept if a later one is interrupted.
        let path = path();
        let mut report = Report::parse(&std::fs::read_to_string(&path).unwrap_or_default());
        report.set(step.name, row);
        std::fs::write(&path, report.to_text()).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("full: failed: {}", failed.join(", "))) }
}

/// Returns the path of the report.
fn path() -> PathBuf {
    root().join("bins/xtask/full.md")
}

/// Returns the abbreviated hash of the current commit, with `-dirty` if files other than the report were changed.
///
/// # Errors
/// Returns a description if git cannot be run.
fn commit() -> Result<String, String> {
    let commit = first_line("git", &["describe", "--always", "--exclude", "*"])?;
    let changed = first_line("git", &["status", "--porcelain", "--", ".", ":!bins/xtask/full.md"])?;
    Ok(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

/// Returns the command as it is typed.
fn command_text(step: &LongStep) -> String {
    let env = step.env.iter().map(|(name, value)| format!("{name}={value} "));
    format!("{}cargo {}", env.collect::<String>(), step.command.join(" "))
}

/// Runs a step and prints its output. Returns `true` if it passed, and the last line of its standard output that is not
/// blank.
///
/// # Errors
/// Returns a description if the command cannot be run, or its output cannot be read. A failed step is not an error.
fn walk(step: &LongStep) -> Result<(bool, String), String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(step.command).envs(step.env.iter().copied()).current_dir(root());
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|why| format!("{command:?}: {why}"))?;
    let mut last = String::new();
    let output = child.stdout.take().expect("it is piped");
    for line in BufReader::new(output).split(b'\n') {
        let line = line.map_err(|why| format!("{command:?}: {why}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if !line.trim().is_empty() {
            line.trim().clone_into(&mut last);
        }
    }
    let _ = std::io::stdout().flush();
    let status = child.wait().map_err(|why| format!("{command:?}: {why}"))?;
    Ok((status.success(), last))
}

/// Returns the first line of a command's standard output. Empty if there is none.
///
/// # Errors
/// Returns a description if the command cannot be run; its exit status does not count.
fn first_line(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).current_dir(root()).output();
    let output = output.map_err(|why| format!("{program}: {why}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_replaced_and_kept_in_order() {
        let mut report = Report::parse("| soak | earlier |\n| gone | x |\n| bench | b |\n");
        report.set("soak", "| soak | new |".into());
        let text = report.to_text();
        assert!(
            text.contains("| soak | new |") && !text.contains("earlier") && !text.contains("gone"),
            "{text}"
        );
        assert!(text.contains("| book | `cargo xtask book` | not run |"), "{text}");
        assert!(text.find("| soak |") < text.find("| bench | b |"), "{text}");
        assert_eq!(Report::parse(&text).to_text(), text);
    }

    /// The committed report has the steps that there are.
    #[test]
    fn the_report_is_up_to_date() {
        let text = std::fs::read_to_string(path()).expect("the report");
        assert_eq!(Report::parse(&text).to_text(), text, "cargo xtask full writes it");
    }
}
