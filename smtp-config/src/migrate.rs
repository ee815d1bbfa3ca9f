//! Changes that prepare `[mailer]` for a later version of Forgejo.

use crate::address::with_quoted_name;
use crate::duration::is_duration;
use crate::edit::{Change, EditError, edit_parsed, written_out};
use crate::effective::{EffectiveMailer, EffectiveTransport, Origin, Password, effective};
use crate::effective_incoming::effective_incoming;
use crate::fatal::Fatal;
use crate::ini::Ini;
use crate::section::SECTION;
use crate::version::Version;
use secrecy::ExposeSecret;
use thiserror::Error;

/// A change of app.ini, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The change of the file, for [`crate::edit`].
    pub change: Change,
    /// Reason for the change, as a phrase.
    pub reason: &'static str,
}

/// Error of a migration. The file is left unchanged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationError {
    /// The changes cannot be written.
    #[error("the changes cannot be written")]
    Edit(#[from] EditError),
    /// The settings would have another meaning after the changes. Contains the key, or a description of it, that would be
    /// read differently.
    #[error("{0} would be read differently after the changes")]
    Meaning(&'static str),
    /// A version does not start with the settings: the one in use, or after the changes the one to prepare for.
    #[error("Forgejo {version} does not start")]
    Start {
        /// The version that does not start.
        version: Version,
        /// The setting that stops it.
        #[source]
        reason: Fatal,
    },
}

impl MigrationError {
    /// Returns the action that makes the migration possible, as an imperative phrase.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Edit(_) => "write the value in another form".to_owned(),
            Self::Meaning(key) => {
                format!("write {key} without %(name)s, and the successors of deprecated keys yourself")
            }
            Self::Start { reason, .. } => reason.fix(),
        }
    }
}

/// Returns the changes after which the settings have the same meaning and use no deprecated key. Empty if outgoing mail
/// is disabled. Settings that stop version `to` from starting are corrected where their meaning is clear. A value that
/// names a removed key in `%(name)s` is written out.
///
/// # Errors
///
/// Returns a [`MigrationError`] if version `from` does not start with the file, if version `to` would not start with
/// the result, or if the result would be read differently.
pub fn migrate(ini: &Ini, from: Version, to: Version) -> Result<Vec<Migration>, MigrationError> {
    let refused = |version| move |reason| MigrationError::Start { version, reason };
    let (now, mut done) = changes(ini, from, to).map_err(refused(from))?;
    let mut changes: Vec<Change> = done.iter().map(|step| step.change.clone()).collect();
    for change in written_out(ini, &changes) {
        changes.push(change.clone());
        done.push(Migration { change, reason: "the value named a removed key" });
    }
    let result = if changes.is_empty() { ini.clone() } else { edit_parsed(ini, &changes)?.1 };
    let before = effective(&now, from).map_err(refused(from))?;
    let after = effective(&result, from).map_err(refused(from))?;
    if let Some(key) = difference(before.as_ref(), after.as_ref()) {
        return Err(MigrationError::Meaning(key));
    }
    effective(&result, to).map_err(refused(to))?;
    effective_incoming(&result, to).map_err(refused(to))?;
    Ok(done)
}

/// Returns a key that is read differently in two settings. `None` if they have the same meaning.
fn difference(before: Option<&EffectiveMailer>, after: Option<&EffectiveMailer>) -> Option<&'static str> {
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, None) => return None,
        _ => return Some("ENABLED"),
    };
    let secret = |held: &EffectiveMailer| match &held.password {
        Password::None => (false, String::new()),
        Password::Written(secret) => (false, secret.expose_secret().to_owned()),
        Password::File(path) => (true, path.clone()),
    };
    let compared = [
        ("PROTOCOL", before.transport == after.transport),
        ("SMTP_ADDR", before.host == after.host),
        ("SMTP_PORT", before.port == after.port),
        ("USER", before.user == after.user),
        ("PASSWD", secret(before) == secret(after)),
        ("FROM", before.from == after.from),
        ("ENVELOPE_FROM", before.envelope_from == after.envelope_from),
        ("HELO_HOSTNAME", before.helo == after.helo),
        ("FORCE_TRUST_SERVER_CERT", before.accepts_any_certificate == after.accepts_any_certificate),
        ("USE_CLIENT_CERT", before.client_certificate == after.client_certificate),
        ("SUBJECT_PREFIX", before.subject_prefix == after.subject_prefix),
        ("SEND_AS_PLAIN_TEXT", before.plain_text == after.plain_text),
        ("a header of [mailer.override_header]", before.headers == after.headers),
        ("SENDMAIL_PATH", before.sendmail == after.sendmail),
    ];
    compared.into_iter().find(|(_, same)| !same).map(|(key, _)| key)
}

/// Returns the file with a corrected sender, and the changes: the corrected sender, the successors of deprecated keys,
/// an explicit `PROTOCOL` if it was inferred, and five minutes for a `SENDMAIL_TIMEOUT` that is not a duration. Without
/// changes if outgoing mail is disabled.
///
/// # Errors
/// Returns the setting that stops version `from` from starting, or a sender that cannot be corrected.
fn changes(ini: &Ini, from: Version, to: Version) -> Result<(Ini, Vec<Migration>), Fatal> {
    let mut work = Migrator { ini, done: Vec::new() };
    let corrected = work.sender(from, to)?;
    let now = corrected.unwrap_or_else(|| ini.clone());
    let Some(mailer) = effective(&now, from)? else { return Ok((now, Vec::new())) };
    let old_host = "HOST is deprecated: SMTP_ADDR and SMTP_PORT replace it";
    if work.remove("HOST", old_host) && ini.value(SECTION, "SMTP_ADDR").is_none() {
        work.set("SMTP_ADDR", &mailer.host, old_host);
        let port = ini.value(SECTION, "SMTP_PORT").filter(|port| !port.is_empty());
        if port.is_none() && !mailer.port.is_empty() {
            work.set("SMTP_PORT", &mailer.port, old_host);
        }
    }
    let spelling = ini.value(SECTION, "PROTOCOL").as_deref() == Some("smtp+startls");
    let types =
        ["MAILER_TYPE", "IS_TLS_ENABLED"].map(|key| work.remove(key, "deprecated: PROTOCOL replaces it"));
    if mailer.origin == Origin::Deprecated
        || mailer.origin == Origin::Inferred
        || spelling
        || types.contains(&true)
    {
        let protocol = match mailer.transport {
            EffectiveTransport::Dummy => "dummy",
            EffectiveTransport::Network(protocol) => protocol.as_str(),
            EffectiveTransport::Sendmail => "sendmail",
            EffectiveTransport::Unix => "smtp+unix",
        };
        if mailer.origin != Origin::Unknown {
            let reason = "the protocol is written, so that nothing is inferred or mapped from old keys";
            work.set("PROTOCOL", protocol, reason);
        }
    }
    for (old, key, value) in [
        ("DISABLE_HELO", "ENABLE_HELO", mailer.helo != crate::effective::Helo::Localhost),
        ("SKIP_VERIFY", "FORCE_TRUST_SERVER_CERT", mailer.accepts_any_certificate),
        ("USE_CERTIFICATE", "USE_CLIENT_CERT", mailer.client_certificate),
        ("ENABLE_HTML_ALTERNATIVE", "SEND_AS_PLAIN_TEXT", mailer.plain_text),
    ] {
        let reason = "deprecated: another key replaces it";
        if work.remove(old, reason) && ini.value(SECTION, key).is_none() {
            work.set(key, if value { "true" } else { "false" }, reason);
        }
    }
    for (old, key) in [("CERT_FILE", "CLIENT_CERT_FILE"), ("KEY_FILE", "CLIENT_KEY_FILE")] {
        let value = ini.value(SECTION, old);
        if work.remove(old, "deprecated, and not read: the successor is")
            && let Some(value) = value.filter(|_| ini.value(SECTION, key).is_none())
        {
            work.set(key, &value, "the successor of a deprecated key, which Forgejo did not read");
        }
    }
    let timeout = ini.value(SECTION, "SENDMAIL_TIMEOUT").unwrap_or_default();
    if !timeout.is_empty() && !is_duration(&timeout) {
        let reason = "not a duration: five minutes were used, and later versions do not start";
        work.set("SENDMAIL_TIMEOUT", "5m", reason);
    }
    Ok((now, work.done))
}

/// Changes so far, of one file.
struct Migrator<'i> {
    ini: &'i Ini,
    done: Vec<Migration>,
}

impl Migrator<'_> {
    /// Quotes the display name of a From mailbox that either version rejects. Returns the corrected file. `None` if
    /// both accept it.
    ///
    /// # Errors
    /// Returns [`Fatal::From`] if quoting does not make the mailbox valid, or it comes from `USER`.
    fn sender(&mut self, from: Version, to: Version) -> Result<Option<Ini>, Fatal> {
        for version in [from, to] {
            let Err(Fatal::From { value, reason, by_user }) = effective(self.ini, version) else { continue };
            let Some(quoted) = with_quoted_name(&value).filter(|_| !by_user) else {
                return Err(Fatal::From { value, reason, by_user });
            };
            self.set("FROM", &quoted, "special characters in a name must be quoted");
            let mut corrected = self.ini.clone();
            corrected.set(SECTION, "FROM", &quoted);
            return Ok(Some(corrected));
        }
        Ok(None)
    }

    /// Appends a change that sets a key of `[mailer]`, unless the file has that value already.
    fn set(&mut self, key: &str, value: &str, reason: &'static str) {
        if self.ini.value(SECTION, key).as_deref() != Some(value) {
            self.done.push(Migration { change: Change::set(SECTION, key, value), reason });
        }
    }

    /// Appends a change that removes a key of `[mailer]`, if it exists. Returns `true` if it does.
    fn remove(&mut self, key: &str, reason: &'static str) -> bool {
        let there = self.ini.section(SECTION).is_some_and(|section| section.key(key).is_some());
        if there {
            self.done.push(Migration { change: Change::remove(SECTION, key), reason });
        }
        there
    }
}
