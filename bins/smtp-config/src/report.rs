//! How a run ends, and how that is said.

use std::process::ExitCode;
use thiserror::Error;

/// A run that did what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing else to say.
    Fine,
    /// Differences or findings.
    Differences,
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        match done {
            Done::Fine => Self::SUCCESS,
            Done::Differences => Self::from(3),
        }
    }
}

/// A run that did not.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// What was given means nothing.
    #[error("{0}")]
    Configuration(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Configuration(_) => 2,
        }
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::json!({"error": self.to_string()}));
        } else {
            eprintln!("smtp-config: {self}");
        }
    }
}
