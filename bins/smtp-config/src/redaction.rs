//! Display of files without their secrets.

use cli_support::diff::unified;
use smtp_config::ini::{Ini, Key};
use smtp_config::{carries_credentials, visible_value};
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

/// Number of equal lines before and after the differing part that are processed, too; more than the difference
/// displays.
const MARGIN: usize = 8;

/// Returns the unified difference from `old` to `new`, with `file` as the name of both, without secrets and without the
/// text of comments, which may contain some. Empty if they are equal or the new one cannot be parsed.
pub(crate) fn shown_diff(old: &Ini, new: &str, file: &Path) -> String {
    let before = old.text();
    if before == new {
        return String::new();
    }
    let Ok(after) = Ini::parse(new) else { return String::new() };
    let lines: HashSet<&str> = before.lines().collect();
    let (first, second) = differing_parts(before, new);
    unified(&redact(old, &lines, &first), &redact(&after, &lines, &second), &file.display().to_string())
}

/// Returns the byte ranges of the old and the new text that differ, in whole lines, with up to [`MARGIN`] equal lines
/// before and after them.
fn differing_parts(old: &str, new: &str) -> (Range<usize>, Range<usize>) {
    let same = |(one, other): &(&str, &str)| one == other;
    let ahead: Vec<usize> = old
        .split_inclusive('\n')
        .zip(new.split_inclusive('\n'))
        .take_while(same)
        .map(|(line, _)| line.len())
        .collect();
    let start: usize = ahead.iter().take(ahead.len().saturating_sub(MARGIN)).sum();
    let (rest, other) = (&old[start..], &new[start..]);
    let mut behind: Vec<usize> = Vec::new();
    let (mut ours, mut theirs) = (rest.split_inclusive('\n').rev(), other.split_inclusive('\n').rev());
    while let (Some(line), Some(there)) = (ours.next(), theirs.next())
        && line == there
    {
        behind.push(line.len());
    }
    let end: usize = behind.iter().take(behind.len().saturating_sub(MARGIN)).sum();
    (start..old.len() - end, start..new.len() - end)
}

/// Returns the text of a file without its secrets and comments; lines outside of `part`, a byte range, are empty. A
/// secret with a line that is not in `old`, the lines of the old file, is marked as new.
fn redact(ini: &Ini, old: &HashSet<&str>, part: &Range<usize>) -> String {
    let text = ini.text();
    let mut out = String::with_capacity(part.len() * 2);
    let mut from = 0;
    for entry in ini.entries() {
        comments(&mut out, text, from..entry.span.start, part);
        from = entry.span.end;
        let lines = &text[entry.span.clone()];
        if entry.span.end <= part.start || entry.span.start >= part.end {
            out.extend(std::iter::repeat_n('\n', lines.matches('\n').count().max(1)));
            continue;
        }
        let raw = ini.section(&entry.section).and_then(|held| held.key(&entry.key)).map_or("", Key::raw);
        let secret = visible_value(&entry.key, raw).is_none() || carries_credentials(lines);
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
    comments(&mut out, text, from..text.len(), part);
    out
}

/// Appends the lines of the byte range `between`, which contains no entries: comments without their text, and empty
/// lines for all of them if the range is outside of `part`.
fn comments(out: &mut String, text: &str, between: Range<usize>, part: &Range<usize>) {
    let outside = between.end <= part.start || between.start >= part.end;
    for line in text[between].lines() {
        let comment = line.trim_start().starts_with(['#', ';']);
        out.push_str(match () {
            () if outside => "",
            () if comment => "# (comment not shown)",
            () => line,
        });
        out.push('\n');
    }
}

/// Returns the byte offset of the first `#` or `;` behind the `=` or `:` of an entry. `None` if there is none, or the
/// value is quoted by backticks or three double quotes.
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
        let read = |text: &str| Ini::parse(text).expect("it is read");
        let diff = shown_diff(&read(old), &new, Path::new("app.ini"));
        for secret in ["secret", "hunter2"] {
            assert!(!diff.contains(secret), "{diff}");
        }
        assert!(diff.contains("+USER = forge") && diff.contains("+PASSWD = (not shown, new)"), "{diff}");
    }
    /// Only what differs is looked at, and the lines have the numbers that they have in the file.
    #[test]
    fn a_difference_in_the_middle_is_shown_as_in_the_whole() {
        let many: String =
            (0..200).map(|number| format!("[s{number}]\nA = {number}\nPASSWD = secret{number}\n")).collect();
        let read = |text: &str| Ini::parse(text).expect("it is read");
        let old = many.clone();
        let new = many.replace("A = 100\n", "A = 100\nB = `two\nlines`\n").replace("secret101", "other101");
        let diff = shown_diff(&read(&old), &new, Path::new("app.ini"));
        let expected = "--- app.ini\n+++ app.ini\n@@ -300,10 +300,12 @@\n PASSWD = (not shown)\n [s100]\n A = 100\n+B = `two\n+lines`\n \
                        PASSWD = (not shown)\n [s101]\n A = 101\n-PASSWD = (not shown)\n+PASSWD = (not shown, new)\n [s102]\n A = 102\n \
                        PASSWD = (not shown)\n";
        assert_eq!(diff, expected);
        for (old, new) in
            [("", "A = 1\n"), ("A = 1\n", ""), ("A = 1", "A = 1\n\n"), ("A = 1\n", "A = 1\nA = 1\n")]
        {
            assert!(shown_diff(&read(old), new, Path::new("x")).starts_with("--- x"), "{old:?} {new:?}");
        }
    }
}
