//! Plans saved to a file, to be reviewed and applied later.

use crate::report;
use cli_support::outcome::Failure;
use cli_support::replace::replace;
use pg_ensure::{Consent, DestructibleObject, Digest, Plan};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A plan in a file. `apply` compares the digest only; the steps are for review.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedPlan {
    /// Version of the program, since digests of different versions are not comparable.
    program: String,
    /// Absolute path of the manifest.
    pub(crate) manifest: PathBuf,
    /// Digest of the plan and the state that it was made for.
    digest: String,
    /// Objects that the run may destroy.
    destroy: Vec<String>,
    /// Plan as `plan --json` prints it.
    plan: Value,
}

impl SavedPlan {
    /// Writes a plan to a file.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the file cannot be written.
    pub(crate) fn write(
        path: &Path,
        manifest: &Path,
        plan: &Plan,
        destroy: &[DestructibleObject],
    ) -> Result<(), Failure> {
        let manifest = std::path::absolute(manifest).map_err(|why| file_error(manifest, &why.to_string()))?;
        let saved = Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            manifest,
            digest: plan.digest.to_string(),
            destroy: destroy.iter().map(ToString::to_string).collect(),
            plan: report::plan_json(plan),
        };
        let text =
            serde_json::to_string_pretty(&saved).map_err(|why| file_error(path, &why.to_string()))? + "\n";
        replace(path, text.as_bytes()).map_err(|why| Failure::because(&why))
    }

    /// Reads a plan from a file.
    ///
    /// # Errors
    /// Returns a configuration error if the file is not valid, or was saved by another version of the program.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::Configuration(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?;
        let saved: Self = serde_json::from_str(&text).map_err(|why| wrong(why.to_string()))?;
        if saved.program != env!("CARGO_PKG_VERSION") {
            return Err(wrong(format!("it was saved by version {}; make a new plan", saved.program)));
        }
        Ok(saved)
    }

    /// Returns the digest of the plan.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the file contains a malformed digest.
    pub(crate) fn digest(&self) -> Result<Digest, Failure> {
        self.digest
            .parse()
            .map_err(|why: pg_ensure::plan::InvalidDigest| Failure::Configuration(why.to_string()))
    }

    /// Returns the consent that was given when the plan was saved.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the file contains a malformed object.
    pub(crate) fn consent(&self) -> Result<Consent, Failure> {
        let mut consent = Consent::none();
        for what in &self.destroy {
            let what = what.parse().map_err(|why: pg_ensure::plan::InvalidDestructibleObject| {
                Failure::Configuration(why.to_string())
            })?;
            consent = consent.destroying(what);
        }
        Ok(consent)
    }
}

/// Creates a failure about a file.
fn file_error(path: &Path, why: &str) -> Failure {
    Failure::Failed(format!("{}: {why}", path.display()))
}
