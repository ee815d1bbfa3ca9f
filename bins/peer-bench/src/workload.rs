//! The workloads, their peers, and the target ratios.

use crate::contender::Contender;
use crate::load::Protocol;

/// The work of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Small requests over reused connections.
    Small { protocol: Protocol, clients: usize, streams: usize },
    /// A new connection for each request.
    Handshakes { resumed: bool },
    /// Downloads of this path.
    Down { protocol: Protocol, path: &'static str, requests: u32, clients: usize },
    /// Uploads of 10 MiB.
    Up { protocol: Protocol, requests: u32 },
    /// Idle connections, 10,000 of them: memory per connection.
    Idle,
    /// Connections for unknown names.
    UnknownName,
    /// Plain requests for unknown hosts.
    UnknownHost,
    /// Two workers on two cores: requests per second, where higher is better.
    TwoWorkers { protocol: Protocol, clients: usize, streams: usize },
}

/// The compared figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// Processor time per request in microseconds.
    Processor,
    /// Memory per connection in bytes.
    Memory,
    /// Requests per second.
    Rate,
}

/// One line of the table.
pub(crate) struct Workload {
    /// The short name, which selects it.
    pub(crate) name: &'static str,
    /// The title in the table.
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// The peers to compare with; the best of them counts.
    pub(crate) beside: &'static [Contender],
    /// The target ratio, edge-proxyd's figure divided by the peer's.
    pub(crate) reach: f64,
}

impl Workload {
    /// Returns the compared figure.
    pub(crate) const fn measure(&self) -> Measure {
        match self.kind {
            Kind::Idle => Measure::Memory,
            Kind::TwoWorkers { .. } => Measure::Rate,
            _ => Measure::Processor,
        }
    }

    /// Returns whether a contender supports it.
    pub(crate) fn can(&self, contender: Contender) -> bool {
        let protocol = match self.kind {
            Kind::Small { protocol, .. }
            | Kind::Down { protocol, .. }
            | Kind::Up { protocol, .. }
            | Kind::TwoWorkers { protocol, .. } => protocol,
            // HAProxy reserves two descriptors per connection, more than most machines allow.
            Kind::Idle => return contender != Contender::Haproxy,
            // The small pingora proxy serves every name.
            Kind::UnknownName | Kind::UnknownHost => return contender != Contender::Pingora,
            _ => Protocol::Http1,
        };
        contender != Contender::Pingora || protocol != Protocol::Http3
    }

    /// Returns the number of workers.
    pub(crate) const fn workers(&self) -> usize {
        if matches!(self.kind, Kind::TwoWorkers { .. }) { 2 } else { 1 }
    }
}

const NGINX: &[Contender] = &[Contender::Nginx];
const PINGORA: &[Contender] = &[Contender::Pingora];
const ANY: &[Contender] = &[Contender::Nginx, Contender::Haproxy, Contender::Caddy];

/// All workloads, in the order of the table.
pub(crate) const ALL: &[Workload] = &[
    small("h1", "HTTP/1.1, 1 KiB, 64 connections", Protocol::Plain, 64, 1, 0.82),
    small("h1-tls", "HTTP/1.1 over TLS 1.3, 1 KiB, 64 connections", Protocol::Http1, 64, 1, 0.75),
    small("h2", "HTTP/2 over TLS, 1 KiB, 16 × 32 streams", Protocol::Http2, 16, 32, 0.80),
    small("h3", "HTTP/3, 1 KiB, 16 × 32 streams", Protocol::Http3, 16, 32, 0.80),
    small("h3-few", "HTTP/3, 1 KiB, 4 × 1 streams", Protocol::Http3, 4, 1, 0.85),
    Workload {
        name: "handshake",
        title: "full TLS handshake and one request",
        kind: Kind::Handshakes { resumed: false },
        beside: PINGORA,
        reach: 0.70,
    },
    Workload {
        name: "resumed",
        title: "resumed TLS handshake and one request",
        kind: Kind::Handshakes { resumed: true },
        beside: PINGORA,
        reach: 0.70,
    },
    down("down-h1", "100 MiB down, HTTP/1.1 over TLS", Protocol::Http1, "/100m", 12, 1, 0.90),
    down("down-h2", "100 MiB down, HTTP/2", Protocol::Http2, "/100m", 12, 1, 0.85),
    down("down-h3-1m", "1 MiB down, HTTP/3", Protocol::Http3, "/1m", 400, 4, 0.40),
    down("down-h3", "100 MiB down, HTTP/3", Protocol::Http3, "/100m", 5, 1, 0.70),
    up("up-h1", "10 MiB up, HTTP/1.1 over TLS", Protocol::Http1, 60, 0.85),
    up("up-h2", "10 MiB up, HTTP/2", Protocol::Http2, 60, 0.85),
    up("up-h3", "10 MiB up, HTTP/3", Protocol::Http3, 20, 0.70),
    Workload {
        name: "idle",
        title: "memory of an idle TLS connection, of 10,000",
        kind: Kind::Idle,
        beside: NGINX,
        reach: 9.0 / 22.7,
    },
    Workload {
        name: "unknown-name",
        title: "ClientHello for an unknown name",
        kind: Kind::UnknownName,
        beside: NGINX,
        reach: 0.60,
    },
    Workload {
        name: "unknown-host",
        title: "plain request for an unknown host",
        kind: Kind::UnknownHost,
        beside: NGINX,
        reach: 0.80,
    },
    two("two-h1", "two workers, HTTP/1.1 over TLS, requests per second", Protocol::Http1, 64, 1),
    two("two-h2", "two workers, HTTP/2, requests per second", Protocol::Http2, 16, 32),
    two("two-h3", "two workers, HTTP/3, requests per second", Protocol::Http3, 16, 32),
];

const fn small(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    clients: usize,
    streams: usize,
    reach: f64,
) -> Workload {
    Workload { name, title, kind: Kind::Small { protocol, clients, streams }, beside: NGINX, reach }
}

const fn down(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    path: &'static str,
    requests: u32,
    clients: usize,
    reach: f64,
) -> Workload {
    Workload { name, title, kind: Kind::Down { protocol, path, requests, clients }, beside: NGINX, reach }
}

const fn up(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    requests: u32,
    reach: f64,
) -> Workload {
    Workload { name, title, kind: Kind::Up { protocol, requests }, beside: ANY, reach }
}

const fn two(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    clients: usize,
    streams: usize,
) -> Workload {
    Workload { name, title, kind: Kind::TwoWorkers { protocol, clients, streams }, beside: NGINX, reach: 1.2 }
}
