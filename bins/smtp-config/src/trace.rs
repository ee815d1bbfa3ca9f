//! The subcommand `trace`: follows one secret from where it is stored to what a server receives. Only keyed hashes are
//! printed, whose key is generated for the run and discarded.

use crate::args::{Args, ConnectionArgs, SubjectArgs};
use crate::examine::{from_file, options, run};
use crate::files;
use crate::settings::Purpose;
use aws_lc_rs::{hmac, rand};
use cli_support::outcome::{Done, Failure, chain};
use cli_support::table::Table;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use smtp_config::doctor::{self, Verdict};
use smtp_config::ini::Ini;
use smtp_config::{Change, Mechanism, Password, SECTION, edit, effective};
use std::fmt::Write;
use std::path::Path;

/// Key of the hashes, and the places so far, each with a description and a hash, which is `None` if the secret is not
/// known at that place.
struct Trace {
    key: hmac::Key,
    rows: Vec<(String, String, Option<String>)>,
}

impl Trace {
    /// Returns the first 8 bytes of the HMAC-SHA-256 of a secret, in hexadecimal.
    fn hash(&self, secret: &SecretString) -> String {
        let tag = hmac::sign(&self.key, secret.expose_secret().as_bytes());
        tag.as_ref().iter().take(8).fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }

    /// Appends a place, a description, and the hash of the secret that is there.
    fn secret(&mut self, place: impl Into<String>, what: impl Into<String>, secret: &SecretString) {
        let hash = self.hash(secret);
        self.rows.push((place.into(), what.into(), Some(hash)));
    }

    /// Appends a place at which the secret is not known, and a description.
    fn nothing(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.rows.push((place.into(), what.into(), None));
    }
}

/// Follows the password of the mailer through the configuration to the server, and prints the hash at each place. With
/// `server`, it also authenticates there. Returns [`Done::Differences`] unless the password is known and equal at all
/// places.
///
/// # Errors
/// Returns a [`Failure`] if neither an app.ini nor settings are given, one of them is not valid, mail is disabled, a
/// password cannot be read, or the options are not valid.
pub(crate) fn trace(
    what: &SubjectArgs,
    wire: &ConnectionArgs,
    server: bool,
    args: &Args,
) -> Result<Done, Failure> {
    let usage = |why: &dyn std::fmt::Display| Failure::Configuration(why.to_string());
    let mut key = [0_u8; 32];
    rand::fill(&mut key).map_err(|_| Failure::Failed("no random numbers".to_owned()))?;
    let mut trace = Trace { key: hmac::Key::new(hmac::HMAC_SHA256, &key), rows: Vec::new() };
    let resolved = what
        .settings
        .is_given()
        .then(|| what.settings.resolve(args.version(), None, Purpose::Examine))
        .transpose()?;
    if let Some(kept) = resolved.as_ref().and_then(|resolved| resolved.password.as_ref()) {
        trace.secret(kept.reference.to_string(), "as it is kept, one line end taken off", &kept.secret);
    }
    let text = match (&what.app_ini, &resolved) {
        (Some(file), _) => {
            let text = files::read(file)?;
            files::parse(file, &text)?;
            text
        }
        (None, Some(resolved)) => planned_ini(resolved)?,
        (None, None) => {
            let message = "missing: give --app-ini, settings, or both";
            return Err(cli_support::usage::fault("missing", "--app-ini", message));
        }
    };
    let place =
        what.app_ini.as_ref().map_or("app.ini, as it would be".to_owned(), |file| file.display().to_string());
    let ini = Ini::parse(&text).map_err(|why| usage(&why))?;
    let version = args.version();
    let file = what.app_ini.as_deref().unwrap_or(Path::new("app.ini"));
    let mailer = effective(&ini, version)
        .map_err(|why| files::fatal(file, &ini, version, &why))?
        .ok_or_else(|| files::whole(file, "mail-off", "mail is off: write ENABLED = true to [mailer]"))?;
    let read = match &mailer.password {
        Password::None => {
            trace.nothing(&place, "there is no password");
            return print(&trace, args);
        }
        Password::Written(secret) => {
            trace.secret(&place, "PASSWD, as Forgejo reads it", secret);
            for time in ["once", "twice"] {
                let written = resave(&ini, if time == "once" { 1 } else { 2 });
                match written.and_then(|ini| ini.value(SECTION, "PASSWD")) {
                    Some(value) => {
                        let what = format!("PASSWD, after Forgejo has written the file {time}");
                        trace.secret(&place, what, &SecretString::from(value));
                    }
                    None => {
                        trace
                            .nothing(&place, format!("it cannot be read once Forgejo has written it {time}"));
                    }
                }
            }
            secret.clone()
        }
        Password::File(path) => {
            let secret = from_file(&ini, SECTION, path)?;
            trace.secret(format!("PASSWD_URI = file:{path}"), "trimmed, as Forgejo reads it", &secret);
            secret
        }
    };
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        match run(doctor::arrives(mechanism, &mailer.user, &read))? {
            Some(arrived) => {
                trace.secret(format!("AUTH {mechanism}"), "as a server takes it apart", &arrived);
            }
            None => trace.nothing(format!("AUTH {mechanism}"), "nothing arrived"),
        }
    }
    if server {
        let mut options = options(wire)?;
        options.dns = false;
        options.ports.clear();
        let checks = run(doctor::examine(&mailer, Some(&read), &options))?;
        let answer = checks.iter().find(|check| check.name == "authentication");
        let place = format!("{}:{}", mailer.host, mailer.port);
        match answer {
            Some(check) if check.verdict == Verdict::Pass => {
                trace.secret(place, format!("taken: {}", check.detail), &read);
            }
            Some(check) => trace.nothing(place, format!("{}: {}", check.verdict, check.detail)),
            None => {
                let why = checks.iter().find(|check| check.verdict == Verdict::Fail);
                let why = why.map_or("there was no authentication", |check| check.detail.as_str());
                trace.nothing(place, why);
            }
        }
    }
    print(&trace, args)
}

/// Returns the app.ini that `apply` would write to an empty file, with the password or its URI.
///
/// # Errors
/// Returns a [`Failure`] if a value cannot be represented.
fn planned_ini(resolved: &crate::settings::ResolvedSettings) -> Result<String, Failure> {
    let pairs = resolved.mailer.settings();
    let mut changes: Vec<Change> = pairs.iter().map(smtp_config::Setting::to_change).collect();
    if let Some(kept) = &resolved.password {
        match &kept.route {
            smtp_config::Route::Uri(uri) => changes.push(Change::set(SECTION, "PASSWD_URI", uri)),
            _ => changes.push(Change::set(SECTION, "PASSWD", kept.secret.expose_secret())),
        }
    }
    edit("", &changes).map_err(|why| Failure::Configuration(chain(&why)))
}

/// Returns the file after Forgejo has loaded and written it `times` times. `None` if it cannot be parsed after one of
/// these.
fn resave(ini: &Ini, times: u32) -> Option<Ini> {
    let mut now = ini.clone();
    for _ in 0..times {
        now = Ini::parse(&now.write()).ok()?;
    }
    Some(now)
}

/// Prints the places, and whether the secret is the same at all of them. Returns [`Done::Fine`] if it is known and
/// equal everywhere, else [`Done::Differences`].
fn print(trace: &Trace, args: &Args) -> Result<Done, Failure> {
    let first = trace.rows.iter().find_map(|(_, _, hash)| hash.as_ref());
    let differs = trace.rows.iter().any(|(_, _, hash)| hash.is_some() && hash.as_ref() != first);
    let same = !differs && trace.rows.iter().all(|(_, _, hash)| hash.is_some());
    if args.json {
        let rows: Vec<_> = trace
            .rows
            .iter()
            .map(|(place, what, hash)| json!({"place": place, "what": what, "hash": hash, "same": hash.as_ref() == first}))
            .collect();
        println!("{}", json!({"same": same, "places": rows}));
    } else {
        let mut table = Table::new(["HASH", "", "PLACE", "WHAT"]);
        for (place, what, hash) in &trace.rows {
            let sign = match hash {
                None => "unknown",
                Some(_) if hash.as_ref() == first => "same",
                Some(_) => "differs",
            };
            table.row([
                hash.clone().unwrap_or_else(|| "-".to_owned()),
                sign.to_owned(),
                place.clone(),
                what.clone(),
            ]);
        }
        print!("{table}");
        println!(
            "{}",
            match () {
                () if same => "one secret, all the way",
                () if differs => "the secret changes on its way",
                () => "the secret is the same as far as it could be followed",
            }
        );
    }
    Ok(if same { Done::Fine } else { Done::Differences })
}
