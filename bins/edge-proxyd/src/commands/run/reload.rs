//! A reload: the outcome says what took effect, and what waits for a new process.

use super::supervise::Supervisor;
use crate::config::{self, Settings};
use crate::journal;
use crate::service::control::ControlAnswer;
use cli_support::outcome::chain;

/// The outcome of a reload.
pub(super) struct ReloadOutcome {
    pub(super) answer: ControlAnswer,
    /// True if a new process could apply what this one cannot.
    pub(super) successor_helps: bool,
}

impl ReloadOutcome {
    fn refused(lines: Vec<String>, successor_helps: bool) -> Self {
        Self { answer: ControlAnswer { lines, ..ControlAnswer::default() }, successor_helps }
    }

    /// Writes the outcome to the log.
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

/// Returns advice for a change that this process cannot apply.
fn successor_advice() -> String {
    format!(
        "have a new process take over, without dropping connections: edge-proxyd reload --takeover (or kill -USR2 {})",
        std::process::id()
    )
}

/// Returns the names of sections that are read only at start and differ from those that this process was started with.
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
    /// Reloads the configuration, or keeps the old one. If `whole`, a change that waits for a new process is not applied in
    /// part.
    pub(super) fn reload(&mut self, whole: bool) -> ReloadOutcome {
        let reloaded = self.attempt(whole);
        self.watched.reloads.record(reloaded.answer.ok);
        if reloaded.answer.ok {
            self.store.sync(&self.watched.proxy, self.notifier);
        }
        reloaded
    }

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
        let lacking = process_sandbox.lacks(args, &settings);
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
        if let Some(certificates) = &mut self.certificates {
            certificates.set_files(settings.certificate_files);
        }
        self.switches.apply(&mut settings.proxy);
        if let Err(error) = self.watched.proxy.reload(settings.proxy) {
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
