//! Reloads of the configuration. The outcome tells what took effect, and what takes effect only in a new process.

use super::supervise::Supervisor;
use crate::config::{self, Settings};
use crate::journal;
use crate::sandbox;
use crate::service::control::ControlAnswer;
use cli_support::outcome::chain;

/// The outcome of a reload.
pub(super) struct ReloadOutcome {
    /// The response to the command `reload`.
    pub(super) answer: ControlAnswer,
    /// True if a new process that takes over could apply what this one cannot.
    pub(super) successor_helps: bool,
}

impl ReloadOutcome {
    /// Creates the outcome of a reload that applied nothing. `lines` are the explanation, and `successor_helps` whether
    /// a new process could apply the configuration.
    fn refused(lines: Vec<String>, successor_helps: bool) -> Self {
        Self { answer: ControlAnswer { lines, ..ControlAnswer::default() }, successor_helps }
    }

    /// Logs the outcome: as an error if the reload failed, as a warning if a part waits for a new process, otherwise as
    /// information.
    pub(super) fn tell(&self) {
        let answer = &self.answer;
        let say: fn(&String) = if !answer.ok {
            |line| journal::error(line)
        } else if answer.waiting.is_empty() {
            |line| journal::info(line)
        } else {
            |line| journal::warning(line)
        };
        answer.lines.iter().for_each(say);
    }
}

/// Returns the advice to let a new process take over, with the process ID of this one, for changes that this process
/// cannot apply.
fn successor_advice() -> String {
    format!(
        "have a new process take over, without dropping connections: edge-proxyd reload --takeover (or kill -USR2 {})",
        std::process::id()
    )
}

/// Returns the names of the sections that differ from the configuration of the start and that are read only then.
/// `watched` is false if the process was started without certificates: certificate files then count as a change of
/// `certificates`.
fn sections_read_at_start(started: &Settings, settings: &Settings, watched: bool) -> Vec<String> {
    [
        ("acme", settings.acme != started.acme),
        (
            "certificates",
            settings.certificates != started.certificates
                || (!watched && !settings.certificate_files.is_empty()),
        ),
        ("log", settings.log != started.log),
        ("sandbox", settings.sandbox != started.sandbox),
        ("shared", settings.shared != started.shared),
        ("status", settings.status != started.status),
        ("tracing", settings.tracing != started.tracing),
    ]
    .into_iter()
    .filter(|(_, changed)| *changed)
    .map(|(section, _)| section.to_owned())
    .collect()
}

impl Supervisor<'_> {
    /// Reloads the configuration, and records for the status whether that succeeded. Nothing is applied if the
    /// configuration is not valid, needs what the sandbox of this process does not allow, or is rejected by the proxy.
    ///
    /// Sections that are read only at start wait for a new process: if `whole` is true, nothing is applied then either;
    /// otherwise the rest is, and the outcome names them. After a success the listening sockets are stored at the
    /// service manager.
    pub(super) fn reload(&mut self, whole: bool) -> ReloadOutcome {
        let reloaded = self.attempt(whole);
        self.watched.reloads.record(reloaded.answer.ok);
        if reloaded.answer.ok {
            self.store.sync(&self.watched.proxy, self.notifier);
        }
        reloaded
    }

    /// Reads the configuration and applies it to the proxy, as [`reload`](Self::reload) describes.
    fn attempt(&mut self, whole: bool) -> ReloadOutcome {
        const UNCHANGED: &str = "the configuration is unchanged";
        let (args, process_sandbox) = (self.args, self.process_sandbox);
        let mut settings = match config::load(&args.config) {
            Ok((settings, _)) => settings,
            Err(problems) => {
                let denied = process_sandbox.is_closed()
                    && problems.list.iter().any(|one| one.message.contains("(os error 13)"));
                let mut lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
                lines.push(UNCHANGED.into());
                if denied {
                    lines.push(format!(
                        "the sandbox may prevent this process from reading a file: {}",
                        successor_advice()
                    ));
                }
                let mut refused = ReloadOutcome::refused(lines, denied);
                refused.answer.invalid = true;
                return refused;
            }
        };
        let mut lacking = process_sandbox.lacks(args, &settings);
        // A link in the path of a file may lead elsewhere since the sandbox was entered.
        if process_sandbox.is_closed() {
            let files = settings.certificate_files.iter().flat_map(|files| [&files.certificate, &files.key]);
            let denied = files.filter(|file| sandbox::denies(file));
            lacking.extend(denied.map(|file| format!("read {}", file.display())));
        }
        if !lacking.is_empty() {
            let line = format!(
                "the sandbox of this process, entered at start, does not allow it to {}; {UNCHANGED}: {}",
                lacking.join(", "),
                successor_advice()
            );
            return ReloadOutcome::refused(vec![line], true);
        }
        let waiting = sections_read_at_start(self.settings, &settings, self.certificates.is_some());
        if whole && !waiting.is_empty() {
            return ReloadOutcome::refused(Vec::new(), true);
        }
        // Before the proxy gets the configuration, since sites get their certificates with it.
        let mut certificates = self.certificates.as_mut();
        let offered = certificates.as_mut().map(|certificates| certificates.offer(&settings));
        self.switches.apply(&mut settings.proxy);
        let reloaded = self.watched.proxy.reload(settings.proxy);
        match (certificates, offered) {
            (Some(certificates), Some(offered)) if reloaded.is_ok() => certificates.accept(offered),
            (Some(certificates), _) => certificates.withdraw(),
            (None, _) => {}
        }
        if let Err(error) = reloaded {
            return ReloadOutcome::refused(vec![format!("{}; {UNCHANGED}", chain(&error))], false);
        }
        let mut line = format!("reloaded {}", args.config.display());
        if !waiting.is_empty() {
            let sections: Vec<_> = waiting.iter().map(|section| format!("[{section}]")).collect();
            line += &format!(
                ", except for {}, which are read only at start: {}",
                sections.join(", "),
                successor_advice()
            );
        }
        let successor_helps = !waiting.is_empty();
        let answer = ControlAnswer { ok: true, lines: vec![line], waiting, ..ControlAnswer::default() };
        ReloadOutcome { answer, successor_helps }
    }
}
