//! `cargo xtask instructions`: counts the instructions of the paths in `bins/hot-paths` with valgrind, and compares
//! them with the record. Times are not meaningful on a shared machine; counts are nearly the same in every run.

use crate::process::{Outcome, cargo, root, step, target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Repetitions of the two processes whose difference is counted, so that the cost of starting cancels out.
const WALKS: (u64, u64) = (100, 1_100);

/// Tolerated increase in percent: system libraries and the memory layout differ slightly between machines.
const TOLERANCE: u64 = 10;

/// Number of paths that are counted concurrently.
const PARALLEL_PATHS: usize = 2;

/// Counts the instructions of every path, and compares them with the record or, with `--record`, writes it.
///
/// # Errors
/// Returns the paths whose counts increased, or that differ from those of the record.
pub(crate) fn run(extra: &[&str]) -> Outcome {
    let records = match extra {
        [] => false,
        ["--record"] => true,
        _ => return Err("usage: cargo xtask instructions [--record]".into()),
    };
    let build = ["build", "--quiet", "--locked", "--profile", "counted", "--package", "hot-paths"];
    step("instructions: building", cargo(&build))?;
    let program = target().join("counted/hot-paths");
    let names = outputs(Command::new(&program).arg("--list"))?.0;
    let names: Vec<&str> = names.lines().collect();
    println!("xtask: instructions: counting {} paths …", names.len());
    let mut counted = Vec::new();
    for some in names.chunks(PARALLEL_PATHS) {
        let results: Vec<Result<u64, String>> = std::thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|name| scope.spawn(|| count(&program, name))).collect();
            running.into_iter().map(|one| one.join().expect("counting does not panic")).collect()
        });
        for (name, result) in some.iter().zip(results) {
            counted.push((*name, result?));
        }
    }
    let file = file();
    if records {
        let text: String = counted.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        std::fs::write(&file, text).map_err(|why| format!("{}: {why}", file.display()))?;
        println!("xtask: instructions: written to {}", file.display());
        return Ok(());
    }
    let recorded = std::fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    // Tables are hashed with a random key, so that a single run can exceed the tolerance by chance, but hardly
    // three.
    for (name, least) in &mut counted {
        let before = recorded.lines().find_map(|line| record(line).filter(|(known, _)| known == name));
        for _ in 0..2 {
            if before.is_some_and(|(_, before)| exceeds(*least, before)) {
                *least = count(&program, name)?.min(*least);
            }
        }
    }
    compare(&counted, &recorded)
}

/// Returns the path of the record.
fn file() -> PathBuf {
    root().join("bins/hot-paths/instructions.txt")
}

/// Returns the number of instructions of one repetition.
///
/// # Errors
/// Returns the output if valgrind fails.
fn count(program: &Path, name: &str) -> Result<u64, String> {
    let run = |walks: u64| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
        let words = outputs(valgrind.arg(program).args([name, &walks.to_string()]))?.1;
        references(&words).ok_or_else(|| format!("{name}: valgrind counted nothing: {words}"))
    };
    let (few, many) = (run(WALKS.0)?, run(WALKS.1)?);
    Ok(many.saturating_sub(few) / (WALKS.1 - WALKS.0))
}

/// Returns the standard output and standard error of a command. Invalid UTF-8 is replaced by U+FFFD.
///
/// # Errors
/// Returns the command with its standard error if it fails, or with the reason if it cannot be started.
fn outputs(command: &mut Command) -> Result<(String, String), String> {
    let output =
        command.output().map_err(|why| format!("{command:?}: {why}: cargo xtask tools installs it"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() { Ok((said, errors)) } else { Err(format!("{command:?}: {errors}")) }
}

/// Parses `==1== I   refs:      1,234,567` into the number of instructions. `None` if there is no such line.
fn references(words: &str) -> Option<u64> {
    let line = words.lines().find(|line| line.contains("refs:") && line.contains("== I"))?;
    line.split_whitespace().last()?.replace(',', "").parse().ok()
}

/// Parses a line of the record into a name and its count. `None` if it has another form.
fn record(line: &str) -> Option<(&str, u64)> {
    let (name, count) = line.split_once(' ')?;
    Some((name, count.parse().ok()?))
}

/// Returns `true` if a count exceeds the recorded one by more than the tolerance.
const fn exceeds(count: u64, before: u64) -> bool {
    count * 100 > before * (100 + TOLERANCE)
}

/// Compares every path with the record. A decrease above the tolerance is printed, so that it can be recorded.
///
/// # Errors
/// Returns each increase above the tolerance, each path without a record, and each record without a path.
fn compare(counted: &[(&str, u64)], recorded: &str) -> Outcome {
    let mut faults = Vec::new();
    let mut records = Vec::new();
    for (at, line) in recorded.lines().enumerate() {
        match record(line) {
            Some(record) => records.push(record),
            None => faults.push(format!("line {} of the record is not a name and a number: {line}", at + 1)),
        }
    }
    for (name, count) in counted {
        let Some((_, before)) = records.iter().find(|(known, _)| known == name) else {
            faults.push(format!("{name} takes {count} instructions and has no record"));
            continue;
        };
        let change = (*count as f64 / (*before).max(1) as f64 - 1.0) * 100.0;
        println!("xtask: instructions: {name:<20} {count:>8}  {change:+.1} %");
        if exceeds(*count, *before) {
            faults.push(format!("{name} takes {count} instructions instead of {before}"));
        } else if count * (100 + TOLERANCE) < before * 100 {
            println!(
                "xtask: instructions: {name} became cheaper: cargo xtask instructions --record keeps the gain"
            );
        }
    }
    let gone = records.iter().filter(|(name, _)| counted.iter().all(|(known, _)| known != name));
    faults.extend(gone.map(|(name, _)| format!("{name} is recorded but is not a path")));
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "instructions: {}. If the increase is justified: cargo xtask instructions --record, and explain it in the commit",
        faults.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_valgrind_says_is_read() {
        let words = "==7== Cachegrind, a cache and branch-prediction profiler\n==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(references(words), Some(1_234_567));
        assert_eq!(references("==7== Command: hot-paths\n"), None);
    }

    #[test]
    fn more_than_the_tolerance_is_an_error_and_less_is_not() {
        assert_eq!(compare(&[("a", 1_100), ("b", 10)], "a 1000\nb 900\n"), Ok(()));
        assert!(
            compare(&[("a", 1_101)], "a 1000\n").is_err_and(|why| why.contains("1101 instructions instead"))
        );
    }

    #[test]
    fn the_record_and_the_paths_are_the_same() {
        assert!(compare(&[("a", 1)], "").is_err_and(|why| why.contains("has no record")));
        assert!(compare(&[], "a 1\n").is_err_and(|why| why.contains("is not a path")));
        assert!(compare(&[], "a\n").is_err_and(|why| why.contains("line 1")));
    }
}
