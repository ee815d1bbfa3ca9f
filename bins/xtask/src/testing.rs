//! Tests: built once, then run a few programs at a time, since most of them wait for servers and clocks. Programs that
//! measure run alone, after the others.

use crate::environment;
use crate::process::{Outcome, cargo, passed, root, second_try, step, target, with_second_try};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

/// Number of programs that run at a time. Each has threads of its own.
const PARALLEL_PROGRAMS: usize = 3;

/// Test programs that measure time or memory, by package folder and name. They run one after another.
const ALONE: &[(&str, &str)] = &[
    ("edge-proxy", "edge_proxy"),
    ("edge-proxy", "fairness"),
    ("edge-proxy", "idle"),
    ("edge-proxy", "load"),
    ("bins/edge-proxyd", "service"),
];

/// Test programs that take longest. They begin first, so that none of them remains at the end.
const FIRST: &[(&str, &str)] = &[
    ("pg-ensure", "servers"),
    ("bins/upgrade-pg-cluster", "upgrade"),
    ("bins/acme-dns01", "program"),
    ("acme-dns01", "issue"),
    ("smtp-config", "oracle"),
    ("bins/acme-dns01", "mistakes"),
    ("smtp-config", "sessions"),
    ("bins/pg-hba", "attempts"),
    ("edge-proxy", "clients"),
    ("acme-dns01", "simulation"),
];

/// Test programs that mostly wait, with the number of their threads. The others have one per processor.
const WAITING: &[(&str, &str, usize)] = &[
    ("acme-dns01", "issue", 6),
    ("bins/acme-dns01", "program", 6),
    ("bins/acme-dns01", "mistakes", 4),
    ("bins/upgrade-pg-cluster", "upgrade", 4),
    ("pg-ensure", "servers", 4),
];

/// Environment variable with the file in which tests record that they require root.
const LEFT_OUT: &str = "TESTS_LEFT_OUT";

/// Returns the names of the tests that the last run left out for lack of root, from the file in which tests record
/// them. Empty without that file.
pub(crate) fn left_out() -> Vec<String> {
    let text = std::fs::read_to_string(left_out_file()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Returns the absolute path of the file with these names.
fn left_out_file() -> PathBuf {
    std::path::absolute(target()).unwrap_or_else(|_| target()).join("tests-left-out")
}

/// A test program that cargo has built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Program {
    /// Folder of its package, in which it runs.
    folder: PathBuf,
    path: PathBuf,
}

impl Program {
    /// Parses cargo's message about an artifact. `None` if it is not a test program.
    fn parse(line: &str) -> Option<Self> {
        let field = |name: &str| {
            let begin = line.find(&format!("\"{name}\":\""))? + name.len() + 4;
            line[begin..].split('"').next()
        };
        let profile = line.split_once("\"profile\":{")?.1.split('}').next()?;
        if !profile.contains("\"test\":true") {
            return None;
        }
        let folder = Path::new(field("manifest_path")?).parent()?.to_owned();
        Some(Self { folder, path: field("executable")?.into() })
    }

    /// Returns its name in the package, without the hash of cargo.
    fn name(&self) -> &str {
        let file = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.rsplit_once('-').map_or(file, |(name, _)| name)
    }

    /// Returns `true` if this is the program of a package folder and a name.
    fn is(&self, (folder, name): (&str, &str)) -> bool {
        self.folder == root().join(folder) && self.name() == name
    }

    /// Returns package folder and name for output.
    fn label(&self) -> String {
        let folder = self.folder.strip_prefix(root()).unwrap_or(&self.folder);
        format!("{}: {}", folder.display(), self.name())
    }

    /// Returns the command that runs it as cargo does, in the environment of programs that are tested.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command.env(LEFT_OUT, left_out_file());
        if let Some((.., threads)) = WAITING.iter().find(|(folder, name, _)| self.is((folder, name))) {
            command.env("RUST_TEST_THREADS", threads.to_string());
        }
        environment::define(&mut command);
        command
    }
}

/// Builds and runs all test programs, and the tests in the documentation. A failure does not stop the others. `beside`
/// runs in a thread once the programs are built, and has ended when those tests begin that run alone.
///
/// # Errors
/// Returns all failures, including that of `beside`.
pub(crate) fn run(beside: fn() -> Outcome) -> Outcome {
    let programs = build()?;
    let _ = std::fs::remove_file(left_out_file());
    let waiting = WAITING.iter().map(|(folder, name, _)| (*folder, *name));
    for which in ALONE.iter().chain(FIRST).copied().chain(waiting) {
        if programs.iter().all(|program| !program.is(which)) {
            return Err(format!("{which:?} is not a test program"));
        }
    }
    let (alone, mut together): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|program| ALONE.iter().any(|which| program.is(*which)));
    let turn = |program: &Program| FIRST.iter().position(|which| program.is(*which)).unwrap_or(FIRST.len());
    together.sort_by_key(turn);
    let beside = std::thread::spawn(beside);
    let once_more = concurrently(&together);
    let beside = beside.join().unwrap_or_else(|_| Err("a step beside the tests panicked".to_owned()));
    let on_its_own = |program: &Program| step(&format!("tests of {}", program.label()), program.command());
    // A program that failed beside others gets a second try on its own, in which its time limits are met.
    let second = |(program, why): &(Program, String)| {
        second_try(&format!("tests of {}", program.label()), why, || on_its_own(program)).err()
    };
    let mut failed: Vec<String> =
        beside.err().into_iter().chain(once_more.iter().filter_map(second)).collect();
    failed.extend(
        alone.iter().filter_map(|program| with_second_try(&program.label(), || on_its_own(program)).err()),
    );
    let mut examples =
        cargo(&["test", "--workspace", "--all-features", "--locked", "--no-fail-fast", "--doc"]);
    environment::define(&mut examples);
    failed.extend(step("tests in the documentation", examples).err());
    if failed.is_empty() { Ok(()) } else { Err(format!("failed tests:\n{}", failed.join("\n"))) }
}

/// Builds all test programs, and runs those with these names, one after another. A name is that of a program, or package
/// folder and name, such as `bins/pg-hba: mistakes`. A failure does not stop the others.
///
/// # Errors
/// Returns all failures, or a name that no program has.
pub(crate) fn run_named(names: &[&str]) -> Outcome {
    let programs = build()?;
    let has = |program: &Program, name: &str| program.name() == name || program.label() == name;
    if let Some(unknown) = names.iter().find(|name| !programs.iter().any(|program| has(program, name))) {
        return Err(format!("{unknown} is not a test program"));
    }
    let named = programs.iter().filter(|program| names.iter().any(|name| has(program, name)));
    let run = |program: &Program| step(&format!("tests of {}", program.label()), program.command());
    let failed: Vec<String> = named.filter_map(|program| run(program).err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed tests:\n{}", failed.join("\n"))) }
}

/// Runs programs, [`PARALLEL_PROGRAMS`] of them at a time in their order. Returns those that failed, each with its
/// failure.
fn concurrently(programs: &[Program]) -> Vec<(Program, String)> {
    let (waiting, failed) = (Mutex::new(programs.iter()), Mutex::new(Vec::new()));
    let next = || waiting.lock().expect("nobody panics with it").next();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL_PROGRAMS {
            scope.spawn(|| {
                while let Some(program) = next() {
                    if let Err(why) = run_captured(program) {
                        println!("xtask: {why}");
                        failed.lock().expect("nobody panics with it").push((program.clone(), why));
                    }
                }
            });
        }
    });
    failed.into_inner().expect("nobody panics with it")
}

/// Builds all test programs, and returns them sorted.
///
/// # Errors
/// Returns the status if cargo fails.
fn build() -> Result<Vec<Program>, String> {
    println!("xtask: building the tests …");
    let began = Instant::now();
    let mut command = cargo(&["test", "--workspace", "--all-features", "--locked", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if !output.status.success() {
        return Err(format!("building the tests: {command:?} ended with {}", output.status));
    }
    let mut programs: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(Program::parse).collect();
    programs.sort();
    passed(&format!("building {} test programs", programs.len()), began);
    Ok(programs)
}

/// Runs a test program, and prints its output after its end.
///
/// # Errors
/// Returns the status if it fails.
fn run_captured(program: &Program) -> Outcome {
    let label = program.label();
    println!("xtask: tests of {label}, in the background …");
    let said = target().join(format!("tests-{}.log", label.replace([':', '/', ' '], "-")));
    let why = |why: std::io::Error| format!("{}: {why}", said.display());
    let file = File::create(&said).map_err(why)?;
    let errors = file.try_clone().map_err(why)?;
    let began = Instant::now();
    let status = program.command().stdin(Stdio::null()).stdout(file).stderr(errors).status();
    let status = status.map_err(|why| format!("{}: {why}", program.path.display()))?;
    // One write, so that the output of two programs is not mixed.
    let output = std::fs::read_to_string(&said).map_err(why)?;
    print!("xtask: output of the tests of {label}:\n{output}");
    if !status.success() {
        return Err(format!("tests of {label}: {} ended with {status}", program.path.display()));
    }
    passed(&format!("tests of {label}"), began);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_of_a_test_program() {
        let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/acme-dns01#0.1.0","manifest_path":"/w/acme-dns01/Cargo.toml","target":{"kind":["test"],"crate_types":["bin"],"name":"issue","src_path":"/w/acme-dns01/tests/issue/main.rs","edition":"2024","doc":false,"doctest":false,"test":true},"profile":{"opt_level":"0","debuginfo":1,"debug_assertions":true,"overflow_checks":true,"test":true},"features":[],"filenames":["/t/debug/deps/issue-238f54bb0462930f"],"executable":"/t/debug/deps/issue-238f54bb0462930f","fresh":true}"#;
        let program = Program::parse(line).expect("a program");
        assert_eq!((program.folder.as_path(), program.name()), (Path::new("/w/acme-dns01"), "issue"));
        // A library, and a program that is not a test.
        let library =
            line.replace(r#""executable":"/t/debug/deps/issue-238f54bb0462930f""#, r#""executable":null"#);
        let other =
            line.replace(r#""overflow_checks":true,"test":true}"#, r#""overflow_checks":true,"test":false}"#);
        assert_eq!((Program::parse(&library), Program::parse(&other)), (None, None));
        assert_eq!(Program::parse(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
