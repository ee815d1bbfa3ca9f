//! Checks of the names of sections and keys: unknown names, wrong case, duplicates.

use super::{Checker, known_keys};
use crate::finding::Code;
use crate::section::{INCOMING, OVERRIDE_HEADER, SECTION};
use std::collections::HashMap;

/// The known keys of `[mailer]`, including deprecated ones and aliases.
pub(super) const MAILER: &[&str] = &[
    "CERT_FILE",
    "CLIENT_CERT_FILE",
    "CLIENT_KEY_FILE",
    "DISABLE_HELO",
    "ENABLED",
    "ENABLE_HELO",
    "ENABLE_HTML_ALTERNATIVE",
    "ENVELOPE_FROM",
    "FORCE_TRUST_SERVER_CERT",
    "FROM",
    "FROM_DISPLAY_NAME_FORMAT",
    "HELO_HOSTNAME",
    "HOST",
    "IS_TLS_ENABLED",
    "KEY_FILE",
    "MAILER_TYPE",
    "NAME",
    "PASSWD",
    "PASSWD_URI",
    "PASSWORD",
    "PASSWORD_URI",
    "PROTOCOL",
    "SENDMAIL_ARGS",
    "SENDMAIL_CONVERT_CRLF",
    "SENDMAIL_PATH",
    "SENDMAIL_TIMEOUT",
    "SEND_AS_PLAIN_TEXT",
    "SEND_BUFFER_LEN",
    "SKIP_VERIFY",
    "SMTP_ADDR",
    "SMTP_PORT",
    "SUBJECT_PREFIX",
    "USER",
    "USERNAME",
    "USE_CERTIFICATE",
    "USE_CLIENT_CERT",
];

/// The known keys of `[email.incoming]`, including aliases.
pub(super) const INCOMING_KEYS: &[&str] = &[
    "AUTH_MECHANISM",
    "DELETE_HANDLED_MESSAGE",
    "ENABLED",
    "HOST",
    "MAILBOX",
    "MAXIMUM_MESSAGE_SIZE",
    "PASSWD",
    "PASSWD_URI",
    "PASSWORD",
    "PASSWORD_URI",
    "PORT",
    "REPLY_TO_ADDRESS",
    "SKIP_TLS_VERIFY",
    "USERNAME",
    "USER",
    "USE_TLS",
];

/// Names that users write instead of a key, other than misspellings, each with the intended key.
const MEANT: &[(&str, &str)] = &[
    ("EMAIL", "FROM"),
    ("LOGIN", "USER"),
    ("PASS", "PASSWD"),
    ("PASSWD_FILE", "PASSWD_URI = file:/path"),
    ("PASSWORD_FILE", "PASSWD_URI = file:/path"),
    ("PORT", "SMTP_PORT"),
    ("SERVER", "SMTP_ADDR"),
    ("SMTP_FROM", "FROM"),
    ("SMTP_HOST", "SMTP_ADDR"),
    ("SMTP_PASS", "PASSWD"),
    ("SMTP_PASSWORD", "PASSWD"),
    ("SMTP_PWD", "PASSWD"),
    ("SMTP_SERVER", "SMTP_ADDR"),
    ("SMTP_USER", "USER"),
    ("SMTP_USERNAME", "USER"),
    ("TYPE", "PROTOCOL"),
];

/// Reports wrong section names, unknown keys and duplicate keys of the mailer's sections, and a missing `[mailer]`.
pub(super) fn check(checker: &mut Checker<'_>) {
    sections(checker);
    for section in [SECTION, INCOMING] {
        checker.section = section;
        report_unknown(checker);
    }
    for section in [SECTION, INCOMING, OVERRIDE_HEADER] {
        checker.section = section;
        duplicates(checker);
    }
    checker.section = SECTION;
    if checker.ini.section(SECTION).is_none() {
        checker.section = "";
        let fix = "write [mailer] with ENABLED = true, or look at another file";
        checker.add(Code::MailOff, "", "there is no section [mailer], so mail is off", fix);
        checker.section = SECTION;
    }
}

/// Reports sections whose name differs from a known one by case, surrounding white space or one edit.
fn sections(checker: &mut Checker<'_>) {
    for header in checker.ini.headers() {
        let name = header.section.as_str();
        let plain = name.trim().to_lowercase();
        for known in [SECTION, OVERRIDE_HEADER, INCOMING] {
            let (code, problem) = match () {
                () if name == known => continue,
                () if plain == known => {
                    (Code::KeyCase, format!("[{name}] is not read: names of sections are compared exactly"))
                }
                () if plain.len().abs_diff(known.len()) <= 4 && strsim::osa_distance(&plain, known) == 1 => {
                    (Code::UnknownSection, format!("[{name}] is not a section that Forgejo reads"))
                }
                () => continue,
            };
            checker.section = "";
            checker.add(code, "", problem, &format!("write [{known}]"));
            if let Some(finding) = checker.findings.last_mut() {
                (finding.line, finding.column) = (Some(header.line), Some(1));
            }
        }
    }
}

/// Reports unknown keys of the current section, with the key that is probably meant.
fn report_unknown(checker: &mut Checker<'_>) {
    let known = known_keys(checker.section);
    let keys = checker.ini.section(checker.section).map(crate::ini::Section::keys).unwrap_or_default();
    for key in keys {
        let name = key.name();
        if known.contains(&name) {
            continue;
        }
        let upper = name.to_uppercase();
        if let Some(exact) = known.iter().find(|known| **known == upper) {
            let problem = "not read: names of keys are compared exactly";
            checker.add(Code::KeyCase, name, problem, &format!("write {exact}"));
            continue;
        }
        let fix = match upper.strip_suffix("__FILE") {
            Some(inner) => format!(
                "write it as the environment variable FORGEJO__{}__{inner}__FILE, which app.ini does not read",
                checker.section.replace('.', "_0X2E_")
            ),
            None => match nearest(&upper, known) {
                Some(meant) => format!("write {meant}"),
                None => "remove it".to_owned(),
            },
        };
        checker.add(Code::UnknownKey, name, "not a key that Forgejo reads here", &fix);
    }
}

/// Length in bytes above which no key is suggested for a name.
const MAX_NAME_LEN: usize = 64;

/// Returns the known key for which a name is most likely meant: by the table of usual mistakes, or else the closest
/// one, at an edit distance of at most a quarter of the name's length, and at least 1. `None` if no key is that close.
fn nearest(name: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let usual = MEANT.iter().find(|(other, _)| *other == name).map(|(_, key)| *key);
    let first = usual.and_then(|key| key.split(' ').next());
    if let Some(key) = usual.filter(|_| first.is_some_and(|first| known.contains(&first))) {
        return Some(key);
    }
    // No key is that long, and the time of a comparison is proportional to both lengths.
    if name.len() > MAX_NAME_LEN {
        return None;
    }
    let most = (name.len() / 4).max(1);
    let close =
        known.iter().map(|key| (strsim::osa_distance(name, key), *key)).filter(|(far, _)| *far <= most);
    close.min().map(|(_, key)| key)
}

/// Reports keys of the current section that are assigned more than once, at the last assignment.
fn duplicates(checker: &mut Checker<'_>) {
    let mut seen: HashMap<&str, (u32, u32)> = HashMap::new();
    let entries = checker.ini.entries().iter().filter(|entry| entry.section == checker.section);
    let mut twice = Vec::new();
    for entry in entries {
        let (line, count) = seen.entry(&entry.key).or_insert((entry.line, 0));
        *count += 1;
        if *count == 2 {
            twice.push((entry.key.as_str(), *line));
        }
    }
    for (key, line) in twice {
        let problem = format!("given before, in line {line}: only this last one counts");
        checker.add(Code::Duplicate, key, problem, "keep one");
    }
}
