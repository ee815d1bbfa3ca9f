//! The mailer as Forgejo has it once it has started: `[mailer]` loaded step by step, in the loader's order.

use crate::address::{Address, parse_address};
use crate::duration::is_duration;
use crate::fatal::Fatal;
use crate::host::{HostPortError, is_loopback, split_host_port};
use crate::ini::{Ini, boolean};
use crate::protocol::Protocol;
use crate::secret_uri::secret_path;
use crate::section::{OVERRIDE_HEADER, SECTION};
use crate::version::Version;
use secrecy::SecretString;

/// The default of `APP_NAME`, which `%(NAME)s` expands to.
const APP_NAME: &str = "Forgejo: Beyond coding. We Forge.";

/// The transport of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// No transport: messages go to the log.
    Dummy,
    /// SMTP over TCP.
    Network(Protocol),
    /// The program `sendmail`.
    Sendmail,
    /// SMTP over a Unix socket, without TLS.
    Unix,
}

/// The setting that determined the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A deprecated key determined it.
    Deprecated,
    /// The port determined it, or a host that is a path.
    Inferred,
    /// `PROTOCOL` has a value that Forgejo does not know: plain SMTP is spoken.
    Unknown,
    /// `PROTOCOL` determined it.
    Written,
}

/// The name for EHLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helo {
    /// `localhost`, which Go sends when it is given no name.
    Localhost,
    /// The host name of the machine.
    Machine,
    /// A configured name.
    Name(String),
}

/// The place of the password. `Debug` does not show it.
#[derive(Clone, Debug)]
pub enum Password {
    /// There is none: Forgejo authenticates with an empty one.
    None,
    /// A value in app.ini.
    Written(SecretString),
    /// A file whose content is trimmed, and in which `%(name)s` is replaced.
    File(String),
}

/// The mailer as Forgejo has it once it has started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Effective {
    /// The version that loaded it.
    pub version: Version,
    /// The transport of messages.
    pub spoken: Spoken,
    /// The setting that determined the protocol.
    pub origin: Origin,
    /// The host, or the path of the socket.
    pub host: String,
    /// The port, as a text since Forgejo keeps it so.
    pub port: String,
    /// The account; empty when there is none.
    pub user: String,
    /// The place of the password.
    pub password: Password,
    /// The sender as it is written; empty when there is none.
    pub from: String,
    /// The sender as Go parses it.
    pub sender: Option<Address>,
    /// The sender of the envelope: an address, or empty for the null sender.
    pub envelope_from: String,
    /// The name for EHLO.
    pub helo: Helo,
    /// Any certificate is accepted.
    pub trusts_anybody: bool,
    /// A client certificate is presented.
    pub client_certificate: bool,
    /// The files of the client certificate and of its key; empty when not given.
    pub client_files: (String, String),
    /// The text before each subject.
    pub subject_prefix: String,
    /// Messages have no HTML part.
    pub plain_text: bool,
    /// The headers that are set on every message.
    pub headers: Vec<(String, Vec<String>)>,
    /// The program, its arguments as written.
    pub sendmail: (String, String),
}

/// Loads `[mailer]` as a version of Forgejo does; `None` when mail is off.
///
/// # Errors
///
/// The setting at which Forgejo's start ends.
pub fn effective(ini: &Ini, version: Version) -> Result<Option<Effective>, Fatal> {
    let mut section = Loading { ini: ini.excerpt(&[SECTION]), name: SECTION };
    if !section.flag("ENABLED", false) {
        return Ok(None);
    }
    let origin = deprecated(&mut section)?;
    aliases(&mut section, version);
    let password = secret(&mut section, version, "PASSWD_URI", "PASSWD")?;
    let timeout = section.text("SENDMAIL_TIMEOUT");
    if version.refuses_bad_timeout() && !timeout.is_empty() && !is_duration(&timeout) {
        return Err(Fatal::SendmailTimeout { value: timeout });
    }
    let app_name = ini.value(crate::ini::DEFAULT_SECTION, "APP_NAME").filter(|name| !name.is_empty());
    section.set_default("NAME", app_name.as_deref().unwrap_or(APP_NAME));
    section.touch("PROTOCOL");
    section.touch("FROM");
    section.touch("USER");
    let user = section.text("USER");
    let by_user = section.text("FROM").is_empty();
    if by_user {
        section.set("FROM", &user);
    }
    let (host, mut port) = (section.text("SMTP_ADDR"), section.text("SMTP_PORT"));
    let (spoken, origin) = transport(&section.text("PROTOCOL"), origin, &host, &port);
    if let Spoken::Network(protocol) = spoken
        && port.is_empty()
        && origin != Origin::Unknown
    {
        port = protocol.port().to_string();
    }
    let from = section.text("FROM");
    let rules = version.address_rules();
    let sender = match from.as_str() {
        "" => None,
        text => Some(parse_address(text, rules).map_err(|reason| Fatal::From {
            value: text.to_owned(),
            reason,
            by_user,
        })?),
    };
    let envelope_from = match section.text("ENVELOPE_FROM") {
        text if text.is_empty() => sender.as_ref().map(|held| held.address.clone()).unwrap_or_default(),
        text if text == "<>" => String::new(),
        text => match parse_address(&text, rules) {
            Ok(parsed) => parsed.address,
            Err(reason) => return Err(Fatal::EnvelopeFrom { value: text, reason }),
        },
    };
    let helo = match (section.flag("ENABLE_HELO", true), section.text("HELO_HOSTNAME")) {
        (false, _) => Helo::Localhost,
        (true, name) if name.is_empty() => Helo::Machine,
        (true, name) => Helo::Name(name),
    };
    // The password is mapped last, when every key that it may name is there.
    let password = match password {
        Password::File(path) => Password::File(path),
        // Where URIs are read, what was expanded for the comparison with them was stored.
        Password::None if version.knows_uri() => Password::None,
        Password::None | Password::Written(_) => match section.text("PASSWD") {
            text if text.is_empty() => Password::None,
            text => Password::Written(SecretString::from(text)),
        },
    };
    let path = Some(section.text("SENDMAIL_PATH")).filter(|path| !path.is_empty());
    Ok(Some(Effective {
        version,
        spoken,
        origin,
        host,
        port,
        user: section.text("USER"),
        password,
        from,
        sender,
        envelope_from,
        helo,
        trusts_anybody: section.flag("FORCE_TRUST_SERVER_CERT", false),
        client_certificate: section.flag("USE_CLIENT_CERT", false),
        client_files: (section.text("CLIENT_CERT_FILE"), section.text("CLIENT_KEY_FILE")),
        subject_prefix: section.text("SUBJECT_PREFIX"),
        plain_text: section.flag("SEND_AS_PLAIN_TEXT", false),
        headers: headers(ini, version),
        sendmail: (path.unwrap_or_else(|| "sendmail".to_owned()), section.text("SENDMAIL_ARGS")),
    }))
}

/// Returns a password as Forgejo has it after reading it from the file of its URI: trimmed, `%(name)s` replaced.
#[must_use]
pub fn secret_of_file(ini: &Ini, section: &str, content: &str) -> SecretString {
    let mut held = ini.excerpt(&[section]);
    let key = if section == SECTION { "PASSWD" } else { "PASSWORD" };
    held.set(section, key, content.trim());
    // The incoming password is used as it was read, the mailer's is mapped from its key.
    let value = if section == SECTION { held.value(section, key) } else { Some(content.trim().to_owned()) };
    SecretString::from(value.unwrap_or_default())
}

/// A section while it is loaded: keys are set as the loader sets them.
pub(crate) struct Loading {
    pub(crate) ini: Ini,
    pub(crate) name: &'static str,
}

impl Loading {
    /// Returns the value, expanded; empty when there is none.
    pub(crate) fn text(&self, key: &str) -> String {
        self.ini.value(self.name, key).unwrap_or_default()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.ini.value(self.name, key).is_some()
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> bool {
        boolean(&self.text(key)).unwrap_or(default)
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.ini.set(self.name, key, value);
    }

    /// Creates a missing key with an empty value, as go-ini does for each key that is asked for: `%(name)s` then expands to
    /// nothing.
    pub(crate) fn touch(&mut self, key: &str) {
        if !self.has(key) {
            self.set(key, "");
        }
    }

    /// Sets a key that is empty or missing.
    fn set_default(&mut self, key: &str, value: &str) {
        if self.text(key).is_empty() {
            self.set(key, value);
        }
    }

    /// Copies a key to another name that is missing.
    pub(crate) fn alias(&mut self, other: &str, key: &str) {
        if self.has(other) && !self.has(key) {
            // The key is there before the other one is expanded.
            self.touch(key);
            let value = self.text(other);
            self.set(key, &value);
        }
    }
}

/// Maps deprecated keys to those of today; returns what determines a protocol that is given then.
fn deprecated(section: &mut Loading) -> Result<Origin, Fatal> {
    let mut origin = Origin::Written;
    let written = section.has("PROTOCOL");
    if section.text("MAILER_TYPE") == "sendmail" && !written {
        section.set("PROTOCOL", "sendmail");
        origin = Origin::Deprecated;
    }
    if section.has("HOST") && !section.has("SMTP_ADDR") {
        let value = section.text("HOST");
        let (host, port) = match split_host_port(&value) {
            Ok((host, port)) => (host.to_owned(), port.to_owned()),
            Err(HostPortError::MissingPort) => (value, String::new()),
            Err(reason) => return Err(Fatal::Host { value, reason }),
        };
        section.set("SMTP_ADDR", if host.is_empty() { "127.0.0.1" } else { &host });
        section.set_default("SMTP_PORT", &port);
    }
    if section.has("IS_TLS_ENABLED") && !section.has("PROTOCOL") {
        let tls = section.flag("IS_TLS_ENABLED", false);
        section.set("PROTOCOL", if tls { "smtps" } else { "smtp+starttls" });
        origin = Origin::Deprecated;
    }
    for (old, key, inverted) in [
        ("DISABLE_HELO", "ENABLE_HELO", true),
        ("SKIP_VERIFY", "FORCE_TRUST_SERVER_CERT", false),
        ("USE_CERTIFICATE", "USE_CLIENT_CERT", false),
        ("ENABLE_HTML_ALTERNATIVE", "SEND_AS_PLAIN_TEXT", true),
    ] {
        if section.has(old) && !section.has(key) {
            let value = section.flag(old, false) != inverted;
            section.set(key, if value { "true" } else { "false" });
        }
    }
    if section.text("PROTOCOL") == "smtp+startls" {
        section.set("PROTOCOL", "smtp+starttls");
    }
    Ok(origin)
}

fn aliases(section: &mut Loading, version: Version) {
    if version.knows_aliases() {
        section.alias("USERNAME", "USER");
        section.alias("PASSWORD", "PASSWD");
    }
    if version.knows_uri() {
        section.alias("PASSWORD_URI", "PASSWD_URI");
    }
}

/// Loads a password, and sets its key to it where it is written.
pub(crate) fn secret(
    section: &mut Loading,
    version: Version,
    uri_key: &'static str,
    key: &'static str,
) -> Result<Password, Fatal> {
    let uri = if version.knows_uri() {
        section.touch(uri_key);
        section.touch(key);
        section.text(uri_key)
    } else {
        String::new()
    };
    let written = section.text(key);
    match (written.is_empty(), uri.is_empty()) {
        (true, true) => Ok(Password::None),
        (false, false) => Err(Fatal::BothPasswords { section: section.name, uri_key, key }),
        (true, false) => secret_path(&uri).map(Password::File).map_err(|reason| Fatal::Uri {
            section: section.name,
            uri_key,
            reason,
        }),
        (false, true) => {
            if version.knows_uri() && section.name == SECTION {
                // The expanded value is stored, and expanded again where it is mapped.
                section.set(key, &written);
            }
            Ok(Password::Written(SecretString::from(written)))
        }
    }
}

fn transport(protocol: &str, given: Origin, host: &str, port: &str) -> (Spoken, Origin) {
    let spoken = match protocol {
        "" if host.contains(['/', '\\']) => return (Spoken::Unix, Origin::Inferred),
        "" => {
            // Forgejo compares the port as a text.
            let protocol = match port {
                "25" => Protocol::Smtp,
                "587" => Protocol::StartTls,
                _ => Protocol::Smtps,
            };
            return (Spoken::Network(protocol), Origin::Inferred);
        }
        "smtp" => Spoken::Network(Protocol::Smtp),
        "smtps" => Spoken::Network(Protocol::Smtps),
        "smtp+starttls" => Spoken::Network(Protocol::StartTls),
        "smtp+unix" => Spoken::Unix,
        "sendmail" => Spoken::Sendmail,
        "dummy" => Spoken::Dummy,
        _ => return (Spoken::Network(Protocol::Smtp), Origin::Unknown),
    };
    (spoken, given)
}

fn headers(ini: &Ini, version: Version) -> Vec<(String, Vec<String>)> {
    if !version.knows_override_header() {
        return Vec::new();
    }
    let keys = ini.section(OVERRIDE_HEADER).map(crate::ini::Section::keys).unwrap_or_default();
    let value = |name: &str| ini.value(OVERRIDE_HEADER, name).unwrap_or_default();
    keys.iter().map(|key| (key.name().to_owned(), list(&value(key.name())))).collect()
}

/// Splits a value at commas as go-ini does: `\,` is a comma, `\\` a backslash, an empty last part is dropped.
fn list(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            _ if escaped => {
                if c != '\\' && c != ',' {
                    part.push('\\');
                }
                part.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            ',' => parts.push(std::mem::take(&mut part).trim().to_owned()),
            _ => part.push(c),
        }
    }
    if !part.is_empty() {
        parts.push(part.trim().to_owned());
    }
    parts
}

impl Effective {
    /// Returns the name that Go is told the server has, which decides if PLAIN is sent without TLS.
    #[must_use]
    pub fn server_name(&self) -> &str {
        if self.spoken == Spoken::Unix { &self.host } else { "localhost" }
    }

    /// Returns the host for a reader: one that carries credentials, as a URL that was pasted, is not shown.
    #[must_use]
    pub fn shown_host(&self) -> &str {
        crate::redact::visible(&self.host)
    }

    /// Tells if the connection stays on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        !matches!(self.spoken, Spoken::Network(_)) || is_loopback(&self.host)
    }
}
