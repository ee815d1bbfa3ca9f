//! Parts of the configuration whose secrets or files cannot be read yet: they may be provided later, such as by a mount
//! or another service. Each holds back only what needs it.

use crate::blocking::{BlockingError, BlockingValue};
use crate::error::BuildError;
use acme_dns01::deferred::Deferred;
use cli_support::outcome::chain;
use cli_support::secret::Reference;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time limit for reading the secrets and files of a part, after which it is not ready: the file system does not answer.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Pause before the parts that are not ready are looked at again.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// Selection of the secrets that need not be readable when an engine is built. What needs them is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateSecrets {
    /// Every secret, including those that cannot be provided while the process runs.
    All,
    /// Secrets in files (`file:` and `age:`), which may be provided while the process runs. Credentials of systemd and
    /// environment variables are given at its start.
    Files,
}

impl LateSecrets {
    /// Returns `true` if the selection includes the secret of this reference.
    fn includes(self, reference: &Reference) -> bool {
        match self {
            Self::All => true,
            Self::Files => matches!(reference, Reference::File(_) | Reference::Age { .. }),
        }
    }

    /// Returns `true` if a part may be built later despite this error: it is about one of the part's secrets that the
    /// selection includes, or about one of its files. A secret that can be read but has unusable content counts too,
    /// unless it is a connection string in a selection of files: that is written once, by hand.
    fn cover(self, error: &BuildError, needs: &Needs<'_>) -> bool {
        let (key, is_content) = match error {
            BuildError::Value { key, .. } => (key, true),
            BuildError::Secret { key, .. } => (key, false),
            BuildError::Environment(_) => return false,
        };
        let is_written = is_content && self == Self::Files && key == "database";
        needs.secrets.iter().any(|(known, reference)| known == key && self.includes(reference) && !is_written)
            || needs.files.contains(key)
    }
}

/// Secrets and files that a part needs, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Needs<'s> {
    /// References to secrets.
    pub(crate) secrets: Vec<(String, &'s Reference)>,
    /// Keys of files, such as root certificates.
    pub(crate) files: Vec<String>,
}

/// Returns the consequence of a part that is not ready, by the dotted path of the part or of one of its keys.
#[must_use]
pub fn consequence(key: &str) -> &'static str {
    match key.split('.').next() {
        Some("provider") => "certificates that may need this provider are held back until then",
        Some("authority") if key.contains(".eab") => {
            "certificates of this authority are held back until then, unless its account is registered"
        }
        Some("authority") => "certificates of this authority are held back until then",
        Some("alert") => "alerts are not sent there until then",
        _ => "nothing is ordered until then; the certificates of this machine stay in use",
    }
}

/// A part of the configuration that was not ready when the engine was built.
#[derive(Clone, Debug)]
pub struct PendingPart {
    /// Dotted path of the part, such as `provider.NAME` or `alert.webhook`.
    pub part: String,
    /// Error of building it.
    pub error: Arc<BuildError>,
    look: Deferred<()>,
}

impl PendingPart {
    /// Returns the consequence while the part is not ready.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        let (BuildError::Value { key, .. } | BuildError::Secret { key, .. }) = &*self.error else {
            return consequence(&self.part);
        };
        consequence(key)
    }

    /// Reads the secrets and files of the part again, unless that has succeeded before.
    ///
    /// # Errors
    /// Returns a description with the key of what cannot be read or is not valid.
    pub async fn look(&self) -> Result<(), String> {
        self.look.get().await
    }
}

/// The parts that were not ready when the engine was built, and the state of each. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct PendingParts {
    all: Arc<[PendingPart]>,
    /// Reasons of the parts that are not ready, by the path of the part.
    lacking: Arc<Mutex<BTreeMap<String, String>>>,
}

impl PendingParts {
    /// Creates the state of these parts, none of which is ready.
    fn new(all: Vec<PendingPart>) -> Self {
        let lacking = all.iter().map(|part| (part.part.clone(), chain(&*part.error))).collect();
        Self { all: all.into(), lacking: Arc::new(Mutex::new(lacking)) }
    }

    /// Returns all parts that were not ready at first, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[PendingPart] {
        &self.all
    }

    /// Locks the reasons.
    fn reasons(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns each of these parts with the reason why it was not ready at the last look, followed by the consequence.
    /// The reason is `None` for a part that is ready by now.
    #[must_use]
    pub fn state(&self) -> Vec<(String, Option<String>)> {
        let reasons = self.reasons();
        let state = |part: &PendingPart| {
            let reason = reasons.get(&part.part);
            (part.part.clone(), reason.map(|why| format!("{why}: {}", part.consequence())))
        };
        self.all.iter().map(state).collect()
    }

    /// Looks at the parts that are not ready every 5 s, and calls `on_ready` with the path of each that has become
    /// ready. Returns when all are.
    pub async fn watch(&self, on_ready: impl Fn(&str)) {
        while !self.reasons().is_empty() {
            tokio::time::sleep(LOOK_PAUSE).await;
            for part in self.all.iter() {
                if !self.reasons().contains_key(&part.part) {
                    continue;
                }
                match part.look().await {
                    Ok(()) => {
                        self.reasons().remove(&part.part);
                        on_ready(&part.part);
                    }
                    Err(why) => drop(self.reasons().insert(part.part.clone(), why)),
                }
            }
        }
    }
}

/// A part that was built, or will be.
pub(crate) enum Built<T> {
    /// It is ready.
    Now(T),
    /// A secret or file of it cannot be read yet.
    Later(Deferred<T>),
}

/// Builds parts of the configuration, and collects those that are not ready.
pub(crate) struct PartBuilder {
    late: LateSecrets,
    lacking: Vec<PendingPart>,
}

impl PartBuilder {
    /// Creates a builder whose parts may lack the secrets of this selection, and files.
    pub(crate) const fn new(late: LateSecrets) -> Self {
        Self { late, lacking: Vec::new() }
    }

    /// Returns the parts that are not ready.
    pub(crate) fn finish(self) -> PendingParts {
        PendingParts::new(self.lacking)
    }

    /// Builds the part at this dotted path. If something of its `needs` cannot be read and may come later, `build` is
    /// called again whenever the part is needed, until it succeeds.
    ///
    /// # Errors
    /// Returns the error of `build` otherwise.
    pub(crate) fn build<T: Clone + Send + Sync + 'static>(
        &mut self,
        part: &str,
        needs: &Needs<'_>,
        build: impl Fn() -> Result<T, BuildError> + Send + Sync + 'static,
    ) -> Result<Built<T>, BuildError> {
        match build() {
            Ok(built) => Ok(Built::Now(built)),
            Err(error) if self.late.cover(&error, needs) => {
                let value = deferred_value(part, build);
                let looked = value.clone();
                let look = Deferred::new(move || {
                    let looked = looked.clone();
                    async move { looked.get().await.map(drop) }
                });
                self.lacking.push(PendingPart { part: part.to_owned(), error: Arc::new(error), look });
                Ok(Built::Later(value))
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the value that `build` builds from secrets and files of the part at this dotted path. It is kept once it was
/// built. An attempt ends after [`READ_WITHIN`].
fn deferred_value<T: Clone + Send + Sync + 'static>(
    part: &str,
    build: impl Fn() -> Result<T, BuildError> + Send + Sync + 'static,
) -> Deferred<T> {
    let (part, built, build) = (part.to_owned(), Arc::new(BlockingValue::new()), Arc::new(build));
    Deferred::new(move || {
        let (part, built, build) = (part.clone(), built.clone(), build.clone());
        async move {
            let compute = move || build().map_err(|why| chain(&why));
            built.get(READ_WITHIN, compute).await.map_err(|error| match error {
                BlockingError::Failed(why) => why,
                BlockingError::TimedOut => {
                    let seconds = READ_WITHIN.as_secs();
                    format!("{part}: the file system of its files does not answer within {seconds} s")
                }
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::value_error;

    #[test]
    fn what_may_come_later() {
        let (file, given): (Reference, Reference) =
            ("file:/run/x".parse().expect("a reference"), "env:NOWHERE".parse().expect("a reference"));
        let needs = |reference| Needs {
            secrets: vec![("database".to_owned(), reference), ("alert.webhook".to_owned(), reference)],
            files: vec!["database_roots".to_owned()],
        };
        let unreadable = |key: &str| BuildError::Secret {
            key: key.to_owned(),
            why: given.read().expect_err("there is no such variable"),
        };
        let (all, files) = (LateSecrets::All, LateSecrets::Files);
        for (error, reference, wanted) in [
            (unreadable("database"), &file, [true, true]),
            (unreadable("database"), &given, [true, false]),
            (value_error("database", "no connection string"), &file, [true, false]),
            (value_error("alert.webhook", "no text"), &file, [true, true]),
            (value_error("database_roots", "no such file"), &given, [true, true]),
            (value_error("folder", "no folder"), &file, [false, false]),
            (BuildError::Environment("no roots".to_owned()), &file, [false, false]),
        ] {
            let needs = needs(reference);
            assert_eq!([all.cover(&error, &needs), files.cover(&error, &needs)], wanted, "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_part_is_looked_at_until_it_is_ready_and_built_once() {
        let calls = Arc::new(Mutex::new(0));
        let counted = calls.clone();
        let build = move || {
            let mut calls = counted.lock().expect("no panic");
            *calls += 1;
            if *calls < 3 { Err(value_error("alert.webhook", format!("try {calls}"))) } else { Ok(*calls) }
        };
        let mut parts = PartBuilder::new(LateSecrets::Files);
        let needs = Needs { files: vec!["alert.webhook".to_owned()], ..Needs::default() };
        let Built::Later(value) = parts.build("alert.webhook", &needs, build).expect("it may come later")
        else {
            panic!("it is not ready");
        };
        let parts = parts.finish();
        let reason = "alert.webhook: try 1: alerts are not sent there until then";
        assert_eq!(parts.state(), [("alert.webhook".to_owned(), Some(reason.to_owned()))]);
        let ready = Mutex::new(Vec::new());
        parts.watch(|part| ready.lock().expect("no panic").push(part.to_owned())).await;
        assert_eq!(*ready.lock().expect("no panic"), ["alert.webhook"]);
        assert_eq!(parts.state(), [("alert.webhook".to_owned(), None)]);
        assert_eq!((value.get().await, *calls.lock().expect("no panic")), (Ok(3), 3));
    }
}
