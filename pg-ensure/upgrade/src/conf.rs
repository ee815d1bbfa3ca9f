//! `postgresql.conf` across versions: its settings, parsed as the server does (guc-file.l), and the edits of an
//! upgrade, which preserve comments and order.

use super::version::Major;
use std::fmt::Write as _;

/// A line of a configuration file that sets a parameter or includes another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Line number, from 1.
    pub line: usize,
    /// Name of the parameter in lowercase, or `include`, `include_dir` or `include_if_exists`.
    pub name: String,
    /// Value without its quotes and escapes.
    pub value: String,
}

/// Returns the settings of a configuration file, in order, including repeated ones. Lines that the server would reject
/// are omitted.
#[must_use]
pub fn settings(text: &str) -> Vec<Setting> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(at, line)| parse(line).map(|(name, value)| Setting { line: at + 1, name, value }))
        .collect()
}

/// Parses `name = value` or `name value`, with quotes and comments. Returns the name in lower case and the value.
/// `None` if the line contains no setting, or its syntax is not valid.
fn parse(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    let end =
        line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')) && c.is_ascii());
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    if name.is_empty() || !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let Some(quoted) = rest.strip_prefix('\'') else {
        let end = rest.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(rest.len());
        return (end > 0).then(|| (name.to_ascii_lowercase(), rest[..end].to_owned()));
    };
    let mut value = String::new();
    let mut chars = quoted.chars().peekable();
    loop {
        match chars.next()? {
            '\'' if chars.peek() == Some(&'\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => return Some((name.to_ascii_lowercase(), value)),
            '\\' => match chars.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                'b' => value.push('\u{8}'),
                'f' => value.push('\u{c}'),
                first @ '0'..='7' => {
                    let mut code = first.to_digit(8)?;
                    for _ in 0..2 {
                        let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                        code = code * 8 + digit;
                        chars.next();
                    }
                    value.push(char::from_u32(code & 0xff)?);
                }
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

/// Quotes a value for a configuration file: in single quotes, with `'` doubled, and backslashes, line feeds and
/// carriage returns as escapes.
#[must_use]
pub fn quoted(value: &str) -> String {
    let mut out = String::from("'");
    for c in value.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}

/// Change of a parameter between two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterChange {
    /// The parameter was renamed; its new name.
    Renamed(&'static str),
    /// The parameter was removed; what replaces it, or the reason why nothing does.
    Removed(&'static str),
}

/// Changed parameters: name, first version without the parameter, and change, from the release notes of 13 to 19.
const PARAMETER_CHANGES: &[(&str, u32, ParameterChange)] = &[
    ("wal_keep_segments", 13, ParameterChange::Removed("wal_keep_size, in megabytes, replaces it")),
    ("operator_precedence_warning", 14, ParameterChange::Removed("it warned about a change of version 9.5")),
    ("vacuum_cleanup_index_scale_factor", 14, ParameterChange::Removed("it had no effect since 13.3")),
    ("stats_temp_directory", 15, ParameterChange::Removed("statistics are in shared memory")),
    ("force_parallel_mode", 16, ParameterChange::Renamed("debug_parallel_query")),
    ("promote_trigger_file", 16, ParameterChange::Removed("pg_promote() or pg_ctl promote does it")),
    (
        "vacuum_defer_cleanup_age",
        16,
        ParameterChange::Removed("hot_standby_feedback or replication slots do it"),
    ),
    ("db_user_namespace", 17, ParameterChange::Removed("it has no replacement")),
    ("old_snapshot_threshold", 17, ParameterChange::Removed("it has no replacement")),
    ("trace_recovery_messages", 17, ParameterChange::Removed("it has no replacement")),
    ("ssl_ecdh_curve", 18, ParameterChange::Renamed("ssl_groups")),
    ("escape_string_warning", 19, ParameterChange::Removed("standard_conforming_strings is always on")),
    ("io_workers", 19, ParameterChange::Renamed("io_max_workers")),
];

/// Returns the change of a parameter, named in lower case, from a version of the old server to one of the new. `None`
/// if the parameter was neither renamed nor removed after `from` and up to `to`.
#[must_use]
pub fn parameter_change(name: &str, from: Major, to: Major) -> Option<ParameterChange> {
    PARAMETER_CHANGES
        .iter()
        .find(|(old, gone, _)| *old == name && from.number() < *gone && *gone <= to.number())
        .map(|(_, _, fate)| *fate)
}

/// One change that a conversion makes in a configuration file, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Edit {
    /// Name of the file, from [`SettingsConversion::file`].
    pub file: String,
    /// Line number in the old file, from 1.
    pub line: usize,
    /// Name of the parameter in the old version, in lowercase.
    pub name: String,
    /// Description of the edit, with its reason.
    pub what: String,
}

/// The conversion of one configuration file from the old version and data directory to the new ones: the input of
/// [`convert_settings`].
#[derive(Clone, Copy, Debug)]
pub struct SettingsConversion<'c> {
    /// Name of the file, for the edits.
    pub file: &'c str,
    /// The major version that the file is written for.
    pub from: Major,
    /// The major version that the file is converted to.
    pub to: Major,
    /// Path of the old data directory. Values that are paths in it are changed to the new one.
    pub old_data: &'c str,
    /// Path of the new data directory.
    pub new_data: &'c str,
    /// Names of parameters, in lowercase, whose settings the new server rejects, each with the reason.
    pub refused: &'c [(String, String)],
}

/// Converts a configuration file to the new version. Returns the text and the edits. Renamed settings are replaced, as
/// are values that are paths in the old data directory. `max_locks_per_transaction` is doubled for version 19. A line
/// is commented out if its setting was removed, is in [`SettingsConversion::refused`], or turns
/// `standard_conforming_strings` off for version 19. Every other line is kept.
///
/// ```
/// use pg_upgrade::{SettingsConversion, convert_settings};
/// let how = SettingsConversion {
///     file: "postgresql.conf", from: "15".parse()?, to: "18".parse()?,
///     old_data: "/var/lib/postgresql/15", new_data: "/var/lib/postgresql/18", refused: &[],
/// };
/// let (text, edits) = convert_settings("port = 5433 # ours\nforce_parallel_mode = off\n", &how);
/// assert_eq!(text, "port = 5433 # ours\ndebug_parallel_query = 'off' # was force_parallel_mode until 15\n");
/// assert_eq!(edits.len(), 1);
/// # Ok::<(), pg_upgrade::UnknownMajor>(())
/// ```
#[must_use]
pub fn convert_settings(text: &str, how: &SettingsConversion<'_>) -> (String, Vec<Edit>) {
    let mut out = String::with_capacity(text.len());
    let mut edits = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((name, value)) = parse(line) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let mut edit = |what: String| {
            edits.push(Edit { file: how.file.to_owned(), line: at + 1, name: name.clone(), what });
        };
        if let Some((_, why)) = how.refused.iter().find(|(refused, _)| *refused == name) {
            edit(format!("left out: {why}"));
            let _ = writeln!(out, "# left out for {}: {why}\n# {line}", how.to);
            continue;
        }
        let kept = comment(line).map(|kept| format!("; {kept}")).unwrap_or_default();
        match parameter_change(&name, how.from, how.to) {
            Some(ParameterChange::Removed(instead)) => {
                edit(format!("removed in {}: {instead}", how.to));
                let _ = writeln!(out, "# not in {}: {instead}\n# {line}", how.to);
                continue;
            }
            Some(ParameterChange::Renamed(new)) => {
                edit(format!("is now {new}"));
                let _ = writeln!(out, "{new} = {} # was {name} until {}{kept}", quoted(&value), how.from);
                continue;
            }
            None => {}
        }
        if how.to.number() >= 19 && name == "standard_conforming_strings" && is_off(&value) {
            edit(format!("left out: it is always on in {}", how.to));
            let _ = writeln!(out, "# left out for {}: it is always on\n# {line}", how.to);
            continue;
        }
        if (how.from.number() < 19 && how.to.number() >= 19 && name == "max_locks_per_transaction")
            && let Some(doubled) = value.parse().ok().and_then(doubled_locks)
        {
            edit(format!("{value} is now {doubled}: {} counts locks otherwise", how.to));
            let _ =
                writeln!(out, "{name} = {doubled} # for as many locks as {value} until {}{kept}", how.from);
            continue;
        }
        if let Some(moved) = relocate(&value, how.old_data, how.new_data) {
            edit(format!("{value} is now {moved}"));
            let _ = writeln!(out, "{name} = {} # was in {}{kept}", quoted(&moved), how.old_data);
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    (out, edits)
}

/// Returns the comment behind the setting of a line, without `#`. `None` if there is none.
fn comment(line: &str) -> Option<&str> {
    let (mut inside, mut escaped) = (false, false);
    let start = line.find(|c| {
        let literal = std::mem::take(&mut escaped);
        match c {
            '\'' if !literal => inside = !inside,
            '\\' if !literal => escaped = inside,
            '#' => return !inside,
            _ => {}
        }
        false
    })?;
    Some(line[start + 1..].trim()).filter(|comment| !comment.is_empty())
}

/// Returns twice the value of `max_locks_per_transaction`, at most its maximum. `None` if the value is at or above it.
fn doubled_locks(value: i32) -> Option<i32> {
    (value < i32::MAX).then(|| value.saturating_mul(2))
}

/// Returns `true` if the server parses the value as false: `0`, or in any case a beginning of `off`, `false` or `no`
/// that is not ambiguous, thus not `o`.
fn is_off(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value == "0" || ["off", "of", "false", "fals", "fal", "fa", "f", "no", "n"].contains(&value.as_str())
}

/// Replaces the old directory at the beginning of a path by the new one. `None` if the path is not in the old
/// directory.
fn relocate(value: &str, old: &str, new: &str) -> Option<String> {
    let rest = value.strip_prefix(old)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{new}{rest}"))
}

/// Parses the server's error messages about settings, such as `unrecognized configuration parameter "x" in file "y"
/// line 3` and `invalid value for parameter "x": "y"`. Returns each parameter once, in lower case, with its first
/// message.
#[must_use]
pub fn refusals(words: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in words.lines() {
        let line = line.split_once(":  ").map_or(line, |(_, rest)| rest);
        if line.contains("contains errors") {
            continue;
        }
        let Some((_, rest)) = line.split_once("parameter \"") else { continue };
        let Some((name, _)) = rest.split_once('"') else { continue };
        let name = name.to_ascii_lowercase();
        if !found.iter().any(|(known, _)| *known == name) {
            let why = line.split(" in file \"").next().unwrap_or(line);
            found.push((name, why.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn major(number: u32) -> Major {
        Major::try_from(number).unwrap()
    }

    #[test]
    fn lines_as_the_server_reads_them() {
        let text = "# port = 1\nport = 5433\nShared_Buffers '16MB' # x\nlisten_addresses='it''s \\'x\\101'\n\
                    include_dir 'conf.d'\n  work_mem=4MB#c\nbroken = 'x\nx.y = 1\n= 3\nempty = ''\n";
        let found: Vec<(usize, String, String)> =
            settings(text).into_iter().map(|s| (s.line, s.name, s.value)).collect();
        let expected = [
            (2, "port", "5433"),
            (3, "shared_buffers", "16MB"),
            (4, "listen_addresses", "it's 'xA"),
            (5, "include_dir", "conf.d"),
            (6, "work_mem", "4MB"),
            (8, "x.y", "1"),
            (10, "empty", ""),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(l, n, v)| (*l, (*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn edits() {
        let refused = [("bogus".to_owned(), "unrecognized configuration parameter \"bogus\"".to_owned())];
        let how = SettingsConversion {
            file: "postgresql.conf",
            from: major(15),
            to: major(18),
            old_data: "/srv/15",
            new_data: "/srv/18",
            refused: &refused,
        };
        let old = "old_snapshot_threshold = -1\nssl_cert_file = '/srv/15/a.crt'\nlog_directory = '/srv/150'\nbogus = 1\n";
        let (new, edits) = convert_settings(old, &how);
        assert_eq!(edits.len(), 3);
        let left: Vec<_> = settings(&new).into_iter().map(|s| (s.name, s.value)).collect();
        assert_eq!(
            left,
            [
                ("ssl_cert_file".to_owned(), "/srv/18/a.crt".to_owned()),
                ("log_directory".to_owned(), "/srv/150".to_owned())
            ]
        );
    }

    #[test]
    fn what_19_changes() {
        let how = SettingsConversion {
            file: "f",
            from: major(18),
            to: major(19),
            old_data: "/a",
            new_data: "/b",
            refused: &[],
        };
        let (new, edits) = convert_settings(
            "escape_string_warning = off\nstandard_conforming_strings = off\nport = 1\nio_workers = 5\n\
             max_locks_per_transaction = 100 # ours\n",
            &how,
        );
        assert_eq!(edits.len(), 4);
        let left: Vec<_> = settings(&new).into_iter().map(|s| format!("{}={}", s.name, s.value)).collect();
        assert_eq!(left, ["port=1", "io_max_workers=5", "max_locks_per_transaction=200"]);
        assert!(new.contains("200 # for as many locks as 100 until 18; ours\n"), "{new}");
        let (new, _) = convert_settings("max_locks_per_transaction = 2000000000\n", &how);
        assert!(new.starts_with("max_locks_per_transaction = 2147483647 #"), "{new}");
        let (new, _) = convert_settings("log_directory = '/a/it''s \\'#\\'' # the\\'logs # all\n", &how);
        assert!(new.ends_with(" # was in /a; the\\'logs # all\n"), "{new}");
        for kept in ["standard_conforming_strings = on\n", "max_locks_per_transaction = 4000000000\n"] {
            let (new, edits) = convert_settings(kept, &how);
            assert!(edits.is_empty() && new == kept, "{new}");
        }
        let how = SettingsConversion { to: major(18), from: major(17), ..how };
        let (_, edits) = convert_settings("max_locks_per_transaction = 100\n", &how);
        assert!(edits.is_empty());
    }

    #[test]
    fn words_of_servers() {
        let words = "2026-11-23 13:00:00.000 UTC [1] LOG:  unrecognized configuration parameter \"foo\" in file \"/x\" line 3\n\
                     2026-11-23 13:00:00.000 UTC [1] LOG:  invalid value for parameter \"Wal_level\": \"x\"\n\
                     2026-11-23 13:00:00.000 UTC [1] LOG:  -1 is outside the valid range for parameter \"port\" (1 .. 65535)\n\
                     2026-11-23 13:00:00.000 UTC [1] FATAL:  configuration file \"/x\" contains errors\n";
        let names: Vec<String> = refusals(words).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["foo", "wal_level", "port"]);
    }

    proptest! {
        #[test]
        fn quoting_round_trips(value in "[ -~é\\n]{0,40}") {
            let line = format!("x = {}", quoted(&value));
            prop_assert_eq!(settings(&line), vec![Setting { line: 1, name: "x".into(), value }]);
        }

        #[test]
        fn what_needs_no_edit_stays_to_the_byte(lines in proptest::collection::vec("[a-z_#= '\\\\0-9]{0,30}", 0..20)) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let how = SettingsConversion { file: "f", from: major(17), to: major(18), old_data: "/a", new_data: "/b", refused: &[] };
            let (new, edits) = convert_settings(&text, &how);
            prop_assert!(edits.is_empty());
            prop_assert_eq!(new, text);
        }
    }
}
