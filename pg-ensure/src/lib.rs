// Links of the README to items: the first definition of a link counts.
#![doc = include_str!("links.md")]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod acl;
#[cfg(feature = "client")]
pub mod client;
mod cluster;
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
mod rights;
mod scram;
mod script;
mod subject;
mod time;
mod version;

pub use acl::{Acl, Grantee, ObjectKind, Privilege, Privileges};
pub use current::CurrentState;
pub use desired::{DesiredState, Password, Role};
pub use diff::diff;
pub use import::import;
pub use name::{ContainsNul, MAX_IDENTIFIER, Name, NameError, Text};
pub use object::{InvalidSettingName, Local, Object, Setting};
pub use plan::{BlockedChange, Change, Consent, DestructibleObject, Digest, Obstacle, Plan, Risk, Step};
pub use scram::{DEFAULT_ITERATIONS, MAX_VERIFIER, PasswordError, Verifier, VerifierError};
pub use secrecy;
pub use time::{InvalidTime, ValidUntil};
pub use version::{UnsupportedVersion, Version};

#[cfg(any(feature = "client", feature = "manifest"))]
pub use serde_json;
#[cfg(feature = "rustls")]
pub use tokio;
#[cfg(feature = "client")]
pub use tokio_postgres;
#[cfg(feature = "manifest")]
pub use toml;
