//! Settings from the command line, a file of TOML, or both. The command line wins.

use crate::password::{PasswordReader, Secret};
use crate::reference::{SecretArgument, reference};
use crate::settings_file::{self, Security, SettingsFile, without_key, without_value};
use crate::written::faults_to_write;
use cli_support::account::Account;
use cli_support::document::Source;
use cli_support::finding::{Finding, Findings, Place};
use cli_support::outcome::Failure;
use cli_support::usage::COMMAND_LINE;
use cli_support::words::nearest;
use smtp_config::{Incoming, Mailer, MailerError, PRESETS, Preset, Server, Transport, Version};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// A file of TOML with settings: from, host, port, … Default without --from: /etc/smtp-config/smtp-config.toml, if
    /// there is one.
    #[arg(long, visible_alias = "config", value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The sender: Name <local@domain>.
    #[arg(long)]
    from: Option<String>,
    /// A provider, for its host and port.
    #[arg(long, value_parser = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>())]
    preset: Option<String>,
    /// The region, for a provider that has one server a region.
    #[arg(long)]
    region: Option<String>,
    /// The server; without it and without a preset, Mailjet's.
    #[arg(long)]
    host: Option<String>,
    /// The port of the server.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The protocol; without it, it follows the port.
    #[arg(long)]
    protocol: Option<Security>,
    /// A Unix socket instead of a server.
    #[arg(long, conflicts_with_all = ["host", "port", "protocol", "preset", "sendmail"])]
    socket: Option<String>,
    /// The program sendmail instead of a server, by its path.
    #[arg(long, conflicts_with_all = ["host", "port", "protocol", "preset"])]
    sendmail: Option<String>,
    /// An argument for sendmail. Can be given several times.
    #[arg(long, requires = "sendmail", allow_hyphen_values = true)]
    sendmail_arg: Vec<String>,
    /// The sender of the envelope, where it is not the one of the message; <> is the null sender.
    #[arg(long)]
    envelope_from: Option<String>,
    /// The account at the server.
    #[arg(long)]
    user: Option<String>,
    /// The password: file:/path, credential:name, env:NAME or age:/path?identity=/path.
    #[arg(long, value_parser = reference)]
    password: Option<SecretArgument>,
    /// The text before each subject.
    #[arg(long)]
    subject_prefix: Option<String>,
    /// The name for EHLO.
    #[arg(long)]
    helo: Option<String>,
    /// Messages without HTML.
    #[arg(long)]
    plain_text: bool,
    /// A header on every message, as Name=value. Can be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The file from which Forgejo reads the password itself, where it is not the one of --password.
    #[arg(long, value_name = "PATH")]
    password_file: Option<String>,
}

/// Purpose for which settings are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A server is examined with them, also if they expose the password.
    Examine,
    /// They are written. Errors that `check` would find in them are errors of the settings.
    Write,
}

/// Complete and valid settings, with the passwords of the mailer and of incoming mail, if given.
pub(crate) struct ResolvedSettings {
    pub(crate) mailer: Mailer,
    pub(crate) password: Option<Secret>,
    pub(crate) incoming: Option<Secret>,
}

impl Settings {
    /// Returns `true` if a settings file or a sender is given.
    pub(crate) fn is_given(&self) -> bool {
        self.settings.is_some() || self.from.is_some()
    }

    /// Returns the path of the settings file: the one that is given, else the default path if it exists and no sender
    /// is given. `None` if there is none.
    fn file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(DEFAULT)).filter(|path| self.from.is_none() && path.exists());
        self.settings.clone().or_else(default)
    }

    /// Merges the settings of the command line and the file, checks them for a version of Forgejo and for a purpose, and
    /// reads the passwords. If `account`, which runs Forgejo, cannot read the file of a password, the password is written to
    /// app.ini instead. A protocol that follows from the port is named in a note.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the file cannot be read, or with all errors of both sources.
    pub(crate) fn resolve(
        &self,
        version: Version,
        account: Option<&Account>,
        purpose: Purpose,
    ) -> Result<ResolvedSettings, Failure> {
        let reader = PasswordReader { version, account };
        let file = self.file();
        let resolved = match file.as_deref() {
            None => self.merge(SettingsFile::default(), None, &reader, purpose)?,
            Some(path) => {
                let text = crate::files::read(path)?;
                settings_file::interpret(path, &text, |source, file| {
                    self.merge(file, Some(source), &reader, purpose)
                })?
            }
        };
        if let Transport::Network(server) = &resolved.mailer.transport
            && server.protocol.is_none()
            && let Some(protocol) = resolved.mailer.protocol()
        {
            cli_support::verbosity::note(&format!("the protocol follows port {}: {protocol}", server.port));
        }
        Ok(resolved)
    }

    /// Merges the settings of the command line, which win, with those of a file, and reads the passwords. `located` is
    /// the text of the file, for the places of errors.
    ///
    /// # Errors
    /// Returns all errors of both, of the passwords, and of what is about to be written.
    fn merge(
        &self,
        file: SettingsFile,
        located: Option<&Source<'_>>,
        reader: &PasswordReader<'_>,
        purpose: Purpose,
    ) -> Result<ResolvedSettings, Findings> {
        let mut faults = Faults { line: self, located, found: Vec::new() };
        let from = self.from.clone().or(file.from.clone()).unwrap_or_else(|| {
            faults
                .add("from", "missing: give --from \"Name <local@domain>\", or from = in a file of settings");
            NOBODY.to_owned()
        });
        let mut mailer = Mailer::new(&from);
        if let Some(transport) = self.transport(&file, &mut faults) {
            mailer.transport = transport;
        }
        mailer.user = self.user.clone().or(file.user);
        mailer.envelope_from = self.envelope_from.clone().or(file.envelope_from);
        mailer.subject_prefix = self.subject_prefix.clone().or(file.subject_prefix);
        mailer.helo = self.helo.clone().or(file.helo);
        mailer.plain_text = self.plain_text || file.plain_text;
        mailer.headers = file.headers.into_iter().collect();
        for header in &self.headers {
            let Some((name, value)) = header.split_once('=') else {
                faults.add(&format!("headers.{header}"), "not a header: write Name=value");
                continue;
            };
            mailer.headers.retain(|(held, _)| held != name);
            mailer.headers.push((name.to_owned(), value.to_owned()));
        }
        let given = match &self.password {
            Some(SecretArgument(Ok(reference))) => Some(reference.clone()),
            Some(SecretArgument(Err(why))) => {
                faults.add("password", &why.to_string());
                None
            }
            None => file.password.map(|held| held.0),
        };
        if given.is_some() && mailer.user.is_none() {
            faults.add("password", "a password needs a user: give --user, or user = in the file");
        }
        let password_file = self.password_file.clone().or(file.password_file);
        faults.check_absolute("password_file", password_file.as_deref());
        let held = file.incoming;
        mailer.incoming = held.as_ref().map(|held| {
            let mut settings = Incoming::new(&held.reply_to, &held.host, &held.username);
            settings.port = held.port;
            settings.tls = held.tls.unwrap_or(true);
            settings.mailbox.clone_from(&held.mailbox);
            settings.delete_handled = held.delete_handled.unwrap_or(true);
            settings.maximum_size = held.maximum_size;
            settings
        });
        faults.check_absolute(
            "incoming.password_file",
            held.as_ref().and_then(|held| held.password_file.as_deref()),
        );
        let mut named = Vec::new();
        for fault in mailer.faults(reader.version) {
            match &fault {
                // A key of its table has a place of its own.
                MailerError::Header(name) => {
                    let why = fault.to_string();
                    let why = why.strip_prefix("headers: ").unwrap_or(&why);
                    let key = format!("headers.{name}");
                    faults.add(&key, why.strip_prefix(&format!("{name}: ")).unwrap_or(why));
                    named.push(key);
                }
                _ => {
                    faults.add(fault.key(), &fault.to_string());
                    named.push(fault.key().to_owned());
                }
            }
        }
        if purpose == Purpose::Write {
            let others = faults_to_write(&mailer, reader.version);
            for (key, why) in others.iter().filter(|(key, _)| !named.contains(key)) {
                faults.add(key, why);
            }
        }
        let password = given.and_then(|reference| {
            reader.read(reference, password_file).map_err(|why| faults.add("password", &why.to_string())).ok()
        });
        let incoming = held.and_then(|held| Some((held.password?.0, held.password_file)));
        let incoming = incoming.and_then(|(reference, file)| {
            let read = reader.read(reference, file);
            read.map_err(|why| faults.add("incoming.password", &why.to_string())).ok()
        });
        faults.end()?;
        Ok(ResolvedSettings { mailer, password, incoming })
    }

    /// Returns the option of a setting, such as `--from` for `from`, `true` if it is on the command line, and its value
    /// as given. The value is `None` for a secret, and for a setting that is not on the command line.
    fn option(&self, key: &str) -> (String, bool, Option<String>) {
        let header = |name: &str| {
            let named = self.headers.iter().find(|held| held.split('=').next() == Some(name));
            named.cloned()
        };
        let (option, value) = match key.split_once('.') {
            Some(("headers", name)) => ("header", header(name)),
            _ => match key {
                "from" => ("from", self.from.clone()),
                "preset" => ("preset", self.preset.clone()),
                "protocol" => {
                    ("protocol", self.protocol.map(|held| smtp_config::Protocol::from(held).to_string()))
                }
                "host" => ("host", self.host.clone()),
                "port" => ("port", self.port.map(|port| port.to_string())),
                "socket" => ("socket", self.socket.clone()),
                "sendmail" => ("sendmail", self.sendmail.clone()),
                "sendmail_args" => ("sendmail-arg", self.sendmail_arg.first().cloned()),
                "envelope_from" => ("envelope-from", self.envelope_from.clone()),
                "user" => ("user", self.user.clone()),
                "subject_prefix" => ("subject-prefix", self.subject_prefix.clone()),
                "helo" => ("helo", self.helo.clone()),
                "password_file" => ("password-file", self.password_file.clone()),
                other => (other, None),
            },
        };
        let given = value.is_some() || (key == "password" && self.password.is_some());
        (format!("--{option}"), given, value)
    }

    /// Returns how mail is sent: by a socket, sendmail, or a server, where options of the command line win over the
    /// file, and host and port of the preset (default: the first one) are the last. `None` after an error, which is
    /// added to `faults`.
    fn transport(&self, file: &SettingsFile, faults: &mut Faults<'_>) -> Option<Transport> {
        let on_line = self.host.is_some() || self.preset.is_some() || self.port.is_some();
        if let Some(path) =
            self.socket.as_ref().or(file.socket.as_ref().filter(|_| !on_line && self.sendmail.is_none()))
        {
            return Some(Transport::Unix(path.clone()));
        }
        if let Some(path) = self.sendmail.as_ref().or(file.sendmail.as_ref().filter(|_| !on_line)) {
            let args = if self.sendmail_arg.is_empty() { &file.sendmail_args } else { &self.sendmail_arg };
            return Some(Transport::Sendmail { path: path.clone(), args: args.clone() });
        }
        let host = self.host.clone().or(file.host.clone());
        let named = self.preset.as_deref().or(file.preset.as_deref().filter(|_| self.host.is_none()));
        let preset = match named.map(|name| (name, Preset::named(name))) {
            Some((name, None)) => {
                let names = PRESETS.iter().map(|preset| preset.name);
                let hint = nearest(name, names.clone());
                let hint = hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let names: Vec<&str> = names.collect();
                let why = format!("not a known preset: expected one of {}{hint}", names.join(", "));
                faults.add("preset", &why);
                return None;
            }
            Some((_, Some(preset))) => preset,
            None => &PRESETS[0],
        };
        let host = match host {
            Some(host) => host,
            None => match preset.host(self.region.as_deref().or(file.region.as_deref())) {
                Ok(host) => host,
                Err(why) => {
                    faults.add("preset", &why.to_string());
                    return None;
                }
            },
        };
        let port = self.port.or(file.port).unwrap_or(preset.ports[0].0);
        let protocol = self.protocol.or(file.protocol).map(Into::into);
        Some(Transport::Network(Server { host, port, protocol }))
    }
}

/// Path of the settings file if none is given.
const DEFAULT: &str = "/etc/smtp-config/smtp-config.toml";
/// Sender that takes the place of a missing one, so that the other settings are checked all the same.
const NOBODY: &str = "nobody@localhost";

/// The errors of settings, each at the place of its value: on the command line if it is given there, else in the file.
struct Faults<'a> {
    line: &'a Settings,
    located: Option<&'a Source<'a>>,
    found: Vec<Finding>,
}

impl Faults<'_> {
    /// Adds an error of a setting, given by its key. The key and the value at the beginning of the message `why` are
    /// cut off, since the place has them.
    fn add(&mut self, key: &str, why: &str) {
        let (option, given, value) = self.line.option(key);
        if let Some(source) = self.located.filter(|_| !given) {
            self.found.push(settings_file::fault(source, key, why));
            return;
        }
        let message = without_key(key, why);
        let message = without_value(value.as_deref(), message).unwrap_or_else(|| message.to_owned());
        let code = if message.starts_with("missing") { "missing" } else { "value" };
        let place = Place { file: COMMAND_LINE.to_owned(), key: option, ..Place::default() };
        self.found.push(Finding::error(code, place, message).value(value));
    }

    /// Adds an error if a path is given and relative, since Forgejo would resolve it against another folder than this
    /// program.
    fn check_absolute(&mut self, key: &str, path: Option<&str>) {
        if path.is_some_and(|path| !path.starts_with('/')) {
            self.add(key, "not an absolute path: begin it with /");
        }
    }

    /// Ends the collection.
    ///
    /// # Errors
    /// Returns the errors if there are any.
    fn end(self) -> Result<(), Findings> {
        if self.found.is_empty() { Ok(()) } else { Err(Findings::new(self.found)) }
    }
}

#[cfg(test)]
mod reference_tests {
    use super::*;
    use cli_support::reference::defaults;
    use smtp_config::ini::Ini;
    use smtp_config::{Change, edit, effective, effective_incoming};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    /// Returns what Forgejo reads of the settings of a file.
    fn read(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let path = folder.path().join("mailer.toml");
        std::fs::write(&path, text).map_err(|why| why.to_string())?;
        let line: Line = clap::Parser::parse_from(["x", "--settings", &path.display().to_string()]);
        let resolved =
            line.settings.resolve(Version::NEWEST, None, Purpose::Write).map_err(|why| why.to_string())?;
        let pairs = resolved.mailer.settings();
        let changes: Vec<Change> = pairs.iter().map(smtp_config::Setting::to_change).collect();
        let text = edit("", &changes).map_err(|why| why.to_string())?;
        let ini = Ini::parse(&text).map_err(|why| why.to_string())?;
        let mailer = effective(&ini, Version::NEWEST).map_err(|why| why.to_string())?;
        let incoming = effective_incoming(&ini, Version::NEWEST).map_err(|why| why.to_string())?;
        Ok(format!("{mailer:?} {incoming:?}"))
    }

    #[test]
    fn the_documented_defaults_are_those_that_forgejo_reads() {
        let text = include_str!("../SETTINGS.md");
        let from = "from = 'a@example.org'";
        let top = defaults(text, "Top level", ("", &[from]), read);
        assert_eq!((top.faults, top.required), (Vec::new(), vec!["from".to_owned()]));
        assert_eq!(top.same, ["preset", "sendmail_args", "plain_text", "headers"]);
        let before = format!("{from}\n[incoming]\n");
        let required = ["reply_to = 'a+%{token}@example.org'", "host = 'imap.example.org'", "username = 'u'"];
        let incoming = defaults(text, "[incoming]", (&before, &required), read);
        assert_eq!((incoming.faults, incoming.required.len()), (Vec::new(), 3));
        assert_eq!(incoming.same, ["tls", "mailbox", "delete_handled"]);
    }
}
