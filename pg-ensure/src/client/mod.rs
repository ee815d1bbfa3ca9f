//! The client: inspects a server in snapshots, and applies a plan under a lock.

mod apply;
mod connect;
mod error;
mod execute;
mod inspect;
mod observer;
mod password;
mod probe;
mod query;
mod recovery;
mod refused;
mod rows;
pub(crate) mod snapshot;
#[cfg(feature = "rustls")]
pub mod tls;

pub use apply::{AppliedChanges, ApplyOptions, Outcome};
pub use connect::{Server, Timeouts};
pub use error::Error;
pub use observer::{Event, NoopObserver, Observer};
pub use password::SET_PASSWORDS;
pub use snapshot::SnapshotError;
