//! The subcommand `apply`: writes settings to an app.ini.

use crate::args::Args;
use crate::files::{edit_fault, forgejo_account, parse, read, readable_password};
use crate::password::Secret;
use crate::redaction::shown_diff;
use crate::settings::{Purpose, Settings};
use crate::written::refuse_faults;
use cli_support::finding::Findings;
use cli_support::outcome::{Done, Failure};
use cli_support::replace::replace;
use serde_json::json;
use smtp_config::ini::Ini;
use smtp_config::{INCOMING, Route, SECTION, edit_parsed};
use std::path::Path;

/// Writes the settings to the file, unless it already has them or `dry_run` is set, and prints the changed keys; the
/// difference is printed for a dry run and in JSON. A removed key that is no password gets a note. `user` is the
/// account that runs Forgejo, if given. Returns [`Done::Differences`] for a dry run with changes, else [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if the file or the settings are not valid, `check` would find an error in the result, a password
/// cannot be read or would stand in a file that others can read, the account does not exist, or the file cannot be replaced.
pub(super) fn run(
    file: &Path,
    dry_run: bool,
    user: Option<&str>,
    settings: &Settings,
    args: &Args,
) -> Result<Done, Failure> {
    let text = read(file)?;
    let ini = parse(file, &text)?;
    let account = forgejo_account(file, &ini, user)?;
    let resolved = settings.resolve(args.version(), account.as_ref(), Purpose::Write)?;
    let password = resolved.password.as_ref().map(Secret::credential);
    let incoming = resolved.incoming.as_ref().map(Secret::credential);
    let changes = resolved.mailer.changes(&ini, args.version(), password, incoming);
    let (edited, new) = edit_parsed(&ini, &changes).map_err(|why| edit_fault(file, &ini, &why))?;
    refuse_faults(file, &ini, &new, args.version())?;
    // As for files of passwords: none that others can read.
    let secrets = [(SECTION, "PASSWD", &resolved.password), (INCOMING, "PASSWORD", &resolved.incoming)];
    let written = secrets.into_iter().find(|(_, _, kept)| {
        kept.as_ref().is_some_and(|kept| matches!(kept.route, Route::AppIni | Route::EnvironmentFile(_)))
    });
    if let Some((section, key, _)) = written
        && let Some(found) = readable_password(file, &ini, (section, key), account.as_ref())
    {
        return Err(Findings::new(vec![found]).into());
    }
    let mut changed: Vec<String> = Vec::new();
    for change in &changes {
        let held = |ini: &Ini| {
            let key = ini.section(&change.section).and_then(|section| section.key(&change.key));
            key.map(|_| ini.value(&change.section, &change.key))
        };
        let name = if change.section == SECTION {
            change.key.clone()
        } else {
            format!("[{}] {}", change.section, change.key)
        };
        if held(&ini) != held(&new) && !changed.contains(&name) {
            // A password that takes another route is not lost, so that nothing is reported.
            let moved = change.key.starts_with("PASS")
                && if change.section == SECTION { password.is_some() } else { incoming.is_some() };
            if change.value.is_none() && !moved {
                cli_support::verbosity::note(&format!("{name} removed: the settings do not have it"));
            }
            changed.push(name);
        }
    }
    let result = match (edited == text, dry_run) {
        (true, _) => "unchanged",
        (false, true) => "would change",
        (false, false) => {
            replace(file, edited.as_bytes()).map_err(|why| Failure::because(&why))?;
            "changed"
        }
    };
    // Computing the difference of a large file takes long, so it is omitted unless it is printed.
    let diff = if args.json || dry_run { shown_diff(&ini, &edited, file) } else { String::new() };
    if args.json {
        println!("{}", json!({"result": result, "file": file, "keys": changed, "diff": diff}));
    } else {
        println!("{result}: {}", file.display());
        for key in changed {
            println!("  {key}");
        }
        if dry_run {
            print!("{diff}");
        }
    }
    Ok(if result == "would change" { Done::Differences } else { Done::Fine })
}
