//! The subcommand `migrate`: prepares an app.ini for a later version of Forgejo.

use crate::args::Args;
use crate::files::{edit_fault, migration_fault, parse, read};
use crate::redaction::shown_diff;
use cli_support::outcome::{Done, Failure};
use cli_support::replace::replace;
use serde_json::json;
use smtp_config::{Change, Version, edit_parsed, migrate, visible_value};
use std::path::Path;

/// Replaces the settings in the file that Forgejo `to` does not read any more, unless `dry_run` is set, and prints the
/// changes and the difference. Returns [`Done::Differences`] for a dry run with changes, else [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read, parsed or replaced, stops Forgejo from starting, or cannot be
/// migrated without a change of meaning.
pub(super) fn run(file: &Path, to: u32, dry_run: bool, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    let ini = parse(file, &text)?;
    let done = migrate(&ini, args.version(), Version(to)).map_err(|why| migration_fault(file, &ini, &why))?;
    let changes: Vec<Change> = done.iter().map(|step| step.change.clone()).collect();
    let (edited, _) = edit_parsed(&ini, &changes).map_err(|why| edit_fault(file, &ini, &why))?;
    let result = match (edited == text, dry_run) {
        (true, _) => "unchanged",
        (false, true) => "would change",
        (false, false) => {
            replace(file, edited.as_bytes()).map_err(|why| Failure::because(&why))?;
            "changed"
        }
    };
    let diff = shown_diff(&ini, &edited, file);
    if args.json {
        let steps: Vec<_> = done
            .iter()
            .map(
                |step| json!({"section": step.change.section, "key": step.change.key, "reason": step.reason}),
            )
            .collect();
        println!("{}", json!({"result": result, "file": file, "changes": steps, "diff": diff}));
    } else {
        println!("{result}: {}", file.display());
        for step in &done {
            let value = step.change.value.as_deref().and_then(|value| visible_value(&step.change.key, value));
            match (&step.change.value, value) {
                (None, _) => println!("  {} removed: {}", step.change.key, step.reason),
                (Some(_), Some(value)) => println!("  {} = {value}: {}", step.change.key, step.reason),
                (Some(_), None) => println!("  {}: {}", step.change.key, step.reason),
            }
        }
        print!("{diff}");
    }
    Ok(if result == "would change" { Done::Differences } else { Done::Fine })
}
