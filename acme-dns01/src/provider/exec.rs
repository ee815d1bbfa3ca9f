//! Provider that runs a program with lego's arguments: `PROGRAM present NAME. VALUE` and `PROGRAM cleanup NAME.
//! VALUE`.

use super::{Coverage, Provider, ProviderError, ZoneMatch, configured_zone};
use crate::process::{self, RunError};
use async_trait::async_trait;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

/// Provider that runs a program. The program must add a value to existing TXT records, and remove a record by its
/// value. An exit status other than 0 is a permanent error, a timeout a transient one.
#[derive(Clone, Debug)]
pub struct Exec {
    /// Path of the program.
    pub program: PathBuf,
    /// Names of the provider's zones. Any zone if empty.
    pub zones: Vec<String>,
    /// Time limit of one run. The program is killed when it passes. Default: 120 s.
    pub within: Duration,
}

impl Exec {
    /// Creates a provider for these zones, or for any zone if there are none.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, zones: Vec<String>) -> Self {
        Self { program: program.into(), zones, within: Duration::from_secs(120) }
    }

    /// Runs the program with `what` (`present` or `cleanup`), the absolute name and the value.
    ///
    /// # Errors
    /// Returns a transient error if the program exceeds the time limit and is killed, and a permanent one if it cannot
    /// be started or its exit status is not 0, then with the first 300 characters of its standard error.
    async fn call(&self, what: &str, name: &str, value: &str) -> Result<(), ProviderError> {
        let shown = format!("{} {what} {name}.", self.program.display());
        let mut command = Command::new(&self.program);
        command.args([what, &format!("{name}."), value]);
        let exit = process::run(&mut command, self.within).await.map_err(|error| match error {
            RunError::TimedOut => {
                let why = format!("{shown}: took longer than {} s", self.within.as_secs());
                ProviderError::transient("exec", why)
            }
            RunError::Start(why) => ProviderError::permanent("exec", format!("{shown}: {why}")),
        })?;
        if exit.status.success() {
            return Ok(());
        }
        Err(ProviderError::permanent("exec", format!("{shown}: {}: {}", exit.status, exit.said)))
    }
}

#[async_trait]
impl Provider for Exec {
    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        if self.zones.is_empty() {
            return Ok(Some(ZoneMatch::new(apex, Coverage::Any)));
        }
        Ok(configured_zone(&self.zones, name, apex))
    }

    async fn add(&self, _: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        self.call("present", name, value).await.map(|()| None)
    }

    async fn remove(&self, _: &str, name: &str, value: &str, _: Option<&str>) -> Result<(), ProviderError> {
        self.call("cleanup", name, value).await
    }
}
