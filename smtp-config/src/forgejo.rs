//! What Forgejo makes of the settings, by its major version.

use crate::address::mailbox;
use crate::check::boolean;
use crate::ini::Ini;
use crate::mailer::{OVERRIDE_HEADER, Protocol, SECTION};
use secrecy::SecretString;
use std::fmt;
use thiserror::Error;

/// What a major version of Forgejo knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

impl Version {
    /// `USERNAME` and `PASSWORD` as other names of `USER` and `PASSWD`: from 8 on.
    #[must_use]
    pub fn knows_aliases(self) -> bool {
        self.0 >= 8
    }

    /// `[mailer.override_header]`: from 8 on.
    #[must_use]
    pub fn knows_override_header(self) -> bool {
        self.0 >= 8
    }

    /// The port of `[email.incoming]` where it is not written: from 8 on.
    #[must_use]
    pub fn infers_incoming_port(self) -> bool {
        self.0 >= 8
    }

    /// `FROM_DISPLAY_NAME_FORMAT`: from 9 on.
    #[must_use]
    pub fn knows_display_name_format(self) -> bool {
        self.0 >= 9
    }

    /// Puts `--` behind `SENDMAIL_ARGS`, so that no recipient is taken for an option: from 12 on.
    #[must_use]
    pub fn ends_sendmail_args(self) -> bool {
        self.0 >= 12
    }

    /// `PASSWD_URI` and `PASSWORD_URI`: from 13 on, by the release notes of 13.0.0, "add _URI entries for mail config"
    /// (pull request 8116).
    #[must_use]
    pub fn knows_uri(self) -> bool {
        self.0 >= crate::route::URI_SINCE
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// Nothing: a line in the log.
    Dummy,
    /// SMTP over TCP.
    Network(Protocol),
    /// The program sendmail.
    Sendmail,
    /// SMTP over a Unix socket, without TLS.
    Unix,
}

/// Where the protocol comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A deprecated key.
    Deprecated,
    /// It follows the port, or the host is a path.
    Inferred,
    /// It is written, and no protocol that Forgejo knows: plain SMTP is spoken.
    Unknown,
    /// It is written.
    Written,
}

/// The name for EHLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helo {
    /// `localhost`, what Go says when it is told nothing.
    Localhost,
    /// The name of the machine.
    Machine,
    /// A name.
    Name(String),
}

/// Where the password is. `Debug` does not show it.
#[derive(Clone, Debug)]
pub enum Password {
    /// There is none.
    None,
    /// In app.ini.
    Written(SecretString),
    /// In a file whose content is trimmed, and in which `%(name)s` is replaced.
    File(String),
}

/// The mailer as Forgejo has it once it has started.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What is spoken.
    pub spoken: Spoken,
    /// Where that comes from.
    pub origin: Origin,
    /// The host, or the path of the socket.
    pub host: String,
    /// The port, as a text since Forgejo keeps it so.
    pub port: String,
    /// The account; empty when there is none.
    pub user: String,
    /// The password.
    pub password: Password,
    /// The sender as it is written; empty when there is none.
    pub from: String,
    /// The sender of the envelope: an address, or empty for the null sender.
    pub envelope_from: String,
    /// The name for EHLO.
    pub helo: Helo,
    /// Whether any certificate will do.
    pub trusts_anybody: bool,
    /// Whether a client certificate is shown.
    pub client_certificate: bool,
    /// What stands before each subject.
    pub subject_prefix: String,
    /// Whether messages have no HTML.
    pub plain_text: bool,
    /// Headers that are set on every message.
    pub headers: Vec<(String, Vec<String>)>,
    /// The program, its arguments as written.
    pub sendmail: (String, String),
}

/// Why Forgejo ends at once.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fatal {
    /// The sender is refused.
    #[error("Go refuses FROM")]
    From,
    /// The sender of the envelope is refused.
    #[error("Go refuses ENVELOPE_FROM")]
    EnvelopeFrom,
    /// Both are set.
    #[error("PASSWD and PASSWD_URI are both set")]
    BothPasswords,
    /// `PASSWD_URI` is no `file:`.
    #[error("PASSWD_URI is no file: with an absolute path")]
    Uri,
}

/// What Forgejo of that version has after it has read the file; `None` when mail is off.
///
/// # Errors
///
/// Why it ends at once.
pub fn effective(ini: &Ini, version: Version) -> Result<Option<Effective>, Fatal> {
    let read = |key: &str| ini.value(SECTION, key).filter(|value| !value.is_empty());
    let text = |key: &str| read(key).unwrap_or_default();
    let flag = |key: &str, default| read(key).and_then(|value| boolean(&value)).unwrap_or(default);
    let has = |key: &str| ini.value(SECTION, key).is_some();
    if !flag("ENABLED", false) {
        return Ok(None);
    }
    let alias = |key: &str, other: &str| match read(key) {
        None if version.knows_aliases() && !has(key) => text(other),
        found => found.unwrap_or_default(),
    };
    let old_flag = |key: &str, old: &str, default: bool, turned: bool| match read(old) {
        Some(value) if !has(key) => boolean(&value).unwrap_or(false) != turned,
        _ => flag(key, default),
    };
    let (mut host, mut port) = (text("SMTP_ADDR"), text("SMTP_PORT"));
    if let Some(both) = read("HOST").filter(|_| !has("SMTP_ADDR")) {
        let (name, number) = both.rsplit_once(':').unwrap_or((&both, ""));
        host = if name.is_empty() { "127.0.0.1".to_owned() } else { name.to_owned() };
        port = if port.is_empty() { number.to_owned() } else { port };
    }
    let (mut protocol, mut origin) = (text("PROTOCOL"), Origin::Written);
    if protocol.is_empty() && !has("PROTOCOL") {
        origin = Origin::Deprecated;
        match (text("MAILER_TYPE").as_str(), read("IS_TLS_ENABLED")) {
            ("sendmail", _) => protocol = "sendmail".to_owned(),
            (_, Some(tls)) if boolean(&tls) == Some(true) => protocol = "smtps".to_owned(),
            (_, Some(_)) => protocol = "smtp+starttls".to_owned(),
            _ => {}
        }
    }
    if protocol == "smtp+startls" {
        protocol = "smtp+starttls".to_owned();
    }
    let spoken = match protocol.as_str() {
        "" => {
            origin = Origin::Inferred;
            if host.contains(['/', '\\']) {
                Spoken::Unix
            } else {
                Spoken::Network(match port.as_str() {
                    "25" => Protocol::Smtp,
                    "587" => Protocol::StartTls,
                    _ => Protocol::Smtps,
                })
            }
        }
        "smtp" => Spoken::Network(Protocol::Smtp),
        "smtps" => Spoken::Network(Protocol::Smtps),
        "smtp+starttls" => Spoken::Network(Protocol::StartTls),
        "smtp+unix" => Spoken::Unix,
        "sendmail" => Spoken::Sendmail,
        "dummy" => Spoken::Dummy,
        _ => {
            origin = Origin::Unknown;
            Spoken::Network(Protocol::Smtp)
        }
    };
    if let Spoken::Network(known) = spoken
        && port.is_empty()
        && origin != Origin::Unknown
    {
        port = known.port().to_string();
    }
    let user = alias("USER", "USERNAME");
    let password = password(version, &alias("PASSWD", "PASSWORD"), &alias("PASSWD_URI", "PASSWORD_URI"))?;
    let from = read("FROM").unwrap_or_else(|| user.clone());
    let address = if from.is_empty() { String::new() } else { mailbox(&from).ok_or(Fatal::From)? };
    let envelope_from = match text("ENVELOPE_FROM").as_str() {
        "" => address,
        "<>" => String::new(),
        other => mailbox(other).ok_or(Fatal::EnvelopeFrom)?,
    };
    let helo = match (old_flag("ENABLE_HELO", "DISABLE_HELO", true, true), read("HELO_HOSTNAME")) {
        (false, _) => Helo::Localhost,
        (true, Some(name)) => Helo::Name(name),
        (true, None) => Helo::Machine,
    };
    Ok(Some(Effective {
        spoken,
        origin,
        host,
        port,
        user,
        password,
        from,
        envelope_from,
        helo,
        trusts_anybody: old_flag("FORCE_TRUST_SERVER_CERT", "SKIP_VERIFY", false, false),
        client_certificate: old_flag("USE_CLIENT_CERT", "USE_CERTIFICATE", false, false),
        subject_prefix: text("SUBJECT_PREFIX"),
        plain_text: old_flag("SEND_AS_PLAIN_TEXT", "ENABLE_HTML_ALTERNATIVE", false, true),
        headers: headers(ini, version),
        sendmail: (read("SENDMAIL_PATH").unwrap_or_else(|| "sendmail".to_owned()), text("SENDMAIL_ARGS")),
    }))
}

fn password(version: Version, written: &str, uri: &str) -> Result<Password, Fatal> {
    match (written, if version.knows_uri() { uri } else { "" }) {
        ("", "") => Ok(Password::None),
        (written, "") => Ok(Password::Written(SecretString::from(written))),
        ("", uri) => {
            let path = uri.strip_prefix("file:").ok_or(Fatal::Uri)?;
            // Go gives the path of file:///path and of file:/path alike.
            let path = path.strip_prefix("//").unwrap_or(path);
            path.starts_with('/').then(|| Password::File(path.to_owned())).ok_or(Fatal::Uri)
        }
        _ => Err(Fatal::BothPasswords),
    }
}

fn headers(ini: &Ini, version: Version) -> Vec<(String, Vec<String>)> {
    if !version.knows_override_header() {
        return Vec::new();
    }
    let keys = ini.section(OVERRIDE_HEADER).map(crate::ini::Section::keys).unwrap_or_default();
    let value = |name: &str| ini.value(OVERRIDE_HEADER, name).unwrap_or_default();
    let split = |text: String| text.split(',').map(|part| part.trim().to_owned()).collect();
    keys.iter().map(|key| (key.name().to_owned(), split(value(key.name())))).collect()
}

impl Effective {
    /// The name that Go holds the server for: what decides whether PLAIN is sent without TLS.
    #[must_use]
    pub fn server_name(&self) -> &str {
        if self.spoken == Spoken::Unix { &self.host } else { "localhost" }
    }

    /// Whether the connection is one that never leaves the machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        !matches!(self.spoken, Spoken::Network(_)) || is_local(&self.host)
    }
}

/// Whether a host is this machine.
pub(crate) fn is_local(host: &str) -> bool {
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || host.eq_ignore_ascii_case("localhost")
}
