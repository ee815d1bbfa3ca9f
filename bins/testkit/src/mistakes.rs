//! Tables of realistic mistakes: each is passed to a program, which must name the line, the value and the fix.

use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment variable with the folder in which the output for each mistake is saved, one file each. `cargo xtask
/// mistakes` sets it.
const ANSWERS: &str = "MISTAKES_ANSWERS";

/// A mistake of a user, and what the output of the program must contain.
#[derive(Clone, Copy, Debug)]
pub struct Mistake {
    /// Content of the file. Empty for a mistake on the command line.
    pub text: &'static str,
    /// Whole command line of a mistake on the command line; empty for a mistake in a file.
    pub args: &'static [&'static str],
    /// Line that must be named, from 1. 0 for the command line.
    pub line: u64,
    /// Part of the key or the value that must be named.
    pub value: &'static str,
    /// Part of the fix.
    pub fix: &'static str,
}

/// Creates a mistake in line `line` of a file with the content `text`; `value` is a part of the key or value, `fix` a
/// part of the fix, both of which must be named.
pub const fn file(line: u64, text: &'static str, value: &'static str, fix: &'static str) -> Mistake {
    Mistake { text, args: &[], line, value, fix }
}

/// Creates a mistake on the command line `args`; `value` is a part of the option or value, `fix` a part of the fix,
/// both of which must be named.
pub const fn usage(args: &'static [&'static str], value: &'static str, fix: &'static str) -> Mistake {
    Mistake { text: "", args, line: 0, value, fix }
}

/// Runs a program on each mistake, with and without `--json`. `args` are the arguments for a mistake in a file, in
/// which `FILE` stands for the path of the file, which is named `name`; a mistake on the command line has its own. If
/// `cargo xtask mistakes` asks for it, the output for each mistake is saved as well.
///
/// # Panics
/// Panics if, for some mistake, the output with or without `--json` lacks the file, the line, the column, the value or
/// the fix, the exit codes differ or are neither 2 nor 3, or the table contains no value or fix.
pub fn check(program: &str, name: &str, args: &[&str], mistakes: &[Mistake]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let answers = std::env::var_os(ANSWERS).map(PathBuf::from);
    let mut wrong = Vec::new();
    for (number, mistake) in mistakes.iter().enumerate() {
        if let Err(why) = answer(program, &path, args, mistake) {
            wrong.push(format!("{:?} {:?}: {why}", mistake.args, mistake.text));
        }
        if let Some(answers) = &answers {
            let file = format!(
                "{}-{name}-{number:02}",
                Path::new(program).file_name().unwrap_or_default().display()
            );
            let text = whole(program, (folder.path(), name), args, mistake);
            std::fs::write(answers.join(file), text).expect("the folder of answers can be written to");
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), mistakes.len(), wrong.join("\n\n"));
}

/// Runs a program on a file with several errors, of syntax and of meaning, with and without `--json`, and returns the
/// number of findings. `FILE` in the arguments stands for the path of the file, which is named `name` and contains
/// `text`; `wanted` are the line and the key of findings that must be there.
///
/// # Panics
/// Panics if the exit code is not 2, a finding of `wanted` is missing in the JSON output, or no line of the other
/// output begins with its place.
pub fn together(program: &str, name: &str, args: &[&str], text: &str, wanted: &[(u64, &str)]) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let file = path.display().to_string();
    let run = |more: &[&str]| {
        let mut command = Command::new(program);
        command.args(args.iter().map(|arg| if *arg == "FILE" { file.as_str() } else { arg })).args(more);
        command.output().expect("the program was built")
    };
    let (output, plain) = (run(&["--json"]), run(&[]));
    assert_eq!((output.status.code(), plain.status.code()), (Some(2), Some(2)), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let findings = crate::findings(&answer);
    let said = String::from_utf8_lossy(&[plain.stdout, plain.stderr].concat()).into_owned();
    for (line, key) in wanted {
        let is_it = |finding: &&Value| finding["place"]["line"] == *line && finding["place"]["key"] == *key;
        let finding = findings.iter().find(is_it);
        let finding = finding.unwrap_or_else(|| panic!("nothing of {key} in line {line}: {findings:#?}"));
        let place = format!("{file}:{line}:{}: error[", finding["place"]["column"]);
        assert!(said.lines().any(|line| line.starts_with(&place)), "{place}: {said}");
    }
    findings.len()
}

/// Runs the program on a mistake in its folder, without `--json`. Returns the content of the file, indented, the
/// command, its output and its exit code as text. `FILE` in the arguments becomes the name of the file.
fn whole(program: &str, (folder, name): (&Path, &str), args: &[&str], mistake: &Mistake) -> String {
    let given = if mistake.text.is_empty() { mistake.args } else { args };
    let given: Vec<&str> = given.iter().map(|arg| if *arg == "FILE" { name } else { arg }).collect();
    let output =
        Command::new(program).args(&given).current_dir(folder).output().expect("the program was built");
    let mut text = String::new();
    for line in mistake.text.lines() {
        let _ = writeln!(text, "    {line}");
    }
    let program = Path::new(program).file_name().unwrap_or_default().display();
    let _ = writeln!(text, "$ {program} {}", given.join(" "));
    let said = [output.stdout, output.stderr].concat();
    let _ = write!(text, "{}", String::from_utf8_lossy(&said));
    let _ = writeln!(text, "(exit code {})", output.status.code().unwrap_or(-1));
    text
}

/// Writes a mistake to the file at `path`, runs the program with and without `--json`, and checks exit codes and
/// output.
///
/// # Errors
/// Returns a description of the first condition that does not hold.
fn answer(program: &str, path: &Path, args: &[&str], mistake: &Mistake) -> Result<(), String> {
    if mistake.value.is_empty() || mistake.fix.is_empty() {
        return Err("the table has no value, or no fix".to_owned());
    }
    std::fs::write(path, mistake.text).map_err(|why| why.to_string())?;
    let given = if mistake.text.is_empty() { mistake.args } else { args };
    let file = path.display().to_string();
    let command = || {
        let mut command = Command::new(program);
        command.args(given.iter().map(|arg| if *arg == "FILE" { file.as_str() } else { arg }));
        command
    };
    let output = command().arg("--json").output().map_err(|why| why.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code();
    if !matches!(code, Some(2 | 3)) {
        let said = said + &String::from_utf8_lossy(&output.stderr);
        return Err(format!("exit code {code:?}: {said}"));
    }
    let answer: Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
    let findings = answer["findings"].as_array().ok_or(format!("no findings: {said}"))?;
    findings.iter().try_for_each(crate::findings::shape)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = findings.iter().find(|finding| {
        let place = &finding["place"];
        let at = if mistake.line == 0 { "command line".to_owned() } else { file.clone() };
        let named =
            format!("{} = {} {}", text(&place["key"]), text(&finding["value"]), text(&finding["message"]));
        // A finding about a pg_hba.conf has a reason instead of key and value.
        let reason = text(&finding["reason"]);
        text(&place["file"]) == at
            && place["line"] == mistake.line
            && (named.contains(mistake.value) || reason.contains(mistake.value))
            && text(&finding["fix"]).contains(mistake.fix)
            && finding["code"].is_string()
            && finding["severity"].is_string()
    });
    let wanted = format!("line {}, {:?}, fix {:?}", mistake.line, mistake.value, mistake.fix);
    let found = found.ok_or_else(|| format!("no answer with {wanted}: {findings:#?}"))?;
    let plain = command().output().map_err(|why| why.to_string())?;
    if plain.status.code() != code {
        return Err(format!("exit code {code:?} with --json, {:?} without", plain.status.code()));
    }
    let said = String::from_utf8_lossy(&[plain.stdout, plain.stderr].concat()).into_owned();
    for_people(&said, &file, mistake, found)
}

/// Compares the output without `--json` with a finding of the output with it: a line must begin with file, line and
/// column, as editors read them, or for a mistake on the command line with `command line` and the key, and the fix must
/// follow.
///
/// # Errors
/// Returns a description of what is missing.
fn for_people(said: &str, file: &str, mistake: &Mistake, finding: &Value) -> Result<(), String> {
    let (place, fix) = (&finding["place"], finding["fix"].as_str().unwrap_or_default());
    if mistake.line == 0 {
        let key = place["key"].as_str().unwrap_or_default();
        let begin = format!("command line: error[{}]: {key}", finding["code"].as_str().unwrap_or_default());
        let is_named = said.lines().any(|line| line.starts_with(&begin) && line.contains(fix));
        return if is_named {
            Ok(())
        } else {
            Err(format!("no line begins with {begin} and has {fix:?}: {said}"))
        };
    }
    let column = place["column"].as_u64().filter(|column| *column > 0);
    let column = column.ok_or_else(|| format!("no column: {finding}"))?;
    let begin = format!("{file}:{}:{column}: ", mistake.line);
    // A message may have several lines.
    let found = said
        .match_indices(&begin)
        .any(|(at, _)| (at == 0 || said[..at].ends_with('\n')) && said[at..].contains(fix));
    if found { Ok(()) } else { Err(format!("no line begins with {begin} and has {fix:?}: {said}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_answer_for_people_has_place_and_fix() {
        let mistake = file(2, "a\nb = 1\n", "1", "write 2");
        let finding = json!({"place": {"file": "f", "line": 2, "column": 5, "key": "b"}, "fix": "write 2"});
        let said = |text: &str| for_people(text, "f", &mistake, &finding).is_ok();
        assert!(said("x\nf:2:5: b = 1: wrong: write 2\n"));
        // Another column, no fix, and not at the beginning of a line.
        assert!(!said("f:2:4: b = 1: wrong: write 2\n"));
        assert!(!said("f:2:5: b = 1: wrong\n"));
        assert!(!said("error: f:2:5: b = 1: wrong: write 2\n"));
        let nowhere = json!({"place": {"file": "f", "line": 2, "column": 0}, "fix": "write 2"});
        assert!(for_people("f:2:0: write 2\n", "f", &mistake, &nowhere).is_err());
    }
}
