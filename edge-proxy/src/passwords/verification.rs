//! Verifications that wait or run, each with the requests that wait for its result.

use super::cache::Tag;
use super::verdict::PasswordVerdict;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The highest number of requests that wait for one verification.
pub(super) const MAX_REQUESTS: usize = 256;

/// The channels of the requests that wait for each verification: true is sent for a right password.
static VERIFICATIONS: LazyLock<Mutex<HashMap<Tag, Vec<oneshot::Sender<bool>>>>> =
    LazyLock::new(Mutex::default);

/// Locks and returns the verifications that wait or run, also after a panic of another thread.
pub(super) fn verifications() -> MutexGuard<'static, HashMap<Tag, Vec<oneshot::Sender<bool>>>> {
    VERIFICATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A verification of credentials that waits or runs, of which there is one for each tag. Dropping it ends the wait of
/// its requests without a result.
pub(super) struct Verification {
    /// The tag of the credentials.
    pub(super) tag: Tag,
    /// True once it has ended, so that another one of the same tag may have begun.
    ended: bool,
}

impl Verification {
    /// Adds a request to the verification of the same credentials, or begins one if there is none and `admit` succeeds.
    /// Both are atomic: of simultaneous requests, exactly one begins a verification and calls `admit`. Returns the new
    /// verification with the result of `admit`, or `None` if the request was added to an existing one.
    ///
    /// # Errors
    /// The error of `admit`, or [`PasswordVerdict::Busy`] if [`MAX_REQUESTS`] wait for the verification already.
    /// Requests whose client is gone do not count.
    pub(super) fn begin<T>(
        tag: Tag,
        answer: oneshot::Sender<bool>,
        admit: impl FnOnce() -> Result<T, PasswordVerdict>,
    ) -> Result<Option<(Self, T)>, PasswordVerdict> {
        let mut all = verifications();
        match all.entry(tag) {
            Entry::Occupied(mut existing) => {
                let answers = existing.get_mut();
                answers.retain(|answer| !answer.is_closed());
                if answers.len() >= MAX_REQUESTS {
                    return Err(PasswordVerdict::Busy);
                }
                answers.push(answer);
                Ok(None)
            }
            Entry::Vacant(free) => {
                let admitted = admit()?;
                free.insert(vec![answer]);
                Ok(Some((Self { tag, ended: false }, admitted)))
            }
        }
    }

    /// Returns whether a request waits for the result. Otherwise the verification ends, so that none joins it.
    pub(super) fn is_awaited(&mut self) -> bool {
        let mut all = verifications();
        let awaited =
            all.get(&self.tag).is_some_and(|answers| answers.iter().any(|answer| !answer.is_closed()));
        if !awaited {
            all.remove(&self.tag);
            self.ended = true;
        }
        awaited
    }

    /// Sends the result to all requests that wait for it.
    pub(super) fn finish(mut self, right: bool) {
        let answers = verifications().remove(&self.tag);
        self.ended = true;
        for answer in answers.into_iter().flatten() {
            // The client may be gone.
            let _ = answer.send(right);
        }
    }
}

impl Drop for Verification {
    fn drop(&mut self) {
        if !self.ended {
            verifications().remove(&self.tag);
        }
    }
}
