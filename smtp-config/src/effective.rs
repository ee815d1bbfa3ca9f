//! Effective settings of `[mailer]` after Forgejo's start, loaded step by step in the order of its loader.

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

/// Default of `APP_NAME`, to which `%(NAME)s` expands.
const APP_NAME: &str = "Forgejo: Beyond coding. We Forge.";

/// Transport over which Forgejo sends messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectiveTransport {
    /// `dummy`: messages are written to the log and not sent.
    Dummy,
    /// `smtp`, `smtps` or `smtp+starttls`: SMTP over TCP.
    Network(Protocol),
    /// `sendmail`: the program of this host.
    Sendmail,
    /// `smtp+unix`: SMTP over a Unix-domain socket, without TLS.
    Unix,
}

/// Source from which the transport was determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A deprecated key: `MAILER_TYPE` or `IS_TLS_ENABLED`.
    Deprecated,
    /// The port, or a host that is a path, since `PROTOCOL` is missing or empty.
    Inferred,
    /// `PROTOCOL` has an unknown value, so that Forgejo uses SMTP without TLS.
    Unknown,
    /// A valid `PROTOCOL`.
    Written,
}

/// Host name that Forgejo sends in EHLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helo {
    /// `localhost`, the default of Go's `net/smtp`, if `ENABLE_HELO` is off.
    Localhost,
    /// The host name of the machine that runs Forgejo, if `HELO_HOSTNAME` is missing.
    Machine,
    /// The configured `HELO_HOSTNAME`.
    Name(String),
}

/// Source of the password. `Debug` does not print it.
#[derive(Clone, Debug)]
pub enum Password {
    /// No password is configured: Forgejo authenticates with an empty one.
    None,
    /// A value in app.ini, with `%(name)s` expanded.
    Written(SecretString),
    /// Path of the file that Forgejo reads for `PASSWD_URI` or `PASSWORD_URI`. [`secret_of_file`] returns the password
    /// that it uses for the content.
    File(String),
}

/// Effective settings of `[mailer]` after Forgejo's start. `Debug` does not print the password.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EffectiveMailer {
    /// Version of Forgejo whose rules were applied.
    pub version: Version,
    /// Transport over which messages are sent.
    pub transport: EffectiveTransport,
    /// Source of the transport.
    pub origin: Origin,
    /// Host name or address of the server, or path of the socket. Empty if neither `SMTP_ADDR` nor the deprecated `HOST` is
    /// set.
    pub host: String,
    /// Port as text, as Forgejo keeps it. It may not be a valid port. Default: the protocol's port for SMTP over TCP,
    /// unless the protocol is unknown; otherwise empty.
    pub port: String,
    /// User name for SMTP AUTH. Empty if none.
    pub user: String,
    /// Source of the password.
    pub password: Password,
    /// `FROM`, not yet parsed, or `USER` if there is no `FROM`. Empty if neither is set.
    pub from: String,
    /// The mailbox in `from`, as Go parses it. `None` if it is empty.
    pub sender: Option<Address>,
    /// Envelope sender (RFC 5321). Default: the address of `sender`. Empty for the null reverse-path (`<>`), and without
    /// a sender.
    pub envelope_from: String,
    /// Host name for EHLO.
    pub helo: Helo,
    /// Whether any certificate is accepted (`FORCE_TRUST_SERVER_CERT`). Default: `false`.
    pub accepts_any_certificate: bool,
    /// Whether a client certificate is presented (`USE_CLIENT_CERT`). Default: `false`.
    pub client_certificate: bool,
    /// Files of the client certificate, also if it is not presented.
    pub client_files: ClientFiles,
    /// Text that is put before every subject, followed by a space. Empty if none.
    pub subject_prefix: String,
    /// Whether messages have no HTML part (`SEND_AS_PLAIN_TEXT`). Default: `false`.
    pub plain_text: bool,
    /// Headers of `[mailer.override_header]` with their values, set on every message. Empty before version 8.
    pub headers: Vec<(String, Vec<String>)>,
    /// Program for `PROTOCOL = sendmail`, also if another transport is used.
    pub sendmail: SendmailCommand,
}

/// Files of the certificate that Forgejo presents to the server as a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Path of the certificate in PEM (`CLIENT_CERT_FILE`), as written. Empty if not set.
    pub certificate: String,
    /// Path of its private key in PEM (`CLIENT_KEY_FILE`), as written. Empty if not set.
    pub key: String,
}

/// The program by which Forgejo sends messages with `PROTOCOL = sendmail`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendmailCommand {
    /// Path, or a name that is looked up in `PATH` (`SENDMAIL_PATH`). Default: `sendmail`.
    pub path: String,
    /// `SENDMAIL_ARGS` as written, before it is split into words. Empty if not set.
    pub args: String,
}

/// Loads `[mailer]` by the rules of a Forgejo version. Returns `None` if outgoing mail is disabled, which is the
/// default. Password files are not read.
///
/// # Errors
/// Returns the first setting that stops Forgejo from starting.
pub fn effective(ini: &Ini, version: Version) -> Result<Option<EffectiveMailer>, Fatal> {
    let mut section = SectionLoader { ini: ini.excerpt(&[SECTION]), name: SECTION };
    if !section.flag("ENABLED", false) {
        return Ok(None);
    }
    let origin = map_deprecated(&mut section)?;
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
    let (transport, origin) = transport(&section.text("PROTOCOL"), origin, &host, &port);
    if let EffectiveTransport::Network(protocol) = transport
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
    // The password is loaded last, when every key to which it may refer exists.
    let password = match password {
        Password::File(path) => Password::File(path),
        // From the version that reads URIs, the value that was expanded for the check against the URI is stored.
        Password::None if version.knows_uri() => Password::None,
        Password::None | Password::Written(_) => match section.text("PASSWD") {
            text if text.is_empty() => Password::None,
            text => Password::Written(SecretString::from(text)),
        },
    };
    let path = Some(section.text("SENDMAIL_PATH")).filter(|path| !path.is_empty());
    Ok(Some(EffectiveMailer {
        version,
        transport,
        origin,
        host,
        port,
        user: section.text("USER"),
        password,
        from,
        sender,
        envelope_from,
        helo,
        accepts_any_certificate: section.flag("FORCE_TRUST_SERVER_CERT", false),
        client_certificate: section.flag("USE_CLIENT_CERT", false),
        client_files: ClientFiles {
            certificate: section.text("CLIENT_CERT_FILE"),
            key: section.text("CLIENT_KEY_FILE"),
        },
        subject_prefix: section.text("SUBJECT_PREFIX"),
        plain_text: section.flag("SEND_AS_PLAIN_TEXT", false),
        headers: headers(ini, version),
        sendmail: SendmailCommand {
            path: path.unwrap_or_else(|| "sendmail".to_owned()),
            args: section.text("SENDMAIL_ARGS"),
        },
    }))
}

/// Returns the password that Forgejo uses after it reads this content from the file of the URI: trimmed and, for the
/// mailer, with `%(name)s` expanded.
#[must_use]
pub fn secret_of_file(ini: &Ini, section: &str, content: &str) -> SecretString {
    let mut held = ini.excerpt(&[section]);
    let key = if section == SECTION { "PASSWD" } else { "PASSWORD" };
    held.set(section, key, content.trim());
    // The password of incoming mail is used as read; that of the mailer is loaded from its key.
    let value = if section == SECTION { held.value(section, key) } else { Some(content.trim().to_owned()) };
    SecretString::from(value.unwrap_or_default())
}

/// A section during loading. Keys are set as Forgejo's loader sets them.
pub(crate) struct SectionLoader {
    pub(crate) ini: Ini,
    pub(crate) name: &'static str,
}

impl SectionLoader {
    /// Returns the expanded value of a key. Empty if it is missing.
    pub(crate) fn text(&self, key: &str) -> String {
        self.ini.value(self.name, key).unwrap_or_default()
    }

    /// Returns `true` if the key exists, also with an empty value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.ini.value(self.name, key).is_some()
    }

    /// Returns the value of a key as a boolean, or `default` if it is missing or not a boolean.
    pub(crate) fn flag(&self, key: &str, default: bool) -> bool {
        boolean(&self.text(key)).unwrap_or(default)
    }

    /// Sets a key, which is created if it is missing.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.ini.set(self.name, key, value);
    }

    /// Creates a missing key with an empty value, as go-ini does for each key that is queried: `%(name)s` then expands
    /// to an empty text.
    pub(crate) fn touch(&mut self, key: &str) {
        if !self.has(key) {
            self.set(key, "");
        }
    }

    /// Sets a key that is missing or empty.
    fn set_default(&mut self, key: &str, value: &str) {
        if self.text(key).is_empty() {
            self.set(key, value);
        }
    }

    /// Copies the value of the key `other` to `key`, if only `other` exists.
    pub(crate) fn alias(&mut self, other: &str, key: &str) {
        if self.has(other) && !self.has(key) {
            // The key must exist before the other one is expanded.
            self.touch(key);
            let value = self.text(other);
            self.set(key, &value);
        }
    }
}

/// Maps deprecated keys to current ones. Returns the source of a transport that `PROTOCOL` then sets.
///
/// # Errors
/// Returns [`Fatal::Host`] if the deprecated `HOST` is not valid.
fn map_deprecated(section: &mut SectionLoader) -> Result<Origin, Fatal> {
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

/// Copies aliases to the keys that the version reads.
fn aliases(section: &mut SectionLoader, version: Version) {
    if version.knows_aliases() {
        section.alias("USERNAME", "USER");
        section.alias("PASSWORD", "PASSWD");
    }
    if version.knows_uri() {
        section.alias("PASSWORD_URI", "PASSWD_URI");
    }
}

/// Loads a password from its key or its URI. From the first version that reads URIs, the expanded value is written back
/// to the key of the mailer, where it is expanded again.
///
/// # Errors
/// Returns [`Fatal::BothPasswords`] if both keys are set, and [`Fatal::Uri`] if the URI is not valid.
pub(crate) fn secret(
    section: &mut SectionLoader,
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
                // Forgejo stores the expanded value, and expands it again when it loads the section.
                section.set(key, &written);
            }
            Ok(Password::Written(SecretString::from(written)))
        }
    }
}

/// Returns the transport with its source. `given` is the source if `PROTOCOL` has a known value. An empty `PROTOCOL` is
/// inferred: a socket if the host contains a slash or backslash, otherwise SMTP for port `25`, STARTTLS for `587`, and
/// implicit TLS for any other text. An unknown one is SMTP without TLS.
fn transport(protocol: &str, given: Origin, host: &str, port: &str) -> (EffectiveTransport, Origin) {
    let transport = match protocol {
        "" if host.contains(['/', '\\']) => return (EffectiveTransport::Unix, Origin::Inferred),
        "" => {
            // Forgejo compares the port as text.
            let protocol = match port {
                "25" => Protocol::Smtp,
                "587" => Protocol::StartTls,
                _ => Protocol::Smtps,
            };
            return (EffectiveTransport::Network(protocol), Origin::Inferred);
        }
        "smtp" => EffectiveTransport::Network(Protocol::Smtp),
        "smtps" => EffectiveTransport::Network(Protocol::Smtps),
        "smtp+starttls" => EffectiveTransport::Network(Protocol::StartTls),
        "smtp+unix" => EffectiveTransport::Unix,
        "sendmail" => EffectiveTransport::Sendmail,
        "dummy" => EffectiveTransport::Dummy,
        _ => return (EffectiveTransport::Network(Protocol::Smtp), Origin::Unknown),
    };
    (transport, given)
}

/// Returns the headers of `[mailer.override_header]`. Empty for a version that does not read the section.
fn headers(ini: &Ini, version: Version) -> Vec<(String, Vec<String>)> {
    if !version.knows_override_header() {
        return Vec::new();
    }
    let keys = ini.section(OVERRIDE_HEADER).map(crate::ini::Section::keys).unwrap_or_default();
    let value = |name: &str| ini.value(OVERRIDE_HEADER, name).unwrap_or_default();
    keys.iter().map(|key| (key.name().to_owned(), list(&value(key.name())))).collect()
}

/// Splits a value at commas, as go-ini does: `\,` stands for a comma, `\\` for a backslash. Elements are trimmed. An
/// empty last element is dropped.
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

impl EffectiveMailer {
    /// Returns the server name that is passed to Go's `net/smtp`, which permits PLAIN without TLS for localhost only:
    /// the path of the socket for SMTP over a Unix-domain socket, otherwise `localhost`.
    #[must_use]
    pub fn server_name(&self) -> &str {
        if self.transport == EffectiveTransport::Unix { &self.host } else { "localhost" }
    }

    /// Returns the host for display. A host that contains credentials, such as a pasted URL, is replaced by `(not
    /// shown)`.
    #[must_use]
    pub fn shown_host(&self) -> &str {
        crate::redact::visible(&self.host)
    }

    /// Returns `true` if the connection does not leave the host: for `dummy`, `sendmail`, a Unix-domain socket,
    /// `localhost` or a loopback address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        !matches!(self.transport, EffectiveTransport::Network(_)) || is_loopback(&self.host)
    }
}
