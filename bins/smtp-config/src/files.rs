//! Files of Forgejo on disk.

use crate::open_quote;
use cli_support::account::Account;
use cli_support::finding::{Finding, Findings, Place, Severity};
use cli_support::outcome::Failure;
use smtp_config::ini::{DEFAULT_SECTION, Ini};
use smtp_config::{EditError, Fatal, MigrationError, SecretFile, Version};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Maximum size of a file that is read, in bytes; far above that of any app.ini.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// Reads a file as UTF-8.
///
/// # Errors
/// Returns a [`Failure`] if it cannot be read, is longer than 16 MiB, or is not UTF-8.
pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    let failed = |why: std::io::Error| Failure::from(Findings::unreadable(&file.display().to_string(), &why));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(whole(file, "size", "longer than 16 MiB: name an app.ini"));
    }
    String::from_utf8(bytes).map_err(|_| whole(file, "unreadable", "not UTF-8: save the file as UTF-8"))
}

/// Returns the failure for a file as a whole: one finding with this code and message.
pub(crate) fn whole(file: &Path, code: &'static str, message: &str) -> Failure {
    let place = Place { file: file.display().to_string(), ..Place::default() };
    Findings::new(vec![Finding::error(code, place, message)]).into()
}

/// Parses an app.ini. `file` is its path for messages.
///
/// # Errors
/// Returns a [`Failure`] with every line that go-ini refuses, at most 200.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Ini, Failure> {
    if let Ok(ini) = Ini::parse(text) {
        return Ok(ini);
    }
    let (ini, refused) = parse_rest(file, text);
    ini.filter(|_| refused.is_empty()).ok_or_else(|| Findings::new(refused).into())
}

/// Number of refused lines after which the search for more of them ends.
const MAX_REFUSED: usize = 200;

/// Parses an app.ini without the lines that go-ini refuses, and returns findings about these (code `syntax`), too. A
/// quote that is not closed on its line although settings follow is one finding (code `open-quote`): an error, and the
/// quote is taken for closed there; but in a file that go-ini reads, a warning, and the value is read as go-ini does.
/// The result is `None` if there are 200 findings.
pub(crate) fn parse_rest(file: &Path, text: &str) -> (Option<Ini>, Vec<Finding>) {
    let (mut rest, mut refused) = (text.to_owned(), Vec::new());
    while refused.len() < MAX_REFUSED {
        let parsed = Ini::parse(&rest);
        if let Some(open) = open_quote::find(&rest, parsed.is_ok()) {
            let place = Place {
                file: file.display().to_string(),
                line: open.line,
                column: open.column,
                key: String::new(),
            };
            let end =
                open.end.map_or_else(|| "the end of the file".to_owned(), |line| format!("line {line}"));
            let finding = Finding::error(
                "open-quote",
                place,
                format!(
                    "the quote around the value is not closed on this line, and all up to {end} is read as a part of the value: close it"
                ),
            );
            if let Ok(ini) = parsed {
                refused.push(finding.severity(Severity::Warning));
                return (Some(ini), refused);
            }
            refused.push(finding);
            rest = open.close(&rest);
            continue;
        }
        let why = match parsed {
            Ok(ini) => return (Some(ini), refused),
            Err(why) => why,
        };
        let (line, column) = (why.line as usize, why.column as usize);
        let place = Place { file: file.display().to_string(), line, column, key: String::new() };
        refused.push(Finding::error("syntax", place, format!("{}: {}", why.reason, why.reason.fix())));
        let blanked = rest.split_inclusive('\n').enumerate().map(|(at, whole)| {
            if at + 1 == line { if whole.ends_with('\n') { "\n" } else { "" } } else { whole }
        });
        rest = blanked.collect();
    }
    (None, refused)
}

/// Returns the failure for a setting with which Forgejo does not start, at its place in the file.
pub(crate) fn fatal(file: &Path, ini: &Ini, version: Version, why: &Fatal) -> Failure {
    let message = format!("Forgejo {version} does not start: {why}: {}", why.fix());
    at_key(file, ini, (why.section(), why.key()), why.code().as_str(), &message, why.fix())
}

/// Returns the failure for an edit that is not possible (code `unwritable`), at the key of the mailer that cannot be
/// written, or at its section.
pub(crate) fn edit_fault(file: &Path, ini: &Ini, why: &EditError) -> Failure {
    let key = match why {
        EditError::Value { key, .. } | EditError::NotRead(key) => key.as_str(),
        _ => "",
    };
    let fix = "write the value in another form".to_owned();
    at_key(file, ini, (smtp_config::SECTION, key), "unwritable", &format!("{why}: {fix}"), fix)
}

/// Returns the failure for a file that cannot be migrated, at the key that is the reason, or for the file as a whole.
pub(crate) fn migration_fault(file: &Path, ini: &Ini, why: &MigrationError) -> Failure {
    match why {
        MigrationError::Start { version, reason } => fatal(file, ini, *version, reason),
        MigrationError::Edit(why) => edit_fault(file, ini, why),
        MigrationError::Meaning(key) => {
            let message = format!("{why}: {}", why.fix());
            at_key(file, ini, (smtp_config::SECTION, key), "meaning", &message, why.fix())
        }
        other => whole(file, "migration", &format!("{other}: {}", other.fix())),
    }
}

/// Returns a failure with one finding at the last line of a key, else at the header of its section, else for the file
/// as a whole.
fn at_key(
    file: &Path,
    ini: &Ini,
    (section, key): (&str, &str),
    code: &'static str,
    message: &str,
    fix: String,
) -> Failure {
    let place = place_of(file, ini, section, key);
    Findings::new(vec![Finding::error(code, place, message).fix(fix)]).into()
}

/// Returns the place of the last line of a key, else of the header of its section, else of the file as a whole.
pub(crate) fn place_of(file: &Path, ini: &Ini, section: &str, key: &str) -> Place {
    let entry = ini.entries().iter().rfind(|entry| entry.section == section && entry.key == key);
    let header = ini.headers().iter().find(|header| header.section == section);
    let (line, column) = match (entry, header) {
        (Some(entry), _) => (entry.line, entry.column),
        (None, Some(header)) => (header.line, 1),
        (None, None) => (0, 0),
    };
    Place {
        file: file.display().to_string(),
        line: line as usize,
        column: column as usize,
        key: key_in(section, key),
    }
}

/// Returns a key as findings name it: with its section, unless that is `[mailer]`.
pub(crate) fn key_in(section: &str, key: &str) -> String {
    match section {
        "" | smtp_config::SECTION => key.to_owned(),
        _ => format!("[{section}] {key}").trim_end().to_owned(),
    }
}

/// Returns the account that runs Forgejo: the one with the name `given`, else that of `RUN_USER` if it exists, else the
/// owner of app.ini. `None` if there is none of them.
///
/// # Errors
/// Returns a [`Failure`] if the given account does not exist.
pub(crate) fn forgejo_account(
    file: &Path,
    ini: &Ini,
    given: Option<&str>,
) -> Result<Option<Account>, Failure> {
    if let Some(name) = given {
        let unknown = || {
            cli_support::usage::fault(
                "value",
                "--user",
                &format!("no such user of this machine, {name}: write one of them"),
            )
        };
        return Account::by_name(name).ok_or_else(unknown).map(Some);
    }
    let named = ini.value(DEFAULT_SECTION, "RUN_USER").filter(|name| !name.is_empty());
    Ok(named.and_then(|name| Account::by_name(&name)).or_else(|| Account::owner_of(file)))
}

/// Returns the mode of a file that every account of the machine can read, by the modes of it and of its folders. `None`
/// for another one, and if they cannot be examined.
fn mode_readable_by_others(file: &Path) -> Option<u32> {
    // An account that owns nothing and has no group.
    let stranger = Account { name: "others".to_owned(), uid: u32::MAX - 1, gids: Vec::new() };
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o7777;
    matches!(stranger.read_obstacle(file), Ok(None)).then_some(mode)
}

/// Returns the finding, an error, about a password in an app.ini that others can read. `key` is its key in the section;
/// `account` is the one that runs Forgejo. `None` if they cannot.
pub(crate) fn readable_password(
    file: &Path,
    ini: &Ini,
    (section, key): (&str, &str),
    account: Option<&Account>,
) -> Option<Finding> {
    let mode = mode_readable_by_others(file)?;
    let user = account.map_or("Forgejo's user", |account| account.name.as_str());
    let fix = format!("chmod 0640, and let the file belong to {user} or to a group of it");
    let message = format!("the file has mode {mode:04o}, so that others can read the password: {fix}");
    let place = place_of(file, ini, section, key);
    Some(Finding::error("password-readable", place, message).fix(fix))
}

/// Returns the fault of a password file: missing, not readable for the account, or only white space. `None` if there is
/// none, or this cannot be determined. A systemd credential, below `/run/credentials/`, exists only while its unit
/// runs, so that a missing one is no fault, and its mode is not examined.
pub(crate) fn secret_file_state(path: &str, account: Option<&Account>) -> Option<SecretFile> {
    let file = Path::new(path);
    let credential = path.starts_with("/run/credentials/");
    match std::fs::metadata(file) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return (!credential).then_some(SecretFile::Missing);
        }
        Err(_) => return None,
        Ok(_) => {}
    }
    // Credentials have an access control list in addition to their mode.
    if let Some(account) = account.filter(|_| !credential)
        && let Ok(Some(why)) = account.read_obstacle(file)
    {
        return Some(SecretFile::Unreadable { user: account.name.clone(), why });
    }
    let content = std::fs::read(file).ok()?;
    content.iter().all(u8::is_ascii_whitespace).then_some(SecretFile::Empty)
}
