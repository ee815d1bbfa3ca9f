//! The sandbox of the process, and the launcher process outside it, which can start a successor.

use crate::cli::RunArgs;
use crate::config::{Mode, Settings};
use crate::journal;
use crate::sandbox::{self, Environment, Needs};
use crate::service::Launcher;

/// The sandbox of this process, and the launcher outside it.
pub(super) struct ProcessSandbox {
    /// The resources to which the sandbox restricts the process. `None` if it does not restrict files.
    needs: Option<Needs>,
    /// The process that starts a successor outside the sandbox. `None` with `mode = "off"`.
    pub(super) launcher: Option<Launcher>,
}

impl ProcessSandbox {
    /// Starts the launcher and enters the sandbox, as configured in `[sandbox]`, and logs what is enforced. Does
    /// neither with `mode = "off"`. The process must not have other threads yet.
    ///
    /// # Errors
    /// The launcher could not be started, a rule of the sandbox failed, or a restriction is not enforced although the
    /// configuration requires it.
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

    /// Returns true if the sandbox restricts access to files.
    pub(super) const fn is_closed(&self) -> bool {
        self.needs.is_some()
    }

    /// Returns the resources that a new configuration needs and the sandbox does not allow, each as a phrase such as
    /// `listen on port 443`. Empty if it allows all, or does not restrict files.
    pub(super) fn lacks(&self, args: &RunArgs, settings: &Settings) -> Vec<String> {
        let Some(needs) = &self.needs else { return Vec::new() };
        needs.lacks(&Needs::new(settings, &args.config, &Environment::read()))
    }
}
