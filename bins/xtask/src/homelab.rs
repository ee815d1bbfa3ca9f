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
        cargo(&["build", "--workspace", "--all-targets", "--all-features", "--locked"]),
    )?;
    step("homelab", Command::new(program()).args(arguments))
}

/// A short day, beside other work: it waits more than it works. What it says is in a file until it ends.
pub(crate) struct Day {
    child: Child,
    said: PathBuf,
    began: Instant,
}

impl Day {
    /// Begins it, with the programs that are built.
    pub(crate) fn begin() -> Result<Self, String> {
        println!("xtask: homelab, a short day, beside what follows …");
        let said = target().join("homelab.log");
        let file = File::create(&said).map_err(|why| format!("{}: {why}", said.display()))?;
        let errors = file.try_clone().map_err(|why| format!("{}: {why}", said.display()))?;
        let mut command = Command::new(program());
        command.arg("--quick").stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().map_err(|why| format!("{command:?}: {why}"))?;
        Ok(Self { child, said, began: Instant::now() })
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Outcome {
        let status = self.child.wait().map_err(|why| format!("homelab: {why}"))?;
        print!("{}", std::fs::read_to_string(&self.said).unwrap_or_default());
        if !status.success() {
            return Err(format!("homelab: ended with {status}"));
        }
        println!("xtask: homelab: passed in {} s", self.began.elapsed().as_secs());
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
