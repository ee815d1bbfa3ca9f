//! An embeddable edge proxy: it terminates TLS for HTTP/1.1, HTTP/2 and HTTP/3, forwards to upstreams, drops
//! connections for unknown names, and restores the real client address.
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
//! [`Proxy::builder`] takes listeners, sites, upstreams, a certificate resolver and an [`Observer`]. [`ProxyHandle`] is
//! the handle of the proxy, which serves on threads of its own. This example answers on a free loopback port:
//!
//! ```
//! use edge_proxy::Proxy;
//! use edge_proxy::config::{Action, Listener, PathMatch, PlainHttp, Response, Route, Site};
//! use std::io::{Read, Write};
//!
//! let hello = Response { status: 200, content_type: "text/plain".into(), body: b"hello".to_vec() };
//! let mut site = Site::new("hello", vec!["hello.test".parse()?])
//!     .route(Route::new(PathMatch::Prefix("/".into()), Action::Respond(hello)));
//! site.plain = PlainHttp::Serve;
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
//! The policy is a total function over plain values: [`decide`](mod@decide) and [`config`], re-exported from the crate
//! [`edge-policy`](edge_policy), and the codecs of [`edge-http`](edge_http). Both are without I/O and have no async
//! runtime in their dependency trees.
//!
//! # Features
//!
//! - `opentelemetry`: tracing. Each request and each upstream attempt is a span, exported to a collector by OTLP over
//!   HTTP. The trace context is accepted from trusted proxies and propagated to upstreams. It adds no dependency.
//!
//! # Limits
//!
//! Tested on Linux. A configuration belongs to one process; there is no response cache.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod bound_sockets;
mod buffer;
mod builder;
mod certificates;
mod client_auth;
mod date;
mod deadline;
mod descriptors;
mod downstream;
mod engine_group;
mod error;
mod exchange;
mod heads;
mod ids;
mod interfaces;
mod ktls;
mod lifecycle;
mod limits;
mod listen;
mod metrics;
mod observe;
mod passwords;
mod proxy;
mod proxy_extensions;
mod proxy_state;
mod relay;
mod resumption;
mod runtime;
mod send_queue;
mod shutdown;
mod socket;
mod splice;
mod sys;
mod tailscale;
mod takeover;
mod tls;
mod tls13;
mod traces;
mod upstream;
mod view;
mod worker;

/// The examples of the README, which are compiled with the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use edge_http;
pub use edge_policy;
pub use ipnet;
pub use rustls;

pub use edge_http::{BodyLength, Field, Fields, Method, Name, RequestHead, ResponseHead, Version};
pub use edge_policy::{
    CertificateContext, ClientCertificate, ConfigError, ConfigErrors, ConfigPath, Reason, ScheduleError,
    Snapshot, TicketSchedule, UnknownReason, config, decide, handler,
};

pub use builder::{Builder, Proxy};
pub use certificates::{
    CertificateError, CertificateFiles, CertificateInfo, Certificates, RefreshReport, SiteCertificates,
};
pub use client_auth::{ClientCertificatesError, check_client_certificates};
pub use error::StartError;
pub use metrics::{Histogram, Metrics, SiteMetrics, SpanMetrics};
pub use observe::{
    AcceptEvent, AccessRecord, ConnectionRejected, ForwardRecord, ListenerEvent, NoopObserver, Observer,
    OwnedAccessRecord, WorkerFailure,
};
pub use proxy::{ListenerStatus, ProxyHandle, WorkerStatus};
pub use resumption::{
    SealedKey, SealedSession, Shared, SharedError, SharedEvent, SharedMetrics, SharedStore, StoreError,
    StoreFuture,
};
pub use shutdown::ShutdownReport;
pub use tls::TlsParameters;
pub use upstream::{Cause, TargetChange, TargetEvent, TargetStatus, UpstreamTlsError, check_upstream_tls};
