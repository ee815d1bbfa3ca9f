//! Parser of service files, as libpq reads them.

use super::{ProcessEnvironment, option_error};
use cli_support::outcome::Failure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Returns the parameters of a service, from `file`, the user's service file, or the system's, as `parseServiceFile()`
/// in libpq.
///
/// # Errors
/// Returns a failure if none of the files contains the service, or a line of it is not `key=value`.
pub(super) fn parameters(
    name: &str,
    file: Option<&str>,
    around: &ProcessEnvironment<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    let named = file.map(PathBuf::from).or_else(|| (around.variable)("PGSERVICEFILE").map(PathBuf::from));
    let own = named.or_else(|| around.home.as_ref().map(|home| home.join(".pg_service.conf")));
    let system = (around.variable)("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    let files = own.into_iter().chain([Path::new(&system).join("pg_service.conf")]);
    for path in files {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().map(str::trim).enumerate();
        let header = format!("[{name}]");
        if !lines.any(|(_, line)| line.starts_with(&header)) {
            continue;
        }
        let mut found = BTreeMap::new();
        for (index, line) in lines.take_while(|(_, line)| !line.starts_with('[')) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| {
                // The line itself may hold a password.
                Failure::Configuration(format!("{}:{}:1: {why}", path.display(), index + 1))
            };
            match line.split_once('=') {
                Some(("service" | "servicefile", _)) => {
                    return Err(wrong("a service cannot name another one: leave the line out"));
                }
                // libpq takes no blank around the equals sign for its own.
                Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) => {
                    found.entry(key.to_owned()).or_insert_with(|| value.to_owned());
                }
                _ => {
                    return Err(wrong(
                        "not valid in a service file: write key=value, without blanks around =",
                    ));
                }
            }
        }
        return Ok(found);
    }
    Err(option_error(format!("the service {name:?} is in no service file: add it to ~/.pg_service.conf")))
}
