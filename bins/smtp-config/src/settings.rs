//! Settings as they are given: on the command line, in a file of TOML, or both. The command line wins.

use crate::args::{Given, reference};
use clap::ValueEnum;
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
use secrecy::SecretString;
use serde::Deserialize;
use smtp_config::{
    Impossible, Incoming, Mailer, PRESETS, Preset, Protocol, Route, Server, Transport, by_environment_file,
    choose,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// A file of TOML with settings: from, host, port, …
    #[arg(long, value_name = "FILE")]
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
    /// Its port.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// How the connection is secured; without it, it follows the port.
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
    /// The account.
    #[arg(long)]
    user: Option<String>,
    /// The password: file:/path, credential:name, env:NAME or age:/path?identity=/path.
    #[arg(long, value_parser = reference)]
    password: Option<Given>,
    /// What stands before each subject.
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

#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
enum Security {
    #[serde(rename = "smtp")]
    Smtp,
    #[serde(rename = "smtps")]
    Smtps,
    #[value(name = "smtp+starttls")]
    #[serde(rename = "smtp+starttls")]
    StartTls,
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    from: Option<String>,
    preset: Option<String>,
    region: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    protocol: Option<Security>,
    socket: Option<String>,
    sendmail: Option<String>,
    sendmail_args: Vec<String>,
    envelope_from: Option<String>,
    user: Option<String>,
    password: Option<Reference>,
    password_file: Option<String>,
    subject_prefix: Option<String>,
    helo: Option<String>,
    plain_text: bool,
    headers: BTreeMap<String, String>,
    incoming: Option<WrittenIncoming>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenIncoming {
    reply_to: String,
    host: String,
    port: Option<u16>,
    tls: Option<bool>,
    username: String,
    password: Option<Reference>,
    password_file: Option<String>,
    mailbox: Option<String>,
    delete_handled: Option<bool>,
    maximum_size: Option<u32>,
}

/// A secret with its place and its way.
pub(crate) struct Kept {
    pub(crate) reference: Reference,
    pub(crate) secret: SecretString,
    pub(crate) route: Route,
    pub(crate) file: Option<String>,
}

/// Settings that are whole.
pub(crate) struct Resolved {
    pub(crate) mailer: Mailer,
    pub(crate) password: Option<Kept>,
    pub(crate) incoming: Option<Kept>,
}

fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::Configuration(why.to_string())
}

impl Settings {
    /// Whether anything is given at all.
    pub(crate) fn is_given(&self) -> bool {
        self.settings.is_some() || self.from.is_some()
    }

    fn written(&self) -> Result<Written, Failure> {
        let Some(file) = &self.settings else { return Ok(Written::default()) };
        let text = crate::files::read(file)?;
        toml::from_str(&text).map_err(|why| {
            // The line is not shown: it may hold a password.
            let line =
                why.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            usage(format!("{} line {line}: {}", file.display(), why.message()))
        })
    }

    /// The settings, checked, and the passwords, read.
    pub(crate) fn resolve(&self, forgejo: u32) -> Result<Resolved, Failure> {
        let file = self.written()?;
        let from = self.from.clone().or(file.from.clone()).ok_or_else(|| {
            usage("there is no sender: give --from \"Name <local@domain>\", or from = in a file of settings")
        })?;
        let mut mailer = Mailer::new(&from);
        mailer.transport = self.transport(&file)?;
        mailer.user = self.user.clone().or(file.user);
        mailer.envelope_from = self.envelope_from.clone().or(file.envelope_from);
        mailer.subject_prefix = self.subject_prefix.clone().or(file.subject_prefix);
        mailer.helo = self.helo.clone().or(file.helo);
        mailer.plain_text = self.plain_text || file.plain_text;
        mailer.headers = file.headers.into_iter().collect();
        for header in &self.headers {
            let (name, value) = header.split_once('=').ok_or_else(|| usage("--header: write Name=value"))?;
            mailer.headers.retain(|(held, _)| held != name);
            mailer.headers.push((name.to_owned(), value.to_owned()));
        }
        if !mailer.headers.is_empty() && forgejo < 8 {
            return Err(usage("headers are set from Forgejo 8 on"));
        }
        let given = match &self.password {
            Some(Given(Some(reference))) => Some(reference.clone()),
            Some(Given(None)) => {
                return Err(usage(
                    "--password: write file:/path, credential:name, env:NAME or age:/path?identity=/path, \
                     never the password itself",
                ));
            }
            None => file.password,
        };
        if given.is_some() && mailer.user.is_none() {
            return Err(usage("a password needs a user: give --user, or user = in the file"));
        }
        let named = self.password_file.clone().or(file.password_file);
        let password = given.map(|reference| kept(reference, named, forgejo)).transpose()?;
        let mut incoming = None;
        if let Some(held) = file.incoming {
            let mut settings = Incoming::new(&held.reply_to, &held.host, &held.username);
            settings.port = held.port;
            settings.tls = held.tls.unwrap_or(true);
            settings.mailbox = held.mailbox;
            settings.delete_handled = held.delete_handled.unwrap_or(true);
            settings.maximum_size = held.maximum_size;
            mailer.incoming = Some(settings);
            incoming = held
                .password
                .map(|reference| kept(reference, held.password_file, forgejo))
                .transpose()
                .map_err(|why| usage(format!("[incoming] password: {why}")))?;
        }
        mailer.validate().map_err(usage)?;
        if let Some((protocol, true)) = mailer.protocol()
            && let Transport::Network(server) = &mailer.transport
        {
            eprintln!("note: the protocol follows port {}: {protocol}", server.port);
        }
        Ok(Resolved { mailer, password, incoming })
    }

    fn transport(&self, file: &Written) -> Result<Transport, Failure> {
        let on_line = self.host.is_some() || self.preset.is_some() || self.port.is_some();
        if let Some(path) =
            self.socket.as_ref().or(file.socket.as_ref().filter(|_| !on_line && self.sendmail.is_none()))
        {
            return Ok(Transport::Unix(path.clone()));
        }
        if let Some(path) = self.sendmail.as_ref().or(file.sendmail.as_ref().filter(|_| !on_line)) {
            let args = if self.sendmail_arg.is_empty() { &file.sendmail_args } else { &self.sendmail_arg };
            return Ok(Transport::Sendmail { path: path.clone(), args: args.clone() });
        }
        let host = self.host.clone().or(file.host.clone());
        let named = self.preset.as_deref().or(file.preset.as_deref().filter(|_| self.host.is_none()));
        let preset = match named {
            Some(name) => Preset::named(name).ok_or_else(|| {
                let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
                usage(format!("preset: there is none of this name; write one of {}", names.join(", ")))
            })?,
            None => &PRESETS[0],
        };
        let host = match host {
            Some(host) => host,
            None => preset.host(self.region.as_deref().or(file.region.as_deref())).map_err(usage)?,
        };
        let port = self.port.or(file.port).unwrap_or(preset.ports[0].0);
        let protocol = self.protocol.or(file.protocol).map(|security| match security {
            Security::Smtp => Protocol::Smtp,
            Security::Smtps => Protocol::Smtps,
            Security::StartTls => Protocol::StartTls,
        });
        // What follows a provider's port is not always what is spoken there, as on 25.
        let known = named.and_then(|_| preset.ports.iter().find(|(held, _)| *held == port));
        let known = known.map(|(_, protocol)| *protocol).filter(|known| *known != Protocol::of_port(port));
        Ok(Transport::Network(Server { host, port, protocol: protocol.or(known) }))
    }
}

fn kept(reference: Reference, named: Option<String>, forgejo: u32) -> Result<Kept, Failure> {
    let secret = reference.read()?;
    if matches!(reference, Reference::Environment(_)) {
        eprintln!("note: {reference}: other programs of the same user can read the environment");
    }
    // A credential is there for this program only, so Forgejo is pointed at a file of its own.
    let own = matches!(reference, Reference::File(_)).then(|| reference.file()).flatten();
    let file = named.or(own.map(|path| path.display().to_string()));
    let route =
        choose(forgejo, &secret, file.as_deref()).map_err(|(uri, ini): (Impossible, Impossible)| {
            usage(format!("by PASSWD_URI: {uri}; by app.ini: {ini}"))
        })?;
    Ok(Kept { reference, secret, route, file })
}

impl Kept {
    /// The file for a variable with `__FILE`, or why there is none.
    pub(crate) fn environment_file(&self) -> Result<String, Failure> {
        match by_environment_file(&self.secret, self.file.as_deref()) {
            Ok(Route::EnvironmentFile(file)) => Ok(file),
            Ok(_) => Err(usage("the password has no file")),
            Err(why) => Err(usage(format!("by a variable with __FILE: {why}"))),
        }
    }
}
