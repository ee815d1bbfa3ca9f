//! The commands that speak to the server.

use crate::args::{Args, What, Wire};
use crate::files;
use cli_support::outcome::{Done, Failure, chain};
use cli_support::progress::Progress;
use cli_support::secret::Reference;
use cli_support::table::Table;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use smtp_config::doctor::{self, Options, Replay, Verdict};
use smtp_config::ini::Ini;
use smtp_config::{Effective, Message, Password, SECTION, Version, date, edit, effective};
use std::future::Future;
use std::time::{Duration, SystemTime};

/// What the doctor is asked beside the server.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) recipient: &'a Option<String>,
    pub(crate) selectors: &'a [String],
    pub(crate) dns: bool,
    pub(crate) ports: bool,
}

/// The mailer as Forgejo has it, its password as Forgejo reads it, and the domain of the forge.
pub(crate) struct Subject {
    pub(crate) mailer: Effective,
    pub(crate) password: Option<SecretString>,
    pub(crate) domain: String,
}

fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::Configuration(why.to_string())
}

/// What is to be looked at. Settings that are not applied yet are written to an app.ini in memory and read from there.
/// With `password` a password is read too.
pub(crate) fn subject(what: &What, version: u32, password: bool) -> Result<Subject, Failure> {
    let (text, given) = match &what.app_ini {
        Some(file) if !what.settings.is_given() => {
            let text = files::read(file)?;
            files::parse(file, &text)?;
            (text, None)
        }
        Some(_) => return Err(usage("give --app-ini or settings, not both")),
        None => {
            let resolved = what.settings.resolve(version)?;
            let pairs = resolved.mailer.settings();
            let changes: Vec<_> = pairs
                .iter()
                .map(|(section, key, value)| (*section, key.as_str(), Some(value.as_str())))
                .collect();
            let text = edit("", &changes).map_err(usage)?;
            (text, resolved.password.map(|kept| kept.secret))
        }
    };
    let ini = Ini::parse(&text).map_err(usage)?;
    let mailer = effective(&ini, Version(version))
        .map_err(|why| usage(format!("Forgejo {version} ends at once: {why}")))?
        .ok_or_else(|| usage("mail is off: ENABLED is not true"))?;
    let password = match (&mailer.password, given) {
        _ if !password => None,
        (_, Some(given)) => Some(given),
        (Password::None, None) => None,
        (Password::Written(written), None) => Some(written.clone()),
        (Password::File(path), None) => Some(from_file(&ini, path)?),
    };
    let domain = ini.value("server", "DOMAIN").filter(|domain| !domain.is_empty());
    Ok(Subject { mailer, password, domain: domain.unwrap_or_else(|| "localhost".to_owned()) })
}

/// A password as Forgejo reads it from the file of `PASSWD_URI`: trimmed, and `%(name)s` replaced.
pub(crate) fn from_file(ini: &Ini, path: &str) -> Result<SecretString, Failure> {
    let reference: Reference = format!("file:{path}").parse().map_err(usage)?;
    let bytes = reference.read_bytes()?;
    let text = std::str::from_utf8(&bytes).map_err(|_| usage(format!("{path}: not UTF-8")))?;
    if text.trim().is_empty() {
        return Err(usage(format!("{path}: it is empty; Forgejo ends at once")));
    }
    let mut ini = ini.clone();
    ini.set(SECTION, "PASSWD", text.trim());
    Ok(SecretString::from(ini.value(SECTION, "PASSWD").unwrap_or_default()))
}

/// How to reach the server.
pub(crate) fn options(wire: &Wire) -> Result<Options, Failure> {
    if !(wire.limit > 0.0 && wire.limit <= 3600.0) {
        return Err(usage("--limit: write seconds, more than 0 and at most 3600"));
    }
    let roots = match &wire.roots {
        None => Vec::new(),
        Some(file) => {
            let bytes =
                std::fs::read(file).map_err(|why| Failure::Failed(format!("{}: {why}", file.display())))?;
            let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            let roots = roots.map_err(|why| usage(format!("{}: {why}", file.display())))?;
            if roots.is_empty() {
                return Err(usage(format!("{}: there is no certificate in it", file.display())));
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

/// Runs what speaks to the server.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::Failed(format!("no runtime: {why}")))?;
    Ok(runtime.block_on(work))
}

pub(crate) fn doctor(what: &What, wire: &Wire, asked: Asked<'_>, args: &Args) -> Result<Done, Failure> {
    let subject = subject(what, args.forgejo, true)?;
    let mut options = options(wire)?;
    options.recipient.clone_from(asked.recipient);
    options.selectors = asked.selectors.to_vec();
    options.dns = asked.dns;
    if !asked.ports {
        options.ports.clear();
    }
    let mut progress = Progress::new(args.json);
    progress.begin(format!("examining {}", subject.mailer.host));
    let checks = run(doctor::examine(&subject.mailer, subject.password.as_ref(), &options))?;
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
        println!("{}", json!({"checks": list}));
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

pub(crate) fn as_forgejo(what: &What, wire: &Wire, version: u32, args: &Args) -> Result<Done, Failure> {
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
            json!({"steps": steps, "leaks": replay.leaks, "hangs": replay.hangs, "sends": replay.sends})
        };
        println!(
            "{}",
            json!({"forgejo": version, "server": shown(&plain), "stripped": shown(&stripped), "leaks": leaks})
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
    Ok(if leaks || plain.hangs || !plain.sends { Done::Differences } else { Done::Fine })
}

fn conclusion(plain: &Replay, stripped: &Replay) -> &'static str {
    match () {
        () if plain.leaks => "The password goes out to anybody on the way: take smtps on port 465.",
        () if stripped.leaks => "Somebody on the way can have the password: take smtps on port 465.",
        () if plain.hangs => "Forgejo would wait without end.",
        () if plain.sends => "The password stays secret.",
        () => "Forgejo would not get as far as to send a message.",
    }
}

pub(crate) fn send_test(what: &What, wire: &Wire, to: &str, args: &Args) -> Result<Done, Failure> {
    if smtp_config::mailbox(to).as_deref() != Some(to) {
        return Err(usage("--to: write a bare address, local@domain"));
    }
    let subject = subject(what, args.forgejo, true)?;
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
    let answer = sent.map_err(|why| Failure::Failed(chain(&why)))?;
    // No server has a reason to say the password, but one that does must not have it shown.
    let answer = match &subject.password {
        Some(password) => answer.replace(password.expose_secret(), "(not shown)"),
        None => answer,
    };
    if args.json {
        println!("{}", json!({"result": "sent", "to": to, "answer": answer}));
    } else {
        println!("sent to {to}: {answer}");
    }
    Ok(Done::Fine)
}
