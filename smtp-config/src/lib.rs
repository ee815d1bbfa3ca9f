#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod check;
mod decide;
#[cfg(feature = "doctor")]
pub mod doctor;
mod edit;
pub mod environment;
mod forgejo;
mod incoming;
pub mod ini;
mod mailer;
mod message;
mod nixos;
pub mod policy;
mod presets;
mod reply;
mod route;

pub use address::{has_unquoted_specials, mailbox};
pub use check::{Code, Finding, Severity, boolean, check};
pub use decide::{AfterEhlo, Authentication, Exposure, Mechanism, after_ehlo, authentication, mechanism};
pub use edit::{Change, EditError, edit};
pub use forgejo::{Effective, Fatal, Helo, Origin, Password, Spoken, Version, effective};
pub use incoming::{INCOMING, Incoming, ReplyToError, TOKEN, reply_to};
pub use mailer::{Mailer, MailerError, OVERRIDE_HEADER, Protocol, SECTION, Server, Setting, Transport};
pub use message::{Message, date, dotted};
pub use nixos::nixos;
pub use presets::{PRESETS, Preset, PresetError};
pub use reply::{Reply, ReplyError, reply};
pub use route::{Impossible, Route, URI_SINCE, by_app_ini, by_environment_file, by_uri, choose};
