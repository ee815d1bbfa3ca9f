//! A policy of connections, compiled to rules.

mod compile;
#[cfg(feature = "serde")]
mod dto;

#[cfg(feature = "serde")]
pub use dto::{LocalDto, PolicyDto, PolicyError, ReplicationDto, ServiceDto, TailnetDto, TlsDto};

use crate::attempt::{Attempt, Replication, Transport, World};
use crate::decide::decide;
use crate::method::Method;
use crate::rule::{Outcome, Rule};
use ipnet::IpNet;
use std::net::IpAddr;

/// The authentication of services on the same host, which connect over a Unix-domain socket (`local` lines).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Local {
    /// Nothing is asked, over the socket and over loopback TCP. Any local user can then be any of these roles.
    #[default]
    Trust,
    /// The operating system's user over the socket; a password over loopback TCP, where there is no peer.
    Peer,
    /// A password by SCRAM-SHA-256.
    Scram,
}

/// The authentication of clients from the tailnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tailnet {
    /// Nothing is asked: the VPN has authenticated the machine.
    #[default]
    Trust,
    /// A password by SCRAM-SHA-256.
    Scram,
    /// The connection is refused.
    Off,
}

/// The connections that must use TLS. Loopback never needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls {
    /// No connection must.
    #[default]
    Optional,
    /// Outside the tailnet, which its VPN encrypts.
    OutsideTailnet,
    /// Everywhere but on the machine itself.
    Required,
}

/// A service: exactly one database with exactly one role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The name of the database.
    pub database: String,
    /// The name of the role.
    pub role: String,
}

/// A role that may replicate from a network, by a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicationGrant {
    /// The name of the role.
    pub role: String,
    /// From where; `None` is the local socket, by `peer`.
    pub from: Option<IpNet>,
}

/// A policy. The default is: services trusted on the machine for exactly their pairs, the tailnet trusted, every
/// other TCP connection by SCRAM-SHA-256; guarded by the superuser through `peer` first, by explicit rejects of
/// privileged roles on the tailnet, and by a reject of every other socket user. [`Policy::strict`] trusts nobody.
///
/// ```
/// use pg_hba::{Attempt, Method, Nowhere, Policy};
/// let policy = Policy::new().service("forgejo", "forgejo").privileged("backup");
/// let decide = |attempt: Attempt| policy.decide(&attempt, &Nowhere).method;
/// assert_eq!(decide(Attempt::local("forgejo", "forgejo")), Method::Trust);
/// assert_eq!(decide(Attempt::local("forgejo", "other")), Method::Reject);
/// assert_eq!(decide(Attempt::tcp("forgejo", "forgejo", "100.64.1.2".parse()?)), Method::Trust);
/// assert_eq!(decide(Attempt::tcp("forgejo", "backup", "100.64.1.2".parse()?)), Method::Reject);
/// assert_eq!(decide(Attempt::tcp("forgejo", "forgejo", "203.0.113.9".parse()?)), Method::Scram);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) superuser: String,
    pub(crate) services: Vec<Service>,
    pub(crate) privileged: Vec<String>,
    pub(crate) local: Local,
    pub(crate) tailnet: Tailnet,
    pub(crate) ranges: Vec<IpNet>,
    pub(crate) tls: Tls,
    pub(crate) replication: Vec<ReplicationGrant>,
    pub(crate) before: Vec<Rule>,
    pub(crate) after: Vec<Rule>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

/// The range of a tailnet's IPv4 addresses: shared carrier space, safe only while the VPN drops it elsewhere.
pub const TAILNET_V4: &str = "100.64.0.0/10";
/// The range of a tailnet's IPv6 addresses.
pub const TAILNET_V6: &str = "fd7a:115c:a1e0::/48";

impl Policy {
    /// Returns the default policy, with no service: `local` and `tailnet` are `trust`, `tls` is `optional`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            superuser: "postgres".to_owned(),
            services: Vec::new(),
            privileged: Vec::new(),
            local: Local::default(),
            tailnet: Tailnet::default(),
            ranges: TAILNET_V4.parse().into_iter().collect(),
            tls: Tls::default(),
            replication: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    /// Returns a policy without `trust`: services by `peer` on the machine, the tailnet by SCRAM-SHA-256, TLS required.
    #[must_use]
    pub fn strict() -> Self {
        Self::new().local(Local::Peer).tailnet(Tailnet::Scram).tls(Tls::Required)
    }

    /// Sets the role that administers the cluster over the socket by `peer`, physical replication included.
    #[must_use]
    pub fn superuser(mut self, role: impl Into<String>) -> Self {
        self.superuser = role.into();
        self
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, database: impl Into<String>, role: impl Into<String>) -> Self {
        self.services.push(Service { database: database.into(), role: role.into() });
        self
    }

    /// Adds a role with SUPERUSER, REPLICATION, CREATEROLE or BYPASSRLS, which the tailnet may not be.
    #[must_use]
    pub fn privileged(mut self, role: impl Into<String>) -> Self {
        self.privileged.push(role.into());
        self
    }

    /// Sets the authentication of services on the machine.
    #[must_use]
    pub fn local(mut self, local: Local) -> Self {
        self.local = local;
        self
    }

    /// Sets the authentication of the tailnet.
    #[must_use]
    pub fn tailnet(mut self, tailnet: Tailnet) -> Self {
        self.tailnet = tailnet;
        self
    }

    /// The tailnet's ranges, narrower than [`TAILNET_V4`] or with [`TAILNET_V6`].
    #[must_use]
    pub fn tailnet_ranges(mut self, ranges: impl IntoIterator<Item = IpNet>) -> Self {
        self.ranges = ranges.into_iter().map(|net| net.trunc()).collect();
        self
    }

    /// Sets the connections that must use TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Lets a role replicate.
    #[must_use]
    pub fn replication(mut self, role: impl Into<String>, from: Option<IpNet>) -> Self {
        self.replication.push(ReplicationGrant { role: role.into(), from: from.map(|net| net.trunc()) });
        self
    }

    /// A rule of your own, after the superuser's and before everything else.
    #[must_use]
    pub fn before(mut self, rule: Rule) -> Self {
        self.before.push(rule);
        self
    }

    /// A rule of your own, after the tailnet's and before what is left for everybody.
    #[must_use]
    pub fn after(mut self, rule: Rule) -> Self {
        self.after.push(rule);
        self
    }

    /// The rules that say the same.
    #[must_use]
    pub fn compile(&self) -> Vec<Rule> {
        compile::compile(self)
    }

    /// Decides an attempt from the policy itself, not from its rules: what [`Policy::compile`] is held against.
    #[must_use]
    pub fn decide(&self, attempt: &Attempt, world: &dyn World) -> Outcome {
        let simple = |method| Outcome { method, settings: std::collections::BTreeMap::new() };
        let physical = attempt.replication == Replication::Physical;
        let socket = attempt.transport == Transport::Socket;
        if socket && attempt.user == self.superuser {
            return simple(Method::Peer);
        }
        if let Some((_, rule)) = decide(&self.before, attempt, world).rule {
            return rule.outcome();
        }
        if physical {
            let granted = self.replication.iter().any(|grant| {
                grant.role == attempt.user
                    && match (grant.from, attempt.address) {
                        (None, None) => true,
                        (Some(net), Some(client)) => {
                            net.contains(&client) && self.tls_suffices(attempt, client)
                        }
                        _ => false,
                    }
            });
            if granted {
                return simple(if socket { Method::Peer } else { Method::Scram });
            }
            return decide(&self.after, attempt, world).outcome();
        }
        let is_service = self
            .services
            .iter()
            .any(|service| service.database == attempt.database && service.role == attempt.user);
        let Some(client) = attempt.address.filter(|_| !socket) else {
            if is_service {
                return simple(match self.local {
                    Local::Trust => Method::Trust,
                    Local::Peer => Method::Peer,
                    Local::Scram => Method::Scram,
                });
            }
            return decide(&self.after, attempt, world).outcome();
        };
        if is_service && is_loopback(client) {
            return simple(if self.local == Local::Trust { Method::Trust } else { Method::Scram });
        }
        if self.ranges.iter().any(|range| range.contains(&client)) {
            let privileged = attempt.user == self.superuser || self.privileged.contains(&attempt.user);
            let encrypted = self.tls != Tls::Required || attempt.transport == Transport::Tls;
            return simple(match self.tailnet {
                _ if privileged || !encrypted => Method::Reject,
                Tailnet::Trust => Method::Trust,
                Tailnet::Scram => Method::Scram,
                Tailnet::Off => Method::Reject,
            });
        }
        if let Some((_, rule)) = decide(&self.after, attempt, world).rule {
            return rule.outcome();
        }
        let encrypted =
            self.tls == Tls::Optional || is_loopback(client) || attempt.transport == Transport::Tls;
        simple(if encrypted { Method::Scram } else { Method::Reject })
    }

    fn tls_suffices(&self, attempt: &Attempt, client: IpAddr) -> bool {
        let tailnet = self.ranges.iter().any(|range| range.contains(&client));
        match self.tls {
            _ if attempt.transport == Transport::Tls || is_loopback(client) => true,
            Tls::Optional => true,
            Tls::OutsideTailnet => tailnet,
            Tls::Required => false,
        }
    }
}

/// The two addresses that a service's connection to its own machine comes from.
fn is_loopback(client: IpAddr) -> bool {
    client == IpAddr::from([127, 0, 0, 1]) || client == IpAddr::from(std::net::Ipv6Addr::LOCALHOST)
}
