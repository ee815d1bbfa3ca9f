//! The home lab: `bins/homelab`, with the programs that it runs.

use crate::environment;
use crate::process::{Outcome, cargo, passed, step, target, with_second_try};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Builds the programs and runs the home lab with these arguments.
///
/// # Errors
/// Returns the status if it fails.
pub(crate) fn whole(arguments: &[&str]) -> Outcome {
    // With the features of the tests, so that nothing is built twice.
    step(
        "homelab: building the programs",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    step("homelab", Command::new(program()).args(arguments))
}

/// A scenario that runs beside other steps, since it mostly waits. Its output is kept in a file until it ends. It is
/// killed when dropped.
pub(crate) struct Scenario {
    name: &'static str,
    command: Command,
    child: Child,
    said: PathBuf,
    began: Instant,
}

impl Scenario {
    /// Starts the scenario of the home lab in this form, with the programs already built.
    ///
    /// # Errors
    /// Returns a description if the program cannot be started.
    pub(crate) fn begin(name: &'static str, form: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(program());
        command.arg("--quick").args(form);
        Self::spawn(name, command)
    }

    /// Starts a command in the background, with its output in a log file until it ends.
    ///
    /// # Errors
    /// Returns a description if it cannot be started.
    pub(crate) fn spawn(name: &'static str, mut command: Command) -> Result<Self, String> {
        println!("xtask: {name}: in the background …");
        environment::define(&mut command);
        let said = target().join(format!("{name}.log"));
        let child = start(&mut command, &said)?;
        Ok(Self { name, command, child, said, began: Instant::now() })
    }

    /// Waits for the end of the scenario and prints its output. If it failed beside the other steps, it is run once
    /// more.
    ///
    /// # Errors
    /// Returns the second failure.
    pub(crate) fn end(mut self) -> Outcome {
        let mut is_first = true;
        with_second_try(self.name, || {
            if !std::mem::take(&mut is_first) {
                self.child = start(&mut self.command, &self.said)?;
                self.began = Instant::now();
            }
            self.wait()
        })
    }

    /// Waits for the end of this run and prints its output.
    ///
    /// # Errors
    /// Returns the status if it failed.
    fn wait(&mut self) -> Outcome {
        let name = self.name;
        let status = self.child.wait().map_err(|why| format!("{name}: {why}"))?;
        print!("{}", std::fs::read_to_string(&self.said).unwrap_or_default());
        if !status.success() {
            return Err(format!("{name}: ended with {status}"));
        }
        passed(name, self.began);
        Ok(())
    }
}

impl Drop for Scenario {
    /// Kills the scenario, if another step failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command with its output in this file.
///
/// # Errors
/// Returns a description if the file cannot be created, or the command cannot be started.
fn start(command: &mut Command, said: &Path) -> Result<Child, String> {
    let file = File::create(said).map_err(|why| format!("{}: {why}", said.display()))?;
    let errors = file.try_clone().map_err(|why| format!("{}: {why}", said.display()))?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    command.spawn().map_err(|why| format!("{command:?}: {why}"))
}

/// Returns the path of the program.
fn program() -> PathBuf {
    target().join("debug/homelab")
}
