//! What each command does.

use crate::args::{Args, Command, Settings};
use crate::install;
use crate::report::{Done, Failure};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use smtp_config::ini::{Ini, quote};
use smtp_config::{Mailer, Route, SECTION, Severity, check, choose, edit, mailbox};
use std::path::Path;

pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    match &args.command {
        Command::Render { settings } => render(settings, args),
        Command::Check { file } => findings(file, args),
        Command::Explain { file } => explain(file, args),
        Command::Apply { app_ini, dry_run, settings } => apply(app_ini, *dry_run, settings, args),
    }
}

/// The settings, and the password with its route.
struct Resolved {
    mailer: Mailer,
    password: Option<(Route, SecretString)>,
}

fn resolve(settings: &Settings, args: &Args) -> Result<Resolved, Failure> {
    let mailer = settings.mailer();
    if mailbox(&mailer.from).is_none() {
        let why = "--from: Go refuses this address, and Forgejo ends at once; write Name <local@domain>";
        return Err(Failure::Configuration(why.to_owned()));
    }
    let mut password = None;
    if let Some(reference) = &settings.password {
        let secret = reference.read()?;
        let route = choose(args.forgejo, &secret, reference.file()).map_err(|(uri, ini)| {
            Failure::Configuration(format!("by PASSWD_URI: {uri}; by app.ini: {ini}"))
        })?;
        password = Some((route, secret));
    }
    let (protocol, follows) = mailer.protocol();
    if follows {
        eprintln!("note: the protocol follows port {}: {protocol}", mailer.port);
    }
    Ok(Resolved { mailer, password })
}

fn render(settings: &Settings, args: &Args) -> Result<Done, Failure> {
    let resolved = resolve(settings, args)?;
    let mut pairs = resolved.mailer.settings();
    if let Some((Route::Uri(uri), _)) = resolved.password {
        pairs.push(("PASSWD_URI", uri));
    }
    let mut lines = vec![format!("[{SECTION}]")];
    for (key, value) in &pairs {
        let value = quote(value).map_err(|why| Failure::Configuration(format!("{key}: {why}")))?;
        lines.push(format!("{key} = {value}"));
    }
    if args.json {
        let map: serde_json::Map<_, _> =
            pairs.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        println!("{}", json!({ SECTION: map }));
    } else {
        println!("{}", lines.join("\n"));
    }
    Ok(Done::Fine)
}

fn findings(file: &Path, args: &Args) -> Result<Done, Failure> {
    let ini = parse(file, &read(file)?)?;
    let findings = check(&ini, args.forgejo);
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "code": finding.code.as_str(),
                    "severity": format!("{:?}", finding.severity).to_lowercase(),
                    "key": finding.key,
                    "line": finding.line,
                    "message": finding.message,
                })
            })
            .collect();
        println!("{}", json!({"findings": list}));
    } else {
        for finding in &findings {
            println!("{finding}");
        }
    }
    let bad = findings.iter().any(|finding| finding.severity > Severity::Note);
    Ok(if bad { Done::Differences } else { Done::Fine })
}

fn explain(file: &Path, args: &Args) -> Result<Done, Failure> {
    let ini = parse(file, &read(file)?)?;
    let mut list = Vec::new();
    for key in ini.section(SECTION).map(smtp_config::ini::Section::keys).unwrap_or_default() {
        let mut entries = ini.entries().iter().rev();
        let line = entries.find(|entry| entry.section == SECTION && entry.key == key.name());
        let line = line.map(|entry| entry.line).unwrap_or_default();
        let secret = key.name().to_ascii_uppercase().contains("PASSW") && key.name() != "PASSWD_URI";
        let value = if secret { None } else { ini.value(SECTION, key.name()) };
        list.push((line, key.name(), value));
    }
    if args.json {
        let keys: Vec<_> = list
            .iter()
            .map(|(line, key, value)| json!({"line": line, "key": key, "value": value, "secret": value.is_none()}))
            .collect();
        println!("{}", json!({"keys": keys}));
    } else {
        for (line, key, value) in &list {
            let value = value.as_ref().map_or_else(|| "(not shown)".to_owned(), |value| format!("{value:?}"));
            println!("line {line}: {key} is read as {value}");
        }
    }
    Ok(Done::Fine)
}

fn apply(file: &Path, dry_run: bool, settings: &Settings, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    parse(file, &text)?;
    let resolved = resolve(settings, args)?;
    let pairs = resolved.mailer.settings();
    let mut changes: Vec<(&str, Option<&str>)> =
        pairs.iter().map(|(key, value)| (*key, Some(value.as_str()))).collect();
    match &resolved.password {
        Some((Route::Uri(uri), _)) => changes.extend([("PASSWD", None), ("PASSWD_URI", Some(uri.as_str()))]),
        Some((Route::AppIni, secret)) => {
            changes.extend([("PASSWD_URI", None), ("PASSWD", Some(secret.expose_secret()))]);
        }
        None => {}
    }
    let edited = edit(&text, &changes).map_err(|why| Failure::Configuration(why.to_string()))?;
    let changed: Vec<&str> = changes
        .iter()
        .filter(|(key, _)| lines(&text, key) != lines(&edited, key))
        .map(|(key, _)| *key)
        .collect();
    let result = match (edited == text, dry_run) {
        (true, _) => "unchanged",
        (false, true) => "would change",
        (false, false) => {
            install::replace(file, &edited)?;
            "changed"
        }
    };
    if args.json {
        println!("{}", json!({"result": result, "file": file, "keys": changed}));
    } else {
        println!("{result}: {}", file.display());
        for key in changed {
            println!("  {key}");
        }
    }
    Ok(if result == "would change" { Done::Differences } else { Done::Fine })
}

/// The lines of a key in `[mailer]`, as they are.
fn lines<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let Ok(ini) = Ini::parse(text) else { return Vec::new() };
    let entries = ini.entries().iter().filter(|entry| entry.section == SECTION && entry.key == key);
    entries.map(|entry| &text[entry.span.clone()]).collect()
}

fn read(file: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(file).map_err(|why| Failure::Failed(format!("{}: {why}", file.display())))?;
    String::from_utf8(bytes).map_err(|_| Failure::Configuration(format!("{}: not UTF-8", file.display())))
}

fn parse(file: &Path, text: &str) -> Result<Ini, Failure> {
    Ini::parse(text).map_err(|why| Failure::Configuration(format!("{}: {why}", file.display())))
}
