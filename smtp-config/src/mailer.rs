//! Typed settings of `[mailer]`.

use crate::address::{AddressRules, parse_address, with_quoted_name};
use crate::edit::{Change, written_out};
use crate::effective::{EffectiveTransport, effective};
use crate::host::{ascii_fix, is_loopback, malformed};
use crate::incoming::Incoming;
use crate::ini::Ini;
use crate::mailer_error::MailerError;
use crate::protocol::Protocol;
use crate::reply_to::reply_to;
use crate::route::Route;
use crate::section::{INCOMING, OVERRIDE_HEADER, SECTION, Setting};
use crate::shell::shell_quoted;
use crate::transport::{Server, Transport};
use crate::version::Version;
use secrecy::{ExposeSecret, SecretString};

/// Settings of outgoing and incoming mail. [`Mailer::new`] uses Mailjet with implicit TLS, [`Mailer::server`] another
/// server. `Debug` does not print passwords.
#[derive(Clone, Debug)]
pub struct Mailer {
    /// From mailbox: `Name <local@domain>` or `local@domain`. Quotes around the name are added where necessary.
    pub from: String,
    /// Transport over which messages are sent.
    pub transport: Transport,
    /// User name for SMTP AUTH. `None` disables authentication.
    pub user: Option<String>,
    /// Password for SMTP AUTH. [`Mailer::settings`] omits it.
    pub password: Option<SecretString>,
    /// Envelope sender (RFC 5321). `<>` is the null reverse-path. `None` selects the address of `from`.
    pub envelope_from: Option<String>,
    /// Text that is put before every subject, followed by a space. `None` for none.
    pub subject_prefix: Option<String>,
    /// Host name for EHLO. `None` selects that of the machine that runs Forgejo.
    pub helo: Option<String>,
    /// Whether messages have no HTML part. Default: `false`.
    pub plain_text: bool,
    /// Header names and values that are set on every message. Read by Forgejo from version 8. A comma separates several
    /// values.
    pub headers: Vec<(String, String)>,
    /// Settings of incoming mail. `None` disables it.
    pub incoming: Option<Incoming>,
}

/// A password, with the route by which Forgejo receives it. `Debug` does not print the password.
#[derive(Clone, Copy, Debug)]
pub struct Credential<'a> {
    /// The password in clear text.
    pub secret: &'a SecretString,
    /// Route by which Forgejo receives the password.
    pub route: &'a Route,
}

impl Mailer {
    /// Creates settings for Mailjet with implicit TLS. `from` is the From mailbox. There are no credentials, and
    /// nothing is validated.
    #[must_use]
    pub fn new(from: &str) -> Self {
        Self::server(from, "in-v3.mailjet.com", 465)
    }

    /// Creates settings for this server. The protocol is determined by host and port. There are no credentials, and
    /// nothing is validated.
    #[must_use]
    pub fn server(from: &str, host: &str, port: u16) -> Self {
        Self {
            from: from.to_owned(),
            transport: Transport::Network(Server { host: host.to_owned(), port, protocol: None }),
            user: None,
            password: None,
            envelope_from: None,
            subject_prefix: None,
            helo: None,
            plain_text: false,
            headers: Vec::new(),
            incoming: None,
        }
    }

    /// Returns the protocol that is used, as [`Server::protocol`] determines it; but STARTTLS with a user where that
    /// would be SMTP without TLS to another host and is not set. `None` unless the transport is SMTP over TCP.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        match &self.transport {
            // Forgejo infers SMTP without TLS from port 25, over which it sends the password too.
            Transport::Network(server) => Some(match server.protocol() {
                Protocol::Smtp
                    if self.user.is_some() && server.protocol.is_none() && !is_loopback(&server.host) =>
                {
                    Protocol::StartTls
                }
                protocol => protocol,
            }),
            Transport::Sendmail { .. } | Transport::Unix(_) => None,
        }
    }

    /// Checks that a version of Forgejo starts with these settings and supports all of them. Passwords are not checked.
    ///
    /// # Errors
    /// Returns the first error of [`faults`](Self::faults).
    pub fn validate(&self, version: Version) -> Result<(), MailerError> {
        self.faults(version).into_iter().next().map_or(Ok(()), Err)
    }

    /// Returns an error for every setting that a version of Forgejo does not support or does not start with. Empty if
    /// the settings are valid.
    #[must_use]
    pub fn faults(&self, version: Version) -> Vec<MailerError> {
        let mut faults = Vec::new();
        let rules = version.address_rules();
        let address = |key, value: &str| match parse_address(value, rules) {
            Ok(_) => None,
            Err(reason) => Some(MailerError::Address { key, value: value.to_owned(), reason }),
        };
        faults.extend(address("from", &self.written_from()));
        if let Some(from) = self.envelope_from.as_deref().filter(|from| *from != "<>") {
            faults.extend(address("envelope_from", from));
        }
        match &self.transport {
            Transport::Network(Server { host, port, .. }) => {
                faults.extend(host_name("host", host).err());
                faults.extend((*port == 0).then_some(MailerError::Port));
            }
            Transport::Unix(path) => faults.extend(absolute("socket", path).err()),
            // A name without a slash is looked up in `PATH`.
            Transport::Sendmail { path, args } => {
                if path.is_empty() || path.contains('/') {
                    faults.extend(absolute("sendmail", path).err());
                }
                if args.iter().any(|arg| arg.contains(['\n', '\r', '\0'])) {
                    faults.push(MailerError::Argument);
                }
            }
        }
        if !self.headers.is_empty() && !version.knows_override_header() {
            faults.push(MailerError::Version { key: "headers", since: 8 });
        }
        for (name, value) in &self.headers {
            let fits = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
            if name.is_empty() || !fits || value.contains(['\n', '\r', '\0']) {
                faults.push(MailerError::Header(name.clone()));
            }
        }
        if let Some(incoming) = &self.incoming {
            faults.extend(reply_to(&incoming.reply_to, rules).map_err(MailerError::ReplyTo).err());
            faults.extend(host_name("incoming.host", &incoming.host).err());
        }
        faults
    }

    /// Returns the From mailbox, with its display name quoted if a release of Go requires it.
    fn written_from(&self) -> String {
        let refused = AddressRules::ALL.iter().any(|rules| parse_address(&self.from, *rules).is_err());
        let quoted = refused.then(|| with_quoted_name(&self.from)).flatten();
        quoted.unwrap_or_else(|| self.from.clone())
    }

    /// Returns every setting in the order in which they are written, without the passwords.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings: Vec<(&str, String)> = vec![("ENABLED", "true".to_owned())];
        match &self.transport {
            Transport::Network(server) => {
                let protocol = self.protocol().unwrap_or_else(|| server.protocol());
                settings.extend([
                    ("PROTOCOL", protocol.to_string()),
                    ("SMTP_ADDR", server.host.clone()),
                    ("SMTP_PORT", server.port.to_string()),
                ]);
            }
            Transport::Sendmail { path, args } => {
                // With `--` at the end no recipient can be parsed as an option, in any version.
                let args: Vec<String> =
                    args.iter().map(|arg| shell_quoted(arg)).chain(["--".to_owned()]).collect();
                settings.extend([
                    ("PROTOCOL", "sendmail".to_owned()),
                    ("SENDMAIL_PATH", path.clone()),
                    ("SENDMAIL_ARGS", args.join(" ")),
                ]);
            }
            Transport::Unix(path) => {
                settings.extend([("PROTOCOL", "smtp+unix".to_owned()), ("SMTP_ADDR", path.clone())]);
            }
        }
        settings.push(("FROM", self.written_from()));
        let optional = [
            ("ENVELOPE_FROM", &self.envelope_from),
            ("USER", &self.user),
            ("SUBJECT_PREFIX", &self.subject_prefix),
            ("HELO_HOSTNAME", &self.helo),
        ];
        settings.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
        if self.plain_text {
            settings.push(("SEND_AS_PLAIN_TEXT", "true".to_owned()));
        }
        let own =
            settings.into_iter().map(|(key, value)| Setting { section: SECTION, key: key.to_owned(), value });
        let headers = self.headers.iter().map(|(key, value)| Setting::new(OVERRIDE_HEADER, key, value));
        let incoming = self.incoming.iter().flat_map(Incoming::settings);
        let incoming = incoming.map(|(key, value)| Setting { section: INCOMING, key: key.to_owned(), value });
        own.chain(headers).chain(incoming).collect()
    }

    /// Returns the changes that make the mail sections of app.ini contain exactly these settings.
    ///
    /// Deprecated and alias keys are removed, as are optional keys that are not set here. `password` is that of
    /// outgoing mail, `incoming` that of incoming mail; one that is not given is kept only if host and user are
    /// unchanged. Keys of the old server, such as client certificates, are removed with it. A key that is kept and
    /// names a removed one in `%(name)s` is written out. `version` is the one whose rules apply to `old`.
    #[must_use]
    pub fn changes(
        &self,
        old: &Ini,
        version: Version,
        password: Option<Credential<'_>>,
        incoming: Option<Credential<'_>>,
    ) -> Vec<Change> {
        let mut changes: Vec<Change> = self.settings().iter().map(Setting::to_change).collect();
        let same_host = self.is_same_host(old, version);
        let read = |key: &str| old.value(SECTION, key).filter(|value| !value.is_empty());
        let same_user = self.user.is_some() && self.user == read("USER").or_else(|| read("USERNAME"));
        credential(&mut changes, SECTION, password, same_host && same_user);
        let incoming_kept = self.incoming.as_ref().is_some_and(|held| {
            let read = |key: &str| old.value(INCOMING, key);
            read("HOST").as_ref() == Some(&held.host) && read("USERNAME").as_ref() == Some(&held.username)
        });
        credential(&mut changes, INCOMING, incoming, incoming_kept);
        let mut unset: Vec<(&str, &str)> = EXPRESSED.iter().map(|key| (SECTION, *key)).collect();
        if !same_host {
            unset.extend(OF_THE_SERVER.iter().map(|key| (SECTION, *key)));
        }
        let incoming_keys: &[&str] =
            if self.incoming.is_some() { &["USER", "SKIP_TLS_VERIFY"] } else { OF_INCOMING };
        unset.extend(incoming_keys.iter().map(|key| (INCOMING, *key)));
        let headers = old.section(OVERRIDE_HEADER).map(crate::ini::Section::keys).unwrap_or_default();
        unset.extend(headers.iter().map(|key| (OVERRIDE_HEADER, key.name())));
        unset.extend(MAILBOX_OPTIONS.iter().map(|key| (INCOMING, *key)));
        for (section, key) in unset {
            let said = changes.iter().any(|change| change.section == section && change.key == key);
            if !said && old.section(section).is_some_and(|held| held.key(key).is_some()) {
                changes.push(Change::remove(section, key));
            }
        }
        let kept = written_out(old, &changes);
        changes.extend(kept);
        changes
    }

    /// Returns `true` if app.ini already uses the same host, in any case and on any port, or the same socket. If
    /// Forgejo would not start or mail is disabled, only `SMTP_ADDR` is compared. `false` for `sendmail`.
    fn is_same_host(&self, old: &Ini, version: Version) -> bool {
        let Ok(Some(held)) = effective(old, version) else {
            let host = old.value(SECTION, "SMTP_ADDR").unwrap_or_default();
            return matches!(&self.transport, Transport::Network(server) if server.host.eq_ignore_ascii_case(&host));
        };
        match (&self.transport, held.transport) {
            (Transport::Network(server), EffectiveTransport::Network(_)) => {
                server.host.eq_ignore_ascii_case(&held.host)
            }
            (Transport::Unix(path), EffectiveTransport::Unix) => *path == held.host,
            _ => false,
        }
    }
}

/// Keys of `[mailer]` that these settings control, so that an unset one is removed.
const EXPRESSED: &[&str] = &[
    "ENABLE_HTML_ALTERNATIVE",
    "ENVELOPE_FROM",
    "HELO_HOSTNAME",
    "HOST",
    "IS_TLS_ENABLED",
    "MAILER_TYPE",
    "SEND_AS_PLAIN_TEXT",
    "SENDMAIL_ARGS",
    "SENDMAIL_PATH",
    "SMTP_ADDR",
    "SMTP_PORT",
    "SUBJECT_PREFIX",
    "USER",
    "USERNAME",
];

/// Keys of `[mailer]` that belong to a server, so that they are removed with it.
const OF_THE_SERVER: &[&str] = &[
    "CERT_FILE",
    "CLIENT_CERT_FILE",
    "CLIENT_KEY_FILE",
    "FORCE_TRUST_SERVER_CERT",
    "KEY_FILE",
    "SKIP_VERIFY",
    "USE_CERTIFICATE",
    "USE_CLIENT_CERT",
];

/// Keys of `[email.incoming]` that are removed if incoming mail is disabled.
const OF_INCOMING: &[&str] = &[
    "DELETE_HANDLED_MESSAGE",
    "ENABLED",
    "HOST",
    "PORT",
    "REPLY_TO_ADDRESS",
    "SKIP_TLS_VERIFY",
    "USER",
    "USERNAME",
    "USE_TLS",
];

/// Optional keys of `[email.incoming]`, which are removed unless they are set.
const MAILBOX_OPTIONS: &[&str] = &["MAILBOX", "MAXIMUM_MESSAGE_SIZE"];

/// Appends the changes of a password: the keys of its route are set, and all other keys for a password removed. Without
/// a given password, the existing keys are kept if `stays`, and otherwise removed.
fn credential(changes: &mut Vec<Change>, section: &str, given: Option<Credential<'_>>, stays: bool) {
    let (key, uri_key, others) = if section == SECTION {
        ("PASSWD", "PASSWD_URI", ["PASSWORD", "PASSWORD_URI"])
    } else {
        ("PASSWORD", "PASSWORD_URI", ["PASSWD", "PASSWD_URI"])
    };
    let Some(Credential { secret, route }) = given else {
        if !stays {
            changes.extend([key, uri_key].iter().chain(&others).map(|key| Change::remove(section, key)));
        }
        return;
    };
    changes.extend(others.map(|other| Change::remove(section, other)));
    match route {
        Route::Uri(uri) => {
            changes.extend([Change::remove(section, key), Change::set(section, uri_key, uri)]);
        }
        Route::AppIni | Route::EnvironmentFile(_) => {
            changes.extend([
                Change::remove(section, uri_key),
                Change::set(section, key, secret.expose_secret()),
            ]);
        }
    }
}

/// Checks a host name or address.
///
/// # Errors
/// Returns [`MailerError::Host`] if it is empty or malformed, and [`MailerError::UnicodeHost`] if it is not ASCII.
fn host_name(key: &'static str, host: &str) -> Result<(), MailerError> {
    let fault = if host.is_empty() { Some(("empty", "write the server's name")) } else { malformed(host) };
    match fault {
        None if host.is_ascii() => Ok(()),
        None => Err(MailerError::UnicodeHost { key, value: host.to_owned(), fix: ascii_fix(host) }),
        Some((fault, fix)) => Err(MailerError::Host { key, value: host.to_owned(), fault, fix }),
    }
}

/// Checks that a path is absolute.
///
/// # Errors
/// Returns [`MailerError::Path`] if it is not.
fn absolute(key: &'static str, path: &str) -> Result<(), MailerError> {
    if path.starts_with('/') { Ok(()) } else { Err(MailerError::Path { key, value: path.to_owned() }) }
}
