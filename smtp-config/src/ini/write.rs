//! Writer of go-ini 1.67.

use super::{DEFAULT_SECTION, Ini, Key};

/// Triple quote, which encloses values that contain a line feed or a backtick.
const TRIPLE: &str = "\"\"\"";

/// Returns the text of a file.
pub(super) fn write(ini: &Ini) -> String {
    let mut out = String::with_capacity(ini.text.len());
    let last = ini.sections.len().saturating_sub(1);
    for (index, section) in ini.sections.iter().enumerate() {
        comment(&mut out, &section.comment);
        if index > 0 || !section.name.eq_ignore_ascii_case(DEFAULT_SECTION) {
            out.extend(["[", &section.name, "]\n"]);
        } else if section.keys.is_empty() {
            continue;
        }
        for key in &section.keys {
            comment(&mut out, &key.comment);
            name(&mut out, key);
            out.push_str(" = ");
            value(&mut out, &key.value);
            out.push('\n');
        }
        if index < last {
            out.push('\n');
        }
    }
    out
}

/// Appends a comment, each line with one space after its `#` or `;`.
fn comment(out: &mut String, comment: &str) {
    for line in comment.lines().filter(|line| !line.is_empty()) {
        let (sign, rest) = line.split_at(1);
        out.extend([sign, " ", rest.trim(), "\n"]);
    }
}

/// Appends the name of a key: `-` for a numbered key; in backticks if it contains `"`, `=` or `:`; in triple quotes if
/// it contains a backtick; otherwise unquoted.
fn name(out: &mut String, key: &Key) {
    let name = key.name.as_str();
    if key.automatic {
        out.push('-');
    } else if name.contains(['"', '=', ':']) {
        out.extend(["`", name, "`"]);
    } else if name.contains('`') {
        out.extend([TRIPLE, name, TRIPLE]);
    } else {
        out.push_str(name);
    }
}

/// Appends a value: in triple quotes if it contains a line feed or a backtick, in backticks if it contains `#` or `;`,
/// in double quotes if white space surrounds it, otherwise unquoted.
fn value(out: &mut String, value: &str) {
    if value.contains(['\n', '`']) {
        out.extend([TRIPLE, value, TRIPLE]);
    } else if value.contains(['#', ';']) {
        out.extend(["`", value, "`"]);
    } else if value.trim().len() != value.len() {
        out.extend(["\"", value, "\""]);
    } else {
        out.push_str(value);
    }
}
