//! Form of findings in `--json`, which all programs share.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Severities that a finding may have. `consent` and `blocker` are those of an upgrade, which needs consent or cannot
/// begin.
const SEVERITIES: [&str; 5] = ["note", "warning", "error", "consent", "blocker"];

/// Returns the findings in the output of a program: `{"findings": [{code, severity, place: {file, line, column, key},
/// message, fix}]}`. `value` and further members are not checked.
///
/// # Panics
/// Panics if there are no findings, or one lacks a member.
pub fn findings(answer: &Value) -> Vec<Value> {
    let found = answer["findings"].as_array().unwrap_or_else(|| panic!("no findings: {answer}"));
    assert!(!found.is_empty(), "no findings: {answer}");
    for finding in found {
        if let Err(why) = shape(finding) {
            panic!("{why}: {answer}");
        }
    }
    found.clone()
}

/// Runs a program in a folder with these arguments and `--json`, and returns its output. `FOLDER` in the arguments
/// stands for the path of the folder. `code` is the expected exit code.
///
/// # Panics
/// Panics if the program cannot be run or has another exit code, or if standard output is not exactly one JSON
/// document. An object must have valid `findings` if the code is not 0. If it is 1 or 2, the document must have `error`
/// and the same `code`.
pub fn document(program: &str, folder: &Path, args: &[&str], code: i32) -> Value {
    let args: Vec<String> =
        args.iter().map(|arg| arg.replace("FOLDER", &folder.display().to_string())).collect();
    let output = Command::new(program).args(&args).arg("--json").current_dir(folder).output();
    let output = output.expect("the program was built");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{args:?}: not one document: {why}: {output:?}"));
    if code != 0 && answer.is_object() {
        findings(&answer);
    }
    if matches!(code, 1 | 2) {
        assert!(answer["error"].is_string() && answer["code"] == code, "{args:?}: {answer}");
    }
    answer
}

/// Checks that a finding in JSON has a code and a message, both not empty, a severity of [`SEVERITIES`], a fix, and a
/// place with a line, a column, a file and a key, of which file and key are not both empty.
///
/// # Errors
/// Returns a description of the first part that is missing or not valid.
pub(crate) fn shape(finding: &Value) -> Result<(), String> {
    let text = |value: &Value, name: &str| {
        value[name].as_str().map(str::to_owned).ok_or(format!("a finding has no {name}: {finding}"))
    };
    let place = &finding["place"];
    if text(finding, "code")?.is_empty() || text(finding, "message")?.is_empty() {
        return Err(format!("a finding has an empty code or message: {finding}"));
    }
    if !SEVERITIES.contains(&text(finding, "severity")?.as_str()) {
        return Err(format!("a finding has another severity than {SEVERITIES:?}: {finding}"));
    }
    text(finding, "fix")?;
    if text(place, "file")?.is_empty() && text(place, "key")?.is_empty() {
        return Err(format!("a finding is nowhere: {finding}"));
    }
    for name in ["line", "column"] {
        place[name].as_u64().ok_or(format!("the place of a finding has no {name}: {finding}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_part_is_needed() {
        let place = json!({"file": "a", "line": 1, "column": 2, "key": ""});
        let whole = json!({"code": "x", "severity": "note", "place": place, "message": "m", "fix": ""});
        assert_eq!(shape(&whole), Ok(()));
        for name in ["code", "severity", "place", "message", "fix"] {
            let mut part = whole.clone();
            part.as_object_mut().expect("an object").remove(name);
            assert!(shape(&part).is_err(), "{name}");
        }
        let mut other = whole;
        other["severity"] = json!("dire");
        assert!(shape(&other).is_err());
    }
}
