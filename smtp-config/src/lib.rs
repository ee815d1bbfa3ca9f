#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod check;
mod edit;
pub mod ini;
mod mailer;
mod route;

pub use address::{has_unquoted_specials, mailbox};
pub use check::{Code, Finding, Severity, boolean, check};
pub use edit::{Change, EditError, edit};
pub use mailer::{Mailer, PRESETS, Preset, Protocol, SECTION};
pub use route::{Impossible, Route, URI_SINCE, by_app_ini, by_uri, choose};
