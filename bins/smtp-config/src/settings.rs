//! Settings from the command line, a file of TOML, or both. The command line wins.

use crate::reference::{Given, reference};
use crate::settings_file::{Security, SettingsFile, position};
use cli_support::account::Account;
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
use secrecy::SecretString;
use smtp_config::{
    Credential, Impossible, Incoming, Mailer, PRESETS, Preset, Route, Server, Transport, Version, by_app_ini,
    by_environment_file, choose,
};
use std::path::{Path, PathBuf};

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
    password: Option<Given>,
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

/// A password, its reference, and the route that it takes.
pub(crate) struct Secret {
    pub(crate) reference: Reference,
    pub(crate) secret: SecretString,
    pub(crate) route: Route,
    pub(crate) file: Option<String>,
}

/// Complete and valid settings.
pub(crate) struct Resolved {
    pub(crate) mailer: Mailer,
    pub(crate) password: Option<Secret>,
    pub(crate) incoming: Option<Secret>,
}

fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::Configuration(why.to_string())
}

impl Settings {
    /// Tells if anything is given at all.
    pub(crate) fn is_given(&self) -> bool {
        self.settings.is_some() || self.from.is_some()
    }

    fn file(&self) -> Result<SettingsFile, Failure> {
        self.settings.as_deref().map_or_else(|| Ok(SettingsFile::default()), SettingsFile::read)
    }

    /// Returns an error about a setting, with its place in the file where it is there.
    fn fault(&self, key: &str, why: impl std::fmt::Display) -> Failure {
        let file = self.settings.as_deref();
        let text = file.and_then(|file| crate::files::read(file).ok()).unwrap_or_default();
        match (file, position(&text, key)) {
            (Some(file), Some((line, column))) => usage(format!("{}:{line}:{column}: {why}", file.display())),
            _ => usage(why),
        }
    }

    /// Returns the settings, checked, and the passwords, read. With the account that Forgejo runs as, a password whose file
    /// it cannot read is written to app.ini instead.
    pub(crate) fn resolve(&self, version: Version, account: Option<&Account>) -> Result<Resolved, Failure> {
        let file = self.file()?;
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
            let why = "password: a password needs a user: give --user, or user = in the file";
            return Err(self.fault("password", why));
        }
        let reader = Reader { version, account };
        let named = self.password_file.clone().or(file.password_file);
        let absolute = |key: &str, path: &Option<String>| match path {
            Some(path) if !path.starts_with('/') => {
                Err(self.fault(key, format!("{key}: {path}: not an absolute path: begin it with /")))
            }
            _ => Ok(()),
        };
        absolute("password_file", &named)?;
        let password = given.map(|reference| reader.read(reference, named)).transpose()?;
        let mut incoming = None;
        if let Some(held) = file.incoming {
            let mut settings = Incoming::new(&held.reply_to, &held.host, &held.username);
            settings.port = held.port;
            settings.tls = held.tls.unwrap_or(true);
            settings.mailbox = held.mailbox;
            settings.delete_handled = held.delete_handled.unwrap_or(true);
            settings.maximum_size = held.maximum_size;
            mailer.incoming = Some(settings);
            absolute("incoming.password_file", &held.password_file)?;
            incoming = held
                .password
                .map(|reference| reader.read(reference, held.password_file))
                .transpose()
                .map_err(|why| usage(format!("[incoming] password: {why}")))?;
        }
        mailer.validate(version).map_err(|why| self.fault(why.key(), &why))?;
        if let Some((protocol, true)) = mailer.protocol()
            && let Transport::Network(server) = &mailer.transport
        {
            eprintln!("note: the protocol follows port {}: {protocol}", server.port);
        }
        Ok(Resolved { mailer, password, incoming })
    }

    fn transport(&self, file: &SettingsFile) -> Result<Transport, Failure> {
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
                self.fault(
                    "preset",
                    format!("preset: {name}: not a known preset: expected one of {}", names.join(", ")),
                )
            })?,
            None => &PRESETS[0],
        };
        let host = match host {
            Some(host) => host,
            None => preset
                .host(self.region.as_deref().or(file.region.as_deref()))
                .map_err(|why| self.fault("preset", format!("preset: {why}")))?,
        };
        let port = self.port.or(file.port).unwrap_or(preset.ports[0].0);
        let protocol = self.protocol.or(file.protocol).map(Into::into);
        Ok(Transport::Network(Server { host, port, protocol }))
    }
}

/// Reads passwords and chooses the routes that they take.
struct Reader<'a> {
    version: Version,
    account: Option<&'a Account>,
}

impl Reader<'_> {
    fn read(&self, reference: Reference, named: Option<String>) -> Result<Secret, Failure> {
        let secret = match self.account {
            Some(account) => reference.read_shared(account)?,
            None => reference.read()?,
        };
        if matches!(reference, Reference::Environment(_)) {
            eprintln!("note: {reference}: other programs of the same user can read the environment");
        }
        // A credential is for this program only, so Forgejo is pointed at a file of its own.
        let own = matches!(reference, Reference::File(_)).then(|| reference.file()).flatten();
        let file = named.or(own.map(|path| path.display().to_string()));
        let chosen = choose(self.version, &secret, file.as_deref());
        let mut route = chosen.map_err(|(uri, ini): (Impossible, Impossible)| {
            usage(format!("password: by PASSWD_URI: {uri}; by app.ini: {ini}"))
        })?;
        if let (Route::Uri(_), Some(path), Some(account)) = (&route, &file, self.account)
            && let Ok(Some(why)) = account.cannot_read(Path::new(path))
            && !path.starts_with("/run/credentials/")
        {
            let fix = format!("chown it to {} for PASSWD_URI", account.name);
            route = by_app_ini(&secret).map_err(|ini| {
                let name = &account.name;
                usage(format!("password: {path}: {name} cannot read it: {why}; by app.ini: {ini}: {fix}"))
            })?;
            eprintln!(
                "note: {path}: {} cannot read it: {why}; so the password goes to app.ini: {fix}",
                account.name
            );
        }
        Ok(Secret { reference, secret, route, file })
    }
}

impl Secret {
    pub(crate) fn credential(&self) -> Credential<'_> {
        Credential { secret: &self.secret, route: &self.route }
    }

    /// Returns the file for a variable with `__FILE`.
    pub(crate) fn environment_file(&self) -> Result<String, Failure> {
        match by_environment_file(&self.secret, self.file.as_deref()) {
            Ok(Route::EnvironmentFile(file)) => Ok(file),
            Ok(_) => Err(usage("the password has no file")),
            Err(why) => Err(usage(format!("by a variable with __FILE: {why}"))),
        }
    }
}
