//! An embeddable edge proxy: it terminates TLS for HTTP/1.1, HTTP/2 and HTTP/3, forwards to upstreams, drops connections for
//! unknown names, and restores the real client address.
//!
//! It does not read configuration files, issue certificates or cache responses.
//!
//! ```text
//! accept → PROXY header → ClientHello → sinkhole or site → handshake → request head
//!        → decide (site, client address, early data, route) → upstream → response → one record
//! ```
//!
//! # Serving
//!
//! [`Proxy::builder`] takes listeners, sites, upstreams, a certificate resolver and an [`Observer`]. [`ProxyHandle`] is the handle
//! of the proxy, which serves on threads of its own. This example answers on a free loopback port:
//!
#![cfg_attr(feature = "server", doc = "```")]
#![cfg_attr(not(feature = "server"), doc = "```ignore")]
//! use edge_proxy::Proxy;
//! use edge_proxy::config::{Action, Listener, PathMatch, Plain, Response, Route, Site};
//! use std::io::{Read, Write};
//!
//! let hello = Response { status: 200, content_type: "text/plain".into(), body: b"hello".to_vec() };
//! let mut site = Site::new("hello", vec!["hello.test".parse()?])
//!     .route(Route::new(PathMatch::Prefix("/".into()), Action::Respond(hello)));
//! site.plain = Plain::Serve;
//! let proxy = Proxy::builder().workers(1).listener(Listener::plain(([127, 0, 0, 1], 0).into())).site(site).start()?;
//!
//! let ask = |host: &str| -> std::io::Result<String> {
//!     let mut stream = std::net::TcpStream::connect(proxy.addresses()[0])?;
//!     write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer).map(|_| answer)
//! };
//! assert!(ask("hello.test")?.ends_with("hello"));
//! // An unknown name is closed without a response.
//! assert_eq!(ask("other.test")?, "");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Deciding without serving
//!
//! The policy is a total function over plain values. Without the feature `server` the crate is only that, and its dependency
//! tree has no async runtime:
//!
//! ```
//! use edge_proxy::config::{Config, Route, Site, Target, Upstream};
//! use edge_proxy::decide::{RequestContext, Verdict, decide};
//! use edge_proxy::{RequestHead, Snapshot, Version};
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
//! - `server` (default): the I/O shell. It adds tokio, rustls with aws-lc-rs, quinn-proto, and h2 for HTTP/2 upstreams.
//! - `opentelemetry`: tracing. Each request and each upstream attempt is a span, exported to a collector by OTLP over HTTP. The
//!   trace context is accepted from trusted proxies and propagated to upstreams. It adds no dependency.
//!
//! # Limits
//!
//! Tested on Linux. A configuration belongs to one process; there is no response cache.

#![cfg_attr(docsrs, feature(doc_cfg))]

// Modules that are hidden from the documentation are public for fuzzing and measurements only: they may change in any release.
pub mod auth;
pub mod balance;
mod base64;
pub mod client_address;
mod client_certificate;
#[macro_use]
mod codes;
#[doc(hidden)]
pub mod compression;
pub mod config;
pub mod decide;
pub mod early_data;
pub mod error_body;
pub mod field_names;
mod fields;
#[doc(hidden)]
pub mod flood;
#[doc(hidden)]
pub mod forwarded;
#[doc(hidden)]
pub mod grammar;
#[doc(hidden)]
pub mod h1;
#[doc(hidden)]
pub mod h2;
#[doc(hidden)]
pub mod h3;
pub mod handler;
mod head;
#[doc(hidden)]
pub mod hop_by_hop;
pub mod host;
mod name_class;
mod prefixed;
#[doc(hidden)]
pub mod priority;
#[doc(hidden)]
pub mod proxy_protocol;
pub mod rate;
mod reason;
mod scan;
mod section;
#[cfg(feature = "server")]
mod server;
mod sha1;
mod snapshot;
mod static_table;
pub mod tailnet;
mod ticket_schedule;
#[doc(hidden)]
pub mod trace_context;
#[doc(hidden)]
pub mod websocket;

/// The examples of the README, which are compiled with the tests of the documentation.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub use ipnet;
#[cfg(feature = "server")]
pub use rustls;

pub use client_certificate::{CertificateContext, ClientCertificate};
pub use fields::{Field, Fields, Name};
pub use head::{BodyLength, Method, RequestHead, ResponseHead, Version};
pub use reason::{Reason, UnknownReason};
pub use snapshot::{ConfigError, ConfigErrors, ConfigPath, Snapshot, nearest};
pub use ticket_schedule::{ScheduleError, TicketSchedule};

#[cfg(feature = "server")]
pub use server::{
    Cause, TargetChange, TargetEvent, TargetStatus, UpstreamTlsError,
    builder::{Builder, Proxy},
    certificates::{CertificateError, CertificateFiles, CertificateInfo, Certificates, RefreshReport},
    client_auth::ClientCertificatesError,
    error::StartError,
    metrics::{Histogram, Metrics, SiteMetrics, SpanMetrics},
    observe::{
        AcceptEvent, AccessRecord, ConnectionRejected, ForwardRecord, ListenerEvent, NoopObserver, Observer,
        WorkerFailure,
    },
    proxy::{ListenerStatus, ProxyHandle, WorkerStatus},
    resumption::{
        SealedKey, SealedSession, Shared, SharedError, SharedEvent, SharedMetrics, SharedStore, StoreError,
        StoreFuture,
    },
    tls::TlsParameters,
};
