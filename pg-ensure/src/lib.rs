#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod acl;
#[cfg(feature = "client")]
pub mod client;
mod comment;
pub mod current;
pub mod desired;
mod diff;
mod import;
pub mod inside;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod model;
mod name;
mod object;
mod owned;
pub mod plan;
mod presence;
mod scram;
mod subject;
mod time;
mod version;

pub use acl::{Acl, Grantee, ObjectKind, Privilege, Privileges};
pub use current::Current;
pub use desired::{Desired, Password, Role};
pub use diff::diff;
pub use import::import;
pub use name::{ContainsNul, MAX_IDENTIFIER, Name, NameError, Text};
pub use object::{Local, NotASetting, Object, Setting};
pub use plan::{Blocked, Change, Consent, Destroyed, Digest, Obstacle, Plan, Risk, Step};
pub use scram::{DEFAULT_ITERATIONS, MAX_VERIFIER, PasswordError, Verifier, VerifierError};
pub use secrecy;
pub use time::{NotATime, ValidUntil};
pub use version::{TooOld, Version};

#[cfg(any(feature = "client", feature = "manifest"))]
pub use serde_json;
#[cfg(feature = "client")]
pub use tokio_postgres;
#[cfg(feature = "manifest")]
pub use toml;
