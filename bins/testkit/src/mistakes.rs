//! Tables of realistic mistakes: each is given to a program, which has to name the line, the value and the fix.

use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable with the folder in which the answers are written down, a file each: `cargo xtask mistakes` sets it.
const ANSWERS: &str = "MISTAKES_ANSWERS";

/// A mistake of a user, and what the program's answer must contain.
#[derive(Clone, Copy, Debug)]
pub struct Mistake {
    /// The content of the file; empty for a mistake of the command line.
    pub text: &'static str,
    /// The whole command line of such a mistake.
    pub args: &'static [&'static str],
    /// The line that has to be named, from 1; 0 for the command line.
    pub line: u64,
    /// A part of the key or the value that has to be named.
    pub value: &'static str,
    /// A part of the fix.
    pub fix: &'static str,
}

/// Creates a mistake in a file.
pub const fn file(line: u64, text: &'static str, value: &'static str, fix: &'static str) -> Mistake {
    Mistake { text, args: &[], line, value, fix }
}

/// Creates a mistake on the command line.
pub const fn usage(args: &'static [&'static str], value: &'static str, fix: &'static str) -> Mistake {
    Mistake { text: "", args, line: 0, value, fix }
}

/// Runs a program on each mistake. `FILE` in the arguments stands for the file.
///
/// # Panics
/// An answer lacks the file, the line, the value or the fix, a mistake of the table lacks one of them, or the exit code is none of
/// 2 and 3.
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

/// Runs the program on a mistake, and returns the mistake, the command and its whole output as text.
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

fn answer(program: &str, path: &Path, args: &[&str], mistake: &Mistake) -> Result<(), String> {
    if mistake.value.is_empty() || mistake.fix.is_empty() {
        return Err("the table has no value, or no fix".to_owned());
    }
    std::fs::write(path, mistake.text).map_err(|why| why.to_string())?;
    let given = if mistake.text.is_empty() { mistake.args } else { args };
    let file = path.display().to_string();
    let mut command = Command::new(program);
    command.args(given.iter().map(|arg| if *arg == "FILE" { file.as_str() } else { arg }));
    let output = command.arg("--json").output().map_err(|why| why.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code();
    if !matches!(code, Some(2 | 3)) {
        let said = said + &String::from_utf8_lossy(&output.stderr);
        return Err(format!("exit code {code:?}: {said}"));
    }
    let answer: Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
    let findings = answer["findings"].as_array().ok_or(format!("no findings: {said}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = findings.iter().any(|finding| {
        let place = &finding["place"];
        let at = if mistake.line == 0 { "command line".to_owned() } else { file.clone() };
        let named =
            format!("{} = {} {}", text(&place["key"]), text(&finding["value"]), text(&finding["message"]));
        // A pg_hba.conf has lines in the place of keys and values.
        let reason = text(&finding["reason"]);
        text(&place["file"]) == at
            && place["line"] == mistake.line
            && (named.contains(mistake.value) || reason.contains(mistake.value))
            && text(&finding["fix"]).contains(mistake.fix)
            && finding["code"].is_string()
            && finding["severity"].is_string()
    });
    let wanted = format!("line {}, {:?}, fix {:?}", mistake.line, mistake.value, mistake.fix);
    if found { Ok(()) } else { Err(format!("no answer with {wanted}: {findings:#?}")) }
}
