//! Values whose computation may block, such as by reading a file of a mount that hangs.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

/// A value computed by a function that may block or fail. A successful computation is not repeated.
pub(crate) struct BlockingValue<T> {
    /// The value, once a computation has succeeded.
    value: Arc<OnceLock<T>>,
    /// Locked while a computation is under way.
    turn: Arc<Mutex<()>>,
}

/// Error of [`BlockingValue::get`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BlockingError {
    /// The computation failed. The text is the reason.
    Failed(String),
    /// The computation has not ended within the time limit. It continues.
    TimedOut,
}

impl<T: Clone + Send + Sync + 'static> BlockingValue<T> {
    /// Creates a value that is not computed yet.
    pub(crate) fn new() -> Self {
        Self { value: Arc::default(), turn: Arc::default() }
    }

    /// Returns the value. Unless an earlier computation succeeded, runs `compute` in a separate thread, which blocks
    /// neither the runtime nor the end of the process. One computation runs at a time. Waits for at most `within`.
    ///
    /// # Errors
    /// Returns [`BlockingError::Failed`] if `compute` fails or panics, or the thread cannot be started, and
    /// [`BlockingError::TimedOut`] if `compute`, or an earlier computation that is still running, takes longer.
    pub(crate) async fn get(
        &self,
        within: Duration,
        compute: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, BlockingError> {
        if let Some(value) = self.value.get() {
            return Ok(value.clone());
        }
        let until = Instant::now() + within;
        let turn = timeout_at(until, self.turn.clone().lock_owned()).await;
        let turn = turn.map_err(|_| BlockingError::TimedOut)?;
        if let Some(value) = self.value.get() {
            return Ok(value.clone());
        }
        let (sender, receiver) = oneshot::channel();
        let value = self.value.clone();
        let work = move || {
            let computed = compute().map(|computed| value.get_or_init(|| computed).clone());
            drop(turn);
            // The caller may have ceased to wait.
            let _ = sender.send(computed);
        };
        std::thread::Builder::new()
            .name("secrets".to_owned())
            .spawn(work)
            .map_err(|why| BlockingError::Failed(why.to_string()))?;
        match timeout_at(until, receiver).await {
            Ok(Ok(computed)) => computed.map_err(BlockingError::Failed),
            Ok(Err(_)) => Err(BlockingError::Failed("the computation has panicked".to_owned())),
            Err(_) => Err(BlockingError::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn a_computation_that_hangs_is_not_waited_for_and_not_begun_again() {
        let value = BlockingValue::new();
        let within = Duration::from_millis(50);
        let failed = value.get(within, || Err("no file".to_owned())).await;
        assert_eq!(failed, Err(BlockingError::Failed("no file".to_owned())));
        let (go, hangs) = channel();
        let first = value.get(within, move || Ok(hangs.recv().expect("a value"))).await;
        assert_eq!(first, Err(BlockingError::TimedOut));
        // On the same thread as this test: it would hang as well.
        let second = value.get(within, || panic!("a second one beside the first")).await;
        assert_eq!(second, Err(BlockingError::TimedOut));
        go.send(7).expect("it is waited for");
        let unused = || Err("computed already".to_owned());
        assert_eq!(value.get(Duration::from_secs(10), unused).await, Ok(7));
    }
}
