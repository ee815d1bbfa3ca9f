//! Form of findings in `--json`, which all programs share.

use serde_json::Value;

/// Severities. The last two are those of an upgrade: it needs consent, or cannot begin.
const SEVERITIES: [&str; 5] = ["note", "warning", "error", "consent", "blocker"];

/// Returns the findings in the output of a program: `{"findings": [{code, severity, place: {file, line, column, key},
/// message, fix}]}`.
///
/// # Panics
/// Panics if there are none, or one lacks a part.
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

/// Checks that a finding in JSON has code, message, known severity, fix, and a place with file or key, line and column.
///
/// # Errors
/// Returns a description of the part that it lacks.
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
