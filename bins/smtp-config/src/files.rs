//! Files of Forgejo on disk.

use cli_support::account::Account;
use cli_support::finding::Findings;
use cli_support::outcome::Failure;
use smtp_config::SecretFile;
use smtp_config::ini::{DEFAULT_SECTION, Ini};
use std::io::Read;
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
        return Err(Failure::Configuration(format!("{}: longer than 16 MiB", file.display())));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Configuration(format!("{}: not UTF-8", file.display())))
}

/// Parses an app.ini.
///
/// # Errors
/// Returns a [`Failure`] with file, line and column.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Ini, Failure> {
    Ini::parse(text).map_err(|why| Failure::Configuration(format!("{}:{why}", file.display())))
}

/// Returns the account that runs Forgejo: the given one, else `RUN_USER`, else the owner of app.ini. `None` if none of
/// them is known.
///
/// # Errors
/// Returns a [`Failure`] if the given account does not exist.
pub(crate) fn forgejo_account(
    file: &Path,
    ini: &Ini,
    given: Option<&str>,
) -> Result<Option<Account>, Failure> {
    if let Some(name) = given {
        let unknown = || Failure::Configuration(format!("{name}: no such user of this machine"));
        return Account::by_name(name).ok_or_else(unknown).map(Some);
    }
    let named = ini.value(DEFAULT_SECTION, "RUN_USER").filter(|name| !name.is_empty());
    Ok(named.and_then(|name| Account::by_name(&name)).or_else(|| Account::owner_of(file)))
}

/// Returns the fault of a password file. `None` if Forgejo can read it, or this cannot be determined. A systemd
/// credential exists only while its unit runs, so that a missing one is no fault.
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
