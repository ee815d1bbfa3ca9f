//! The async runtime of the commands.

use cli_support::outcome::Failure;
use std::future::Future;

/// Runs a future to completion on a new runtime with two worker threads.
///
/// # Errors
/// Returns a [`Failure`] if the runtime cannot be created.
pub(crate) fn block_on<F: Future>(work: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Ok(runtime.map_err(|why| Failure::Failed(format!("no runtime: {why}")))?.block_on(work))
}
