//! The subcommand `render`: settings as app.ini, as environment variables, or for NixOS.

use crate::args::{Args, ConfigurationKind, FileFormat};
use crate::password::Secret;
use crate::settings::{Purpose, ResolvedSettings, Settings};
use cli_support::outcome::{Done, Failure};
use serde_json::json;
use smtp_config::ini::quote;
use smtp_config::{
    Change, INCOMING, NixosSecret, Route, SECTION, Setting, SettingError, edit, environment, nixos,
};

/// Prints the settings as a kind of configuration, without passwords: these are references to files, or are omitted
/// from an app.ini with a note. `format` applies to environment variables only. Always returns [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if the settings are not valid or cannot be represented, `check` would find an error in them, a
/// password cannot be read, or its route needs a file that is not given.
pub(super) fn run(
    settings: &Settings,
    form: ConfigurationKind,
    format: FileFormat,
    args: &Args,
) -> Result<Done, Failure> {
    let resolved = settings.resolve(args.version(), None, Purpose::Write)?;
    let mut pairs: Vec<Setting> = resolved.mailer.settings();
    let (mut files, mut secrets) = (Vec::new(), Vec::new());
    for (section, key, uri_key, kept) in passwords(&resolved) {
        match (&kept.route, form) {
            // systemd passes files of root on, so that this route works for every owner of the file.
            (_, ConfigurationKind::Nixos) if kept.environment_file().is_ok() => {
                secrets.push((section, key, kept.environment_file()?));
            }
            (Route::Uri(uri), _) => {
                // With __FILE it is environment-to-ini, which the container runs as root.
                if form == ConfigurationKind::Environment {
                    let path = uri.strip_prefix("file:").unwrap_or(uri);
                    cli_support::verbosity::note(&format!(
                        "{path}: Forgejo reads it itself, as its own user"
                    ));
                }
                pairs.push(Setting::new(section, uri_key, uri));
            }
            (_, ConfigurationKind::AppIni) => {
                cli_support::verbosity::note(&format!("[{section}] {key} is not shown; apply writes it"));
            }
            (_, ConfigurationKind::Environment) => {
                files.push((environment::file_variable(section, key), kept.environment_file()?));
            }
            (_, ConfigurationKind::Nixos) => secrets.push((section, key, kept.environment_file()?)),
        }
    }
    let refused = |why: SettingError| Failure::Configuration(why.to_string());
    let text = match form {
        ConfigurationKind::AppIni => {
            let changes: Vec<Change> = pairs.iter().map(Setting::to_change).collect();
            edit("", &changes).map_err(|why| Failure::Configuration(why.to_string()))?
        }
        ConfigurationKind::Environment => {
            let mut lines = environment::variables(&pairs).map_err(refused)?;
            lines.extend(files.iter().cloned());
            let line =
                |(name, value): &(String, String)| environment::line(format.into(), name, value) + "\n";
            lines.iter().map(line).collect()
        }
        ConfigurationKind::Nixos => {
            let secrets: Vec<NixosSecret<'_>> =
                secrets.iter().map(|(section, key, path)| NixosSecret { section, key, path }).collect();
            nixos(&pairs, &secrets).map_err(refused)?
        }
    };
    if args.json {
        let mut sections = serde_json::Map::new();
        for Setting { section, key, value } in pairs {
            quote(&value).map_err(|why| Failure::Configuration(format!("{key}: {why}")))?;
            let held = sections.entry(section).or_insert_with(|| json!({}));
            held[key.as_str()] = json!(value);
        }
        sections.insert("text".to_owned(), json!(text));
        println!("{}", serde_json::Value::Object(sections));
    } else {
        print!("{text}");
    }
    Ok(Done::Fine)
}

/// Returns the given passwords, that of the mailer before that of incoming mail, each with its section, its key, and
/// the key for the URI of a file.
fn passwords(
    resolved: &ResolvedSettings,
) -> impl Iterator<Item = (&'static str, &'static str, &'static str, &Secret)> {
    let own = resolved.password.iter().map(|kept| (SECTION, "PASSWD", "PASSWD_URI", kept));
    own.chain(resolved.incoming.iter().map(|kept| (INCOMING, "PASSWORD", "PASSWORD_URI", kept)))
}
