//! Checks of values that go-ini reads differently from how they are written.

use super::Checker;
use crate::edit::is_password;
use crate::finding::Code;
use crate::ini::{Ini, has_reference};
use crate::section::{INCOMING, OVERRIDE_HEADER, SECTION};

/// Reports values of the current section that end at a `#` or `;`, have a `"` or `'` at the beginning and no other, or
/// begin with `${NAME}`. In values other than passwords, a `#` or `;` after white space counts as a comment and is not
/// reported; nor are variables in headers and in `SUBJECT_PREFIX`.
pub(super) fn check(checker: &mut Checker<'_>) {
    let mut found = Vec::new();
    for entry in checker.ini.entries().iter().filter(|entry| entry.section == checker.section) {
        let line = &checker.ini.text()[entry.span.clone()];
        let value = line.find(['=', ':']).map_or("", |at| line[at + 1..].trim());
        let quoted = value.starts_with('`') || value.starts_with("\"\"\"");
        // A `#` or `;` after white space is assumed to begin a comment on purpose.
        let comment = |at: usize| at == 0 || value[..at].ends_with([' ', '\t']);
        let at = value.find(['#', ';']).filter(|_| !quoted);
        if at.is_some_and(|at| is_password(&entry.key) || !comment(at)) {
            found.push((Code::ValueCut, entry.key.clone()));
        }
        let mark = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        if mark.is_some_and(|mark| value.matches(mark).count() == 1 && !quoted) {
            found.push((Code::OpenQuote, entry.key.clone()));
        }
        let variable = value.trim_matches(['"', '\'', '`']);
        let named = variable.strip_prefix("${").and_then(|rest| rest.find('}'));
        if named.is_some() && checker.section != OVERRIDE_HEADER && entry.key != "SUBJECT_PREFIX" {
            found.push((Code::Variable, entry.key.clone()));
        }
    }
    for (code, key) in found {
        let (problem, fix) = match code {
            Code::ValueCut => {
                ("read up to its first # or ; only".to_owned(), "put the whole value in backticks")
            }
            Code::OpenQuote => {
                ("the quote is not closed and becomes part of the value".to_owned(), "close or remove it")
            }
            _ => (
                "app.ini does not expand variables: the text itself is the value".to_owned(),
                "write the value, or let environment-to-ini write it from a variable",
            ),
        };
        checker.add(code, &key, problem, fix);
    }
}

/// Reports `%(name)s` in the passwords under these keys.
pub(super) fn reference(checker: &mut Checker<'_>, keys: &[&str]) {
    for key in keys {
        let held = checker.ini.section(checker.section).and_then(|section| section.key(key));
        if held.is_some_and(|key| has_reference(key.raw())) {
            let problem = "%(name)s is replaced by another key's value and cannot be escaped";
            checker.add(Code::PasswordReference, key, problem, "use another password");
        }
    }
}

/// Reports values of the checked sections that change if Forgejo writes app.ini once or twice, or, as the only finding,
/// that the written file cannot be read.
pub(super) fn resave(checker: &mut Checker<'_>) {
    let mut now = None::<Ini>;
    for _ in 0..2 {
        let written = now.as_ref().unwrap_or(checker.ini).write();
        let Ok(next) = Ini::parse_values(&written) else {
            let problem = "once Forgejo has written app.ini itself, it cannot be read any more";
            let fix = "quote values that begin with three quotes in another way";
            checker.section = "";
            checker.add(Code::ResaveUnreadable, "", problem, fix);
            return;
        };
        // What is written and read unchanged remains so.
        let settled = now.as_ref().unwrap_or(checker.ini).sections() == next.sections();
        now = Some(next);
        if settled {
            break;
        }
    }
    let Some(now) = now else { return };
    for name in [SECTION, OVERRIDE_HEADER, INCOMING] {
        let Some(section) = checker.ini.section(name) else { continue };
        checker.section = name;
        for key in section.keys() {
            if now.value(name, key.name()) != checker.ini.value(name, key.name()) {
                let problem = "the value changes once Forgejo has written the file itself";
                let fix = "quote it in backticks; if it is a password with quotes around it, use PASSWD_URI or another";
                checker.add(Code::ResaveChanges, key.name(), problem, fix);
            }
        }
    }
}
