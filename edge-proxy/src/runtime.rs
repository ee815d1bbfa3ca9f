//! A configuration ready to be served: the snapshot, the TLS configurations of both sides, the limiters, and the
//! Alt-Svc value.

use super::certificates::{ByServerName, SiteCertificates, SiteTls};
use super::client_auth::ClientAuth;
use super::downstream::h3;
use super::error::StartError;
use super::ktls;
use super::limits::forward::{ForwardLimiter, ForwardLimiters};
use super::limits::returning::ReturningClients;
use super::limits::site::{SiteLimiter, SiteLimiters};
use super::limits::sketch::{ConnectionPermit, CountMinSketch};
use super::metrics::counters::{Shard, Shards, SiteShard};
use super::observe::Observer;
use super::resumption::{Sessions, StoreClient, Tickets};
use super::upstream::{ClientTls, SharedTarget, Targets};
use edge_policy::Snapshot;
use edge_policy::config::{Config, KernelTls, ListenerKind, Protocol, Site, Upstream};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The highest number of early data bytes on one TCP connection, which suffices for one request.
const MAX_EARLY_DATA: u32 = 16 * 1024;
/// The highest number of sessions in memory that can be resumed with early data, for TCP and for QUIC each. Each can
/// be resumed once.
const MAX_SESSIONS: usize = 32 * 1024;

/// The state that survives a reload: tickets and sessions, the health of targets, limiters, counters and the connection
/// to the shared store.
pub(crate) struct ReloadSurvivors {
    /// The ticketer of TLS sessions.
    tickets: Arc<dyn ProducesTickets>,
    /// The stored sessions of sites with early data over TCP.
    early_tcp: Arc<dyn StoresServerSessions>,
    /// The stored sessions of sites with early data over QUIC.
    early_quic: Arc<dyn StoresServerSessions>,
    /// The targets of upstreams, with their health.
    targets: Targets,
    /// The limiters of sites, by site.
    guards: SiteLimiters,
    /// The limiters of listeners that forward TCP connections, by listener.
    forwards: ForwardLimiters,
    /// The estimated number of connections by client.
    clients: Arc<CountMinSketch>,
    /// The clients that completed a handshake lately.
    returning: Arc<ReturningClients>,
    /// The client of the store shared with other edges. `None` if the state belongs to this process.
    pub(crate) shared: Option<Arc<StoreClient>>,
    /// The time at which the proxy was started.
    pub(crate) started: Instant,
    /// The counters of each worker that belong to no site.
    pub(crate) counts: Arc<Shards<Shard>>,
    /// The counters of requests that matched no site.
    pub(crate) nowhere: Arc<Shards<SiteShard>>,
}

impl ReloadSurvivors {
    /// Creates the state of a proxy with this number of workers. If `shared` is given, tickets and the TCP sessions
    /// for early data are shared with other edges; sessions of QUIC always stay in this process.
    ///
    /// # Errors
    /// [`rustls::Error`] if no ticket key can be generated.
    pub(crate) fn new(
        workers: usize,
        shared: Option<Arc<StoreClient>>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, rustls::Error> {
        let own = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let (tickets, early_tcp): (Arc<dyn ProducesTickets>, Arc<dyn StoresServerSessions>) = match &shared {
            Some(link) => (Arc::new(Tickets::new(link.clone(), own)), Arc::new(Sessions::new(link.clone()))),
            None => (own, ServerSessionMemoryCache::new(MAX_SESSIONS)),
        };
        Ok(Self {
            tickets,
            early_tcp,
            // What is resumed over QUIC with early data stays with the edge that it was made at, which proves that it
            // is used once.
            early_quic: ServerSessionMemoryCache::new(MAX_SESSIONS),
            targets: Targets::new(observer),
            guards: SiteLimiters::new(workers),
            forwards: ForwardLimiters::default(),
            clients: CountMinSketch::new(),
            returning: ReturningClients::new(Instant::now()),
            shared,
            started: Instant::now(),
            counts: Arc::new(Shards::new(workers)),
            nowhere: Arc::new(Shards::new(workers)),
        })
    }
}

/// The error for a client that has reached its connection limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyConnections;

/// A configuration ready to be served, shared by all workers.
pub(crate) struct Runtime {
    /// The validated configuration.
    snapshot: Snapshot,
    /// The TLS configuration of sites without early data, whose sessions are resumed by tickets.
    tls: Arc<ServerConfig>,
    /// The TLS configuration of sites with early data, whose sessions are stored and single-use (RFC 8446 §8.1).
    early_tls: Arc<ServerConfig>,
    /// The TLS configurations of each site with certificates of its own, in the order of the configuration. `None` for
    /// other sites.
    site_tls: Vec<Option<SiteTls>>,
    /// The names of the listeners with HTTP/3, each once, and the QUIC configuration of each. `None` is the name of those
    /// without one.
    quic: Vec<NamedQuicConfig>,
    /// The client certificate settings of each site, in the order of the configuration. `None` for a site that requests
    /// none.
    pub(crate) client_auth: Vec<Option<ClientAuth>>,
    /// The TLS configuration of each upstream, in the order of the configuration. `None` for an upstream without TLS.
    pub(crate) upstream_tls: Vec<Option<Arc<ClientTls>>>,
    /// The targets of each upstream, in the order of the configuration.
    pub(crate) targets: Vec<Vec<Arc<SharedTarget>>>,
    /// The limiter of each site, in the order of the configuration.
    pub(crate) guards: Vec<Arc<SiteLimiter>>,
    /// The limiters of the listeners that forward TCP connections.
    forwards: Vec<Arc<ForwardLimiter>>,
    /// The estimated number of connections by client.
    clients: Arc<CountMinSketch>,
    /// The clients that completed a handshake lately.
    pub(crate) returning: Arc<ReturningClients>,
    /// The counters of each worker that belong to no site.
    pub(crate) counts: Arc<Shards<Shard>>,
    /// The counters of requests that matched no site.
    pub(crate) nowhere: Arc<Shards<SiteShard>>,
    /// The value of Alt-Svc of each listener with TLS, with its bound address. `None` for a listener without HTTP/3.
    alt_svc: Vec<(SocketAddr, Option<String>)>,
    /// The client of the store shared with other edges. `None` if the state belongs to this process.
    pub(crate) shared: Option<Arc<StoreClient>>,
    /// The kernel's TLS capabilities. `None` if kernel TLS is disabled or the kernel does not support it.
    pub(crate) kernel_tls: Option<ktls::KernelTlsSupport>,
}

impl Runtime {
    /// Creates a runtime: builds the TLS configurations, reads the files of client and upstream certificates, and
    /// takes the limiters and targets from `lasting`. `certificates` is the resolver of certificates, and `of_sites`
    /// the source of those of single sites. `addresses` are the bound addresses of the configuration's listeners, in
    /// their order.
    ///
    /// # Errors
    /// [`StartError`] if a part of the configuration cannot be applied.
    pub(crate) fn new(
        snapshot: Snapshot,
        (certificates, of_sites): (&Arc<dyn ResolvesServerCert>, Option<&Arc<dyn SiteCertificates>>),
        lasting: &ReloadSurvivors,
        addresses: &[SocketAddr],
    ) -> Result<Self, StartError> {
        let base_of = |provider: CryptoProvider, versions: &[&'static rustls::SupportedProtocolVersion]| {
            ServerConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(versions)
                .map(|builder| builder.with_no_client_auth().with_cert_resolver(certificates.clone()))
        };
        let base = |versions: &[&'static rustls::SupportedProtocolVersion]| {
            base_of(rustls::crypto::aws_lc_rs::default_provider(), versions)
        };
        let mut tls = base(rustls::ALL_VERSIONS)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let kernel_tls = match snapshot.config().kernel_tls {
            KernelTls::Auto { .. } => ktls::probe(),
            KernelTls::Off => None,
        };
        // The record layer that takes over from rustls needs its keys.
        tls.key_log = Arc::new(super::tls::SecretCapture);
        tls.enable_secret_extraction = true;
        let of_site = |site: &Site| of_sites?.clone().of_site(&site.name);
        let own: Vec<_> = snapshot.config().sites.iter().map(of_site).collect();
        let client_auth = client_auth(&snapshot, &tls, certificates, &own)?;
        let mut early_tls = match &lasting.shared {
            // The edges recognise the identities of sessions that any of them made.
            Some(link) => {
                let provider = CryptoProvider {
                    secure_random: link.random(),
                    ..rustls::crypto::aws_lc_rs::default_provider()
                };
                base_of(provider, rustls::ALL_VERSIONS)?
            }
            None => base(rustls::ALL_VERSIONS)?,
        };
        early_tls.alpn_protocols.clone_from(&tls.alpn_protocols);
        early_tls.key_log = tls.key_log.clone();
        early_tls.enable_secret_extraction = tls.enable_secret_extraction;
        tls.ticketer = lasting.tickets.clone();
        tls.send_tls13_tickets = 1;
        early_tls.session_storage = lasting.early_tcp.clone();
        early_tls.max_early_data_size = MAX_EARLY_DATA;
        early_tls.send_half_rtt_data = true;

        let config = snapshot.config();
        let mut quic_tls = base(&[&rustls::version::TLS13])?;
        if config.sites.iter().any(|site| site.early_data) {
            quic_tls.session_storage = lasting.early_quic.clone();
            quic_tls.max_early_data_size = u32::MAX;
        } else {
            quic_tls.ticketer = lasting.tickets.clone();
        }
        let quic = quic_configs(config, &quic_tls, certificates, &own)?;
        let alt_svc = alt_svc(config, addresses);
        let upstream_tls = upstream_tls(config)?;
        let targets = lasting.targets.of(&snapshot.config().upstreams);
        let site_tls = own.iter().map(|own| Some(SiteTls::new((&tls, &early_tls), own.as_ref()?))).collect();
        let (tls, early_tls) = (Arc::new(tls), Arc::new(early_tls));
        let rate_table = snapshot.config().limits.rate_table;
        let guards = lasting.guards.of(&snapshot.config().sites, rate_table);
        let forwards = lasting.forwards.of(&snapshot.config().listeners, rate_table);
        let clients = lasting.clients.clone();
        let (counts, nowhere) = (lasting.counts.clone(), lasting.nowhere.clone());
        Ok(Self {
            snapshot,
            tls,
            early_tls,
            site_tls,
            quic,
            client_auth,
            upstream_tls,
            targets,
            guards,
            forwards,
            clients,
            returning: lasting.returning.clone(),
            counts,
            nowhere,
            alt_svc,
            shared: lasting.shared.clone(),
            kernel_tls,
        })
    }

    /// Returns the TLS configuration of the site with this index: the one that requests client certificates if the
    /// site does, else that for early data if `by_session` is true, else that without early data. A site with its own
    /// certificates has its own.
    pub(crate) fn tls_of(&self, site: usize, by_session: bool) -> &Arc<ServerConfig> {
        match (&self.client_auth[site], &self.site_tls[site]) {
            (Some(auth), _) => &auth.tls,
            (None, Some(own)) if by_session => &own.early_tls,
            (None, Some(own)) => &own.tls,
            (None, None) if by_session => &self.early_tls,
            (None, None) => &self.tls,
        }
    }

    /// Returns the QUIC configurations of the listeners with this name. `None` if none of them has HTTP/3.
    pub(crate) fn quic_of(&self, listener: Option<&str>) -> Option<&Arc<h3::QuicServerConfig>> {
        self.quic.iter().find(|(name, _)| name.as_deref() == listener).map(|(_, server)| server)
    }

    /// Returns the number of sent content bytes from which on a response may be spliced. `None` if splicing is
    /// disabled, since kernel TLS is disabled or not supported.
    pub(crate) const fn splice_after(&self) -> Option<u64> {
        match (self.kernel_tls, self.snapshot.config().kernel_tls) {
            (Some(_), KernelTls::Auto { after }) => Some(after),
            _ => None,
        }
    }

    /// Returns the limit of concurrent connections of this peer. `None` if its connections are not counted: there is
    /// no limit, or the peer is in the range of a trusted proxy, whose connections carry requests of many clients.
    fn connection_limit(&self, peer: IpAddr) -> Option<u32> {
        let config = self.snapshot.config();
        let limit = config.limits.connections_per_client;
        let hop = config.trust.ranges.iter().any(|range| range.contains(&peer));
        (limit > 0 && !hop).then_some(limit)
    }

    /// Counts a connection of this client until the returned permit is dropped. `Ok(None)` if the client's connections
    /// are not counted.
    ///
    /// # Errors
    /// [`TooManyConnections`] if the client has reached its limit.
    pub(crate) fn hold(&self, client: IpAddr) -> Result<Option<ConnectionPermit>, TooManyConnections> {
        match self.connection_limit(client) {
            None => Ok(None),
            Some(limit) => self.clients.hold(client, limit).map(Some).ok_or(TooManyConnections),
        }
    }

    /// Returns whether this client has reached its connection limit, so that [`Runtime::hold`] would fail. Counts
    /// nothing.
    pub(crate) fn is_full_for(&self, client: IpAddr) -> bool {
        self.connection_limit(client).is_some_and(|limit| self.clients.of(client) >= limit)
    }

    /// Returns the limiter of the forwarding listeners with this name and upstream. `None` if there is none, such as
    /// after a reload that removed them.
    pub(crate) fn forward_limiter(
        &self,
        listener: Option<&str>,
        upstream: &str,
    ) -> Option<&Arc<ForwardLimiter>> {
        self.forwards.iter().find(|limiter| limiter.is_of(listener, upstream))
    }

    /// Returns the validated configuration.
    pub(crate) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the Alt-Svc value for connections that were accepted at this address: that of the listener with the
    /// address, or else with the unspecified address of the family and the port. `None` if there is none or that
    /// listener does not serve HTTP/3. Another port or address family is not advertised, since clients may not reach
    /// it.
    pub(crate) fn alt_svc(&self, local: SocketAddr) -> Option<&str> {
        let same_port = || self.alt_svc.iter().filter(|(address, _)| address.port() == local.port());
        let at_address = same_port().find(|(address, _)| address.ip() == local.ip());
        let at_any = || {
            same_port()
                .find(|(address, _)| address.ip().is_unspecified() && address.is_ipv4() == local.is_ipv4())
        };
        at_address.or_else(at_any)?.1.as_deref()
    }
}

/// Returns the value of Alt-Svc of each listener with TLS, with its bound address. `None` for a listener without HTTP/3.
/// `addresses` are the bound addresses of the listeners, in their order.
fn alt_svc(config: &Config, addresses: &[SocketAddr]) -> Vec<(SocketAddr, Option<String>)> {
    // The bound port, since port 0 may be configured; or the one that clients connect to, which is forwarded to it.
    let value =
        |address: &SocketAddr| format!("h3=\":{}\"; ma=86400", config.https_port.unwrap_or(address.port()));
    let listeners = config.listeners.iter().zip(addresses);
    listeners
        .filter_map(|(listener, address)| match listener.kind {
            ListenerKind::Tls { http3 } => Some((*address, http3.then(|| value(address)))),
            ListenerKind::Plain | ListenerKind::Tcp => None,
        })
        .collect()
}

/// Creates the TLS configuration of each upstream, in the order of the configuration. `None` for an upstream without
/// TLS.
///
/// # Errors
/// [`StartError::UpstreamTls`] with the name of the first upstream whose settings cannot be applied.
fn upstream_tls(config: &Config) -> Result<Vec<Option<Arc<ClientTls>>>, StartError> {
    let of = |upstream: &Upstream| {
        let tls = upstream.tls.as_ref();
        tls.map(|tls| ClientTls::new(tls, upstream.protocol == Protocol::Http2).map(Arc::new))
            .transpose()
            .map_err(|source| StartError::UpstreamTls { upstream: upstream.name.clone(), source })
    };
    config.upstreams.iter().map(of).collect()
}

/// The name of a listener, `None` for those without one, and its QUIC configurations.
type NamedQuicConfig = (Option<String>, Arc<h3::QuicServerConfig>);

/// Creates the QUIC configurations of the listeners with HTTP/3, by their names. They differ in the certificates of sites:
/// `own` are those of sites with certificates of their own, and `certificates` all others.
///
/// # Errors
/// [`StartError::Quic`] if QUIC does not work with this TLS configuration.
fn quic_configs(
    config: &Config,
    tls: &ServerConfig,
    certificates: &Arc<dyn ResolvesServerCert>,
    own: &[Option<Arc<dyn ResolvesServerCert>>],
) -> Result<Vec<NamedQuicConfig>, StartError> {
    let mut names: Vec<Option<String>> = Vec::new();
    for listener in &config.listeners {
        if listener.kind == (ListenerKind::Tls { http3: true }) && !names.contains(&listener.name) {
            names.push(listener.name.clone());
        }
    }
    let limits = h3_limits(config);
    let server = |tls| {
        h3::server_config(tls, &limits, config.congestion)
            .map_err(|why| StartError::Quic { source: why.into() })
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if own.iter().all(Option::is_none) {
        let server = server(tls.clone())?;
        return Ok(names.into_iter().map(|name| (name, server.clone())).collect());
    }
    let snapshot = Arc::new(Snapshot::new(config.clone()).map_err(StartError::Config)?);
    let own: Arc<[_]> = own.into();
    let of = |name: Option<String>| {
        let mut tls = tls.clone();
        tls.cert_resolver =
            Arc::new(ByServerName::new(certificates.clone(), snapshot.clone(), own.clone(), name.clone()));
        Ok((name, server(tls)?))
    };
    names.into_iter().map(of).collect()
}

/// Creates the client certificate settings of each site, in the order of the configuration. `None` for a site without
/// them. `own` are the certificate resolvers of single sites, in place of `certificates`.
///
/// # Errors
/// [`StartError::ClientCertificates`] with the name of the first site whose settings cannot be applied.
fn client_auth(
    snapshot: &Snapshot,
    base: &ServerConfig,
    certificates: &Arc<dyn ResolvesServerCert>,
    own: &[Option<Arc<dyn ResolvesServerCert>>],
) -> Result<Vec<Option<ClientAuth>>, StartError> {
    let of = |(site, own): (&Site, &Option<Arc<dyn ResolvesServerCert>>)| {
        let certificates = own.as_ref().unwrap_or(certificates);
        let Some(asked) = &site.client_certificates else { return Ok(None) };
        let made = ClientAuth::new(asked, base, |verifier| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder =
                ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            Ok(builder.with_client_cert_verifier(verifier).with_cert_resolver(certificates.clone()))
        });
        made.map(Some).map_err(|source| StartError::ClientCertificates { site: site.name.clone(), source })
    };
    snapshot.config().sites.iter().zip(own).map(of).collect()
}

/// Returns the limits of the HTTP/3 engine from the configuration's limits and timeouts; limits that the configuration
/// does not have are the default ones. The limit of a field section is that of the header fields and of the request
/// target together.
pub(crate) fn h3_limits(config: &Config) -> h3::QuicLimits {
    let mut limits =
        h3::QuicLimits { streams: config.limits.streams, resets: config.limits.resets, ..Default::default() };
    limits.control_frames = u64::from(config.limits.control_frames);
    limits.connections = config.limits.connections;
    limits.handshake = config.timeouts.handshake;
    limits.head = config.timeouts.header;
    limits.idle = config.timeouts.idle;
    limits.interfaces = config.trust.interface.is_some();
    limits.section.section = config.limits.header_bytes + config.limits.target_bytes;
    limits.section.fields = config.limits.header_fields;
    limits
}
