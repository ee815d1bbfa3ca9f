// Links of the README to items: the first definition of a link counts.
#![doc = include_str!("links.md")]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod analyze;
mod attempt;
mod connection;
mod decide;
mod diff;
mod document;
mod encoding;
mod error;
mod explain;
mod guard;
mod hosts;
mod ident;
mod index;
#[cfg(feature = "install")]
pub mod install;
mod method;
mod policy;
mod regex;
mod render;
mod rule;
mod server;
mod shadow;
mod space;
mod token;

pub use address::Network;
pub use analyze::{Analysis, Code, Finding, Severity, Waiver, WaiverError, analyze};
pub use attempt::{Attempt, EmptyEnvironment, Environment, Replication, StaticEnvironment, Transport};
pub use connection::ConnectionType;
pub use decide::{Decision, DecisionReason, Mismatch, decide};
pub use diff::{CounterExample, Diff, diff};
pub use document::{Content, Document, Include, IncludeError, Line, NoIncludes, RejectedFile};
pub use encoding::{decode_file, encode_file};
pub use error::{ParseError, Refusal};
pub use explain::{Dependency, Explanation, Knowledge, Possibility, explain};
pub use guard::admits;
pub use hosts::{Host, HostPattern, Hosts, HostsError};
pub use ident::{Mapping, Mappings, SystemUser};
pub use index::Index;
pub use method::{Method, Setting};
pub use policy::{Local, Policy, ReplicationGrant, Service, TAILNET_V4, TAILNET_V6, Tailnet, Tls};
#[cfg(feature = "serde")]
pub use policy::{LocalSpec, PolicyError, PolicySpec, ReplicationSpec, ServiceSpec, TailnetSpec, TlsSpec};
pub use regex::{Pattern, PatternError};
pub use render::{MANAGED, RenderError, render};
pub use rule::{Address, Database, Origin, Outcome, Rule, User};
pub use server::{Capability, Server, UnknownVersion, Version};
pub use shadow::{ShadowedRule, shadowed_rules};
pub use space::Undecidable;
pub use token::{Field, Span, Token};

pub use ipnet;
#[cfg(feature = "install")]
pub use tokio_postgres;
