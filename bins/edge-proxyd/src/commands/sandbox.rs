//! The command `sandbox`: enters the sandbox of `run`, and shows what it allows.

use super::fail;
use crate::cli::{Exit, SandboxArgs};
use crate::config::{self, Mode};
use crate::sandbox::{self, Environment, Needs};
use cli_support::outcome::Failure;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Enters the sandbox, makes the attempts of `--try` in it, and prints the results. Returns [`Exit::Wrong`] if the
/// configuration is not valid, [`Exit::Failed`] if the sandbox cannot be entered, and [`Exit::Done`] even if attempts
/// were denied.
pub(crate) fn run(args: &SandboxArgs) -> Exit {
    let settings = match config::load(&args.config) {
        Ok((settings, _)) => settings,
        Err(problems) => {
            problems.report(args.json);
            return Exit::Wrong;
        }
    };
    let needs = Needs::new(&settings, &args.config, &Environment::read());
    let held = match sandbox::enter(settings.sandbox.mode, &needs) {
        Ok(held) => held,
        Err(why) => return fail("sandbox", args.json, &Failure::Failed(why.to_string())),
    };
    let paths = |set: &std::collections::BTreeSet<PathBuf>| {
        set.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
    };
    let attempts: Vec<_> = args.attempt.iter().map(|what| (what, sandbox::attempt(what))).collect();
    if args.json {
        let attempts = attempts.iter().map(|(what, done)| {
            let why = done.as_ref().err();
            json!({
                "attempt": what.to_string(),
                "allowed": why.is_none(),
                "error": why.map(ToString::to_string),
                "errno": why.and_then(std::io::Error::raw_os_error),
            })
        });
        let value = json!({
            "mode": match settings.sandbox.mode { Mode::Auto => "auto", Mode::Off => "off", Mode::Require => "require" },
            "whole": held.as_ref().is_some_and(sandbox::Confinement::is_complete),
            "files": held.as_ref().is_some_and(|held| held.landlock.restricts_files()),
            "ports": held.as_ref().is_some_and(|held| held.landlock.restricts_ports()),
            "signals": held.as_ref().is_some_and(|held| held.landlock.restricts_signals()),
            "shadow": held.as_ref().is_none_or(|held| held.shadow),
            "calls": held.as_ref().is_some_and(|held| held.seccomp.is_ok()),
            "programs": held.as_ref().map_or_else(Vec::new, |held| held.programs.clone()),
            "read": paths(&needs.read),
            "linked": paths(&needs.linked),
            "append": paths(&needs.append),
            "change": paths(&needs.change),
            "socket": paths(&needs.socket),
            "listen": needs.listen,
            "connect": needs.connect,
            "attempts": attempts.collect::<Vec<_>>(),
        });
        println!("{value}");
        return Exit::Done;
    }
    let mut text = match &held {
        Some(held) => format!("{held}\n"),
        None => "off: [sandbox] mode = \"off\"\n".to_owned(),
    };
    for (what, set) in [
        ("reads", &needs.read),
        ("reads, and where links lead", &needs.linked),
        ("appends", &needs.append),
        ("changes", &needs.change),
        ("makes sockets", &needs.socket),
    ] {
        paths(set).iter().for_each(|path| text += &format!("{what}: {path}\n"));
    }
    needs.listen.iter().for_each(|port| text += &format!("listens: {port}\n"));
    needs.connect.iter().flatten().for_each(|port| text += &format!("connects: {port}\n"));
    for (what, done) in attempts {
        text += &match done {
            Ok(()) => format!("{what}: allowed\n"),
            Err(why) => format!("{what}: {why}\n"),
        };
    }
    // The reader may have closed its end of the pipe.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Exit::Done
}
