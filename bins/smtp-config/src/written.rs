//! Errors that `check` finds in what is about to be written.

use crate::files::place_of;
use cli_support::finding::Findings;
use cli_support::outcome::Failure;
use smtp_config::ini::Ini;
use smtp_config::{
    Change, Code, Finding, INCOMING, Mailer, OVERRIDE_HEADER, SECTION, Setting, Severity, Version, check,
    edit,
};
use std::path::Path;

/// Keys of the mailer in app.ini, each with its setting.
const MAILER: &[(&str, &str)] = &[
    ("ENVELOPE_FROM", "envelope_from"),
    ("FROM", "from"),
    ("HELO_HOSTNAME", "helo"),
    ("PROTOCOL", "protocol"),
    ("SENDMAIL_ARGS", "sendmail_args"),
    ("SENDMAIL_PATH", "sendmail"),
    ("SMTP_ADDR", "host"),
    ("SMTP_PORT", "port"),
    ("SUBJECT_PREFIX", "subject_prefix"),
    ("USER", "user"),
];

/// Keys of incoming mail in app.ini, each with its setting.
const INCOMING_KEYS: &[(&str, &str)] = &[
    ("HOST", "incoming.host"),
    ("MAILBOX", "incoming.mailbox"),
    ("PORT", "incoming.port"),
    ("REPLY_TO_ADDRESS", "incoming.reply_to"),
    ("USERNAME", "incoming.username"),
    ("USE_TLS", "incoming.tls"),
];

/// Returns each error that `check` would find in the settings, as the key of the setting and a message with the fix.
/// Empty if they cannot be written at all, which is an error of writing.
pub(crate) fn faults_to_write(mailer: &Mailer, version: Version) -> Vec<(String, String)> {
    let changes: Vec<Change> = mailer.settings().iter().map(Setting::to_change).collect();
    let Ok(text) = edit("", &changes) else { return Vec::new() };
    let Ok(ini) = Ini::parse(&text) else { return Vec::new() };
    let found = check(&ini, version).into_iter().filter(is_refused);
    let found = found.map(|finding| {
        let key = match finding.section.as_str() {
            OVERRIDE_HEADER => format!("headers.{}", finding.key),
            section => setting(section, &finding.key),
        };
        (key, message(&finding))
    });
    found.collect()
}

/// Refuses a file whose new content has errors that its content before, `old`, does not have. The places of errors refer to
/// `old`. What it has already may be deliberate, and is named in a note.
///
/// # Errors
/// Returns a [`Failure`] with every new error that `check` finds.
pub(crate) fn refuse_faults(file: &Path, old: &Ini, new: &Ini, version: Version) -> Result<(), Failure> {
    let before = check(old, version);
    let same = |one: &Finding, other: &Finding| {
        (one.code, &one.section, &one.key) == (other.code, &other.section, &other.key)
    };
    let refused = check(new, version).into_iter().filter(is_refused);
    let (kept, refused): (Vec<_>, Vec<_>) =
        refused.partition(|finding| before.iter().any(|other| same(finding, other)));
    for finding in kept {
        cli_support::verbosity::note(&format!(
            "the file keeps an error: {}: {}",
            finding.key,
            finding.message()
        ));
    }
    let found: Vec<_> = refused
        .into_iter()
        .map(|finding| {
            let place = place_of(file, old, &finding.section, &finding.key);
            cli_support::finding::Finding::error(finding.code.as_str(), place, finding.message())
                .value(finding.value.clone())
                .fix(&finding.fix)
        })
        .collect();
    if found.is_empty() { Ok(()) } else { Err(Findings::new(found).into()) }
}

/// Returns whether a finding keeps settings from being written: an error, or a port at which the connection hangs.
fn is_refused(finding: &Finding) -> bool {
    finding.severity == Severity::Error || matches!(finding.code, Code::ProtocolPort | Code::IncomingTlsPort)
}

/// Returns the setting that a key of app.ini comes from, or the key itself if there is none.
fn setting(section: &str, key: &str) -> String {
    let known = match section {
        SECTION => MAILER,
        INCOMING => INCOMING_KEYS,
        _ => &[],
    };
    let known = known.iter().find(|(held, _)| *held == key);
    known.map_or_else(|| key.to_owned(), |(_, setting)| (*setting).to_owned())
}

/// Returns problem and fix of a finding. Keys of app.ini in the fix are replaced by those of settings.
fn message(finding: &Finding) -> String {
    if finding.fix.is_empty() {
        return finding.problem.clone();
    }
    let words: Vec<String> = finding.fix.split(' ').map(|word| setting(&finding.section, word)).collect();
    format!("{}: {}", finding.problem, words.join(" "))
}
