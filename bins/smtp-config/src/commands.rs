//! What each command does.

use crate::args::{Args, Command, Form};
use crate::files::{parse, read};
use crate::settings::{Resolved, Settings};
use crate::{examine, trace};
use cli_support::diff::unified;
use cli_support::outcome::{Done, Failure};
use cli_support::replace::replace;
use cli_support::table::Table;
use secrecy::ExposeSecret;
use serde_json::json;
use smtp_config::ini::{Ini, quote};
use smtp_config::{
    Effective, Helo, INCOMING, OVERRIDE_HEADER, Origin, Password, Route, SECTION, Setting, Severity, Spoken,
    Version, check, edit, effective, environment, nixos,
};
use std::path::Path;

pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    match &args.command {
        Command::Render { settings, to } => render(settings, *to, args),
        Command::Check { file } => findings(file, args),
        Command::Explain { file } => explain(file, args),
        Command::Apply { app_ini, dry_run, settings } => apply(app_ini, *dry_run, settings, args),
        Command::Doctor { what, wire, as_forgejo: Some(version), .. } => {
            examine::as_forgejo(what, wire, *version, args)
        }
        Command::Doctor { what, wire, recipient, selectors, no_dns, no_ports, .. } => {
            let options = examine::Asked { recipient, selectors, dns: !no_dns, ports: !no_ports };
            examine::doctor(what, wire, options, args)
        }
        Command::SendTest { what, wire, to } => examine::send_test(what, wire, to, args),
        Command::Trace { what, wire, server } => trace::trace(what, wire, *server, args),
    }
}

/// The passwords of the mailer and of incoming mail: section, key, key of the file, and what is known of it.
fn passwords(
    resolved: &Resolved,
) -> impl Iterator<Item = (&'static str, &'static str, &'static str, &crate::settings::Kept)> {
    let own = resolved.password.iter().map(|kept| (SECTION, "PASSWD", "PASSWD_URI", kept));
    own.chain(resolved.incoming.iter().map(|kept| (INCOMING, "PASSWORD", "PASSWORD_URI", kept)))
}

fn render(settings: &Settings, form: Form, args: &Args) -> Result<Done, Failure> {
    let resolved = settings.resolve(args.forgejo)?;
    let mut pairs: Vec<Setting> = resolved.mailer.settings();
    let (mut files, mut secrets) = (Vec::new(), Vec::new());
    for (section, key, uri_key, kept) in passwords(&resolved) {
        match (&kept.route, form) {
            (Route::Uri(uri), _) => pairs.push((section, uri_key.to_owned(), uri.clone())),
            (_, Form::AppIni) => eprintln!("note: [{section}] {key} is not shown; apply writes it"),
            (_, Form::Environment) => {
                files.push((environment::file_variable(section, key), kept.environment_file()?));
            }
            (_, Form::Nixos) => secrets.push((section, key, kept.environment_file()?)),
        }
    }
    let refused = |(key, why): (String, _)| Failure::Configuration(format!("{key}: {why}"));
    let text = match form {
        Form::AppIni => {
            let changes: Vec<_> = pairs
                .iter()
                .map(|(section, key, value)| (*section, key.as_str(), Some(value.as_str())))
                .collect();
            edit("", &changes).map_err(|why| Failure::Configuration(why.to_string()))?
        }
        Form::Environment => {
            let mut lines = environment::variables(&pairs).map_err(refused)?;
            lines.extend(files.iter().cloned());
            lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
        }
        Form::Nixos => {
            let secrets: Vec<_> =
                secrets.iter().map(|(section, key, file)| (*section, *key, file.as_str())).collect();
            nixos(&pairs, &secrets).map_err(refused)?
        }
    };
    if args.json {
        let mut sections = serde_json::Map::new();
        for (section, key, value) in pairs {
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

fn findings(file: &Path, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    let ini = parse(file, &text)?;
    let findings = check(&text, &ini, args.forgejo);
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "code": finding.code.as_str(),
                    "severity": finding.severity.to_string(),
                    "section": finding.section,
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

/// Whether a key of any section may hold a secret.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    let holds = ["PASS", "SECRET", "TOKEN", "KEY"].iter().any(|word| key.contains(word));
    holds && !key.ends_with("_URI") && !key.ends_with("_FILE")
}

fn explain(file: &Path, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    let ini = parse(file, &text)?;
    let version = Version(args.forgejo);
    let read = effective(&ini, version);
    let (outcome, mailer) = match &read {
        Err(why) => (format!("Forgejo {version} ends at once: {why}"), None),
        Ok(None) => (format!("Forgejo {version} sends no mail: ENABLED is not true"), None),
        Ok(Some(mailer)) => (format!("Forgejo {version} {}", summary(mailer)), Some(mailer)),
    };
    let mut rows: Vec<(String, String, Option<String>, String, &'static str)> = Vec::new();
    for section in [SECTION, OVERRIDE_HEADER, INCOMING] {
        for key in ini.section(section).map(smtp_config::ini::Section::keys).unwrap_or_default() {
            let mut entries = ini.entries().iter().rev();
            let line = entries.find(|entry| entry.section == section && entry.key == key.name());
            let from = line.map_or_else(String::new, |entry| format!("line {}", entry.line));
            let value = if is_secret(key.name()) { None } else { ini.value(section, key.name()) };
            rows.push((section.to_owned(), key.name().to_owned(), value, from, does(section, key.name())));
        }
    }
    if let Some(mailer) = mailer {
        for (key, value, from) in implied(mailer) {
            if !rows.iter().any(|(section, held, ..)| section == SECTION && held == key) {
                rows.push((
                    SECTION.to_owned(),
                    key.to_owned(),
                    Some(value),
                    from.to_owned(),
                    does(SECTION, key),
                ));
            }
        }
    }
    if args.json {
        let keys: Vec<_> = rows
            .iter()
            .map(|(section, key, value, from, does)| {
                json!({
                    "section": section, "key": key, "value": value, "secret": value.is_none(), "from": from,
                    "does": does,
                })
            })
            .collect();
        println!("{}", json!({"outcome": outcome, "keys": keys}));
    } else {
        let mut table = Table::new(["SECTION", "KEY", "READ AS", "FROM", "WHAT FORGEJO DOES WITH IT"]);
        for (section, key, value, from, does) in rows {
            let value = value.map_or_else(|| "(not shown)".to_owned(), |value| format!("{value:?}"));
            table.row([section, key, value, from, does.to_owned()]);
        }
        println!("{outcome}");
        print!("{table}");
    }
    Ok(Done::Fine)
}

fn summary(mailer: &Effective) -> String {
    let origin = match mailer.origin {
        Origin::Written => "",
        Origin::Inferred => " (which follows the port or the host)",
        Origin::Deprecated => " (by a deprecated key)",
        Origin::Unknown => " (since it knows no such PROTOCOL)",
    };
    match mailer.spoken {
        Spoken::Dummy => "writes messages to its log only".to_owned(),
        Spoken::Sendmail => format!("runs {}", mailer.sendmail.0),
        Spoken::Unix => format!("speaks SMTP over the socket {}{origin}", mailer.host),
        Spoken::Network(protocol) => {
            format!("speaks {protocol}{origin} to {} port {}", mailer.host, mailer.port)
        }
    }
}

/// What holds where a key is not written.
fn implied(mailer: &Effective) -> Vec<(&'static str, String, &'static str)> {
    let mut rows = Vec::new();
    if let Spoken::Network(protocol) = mailer.spoken {
        rows.push(("PROTOCOL", protocol.to_string(), "inferred"));
        rows.push(("SMTP_PORT", mailer.port.clone(), "inferred"));
    }
    rows.push(("FROM", mailer.from.clone(), "USER"));
    rows.push(("ENVELOPE_FROM", mailer.envelope_from.clone(), "FROM"));
    let helo = match &mailer.helo {
        Helo::Localhost => "localhost".to_owned(),
        Helo::Machine => "the machine's name".to_owned(),
        Helo::Name(name) => name.clone(),
    };
    rows.push(("HELO_HOSTNAME", helo, "default"));
    rows.push(("FORCE_TRUST_SERVER_CERT", mailer.trusts_anybody.to_string(), "default"));
    if let Password::None = mailer.password {
        rows.push(("PASSWD", "none".to_owned(), "default"));
    }
    rows
}

fn does(section: &str, key: &str) -> &'static str {
    match (section, key) {
        (OVERRIDE_HEADER, _) => "sets the header on every message; a comma separates values",
        (_, "ENABLED") => "on or off; anything else than a boolean is off",
        (INCOMING, "REPLY_TO_ADDRESS") => "the address of answers; %{token} becomes the conversation's token",
        (INCOMING, "HOST") => "the IMAP server",
        (INCOMING, "PORT") => "its port",
        (INCOMING, "USE_TLS") => "TLS from the first byte",
        (INCOMING, "USERNAME" | "USER") => "the account",
        (INCOMING, "PASSWORD" | "PASSWD") => "the account's password",
        (INCOMING, "PASSWORD_URI") => "reads the password from the file, trimmed",
        (INCOMING, "MAILBOX") => "the mailbox that is read",
        (INCOMING, "DELETE_HANDLED_MESSAGE") => "deletes what it has handled",
        (INCOMING, "MAXIMUM_MESSAGE_SIZE") => "passes longer messages over",
        (_, "PROTOCOL") => "how the connection is secured; an unknown one is plain SMTP",
        (_, "SMTP_ADDR") => "connects there, and wants a certificate for this name",
        (_, "SMTP_PORT") => "connects there; without PROTOCOL it says what is spoken",
        (_, "FROM") => "the sender; it ends at once when Go refuses it",
        (_, "ENVELOPE_FROM") => "the sender of the envelope, for bounces and SPF",
        (_, "USER") => "the account; with it a server without AUTH is an error",
        (_, "PASSWD") => "the account's password",
        (_, "PASSWD_URI") => "reads the password from the file, trimmed, from Forgejo 13 on",
        (_, "SUBJECT_PREFIX") => "stands before each subject",
        (_, "SEND_AS_PLAIN_TEXT") => "leaves HTML out",
        (_, "ENABLE_HELO" | "HELO_HOSTNAME") => "the name that it says in EHLO",
        (_, "FORCE_TRUST_SERVER_CERT") => "takes any certificate",
        (_, "USE_CLIENT_CERT" | "CLIENT_CERT_FILE" | "CLIENT_KEY_FILE") => "shows a certificate of its own",
        (_, "SENDMAIL_PATH" | "SENDMAIL_ARGS" | "SENDMAIL_TIMEOUT" | "SENDMAIL_CONVERT_CRLF") => {
            "how sendmail is run"
        }
        (_, "FROM_DISPLAY_NAME_FORMAT") => "the name beside the address, from Forgejo 9 on",
        (
            _,
            "MAILER_TYPE" | "HOST" | "IS_TLS_ENABLED" | "DISABLE_HELO" | "SKIP_VERIFY" | "USE_CERTIFICATE",
        ) => "deprecated: read only where its successor is missing",
        _ => "nothing that the mailer knows",
    }
}

fn apply(file: &Path, dry_run: bool, settings: &Settings, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    parse(file, &text)?;
    let resolved = settings.resolve(args.forgejo)?;
    let pairs = resolved.mailer.settings();
    let mut changes: Vec<(&str, &str, Option<&str>)> =
        pairs.iter().map(|(section, key, value)| (*section, key.as_str(), Some(value.as_str()))).collect();
    for (section, key, uri_key, kept) in passwords(&resolved) {
        // By its other names a password would stay, or be a second one, at which Forgejo ends.
        let others: [&str; 2] =
            if section == SECTION { ["PASSWORD", "PASSWORD_URI"] } else { ["PASSWD", "PASSWD_URI"] };
        changes.extend(others.map(|other| (section, other, None)));
        match &kept.route {
            Route::Uri(uri) => {
                changes.extend([(section, key, None), (section, uri_key, Some(uri.as_str()))]);
            }
            _ => {
                changes.extend([(section, uri_key, None), (section, key, Some(kept.secret.expose_secret()))]);
            }
        }
    }
    let edited = edit(&text, &changes).map_err(|why| Failure::Configuration(why.to_string()))?;
    let changed: Vec<String> = changes
        .iter()
        .filter(|(section, key, _)| lines(&text, section, key) != lines(&edited, section, key))
        .map(
            |(section, key, _)| {
                if *section == SECTION { (*key).to_owned() } else { format!("[{section}] {key}") }
            },
        )
        .collect();
    let result = match (edited == text, dry_run) {
        (true, _) => "unchanged",
        (false, true) => "would change",
        (false, false) => {
            replace(file, edited.as_bytes()).map_err(|why| Failure::because(&why))?;
            "changed"
        }
    };
    let diff = unified(&redacted(&text, &text), &redacted(&edited, &text), &file.display().to_string());
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

/// A file without its secrets, whatever section they are in. One that the old file has not is marked as new.
fn redacted(text: &str, old: &str) -> String {
    let Ok(ini) = Ini::parse(text) else { return String::new() };
    let mut out = text.to_owned();
    for entry in ini.entries().iter().rev().filter(|entry| is_secret(&entry.key)) {
        let line = &text[entry.span.clone()];
        let new = if old.contains(line) { "" } else { ", new" };
        let end = "\n".repeat(line.matches('\n').count());
        out.replace_range(entry.span.clone(), &format!("{} = (not shown{new}){end}", entry.key));
    }
    let hidden = out.split_inclusive('\n').map(|line| {
        let comment = line.trim_start().starts_with(['#', ';']);
        let named = line.split(['=', ':']).next().is_some_and(is_secret);
        if comment && named { "# (not shown)\n" } else { line }
    });
    hidden.collect()
}

/// The lines of a key, as they are.
fn lines<'t>(text: &'t str, section: &str, key: &str) -> Vec<&'t str> {
    let Ok(ini) = Ini::parse(text) else { return Vec::new() };
    let entries = ini.entries().iter().filter(|entry| entry.section == section && entry.key == key);
    entries.map(|entry| &text[entry.span.clone()]).collect()
}
