//! The sandbox of the process, and the launcher outside it.

use crate::cli::RunArgs;
use crate::config::{Mode, Settings};
use crate::journal;
use crate::sandbox::{self, Environment, Needs};
use crate::service::Launcher;

/// The sandbox of this process, and the launcher outside it.
pub(super) struct ProcessSandbox {
    needs: Option<Needs>,
    pub(super) launcher: Option<Launcher>,
}

impl ProcessSandbox {
    /// Enters the sandbox. There must be no other thread yet.
    pub(super) fn enter(args: &RunArgs, settings: &Settings) -> Result<Self, Box<dyn std::error::Error>> {
        if settings.sandbox.mode == Mode::Off {
            journal::info("sandbox: off");
            return Ok(Self { needs: None, launcher: None });
        }
        let launcher = Launcher::start().map_err(|why| format!("cannot start the launcher: {why}"))?;
        let mut needs = Needs::new(settings, &args.config, &Environment::read());
        needs.change.extend(super::state(args));
        let held = sandbox::enter(settings.sandbox.mode, &needs)?;
        let closed = held.as_ref().is_some_and(|held| held.landlock.restricts_files());
        if let Some(held) = held {
            journal::info(format_args!("sandbox: {held}"));
        }
        Ok(Self { needs: closed.then_some(needs), launcher: Some(launcher) })
    }

    /// Returns whether files are restricted.
    pub(super) const fn is_closed(&self) -> bool {
        self.needs.is_some()
    }

    /// Returns what a new configuration needs that the sandbox no longer allows.
    pub(super) fn lacks(&self, args: &RunArgs, settings: &Settings) -> Vec<String> {
        let Some(needs) = &self.needs else { return Vec::new() };
        needs.lacks(&Needs::new(settings, &args.config, &Environment::read()))
    }
}
