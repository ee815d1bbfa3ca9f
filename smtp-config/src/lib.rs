// Links of the README to items: the first definition of a link counts.
#![doc = include_str!("links.md")]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod check;
mod decide;
#[cfg(feature = "doctor")]
pub mod doctor;
mod duration;
mod edit;
mod effective;
mod effective_incoming;
pub mod environment;
mod explain;
mod fatal;
mod finding;
mod host;
mod incoming;
pub mod ini;
mod mailer;
mod mailer_error;
mod message;
mod migrate;
mod nixos;
pub mod policy;
mod presets;
mod protocol;
mod redact;
mod reply;
mod reply_to;
mod route;
mod secret_uri;
mod section;
mod shell;
mod transport;
mod version;

pub use address::{
    Address, AddressError, AddressRules, format_address, mailbox, parse_address, with_quoted_name,
};
pub use check::{SecretFile, check, secret_file};
pub use decide::{
    AfterEhlo, Authentication, Encryption, Exposure, Mechanism, StartTlsSupport, after_ehlo, authentication,
    mechanism,
};
pub use edit::{Change, EditError, edit, edit_parsed};
pub use effective::{
    ClientFiles, EffectiveMailer, EffectiveTransport, Helo, Origin, Password, SendmailCommand, effective,
    secret_of_file,
};
pub use effective_incoming::{EffectiveIncoming, effective_incoming};
pub use explain::{ExplainedKey, Explanation, Start, explain};
pub use fatal::Fatal;
pub use finding::{Code, Finding, Severity};
pub use host::{HostPortError, split_host_port};
pub use incoming::Incoming;
pub use ini::boolean;
pub use mailer::{Credential, Mailer};
pub use mailer_error::MailerError;
pub use message::{Message, date, smtp_data};
pub use migrate::{Migration, MigrationError, migrate};
pub use nixos::{NixosSecret, nixos};
pub use presets::{PRESETS, Preset, PresetError};
pub use protocol::Protocol;
pub use redact::{carries_credentials, is_secret_key, visible_value};
pub use reply::{Reply, ReplyError, reply};
pub use reply_to::{ReplyToError, TOKEN, reply_to};
pub use route::{Route, RouteError, by_app_ini, by_environment_file, by_uri, choose};
#[cfg(feature = "doctor")]
pub use rustls;
pub use secrecy;
pub use secret_uri::{SecretUriError, secret_path};
pub use section::{INCOMING, OVERRIDE_HEADER, SECTION, Setting, SettingError};
pub use shell::{shell_quoted, shell_words};
pub use transport::{Server, Transport};
pub use version::{RELEASES, Release, Version};
