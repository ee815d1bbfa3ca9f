//! `explain`: each key, its value, and what Forgejo does with it.

use crate::args::Args;
use crate::files::{forgejo_account, parse, read, secret_file_state};
use cli_support::outcome::{Done, Failure};
use cli_support::table::Table;
use serde_json::json;
use smtp_config::{
    Effective, Helo, INCOMING, OVERRIDE_HEADER, Origin, Password, SECTION, SecretFile, Spoken, effective,
    effective_incoming, shown,
};
use std::path::Path;

/// A row: section, key, value, origin, and what Forgejo does with it. A secret has no value.
type Row = (String, String, Option<String>, String, &'static str);

pub(super) fn run(file: &Path, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    let ini = parse(file, &text)?;
    let version = args.version();
    let loaded = effective(&ini, version);
    let incoming = effective_incoming(&ini, version);
    // The mailer is loaded first.
    let fatal = loaded.as_ref().err().or(incoming.as_ref().err());
    let mailer = loaded.as_ref().ok().and_then(Option::as_ref);
    let unread = unread_secret(file, &ini, mailer, incoming.as_ref().ok().and_then(Option::as_ref))?;
    let outcome = match (fatal, mailer) {
        (None, _) if unread.is_some() => {
            format!("Forgejo {version} does not start: {}", unread.unwrap_or_default())
        }
        (Some(why), _) => format!("Forgejo {version} does not start: {why}: {}", why.fix()),
        (None, None) => format!("Forgejo {version} sends no mail: ENABLED is not true"),
        (None, Some(mailer)) => format!("Forgejo {version} {}", summary(mailer)),
    };
    let mut rows: Vec<Row> = Vec::new();
    for section in [SECTION, OVERRIDE_HEADER, INCOMING] {
        for key in ini.section(section).map(smtp_config::ini::Section::keys).unwrap_or_default() {
            let mut entries = ini.entries().iter().rev();
            let line = entries.find(|entry| entry.section == section && entry.key == key.name());
            let from = line.map_or_else(String::new, |entry| format!("line {}", entry.line));
            let value = ini.value(section, key.name()).unwrap_or_default();
            let value = shown(key.name(), &value).map(str::to_owned);
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
        let mut table = Table::new(["SECTION", "KEY", "VALUE", "FROM", "EFFECT"]);
        for (section, key, value, from, does) in rows {
            let value = value.map_or_else(|| "(not shown)".to_owned(), |value| format!("{value:?}"));
            table.row([section, key, value, from, does.to_owned()]);
        }
        println!("{outcome}");
        print!("{table}");
    }
    Ok(Done::Fine)
}

/// Returns the fault of a password's file at which the start ends.
fn unread_secret(
    file: &Path,
    ini: &smtp_config::ini::Ini,
    mailer: Option<&Effective>,
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

fn summary(mailer: &Effective) -> String {
    let origin = match mailer.origin {
        Origin::Written => "",
        Origin::Inferred => " (inferred from the port or the host)",
        Origin::Deprecated => " (by a deprecated key)",
        Origin::Unknown => " (since it does not know the value of PROTOCOL)",
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

/// Returns the values of keys that are not written.
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
        (_, "ENABLED") => "turns it on; anything but a boolean is off",
        (INCOMING, "REPLY_TO_ADDRESS") => "the address of answers; %{token} becomes the conversation's token",
        (INCOMING, "HOST") => "the IMAP server",
        (INCOMING, "PORT") => "the port of the IMAP server",
        (INCOMING, "USE_TLS") => "TLS from the first byte",
        (INCOMING, "USERNAME" | "USER") => "the account",
        (INCOMING, "PASSWORD" | "PASSWD") => "the account's password",
        (INCOMING, "PASSWORD_URI") => "reads the password from the file, trimmed",
        (INCOMING, "MAILBOX") => "the mailbox that is read",
        (INCOMING, "DELETE_HANDLED_MESSAGE") => "deletes handled messages",
        (INCOMING, "MAXIMUM_MESSAGE_SIZE") => "skips longer messages",
        (_, "PROTOCOL") => "the protocol; an unknown value is plain SMTP",
        (_, "SMTP_ADDR") => "the server, whose certificate must be valid for this name",
        (_, "SMTP_PORT") => "the port; without PROTOCOL it determines the protocol",
        (_, "FROM") => "the sender; Forgejo does not start when Go refuses it",
        (_, "ENVELOPE_FROM") => "the sender of the envelope, for bounces and SPF",
        (_, "USER") => "the account; with it a server without AUTH is an error",
        (_, "PASSWD") => "the account's password",
        (_, "PASSWD_URI") => "reads the password from the file, trimmed, from Forgejo 13 on",
        (_, "SUBJECT_PREFIX") => "the text before each subject",
        (_, "SEND_AS_PLAIN_TEXT") => "leaves HTML out",
        (_, "ENABLE_HELO" | "HELO_HOSTNAME") => "the name in EHLO",
        (_, "FORCE_TRUST_SERVER_CERT") => "accepts any certificate",
        (_, "USE_CLIENT_CERT" | "CLIENT_CERT_FILE" | "CLIENT_KEY_FILE") => "presents a client certificate",
        (_, "SENDMAIL_PATH" | "SENDMAIL_ARGS" | "SENDMAIL_TIMEOUT" | "SENDMAIL_CONVERT_CRLF") => {
            "how sendmail is run"
        }
        (_, "FROM_DISPLAY_NAME_FORMAT") => "the name beside the address, from Forgejo 9 on",
        (
            _,
            "MAILER_TYPE" | "HOST" | "IS_TLS_ENABLED" | "DISABLE_HELO" | "SKIP_VERIFY" | "USE_CERTIFICATE",
        ) => "deprecated: read only where its successor is missing",
        _ => "none: Forgejo does not read it",
    }
}
