//! The subcommand `explain`: each key of an app.ini, its value, and its effect on Forgejo.

use crate::args::Args;
use crate::files::{forgejo_account, parse, read, secret_file_state};
use cli_support::outcome::{Done, Failure};
use cli_support::table::Table;
use serde_json::json;
use smtp_config::{EffectiveMailer, Password, SecretFile, Start, effective_incoming, explain};
use std::path::Path;

/// Prints the outcome of Forgejo's start, and a table of the keys with their values, origins and effects. Secrets are
/// not printed. Always returns [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read or parsed.
pub(super) fn run(file: &Path, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    let ini = parse(file, &text)?;
    let version = args.version();
    let explained = explain(&ini, version);
    let mailer = match &explained.outcome {
        Start::Sends(mailer) => Some(mailer.as_ref()),
        _ => None,
    };
    let incoming = effective_incoming(&ini, version).ok().flatten();
    let unread = match &explained.outcome {
        Start::Fatal(_) => None,
        _ => unread_secret(file, &ini, mailer, incoming.as_ref())?,
    };
    let outcome = match unread {
        Some(why) => format!("Forgejo {version} does not start: {why}"),
        None => format!("Forgejo {version} {}", explained.outcome),
    };
    if args.json {
        let keys: Vec<_> = explained
            .keys
            .iter()
            .map(|row| {
                json!({
                    "section": row.section, "key": row.key, "value": row.value, "secret": row.value.is_none(),
                    "from": row.from, "does": row.effect,
                })
            })
            .collect();
        println!("{}", json!({"outcome": outcome, "keys": keys}));
    } else {
        let mut table = Table::new(["SECTION", "KEY", "VALUE", "FROM", "EFFECT"]);
        for row in explained.keys {
            let value = row.value.map_or_else(|| "(not shown)".to_owned(), |value| format!("{value:?}"));
            table.row([row.section, row.key, value, row.from, row.effect.to_owned()]);
        }
        println!("{outcome}");
        print!("{table}");
    }
    Ok(Done::Fine)
}

/// Returns the path and the fault of a password file because of which Forgejo does not start, that of the mailer before
/// that of incoming mail. `None` if there is none.
///
/// # Errors
/// Never fails, since no account is given.
fn unread_secret(
    file: &Path,
    ini: &smtp_config::ini::Ini,
    mailer: Option<&EffectiveMailer>,
    incoming: Option<&smtp_config::EffectiveIncoming>,
) -> Result<Option<String>, Failure> {
    let account = forgejo_account(file, ini, None)?;
    let passwords = mailer.map(|held| &held.password).into_iter().chain(incoming.map(|held| &held.password));
    Ok(passwords.into_iter().find_map(|password| {
        let Password::File(path) = password else { return None };
        let why = match secret_file_state(path, account.as_ref())? {
            SecretFile::Missing => "no such file".to_owned(),
            SecretFile::Empty => "the file is empty".to_owned(),
            SecretFile::Unreadable { user, why } => format!("permission denied for {user}: {why}"),
        };
        Some(format!("{path}: {why}"))
    }))
}
