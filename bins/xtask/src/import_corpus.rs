//! Import of nginx configurations: of a folder of downloaded files, and of many random ones.

use crate::process::{Outcome, cargo, step, target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of a count: folder, domain of the names, root folder of included files, and whether the results are proved.
struct CorpusCount {
    folder: PathBuf,
    domain: String,
    root: Option<PathBuf>,
    prove: bool,
}

/// Counts the files of a folder that become sites and, with `--prove`, those of them that respond as nginx does. Prints
/// the reason for each other file.
///
/// # Errors
/// Returns an error for an unknown option, or if a command cannot be run.
pub(crate) fn count(arguments: &[&str]) -> Outcome {
    let count = parse(arguments)?;
    step(
        "building edge-proxyd",
        cargo(&[
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--bins",
            "--tests",
            "--examples",
            "--all-features",
        ]),
    )?;
    let program = target().join("debug/edge-proxyd");
    let mut files = Vec::new();
    walk(&count.folder, &mut files)?;
    files.sort();
    let (mut sites, mut alike, mut none) = (0, 0, Vec::new());
    for file in &files {
        let run = |more: &[&str]| {
            let mut command = Command::new(&program);
            command.args(["import", "--json", "--domain", &count.domain]).args(more).arg(file);
            if let Some(root) = &count.root {
                command.arg("--root").arg(root);
            }
            command.output().map_err(|why| format!("{}: {why}", program.display()))
        };
        let out = run(&[])?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if !has_site(&text) {
            let why =
                String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or("no site forwards").to_owned();
            none.push(format!("{}: {why}", file.display()));
            continue;
        }
        sites += 1;
        if count.prove {
            let proof = run(&["--prove"])?;
            if proof.status.success() {
                alike += 1;
            } else {
                let said = String::from_utf8_lossy(&proof.stderr);
                let why = said.lines().next().map_or("is answered otherwise", |line| line);
                println!("{}: {why}", file.display());
            }
        }
    }
    none.iter().for_each(|line| println!("{line}"));
    println!("{sites} of {} files become sites", files.len());
    if count.prove {
        println!("{alike} of them answer as nginx does");
    }
    Ok(())
}

/// Proves the import of `cases` random configurations.
///
/// # Errors
/// Returns an error if `cases` is not a number, or the test fails.
pub(crate) fn random(cases: &str) -> Outcome {
    let cases: u64 = cases.parse().map_err(|_| format!("`{cases}` is not a number of configurations"))?;
    // The features of the whole workspace, with which the dependencies are built already.
    let mut command = cargo(&[
        "test",
        "--locked",
        "--workspace",
        "--all-features",
        "--test",
        "service",
        "--",
        "no_request_that_nginx_refuses",
    ]);
    command.env("IMPORT_CASES", cases.to_string());
    step(&format!("imports of {cases} random configurations, beside nginx"), &mut command)
}

/// Parses the arguments.
///
/// # Errors
/// Returns an error for an unknown option, a missing value or a missing folder.
fn parse(arguments: &[&str]) -> Result<CorpusCount, String> {
    let mut count =
        CorpusCount { folder: PathBuf::new(), domain: "example.org".into(), root: None, prove: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
        match *argument {
            "--domain" => count.domain = (*value()?).to_owned(),
            "--root" => count.root = Some(PathBuf::from(value()?)),
            "--prove" => count.prove = true,
            folder if !folder.starts_with('-') && count.folder.as_os_str().is_empty() => {
                count.folder = folder.into();
            }
            other => return Err(format!("`{other}` is not an option of import-corpus")),
        }
    }
    if count.folder.as_os_str().is_empty() {
        return Err("missing: the folder with nginx configurations".into());
    }
    Ok(count)
}

/// Returns `true` if the result of an import has a site that forwards.
fn has_site(json: &str) -> bool {
    let count = json.split_once("\"sites\":").map(|(_, rest)| rest.trim_start());
    let digits = count.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse::<u64>().ok()).is_some_and(|sites| sites > 0)
}

/// Appends the paths of nginx configurations below a folder: files whose names contain `.conf`. Names that begin with a
/// dot are skipped.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    let entries = std::fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)?;
        } else if name.contains(".conf") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_read_from_json() {
        assert!(has_site(r#"{"config":"x","not_taken_over":[],"sites":2}"#));
        assert!(!has_site(r#"{"config":"x","not_taken_over":[],"sites":0}"#) && !has_site(""));
    }

    #[test]
    fn options_and_what_is_none() {
        let count = parse(&["confs", "--domain", "a.test", "--prove"]).expect("options");
        assert!(count.prove && count.domain == "a.test" && count.folder == Path::new("confs"));
        assert!(parse(&[]).is_err() && parse(&["a", "b"]).is_err() && parse(&["a", "--domain"]).is_err());
    }
}
