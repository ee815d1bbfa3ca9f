//! The decisions of an edge proxy as total functions over plain values: the site and route of a request, the client's
//! address, the use of early data, authentication, and the choice of a target, each with its reason.
//!
//! There is no I/O, no clock and no randomness here: facts come in as arguments. A server that acts on the decisions is
//! the crate `edge-proxy`, and `edge-proxyd explain` prints them.
//!
//! # Example
//!
//! ```
//! use edge_http::{RequestHead, Version};
//! use edge_policy::Snapshot;
//! use edge_policy::config::{Config, Route, Site, Target, Upstream};
//! use edge_policy::decide::{RequestContext, Verdict, decide};
//!
//! let mut config = Config::default();
//! config.sites.push(Site::new("git", vec!["git.example.org".parse()?]).route(Route::forward("forgejo")));
//! config.upstreams.push(Upstream::new("forgejo", Target::Tcp { host: "100.64.0.2".into(), port: 80 }));
//! let snapshot = Snapshot::new(config)?;
//!
//! let mut head = RequestHead::new(Version::Http11);
//! head.authority = "git.example.org".into();
//! head.target = "/".into();
//! let facts = RequestContext::tls("203.0.113.7:40000".parse()?, "git.example.org");
//! assert_eq!(decide(&snapshot, &facts, &head).verdict, Verdict::Forward { upstream: 0 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `opentelemetry`: the configuration of traces. It adds no dependency.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod auth;
pub mod balance;
pub mod client_address;
mod client_certificate;
pub mod compression;
pub mod config;
pub mod decide;
pub mod early_data;
pub mod handler;
pub mod rate;
mod reason;
mod snapshot;
pub mod tailnet;
mod ticket_schedule;

/// The examples of the README, which are compiled with the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use edge_http;
pub use ipnet;

pub use client_certificate::{CertificateContext, ClientCertificate};
pub use reason::{Reason, UnknownReason};
pub use snapshot::{ConfigError, ConfigErrors, ConfigPath, Snapshot, nearest};
pub use ticket_schedule::{ScheduleError, TicketSchedule};
