//! Plans that were saved to be looked at and applied later.

use crate::report;
use cli_support::outcome::Failure;
use cli_support::replace::replace;
use pg_ensure::{Consent, DestructibleObject, Digest, Plan};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A plan in a file. `apply` compares its digest only; the steps are there for people to read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedPlan {
    /// The program's version, since a digest means nothing to another.
    program: String,
    /// The manifest's path.
    pub(crate) manifest: PathBuf,
    /// The digest that binds the plan to its state.
    digest: String,
    /// The objects that the run may destroy.
    destroy: Vec<String>,
    /// The plan as `plan --json` shows it.
    plan: Value,
}

impl SavedPlan {
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

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::Configuration(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?;
        let saved: Self = serde_json::from_str(&text).map_err(|why| wrong(why.to_string()))?;
        if saved.program != env!("CARGO_PKG_VERSION") {
            return Err(wrong(format!("it was saved by version {}; make a new plan", saved.program)));
        }
        Ok(saved)
    }

    pub(crate) fn digest(&self) -> Result<Digest, Failure> {
        self.digest
            .parse()
            .map_err(|why: pg_ensure::plan::InvalidDigest| Failure::Configuration(why.to_string()))
    }

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

fn file_error(path: &Path, why: &str) -> Failure {
    Failure::Failed(format!("{}: {why}", path.display()))
}
