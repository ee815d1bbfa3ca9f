//! Workloads, their peers, and the target ratios.

use crate::contender::Contender;
use crate::load::Protocol;

/// Work of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Requests for 1 KiB over reused connections.
    Small { protocol: Protocol, clients: usize, streams: usize },
    /// A new TLS connection for each request. Its session is resumed if `resumed` is `true`.
    Handshakes { resumed: bool },
    /// Downloads of a path: a number of requests over a number of connections.
    Down { protocol: Protocol, path: &'static str, requests: u32, clients: usize },
    /// Uploads of 10 MiB, over two connections.
    Up { protocol: Protocol, requests: u32 },
    /// Idle connections, 10,000 of them: memory per connection.
    Idle,
    /// TLS connections for unknown names.
    UnknownName,
    /// Requests without TLS for unknown hosts.
    UnknownHost,
    /// Two workers on two cores: requests per second, where higher is better.
    TwoWorkers { protocol: Protocol, clients: usize, streams: usize },
}

/// Figure by which contenders are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// Processor time per request in microseconds.
    Processor,
    /// Memory per connection in bytes.
    Memory,
    /// Requests per second.
    Rate,
}

/// A workload, which is one line of the table.
pub(crate) struct Workload {
    /// Short name, by which it is selected.
    pub(crate) name: &'static str,
    /// Title in the table.
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// Peers of the comparison, of which the best one counts.
    pub(crate) beside: &'static [Contender],
    /// Target ratio: edge-proxyd's figure divided by the peer's, which is a maximum, or for rates a minimum.
    pub(crate) reach: f64,
}

impl Workload {
    /// Returns the figure by which contenders are compared.
    pub(crate) const fn measure(&self) -> Measure {
        match self.kind {
            Kind::Idle => Measure::Memory,
            Kind::TwoWorkers { .. } => Measure::Rate,
            _ => Measure::Processor,
        }
    }

    /// Returns `true` if a contender supports the workload and is to be measured: tuned nginx only at
    /// workloads that compare it, the others only at the rest; HAProxy not with idle connections; pingora not over
    /// HTTP/3 or with unknown names and hosts.
    pub(crate) fn is_supported_by(&self, contender: Contender) -> bool {
        let protocol = match self.kind {
            Kind::Small { protocol, .. }
            | Kind::Down { protocol, .. }
            | Kind::Up { protocol, .. }
            | Kind::TwoWorkers { protocol, .. } => protocol,
            // HAProxy reserves two descriptors per connection, more than most machines permit.
            Kind::Idle if contender == Contender::Haproxy => return false,
            // The small pingora proxy serves every name.
            Kind::UnknownName | Kind::UnknownHost if contender == Contender::Pingora => return false,
            _ => Protocol::Http1,
        };
        let quic = matches!(protocol, Protocol::Http3 | Protocol::Http3Quinn);
        match contender {
            Contender::Edge => true,
            // Pool and buffers matter with many requests at once or large content, for which there are separate lines.
            Contender::NginxTuned => self.beside == TUNED,
            _ if self.beside == TUNED => false,
            Contender::Pingora => !quic,
            Contender::Nginx | Contender::Haproxy | Contender::Caddy => true,
        }
    }

    /// Returns the number of workers with which each contender is started: 2 for [`Kind::TwoWorkers`], else 1.
    pub(crate) const fn workers(&self) -> usize {
        if matches!(self.kind, Kind::TwoWorkers { .. }) { 2 } else { 1 }
    }
}

/// The peer nginx.
const NGINX: &[Contender] = &[Contender::Nginx];
/// The peer nginx, tuned.
const TUNED: &[Contender] = &[Contender::NginxTuned];
/// The peer HAProxy.
const HAPROXY: &[Contender] = &[Contender::Haproxy];

/// All workloads, in the order of the table.
pub(crate) const ALL: &[Workload] = &[
    small("h1", "HTTP/1.1, 1 KiB, 64 connections", Protocol::Plain, 64, 1, NGINX, 0.85),
    small("h1-tls", "HTTP/1.1 over TLS 1.3, 1 KiB, 64 connections", Protocol::Http1, 64, 1, NGINX, 0.72),
    small("h2", "HTTP/2 over TLS, 1 KiB, 16 × 32 streams", Protocol::Http2, 16, 32, NGINX, 0.50),
    small("h3", "HTTP/3, 1 KiB, 16 × 32 streams", Protocol::Http3, 16, 32, NGINX, 0.60),
    small("h3-few", "HTTP/3, 1 KiB, 4 × 1 streams", Protocol::Http3, 4, 1, NGINX, 0.85),
    small("h3-quinn", "HTTP/3 by quinn, 1 KiB, 16 × 32 streams", Protocol::Http3Quinn, 16, 32, NGINX, 0.60),
    small("h1-tuned", "HTTP/1.1, beside tuned nginx", Protocol::Plain, 64, 1, TUNED, 0.85),
    small("h1-tls-tuned", "HTTP/1.1 over TLS 1.3, beside tuned nginx", Protocol::Http1, 64, 1, TUNED, 0.72),
    small("h2-tuned", "HTTP/2 over TLS, beside tuned nginx", Protocol::Http2, 16, 32, TUNED, 0.80),
    small("h3-tuned", "HTTP/3, beside tuned nginx", Protocol::Http3, 16, 32, TUNED, 0.80),
    other("handshake", "full TLS handshake and one request", Kind::Handshakes { resumed: false }, 0.38),
    other("resumed", "resumed TLS handshake and one request", Kind::Handshakes { resumed: true }, 0.40),
    other("unknown-name", "ClientHello for an unknown name", Kind::UnknownName, 0.60),
    other("unknown-host", "plain request for an unknown host", Kind::UnknownHost, 0.80),
    down("down-h1-1m", "1 MiB down, HTTP/1.1 over TLS", Protocol::Http1, M1, NGINX, 0.50),
    down("down-h2-1m", "1 MiB down, HTTP/2", Protocol::Http2, M1, NGINX, 0.48),
    down("down-h3-1m", "1 MiB down, HTTP/3", Protocol::Http3, M1, NGINX, 0.35),
    down("down-h1", "100 MiB down, HTTP/1.1 over TLS", Protocol::Http1, M100, NGINX, 0.55),
    down("down-h2", "100 MiB down, HTTP/2", Protocol::Http2, M100, NGINX, 0.50),
    down("down-h3", "100 MiB down, HTTP/3", Protocol::Http3, M100, NGINX, 0.60),
    down("down-h1-tuned", "100 MiB down, HTTP/1.1, beside tuned nginx", Protocol::Http1, M100, TUNED, 0.80),
    down("down-h2-tuned", "100 MiB down, HTTP/2, beside tuned nginx", Protocol::Http2, M100, TUNED, 0.80),
    down("down-h3-tuned", "100 MiB down, HTTP/3, beside tuned nginx", Protocol::Http3, M100, TUNED, 0.80),
    up("up-h1", "10 MiB up, HTTP/1.1 over TLS", Protocol::Http1, 60, NGINX, 0.60),
    up("up-h2", "10 MiB up, HTTP/2", Protocol::Http2, 60, NGINX, 0.75),
    up("up-h3", "10 MiB up, HTTP/3", Protocol::Http3, 20, HAPROXY, 0.45),
    other("idle", "memory of an idle TLS connection, of 10,000", Kind::Idle, 4.0 / 22.7),
    two("two-h1", "two workers, HTTP/1.1 over TLS, requests per second", Protocol::Http1, 64, 1),
    two("two-h2", "two workers, HTTP/2, requests per second", Protocol::Http2, 16, 32),
    two("two-h3", "two workers, HTTP/3, requests per second", Protocol::Http3, 16, 32),
];

/// Content of a download: path, number of requests of a turn, number of connections.
#[derive(Clone, Copy)]
struct Content(&'static str, u32, usize);

/// Downloads of 1 MiB.
const M1: Content = Content("/1m", 400, 4);
/// Downloads of 100 MiB.
const M100: Content = Content("/100m", 12, 1);

/// Creates a workload of another kind, compared with nginx.
const fn other(name: &'static str, title: &'static str, kind: Kind, reach: f64) -> Workload {
    Workload { name, title, kind, beside: NGINX, reach }
}

/// Creates a workload of small requests, compared with the peers `beside`.
const fn small(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    clients: usize,
    streams: usize,
    beside: &'static [Contender],
    reach: f64,
) -> Workload {
    Workload { name, title, kind: Kind::Small { protocol, clients, streams }, beside, reach }
}

/// Creates a workload of downloads, compared with the peers `beside`.
const fn down(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    content: Content,
    beside: &'static [Contender],
    reach: f64,
) -> Workload {
    let Content(path, requests, clients) = content;
    Workload { name, title, kind: Kind::Down { protocol, path, requests, clients }, beside, reach }
}

/// Creates a workload of uploads, compared with the peers `beside`.
const fn up(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    requests: u32,
    beside: &'static [Contender],
    reach: f64,
) -> Workload {
    Workload { name, title, kind: Kind::Up { protocol, requests }, beside, reach }
}

/// Creates a workload of two workers, compared with nginx; the target ratio is 1.2.
const fn two(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    clients: usize,
    streams: usize,
) -> Workload {
    Workload { name, title, kind: Kind::TwoWorkers { protocol, clients, streams }, beside: NGINX, reach: 1.2 }
}
