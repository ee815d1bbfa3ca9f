//! Values that may become available after the start of the process, such as secrets in files.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Future of one attempt to obtain a value: the value, or a description of what is missing.
type AttemptFuture<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// A value that is obtained when it is needed. Until it is available, each attempt fails with a description of what is
/// missing, and what needs the value waits for it.
pub struct Deferred<T> {
    obtain: Arc<dyn Fn() -> AttemptFuture<T> + Send + Sync>,
}

impl<T> Deferred<T> {
    /// Creates a value that `obtain` obtains. It is called whenever the value is needed, so it should keep a value that
    /// it has obtained, and should limit the time of an attempt. Its error names what is missing, with the fix and
    /// without any part of a secret.
    pub fn new<F>(obtain: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        Self { obtain: Arc::new(move || Box::pin(obtain())) }
    }

    /// Tries to obtain the value.
    ///
    /// # Errors
    /// Returns the description of what is missing.
    pub async fn get(&self) -> Result<T, String> {
        (self.obtain)().await
    }
}

impl<T> Clone for Deferred<T> {
    fn clone(&self) -> Self {
        Self { obtain: self.obtain.clone() }
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}
