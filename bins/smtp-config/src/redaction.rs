//! Files shown without their secrets.

use cli_support::diff::unified;
use smtp_config::ini::{Ini, Key};
use smtp_config::{carries_credentials, shown};
use std::collections::HashSet;
use std::path::Path;

/// Returns the difference of two files, without secrets and without the text of comments, which may hold some.
pub(crate) fn shown_diff(old: &str, new: &str, file: &Path) -> String {
    if old == new {
        return String::new();
    }
    let lines: HashSet<&str> = old.lines().collect();
    unified(&redacted(old, &lines), &redacted(new, &lines), &file.display().to_string())
}

/// Returns a file without its secrets. One that the old file does not have is marked as new.
fn redacted(text: &str, old: &HashSet<&str>) -> String {
    let Ok(ini) = Ini::parse(text) else { return String::new() };
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for entry in ini.entries() {
        comments(&mut out, &text[from..entry.span.start]);
        from = entry.span.end;
        let lines = &text[entry.span.clone()];
        let raw = ini.section(&entry.section).and_then(|held| held.key(&entry.key)).map_or("", Key::raw);
        let secret = shown(&entry.key, raw).is_none() || carries_credentials(lines);
        if secret {
            let new = if lines.lines().all(|line| old.contains(line)) { "" } else { ", new" };
            let end = "\n".repeat(lines.matches('\n').count().max(1));
            out.push_str(&format!("{} = (not shown{new}){end}", entry.key));
            continue;
        }
        let plain = lines.trim_end_matches(['\r', '\n']);
        match trailing_comment(plain) {
            Some(at) => out.push_str(&format!("{} # (comment not shown)\n", plain[..at].trim_end())),
            None => {
                out.push_str(plain);
                out.push('\n');
            }
        }
    }
    comments(&mut out, &text[from..]);
    out
}

/// Copies lines, comments without their text.
fn comments(out: &mut String, text: &str) {
    for line in text.lines() {
        let comment = line.trim_start().starts_with(['#', ';']);
        out.push_str(if comment { "# (comment not shown)" } else { line });
        out.push('\n');
    }
}

/// Returns the position of the comment after a value that is not quoted.
fn trailing_comment(line: &str) -> Option<usize> {
    let begin = line.find(['=', ':'])? + 1;
    let value = line[begin..].trim_start();
    if value.starts_with('`') || value.starts_with("\"\"\"") {
        return None;
    }
    line[begin..].find(['#', ';']).map(|at| begin + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown_in_whatever_place() {
        let old = "[session]\nPROVIDER_CONFIG = root:sesssecret2@/session_table\n[cache]\n\
                   HOST = redis://:redissecret4@localhost\nX = 1 # smtp pw is hunter2\n[mailer]\nSMTP_PWD = pwdsecret3\n\
                   SMTP_ADDR = smtps://forge:urlsecret@mail\n; the password is hunter2\nPASSWD = `old\nsecret5`\n";
        let new = format!("{old}USER = forge\nPASSWD = newsecret6\n");
        let diff = shown_diff(old, &new, Path::new("app.ini"));
        for secret in ["secret", "hunter2"] {
            assert!(!diff.contains(secret), "{diff}");
        }
        assert!(diff.contains("+USER = forge") && diff.contains("+PASSWD = (not shown, new)"), "{diff}");
    }
}
