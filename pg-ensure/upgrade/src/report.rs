//! Report as text.

use super::facts::Backup;
use super::machine::State;
use super::preflight::Severity;
use super::record::Record;
use std::fmt::Write as _;

/// Formats a duration in milliseconds: `340 ms`, `12.3 s`, `4 min 05 s`.
#[must_use]
pub fn span(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => format!("{} min {:02} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
    }
}

/// Formats a time in milliseconds since 1970-01-01 UTC as `2026-11-23 13:05:10 UTC`.
pub(super) fn time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are converted to a date of the Gregorian calendar, with years from March, so that the leap day is the last
    // of a year.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60, rest % 60)
}

/// Returns the state of an upgrade in a sentence without a full stop.
pub(super) fn standing(record: &Record) -> String {
    match record.state {
        State::Done => format!("PostgreSQL {} runs on what {} had", record.choices.to, record.choices.from),
        State::RolledBack => "undone: the old cluster is as it was".to_owned(),
        State::Ready(step) => format!("not finished: next is {step}"),
        State::Running(step) => format!("not finished: {step} was begun"),
        State::RollingBack(_) => "being undone".to_owned(),
    }
}

/// Returns the noun for `count` facts of a kind, in singular or plural.
pub(super) fn plural(kind: &str, count: usize) -> String {
    let one = match kind {
        "member" => "membership",
        "rows" => "table's rows",
        "setting" => "role's or database's setting",
        kind => kind,
    };
    match (count, one) {
        (1, _) => one.to_owned(),
        (_, "index") => "indexes".to_owned(),
        (_, "table's rows") => "tables' rows".to_owned(),
        (_, "role's or database's setting") => "roles' or databases' settings".to_owned(),
        _ => format!("{one}s"),
    }
}

/// Returns a description of the backup: its kind and path, and whether it was made and verified, or the operator's
/// statement about their own.
pub(super) fn backup(record: &Record) -> String {
    let made = if record.backup_made { "verified" } else { "not made yet" };
    match &record.choices.backup {
        Backup::Base(path) => format!("pg_basebackup in {}, {made}", path.display()),
        Backup::Dump(path) => format!("pg_dumpall in {}, {made}", path.display()),
        Backup::Asserted(reason) => format!("none made; its owner says: {reason}"),
    }
}

/// Returns the report of an upgrade as text, even if the upgrade is not complete: state, folders, mode, backup, time
/// without a server, attempts of steps, numbers of compared facts, edits of the configuration, findings above a note,
/// and remaining tasks. Empty parts are left out.
#[must_use]
pub fn report(record: &Record) -> String {
    let choices = &record.choices;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Upgrade {} of PostgreSQL {} to {}",
        record.id, choices.old_version, choices.new_version
    );
    let _ = writeln!(out, "{}", standing(record));
    let _ = writeln!(out);
    for (name, value) in [
        ("old folder", choices.old_data.display().to_string()),
        ("new folder", choices.new_data.display().to_string()),
        ("mode", choices.mode.to_string()),
        ("backup", backup(record)),
        ("without a server", record.downtime().map_or_else(|| "-".to_owned(), span)),
    ] {
        let _ = writeln!(out, "{name:<18}{value}");
    }
    let _ = writeln!(out, "\nSteps");
    for entry in &record.history {
        let how = match (&entry.failed, entry.ended) {
            (Some(why), _) => format!("failed: {}", why.lines().next().unwrap_or("")),
            (None, Some(ended)) => span(ended.saturating_sub(entry.began)),
            (None, None) => "cut short".to_owned(),
        };
        let _ = writeln!(out, "  {}  {:<11} {how}", time(entry.began), entry.step.to_string());
        for note in &entry.notes {
            let _ = writeln!(out, "{:27}{note}", "");
        }
    }
    if !record.compared.is_empty() {
        let kinds: Vec<String> =
            record.compared.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let _ = writeln!(out, "\nCompared and found equal: {}", kinds.join(", "));
    }
    if !record.edits.is_empty() {
        let _ = writeln!(out, "\nConfiguration");
        for edit in &record.edits {
            let _ = writeln!(out, "  {} line {}: {}: {}", edit.file, edit.line, edit.name, edit.what);
        }
    }
    let shown: Vec<_> = record.findings.iter().filter(|finding| finding.severity > Severity::Note).collect();
    if !shown.is_empty() {
        let _ = writeln!(out, "\nFound before");
        for finding in shown {
            let _ = writeln!(out, "  {finding}");
        }
    }
    if !record.remarks.is_empty() {
        let _ = writeln!(out, "\nLeft to do or to know");
        for left in &record.remarks {
            let _ = writeln!(out, "  {left}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times() {
        assert_eq!(span(999), "999 ms");
        assert_eq!(span(12_345), "12.3 s");
        assert_eq!(span(245_000), "4 min 05 s");
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(time(1_795_439_110_000), "2026-11-23 13:05:10 UTC");
    }
}
