//! The options `services.forgejo` of NixOS. Its `settings` are in the world-readable store; its `secrets` are files
//! that systemd passes on and environment-to-ini writes to app.ini.

use crate::ini::quote;
use crate::section::{Setting, SettingError};
use std::fmt::Write;

/// A password that NixOS passes to Forgejo from a file: an entry of `services.forgejo.secrets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NixosSecret<'a> {
    /// Name of the section, such as `mailer`.
    pub section: &'a str,
    /// Name of the key, such as `PASSWD`.
    pub key: &'a str,
    /// Absolute path of the file that contains the password. It is not read, and must not be in the Nix store.
    pub path: &'a str,
}

/// Returns the options `services.forgejo.settings` and `services.forgejo.secrets` as a Nix expression. Values are quoted
/// for go-ini, since NixOS writes them unchanged.
///
/// # Errors
/// Returns a [`SettingError`] for the first setting whose value cannot be represented.
pub fn nixos(settings: &[Setting], secrets: &[NixosSecret<'_>]) -> Result<String, SettingError> {
    let mut out = String::from("{\n  services.forgejo = {\n");
    let mut sections: Vec<&str> = Vec::new();
    for setting in settings {
        if !sections.contains(&setting.section) {
            sections.push(setting.section);
        }
    }
    for section in sections {
        let _ = writeln!(out, "    settings.{} = {{", name(section));
        for Setting { key, value, .. } in settings.iter().filter(|setting| setting.section == section) {
            let quoted = quote(value).map_err(|reason| SettingError { key: key.clone(), reason })?;
            let _ = writeln!(out, "      {} = {};", name(key), self::value(&quoted));
        }
        out.push_str("    };\n");
    }
    for NixosSecret { section, key, path } in secrets {
        let _ = writeln!(out, "    secrets.{}.{} = {};", name(section), name(key), string(path));
    }
    out.push_str("  };\n}\n");
    Ok(out)
}

/// Returns a Nix string literal in double quotes.
#[must_use]
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' if rest.peek() == Some(&'{') => out.push_str("\\$"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns an attribute name, quoted unless it is an identifier.
fn name(text: &str) -> String {
    /// Keywords of Nix, which are not valid identifiers.
    const KEYWORDS: [&str; 9] = ["assert", "else", "if", "in", "inherit", "let", "rec", "then", "with"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-'".contains(c));
    if begins && plain && !KEYWORDS.contains(&text) { text.to_owned() } else { string(text) }
}

/// Returns a value as a Nix expression: booleans and integers below 10⁹ as literals of their type, so that other
/// modules can compare them, everything else as a string.
fn value(text: &str) -> String {
    let number = text.len() < 10 && !text.starts_with('0') && text.parse::<u32>().is_ok();
    if matches!(text, "true" | "false") || number { text.to_owned() } else { string(text) }
}
