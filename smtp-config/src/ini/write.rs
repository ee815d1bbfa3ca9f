//! The writer of go-ini 1.67.

use super::{DEFAULT_SECTION, Ini, Key};

pub(super) fn write(ini: &Ini) -> String {
    let mut out = String::new();
    let last = ini.sections.len().saturating_sub(1);
    for (index, section) in ini.sections.iter().enumerate() {
        comment(&mut out, &section.comment);
        if index > 0 || !section.name.eq_ignore_ascii_case(DEFAULT_SECTION) {
            out.push_str(&format!("[{}]\n", section.name));
        } else if section.keys.is_empty() {
            continue;
        }
        for key in &section.keys {
            comment(&mut out, &key.comment);
            out.push_str(&format!("{} = {}\n", name(key), value(&key.value)));
        }
        if index < last {
            out.push('\n');
        }
    }
    out
}

fn comment(out: &mut String, comment: &str) {
    for line in comment.lines().filter(|line| !line.is_empty()) {
        let (sign, rest) = line.split_at(1);
        out.push_str(&format!("{sign} {}\n", rest.trim()));
    }
}

fn name(key: &Key) -> String {
    let name = &key.name;
    if key.automatic {
        "-".to_owned()
    } else if name.contains(['"', '=', ':']) {
        format!("`{name}`")
    } else if name.contains('`') {
        format!("\"\"\"{name}\"\"\"")
    } else {
        name.clone()
    }
}

fn value(value: &str) -> String {
    if value.contains(['\n', '`']) {
        format!("\"\"\"{value}\"\"\"")
    } else if value.contains(['#', ';']) {
        format!("`{value}`")
    } else if value.trim().len() != value.len() {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}
