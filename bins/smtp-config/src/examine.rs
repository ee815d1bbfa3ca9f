//! Subcommands that connect to servers.

use crate::args::{Args, ConnectionArgs, SubjectArgs};
use crate::files;
use crate::settings::Purpose;
use cli_support::finding::{Finding, Findings, Place, Severity};
use cli_support::outcome::{Done, Failure, chain};
use cli_support::progress::Progress;
use cli_support::table::Table;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use smtp_config::doctor::{self, Check, Options, Replay, Verdict};
use smtp_config::ini::Ini;
use smtp_config::{
    Change, EffectiveIncoming, EffectiveMailer, INCOMING, Message, Password, SECTION, Version, date, edit,
    effective, effective_incoming, secret_of_file,
};
use std::future::Future;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Options of `doctor`, other than those of the connection.
#[derive(Clone, Copy)]
pub(crate) struct DoctorOptions<'a> {
    pub(crate) recipient: &'a Option<String>,
    pub(crate) selectors: &'a [String],
    pub(crate) dns: bool,
    pub(crate) ports: bool,
}

/// Subject of an examination: the mailer as Forgejo loads it, its password as Forgejo reads it, incoming mail with its
/// password, and the domain of the instance (default: `localhost`). A password is `None` if there is none or it was not
/// read.
pub(crate) struct Subject {
    pub(crate) mailer: EffectiveMailer,
    pub(crate) password: Option<SecretString>,
    pub(crate) incoming: Option<(EffectiveIncoming, Option<SecretString>)>,
    pub(crate) domain: String,
}

/// Creates an error of the configuration.
fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::Configuration(why.to_string())
}

/// Returns the subject of an examination, from an app.ini or from settings. Settings that are not applied yet are
/// written to an app.ini in memory and loaded from there. The passwords are read only if `password` is `true`; those of
/// settings are resolved in any case.
///
/// # Errors
/// Returns a [`Failure`] if both an app.ini and settings are given, one of them is not valid or stops Forgejo from
/// starting, mail is disabled, or a password cannot be read.
pub(crate) fn subject(what: &SubjectArgs, version: Version, password: bool) -> Result<Subject, Failure> {
    let (text, given) = match &what.app_ini {
        Some(file) if !what.settings.is_given() => {
            let text = files::read(file)?;
            files::parse(file, &text)?;
            (text, (None, None))
        }
        Some(_) => {
            let message = "cannot be used with settings: leave one of them out";
            return Err(cli_support::usage::fault("conflict", "--app-ini", message));
        }
        None => {
            let resolved = what.settings.resolve(version, None, Purpose::Examine)?;
            let pairs = resolved.mailer.settings();
            let changes: Vec<Change> = pairs.iter().map(smtp_config::Setting::to_change).collect();
            let text = edit("", &changes).map_err(usage)?;
            let passwords = (resolved.password, resolved.incoming);
            (text, (passwords.0.map(|kept| kept.secret), passwords.1.map(|kept| kept.secret)))
        }
    };
    let ini = Ini::parse(&text).map_err(usage)?;
    let file = what.app_ini.as_deref().unwrap_or(Path::new("app.ini"));
    let refused = |why: smtp_config::Fatal| files::fatal(file, &ini, version, &why);
    let mailer = effective(&ini, version)
        .map_err(refused)?
        .ok_or_else(|| files::whole(file, "mail-off", "mail is off: write ENABLED = true to [mailer]"))?;
    let incoming = effective_incoming(&ini, version).map_err(refused)?;
    let read = |section, held: &Password, given| match (held, given) {
        _ if !password => Ok(None),
        (_, Some(given)) => Ok(Some(given)),
        (Password::None, None) => Ok(None),
        (Password::Written(written), None) => Ok(Some(written.clone())),
        (Password::File(path), None) => from_file(&ini, section, path).map(Some),
    };
    let password = read(SECTION, &mailer.password, given.0)?;
    let incoming = match incoming {
        Some(held) => {
            let secret = read(INCOMING, &held.password, given.1)?;
            Some((held, secret))
        }
        None => None,
    };
    let domain = ini.value("server", "DOMAIN").filter(|domain| !domain.is_empty());
    Ok(Subject { mailer, password, incoming, domain: domain.unwrap_or_else(|| "localhost".to_owned()) })
}

/// Reads the password of a section from a file to which a URI refers, as Forgejo does: trimmed and, for the mailer,
/// with `%(name)s` expanded.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read, is not UTF-8, or contains only white space.
pub(crate) fn from_file(ini: &Ini, section: &str, path: &str) -> Result<SecretString, Failure> {
    let failed = |why: &dyn std::fmt::Display| usage(format!("{path}: {why}"));
    let bytes = std::fs::read(path).map_err(|why| failed(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| failed(&"not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(failed(&"the file is empty, and Forgejo does not start: write the password to it"));
    }
    Ok(secret_of_file(ini, section, &text))
}

/// Returns the options of the connection from the command line: time limit of a step, address, root certificates, DNS
/// server, and the name of this machine. Other options have their defaults.
///
/// # Errors
/// Returns a [`Failure`] unless the time limit is above 0 and at most 3600 s, or if the root certificates cannot be
/// read or there are none in the file.
pub(crate) fn options(wire: &ConnectionArgs) -> Result<Options, Failure> {
    if !(wire.limit > 0.0 && wire.limit <= 3600.0) {
        let message = "out of range: write seconds, more than 0 and at most 3600";
        return Err(cli_support::usage::fault("value", "--limit", message));
    }
    let roots = match &wire.roots {
        None => Vec::new(),
        Some(file) => {
            let bytes =
                std::fs::read(file).map_err(|why| Failure::Failed(format!("{}: {why}", file.display())))?;
            let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            let roots = roots.map_err(|why| usage(format!("{}: {why}", file.display())))?;
            if roots.is_empty() {
                return Err(usage(format!("{}: not a PEM file with a certificate", file.display())));
            }
            roots
        }
    };
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok(Options {
        limit: Duration::from_secs_f32(wire.limit),
        address: wire.address,
        roots,
        resolver: wire.resolver,
        machine: machine.trim().to_owned(),
        ..Options::default()
    })
}

/// Runs a future to completion, on a runtime of its own, and returns its output.
///
/// # Errors
/// Returns a [`Failure`] if the runtime cannot be created.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::Failed(format!("no runtime: {why}")))?;
    Ok(runtime.block_on(work))
}

/// Runs the checks of outgoing and incoming mail, and prints them. Returns [`Done::Differences`] if the verdict of one
/// is worse than skipped (a note, a warning or a failure), else [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if the subject or the options are not valid.
pub(crate) fn doctor(
    what: &SubjectArgs,
    wire: &ConnectionArgs,
    asked: DoctorOptions<'_>,
    args: &Args,
) -> Result<Done, Failure> {
    let subject = subject(what, args.version(), true)?;
    let mut options = options(wire)?;
    options.recipient.clone_from(asked.recipient);
    options.selectors = asked.selectors.to_vec();
    options.dns = asked.dns;
    if !asked.ports {
        options.ports.clear();
    }
    let mut progress = Progress::new(args.json);
    progress.begin(format!("examining {}", subject.mailer.shown_host()));
    let checks = run(async {
        let mut checks = doctor::examine(&subject.mailer, subject.password.as_ref(), &options).await;
        if let Some((incoming, password)) = &subject.incoming {
            // A given address is that of the SMTP server, unless both hosts are the same.
            let same = incoming.host.eq_ignore_ascii_case(&subject.mailer.host);
            let options = Options { address: options.address.filter(|_| same), ..options.clone() };
            checks.extend(doctor::examine_incoming(incoming, password.as_ref(), &options).await);
        }
        checks
    })?;
    progress.end("done");
    let worst = checks.iter().map(|check| check.verdict).max();
    if args.json {
        let list: Vec<_> = checks
            .iter()
            .map(|check| {
                json!({
                    "check": check.name,
                    "about": check.about,
                    "verdict": check.verdict.to_string(),
                    "detail": check.detail,
                    "fix": check.fix,
                    "milliseconds": u64::try_from(check.took.as_millis()).unwrap_or(u64::MAX),
                })
            })
            .collect();
        let findings = Findings::new(checks.iter().filter_map(finding).collect());
        println!("{}", json!({"checks": list, "findings": findings.json()}));
    } else {
        let mut table = Table::new(["VERDICT", "CHECK", "OF", "MS", "FOUND"]);
        for check in checks {
            let fix = if check.fix.is_empty() { String::new() } else { format!("\n→ {}", check.fix) };
            let took = check.took.as_millis().to_string();
            let found = format!("{}{fix}", check.detail);
            table.row([check.verdict.to_string(), check.name.to_owned(), check.about, took, found]);
        }
        print!("{table}");
    }
    Ok(if worst > Some(Verdict::Skipped) { Done::Differences } else { Done::Fine })
}

/// Returns a check as a finding, in the form that all programs of the family print; its key is what the check is about.
/// `None` for one that passed or was not run.
fn finding(check: &Check) -> Option<Finding> {
    let severity = match check.verdict {
        Verdict::Note => Severity::Note,
        Verdict::Warning => Severity::Warning,
        Verdict::Fail => Severity::Error,
        Verdict::Pass | Verdict::Skipped => return None,
    };
    let place = Place { key: check.about.clone(), ..Place::default() };
    Some(Finding::error(check.name, place, &check.detail).severity(severity).fix(&check.fix))
}

/// Replays the session of a version of Forgejo, with the server as it is and with STARTTLS stripped, and prints the
/// steps and a conclusion. Returns [`Done::Differences`] if the password would leak in one of them, or Forgejo would
/// wait without end or send no message with the server as it is.
///
/// # Errors
/// Returns a [`Failure`] if the subject or the options are not valid.
pub(crate) fn as_forgejo(
    what: &SubjectArgs,
    wire: &ConnectionArgs,
    version: Version,
    args: &Args,
) -> Result<Done, Failure> {
    let subject = subject(what, version, false)?;
    let options = options(wire)?;
    let (plain, stripped) = run(async {
        let plain = doctor::replay(&subject.mailer, &options).await;
        (plain, doctor::replay_stripped(&subject.mailer, &options).await)
    })?;
    let leaks = plain.leaks || stripped.leaks;
    if args.json {
        let shown = |replay: &Replay| {
            let steps: Vec<_> =
                replay.steps.iter().map(|step| json!({"does": step.does, "outcome": step.outcome})).collect();
            json!({"steps": steps, "leaks": replay.leaks, "hangs": replay.hangs, "sends": replay.reaches_message})
        };
        let place = Place { key: subject.mailer.shown_host().to_owned(), ..Place::default() };
        let code = match () {
            () if leaks => Some("leaks"),
            () if plain.hangs => Some("hangs"),
            () if !plain.reaches_message => Some("unsent"),
            () => None,
        };
        let finding = code.map(|code| Finding::error(code, place, conclusion(&plain, &stripped)));
        let findings = Findings::new(finding.into_iter().collect());
        println!(
            "{}",
            json!({"forgejo": version.0, "server": shown(&plain), "stripped": shown(&stripped), "leaks": leaks,
                "findings": findings.json()})
        );
    } else {
        for (title, replay) in
            [("with the server as it is", &plain), ("with STARTTLS taken out on the way", &stripped)]
        {
            let mut table = Table::new([format!("FORGEJO {version}, {title}"), "OUTCOME".to_owned()]);
            for step in &replay.steps {
                table.row([step.does.clone(), step.outcome.clone()]);
            }
            println!("{table}");
        }
        println!("{}", conclusion(&plain, &stripped));
    }
    Ok(if leaks || plain.hangs || !plain.reaches_message { Done::Differences } else { Done::Fine })
}

/// Returns the conclusion of the replays with the server as it is (`plain`) and with STARTTLS stripped, as a sentence
/// about the worst outcome: a leak, a leak to an active attacker, a hang, no message, or none of these.
fn conclusion(plain: &Replay, stripped: &Replay) -> &'static str {
    match () {
        () if plain.leaks => "An eavesdropper gets the password: take smtps on port 465.",
        () if stripped.leaks => "An attacker on the way can get the password: take smtps on port 465.",
        () if plain.hangs => "Forgejo would wait without end.",
        () if plain.reaches_message => "The password stays secret.",
        () => "Forgejo would not get as far as to send a message.",
    }
}

/// Sends a test message as Forgejo does, and prints the server's reply, in which a password of at least 8 bytes is
/// replaced. `to` is a bare address.
///
/// # Errors
/// Returns a [`Failure`] if the address, the subject or the options are not valid, or the message was not sent.
pub(crate) fn send_test(
    what: &SubjectArgs,
    wire: &ConnectionArgs,
    to: &str,
    args: &Args,
) -> Result<Done, Failure> {
    if smtp_config::mailbox(to, args.version().address_rules()).as_deref() != Some(to) {
        let message = format!("{to:?} is not a bare address: write local@domain");
        return Err(cli_support::usage::fault("value", "--to", &message));
    }
    let subject = subject(what, args.version(), true)?;
    let options = options(wire)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = "This is a test message. Forgejo's settings work, as far as a message shows it.";
    let message = Message {
        to,
        subject: "A test of Forgejo's mailer",
        text,
        html: Some(
            "<html><body><p>This is a test message. Forgejo's settings work, as far as a message shows it.</p></body></html>",
        ),
        date: &date(now.as_secs()),
        milliseconds: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        domain: &subject.domain,
    };
    let rendered = message.render(&subject.mailer);
    let sent = run(doctor::send(&subject.mailer, subject.password.as_ref(), to, &rendered, &options))?;
    let sent = sent.map_err(|why| Failure::Failed(chain(&why)))?;
    let (answer, caveat) = (sent.answer, sent.caveat);
    // A server that repeats the password in its reply must not make it visible.
    let answer = match &subject.password {
        Some(password) if password.expose_secret().len() >= 8 => {
            answer.replace(password.expose_secret(), "(not shown)")
        }
        _ => answer,
    };
    if let Some(caveat) = &caveat {
        cli_support::verbosity::note(&caveat.to_string());
    }
    if args.json {
        println!("{}", json!({"result": "sent", "to": to, "answer": answer, "caveat": caveat}));
    } else {
        println!("sent to {to}: {answer}");
    }
    Ok(Done::Fine)
}
