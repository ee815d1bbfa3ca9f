//! A day of the owner's hosts: `bins/homelab`, with the programs that it runs.

use crate::steps::{Outcome, cargo, step, target};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Builds and runs it, with its arguments.
pub(crate) fn whole(arguments: &[&str]) -> Outcome {
    // With the features that the tests build them with, so that nothing is built twice.
    step(
        "homelab: building the programs",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    step("homelab", Command::new(program()).args(arguments))
}

/// A short day, beside other work: it waits more than it works. What it says is in a file until it ends.
pub(crate) struct Day {
    name: &'static str,
    child: Child,
    said: PathBuf,
    began: Instant,
}

impl Day {
    /// Begins it in this form, with the programs that are built.
    pub(crate) fn begin(name: &'static str, form: &[&str]) -> Result<Self, String> {
        println!("xtask: {name}, a short day, beside what follows …");
        let said = target().join(format!("{name}.log"));
        let file = File::create(&said).map_err(|why| format!("{}: {why}", said.display()))?;
        let errors = file.try_clone().map_err(|why| format!("{}: {why}", said.display()))?;
        let mut command = Command::new(program());
        command.arg("--quick").args(form).stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().map_err(|why| format!("{command:?}: {why}"))?;
        Ok(Self { name, child, said, began: Instant::now() })
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Outcome {
        let name = self.name;
        let status = self.child.wait().map_err(|why| format!("{name}: {why}"))?;
        print!("{}", std::fs::read_to_string(&self.said).unwrap_or_default());
        if !status.success() {
            return Err(format!("{name}: ended with {status}"));
        }
        println!("xtask: {name}: passed in {} s", self.began.elapsed().as_secs());
        Ok(())
    }
}

impl Drop for Day {
    /// Where another step failed, it is not waited for.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    target().join("debug/homelab")
}
