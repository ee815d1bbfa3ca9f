//! A declarative access policy, which is compiled to rules.

mod compile;
#[cfg(feature = "serde")]
mod spec;

#[cfg(feature = "serde")]
pub use spec::{LocalSpec, PolicyError, PolicySpec, ReplicationSpec, ServiceSpec, TailnetSpec, TlsSpec};

use crate::attempt::{Attempt, Environment, Replication, Transport};
use crate::decide::decide;
use crate::method::Method;
use crate::rule::{Outcome, Rule};
use ipnet::IpNet;
use std::net::IpAddr;

/// Authentication of services on the same host, which connect over the Unix-domain socket (`local` records) or over
/// loopback TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Local {
    /// `trust`, over the Unix-domain socket and over loopback TCP. Any local user can then connect as any of these
    /// roles. Privileged roles log in by `scram-sha-256`. The default.
    #[default]
    Trust,
    /// `peer` over the Unix-domain socket; `scram-sha-256` over loopback TCP, where `peer` is not available.
    Peer,
    /// `scram-sha-256`, over the Unix-domain socket and over loopback TCP.
    Scram,
}

/// Authentication of clients in the tailnet, the address ranges of [`Policy::tailnet_ranges`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tailnet {
    /// `trust`: the VPN has authenticated the client host. Privileged roles are rejected. The default.
    #[default]
    Trust,
    /// `scram-sha-256`. Privileged roles are rejected.
    Scram,
    /// `reject`: no connections from the tailnet, other than physical replication by [`Policy::replication`].
    Off,
}

/// Connections over TCP that must use TLS. Loopback is exempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls {
    /// TLS is not required. The default.
    #[default]
    Optional,
    /// TLS is required outside the tailnet, whose traffic the VPN encrypts.
    OutsideTailnet,
    /// TLS is required for all TCP connections except from 127.0.0.1 and `::1`.
    Required,
}

/// A service: one role that may connect to one database from the same host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Name of the database.
    pub database: String,
    /// Name of the role.
    pub role: String,
}

/// A role that may connect for physical replication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicationGrant {
    /// Name of the role.
    pub role: String,
    /// Network from which it may connect, by `scram-sha-256`. `None` stands for the Unix-domain socket, by `peer`.
    pub from: Option<IpNet>,
}

/// A declarative access policy. By default, a service may log in on this machine without a password, with its own role
/// to its own database, unless the role is privileged; every role on the tailnet without a password, except for
/// privileged ones, which are rejected; and every other TCP connection by SCRAM-SHA-256. The superuser logs in by `peer`, and every other socket connection
/// is rejected. [`Policy::strict`] trusts no connection.
///
/// ```
/// use pg_hba::{Attempt, Method, EmptyEnvironment, Policy};
/// let policy = Policy::new().service("forgejo", "forgejo").privileged("backup");
/// let decide = |attempt: Attempt| policy.decide(&attempt, &EmptyEnvironment).method;
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

/// IPv4 range of tailnets, in shared address space (RFC 6598). Trusting it is safe only if the host drops packets from
/// it on all interfaces but the VPN's.
pub const TAILNET_V4: &str = "100.64.0.0/10";
/// IPv6 range of tailnets, in unique-local address space (RFC 4193). Not among the default ranges.
pub const TAILNET_V6: &str = "fd7a:115c:a1e0::/48";

impl Policy {
    /// Creates the default policy, without services: `local` and `tailnet` are `trust`, `tls` is `optional`, the
    /// tailnet is [`TAILNET_V4`], and the superuser is `postgres`.
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

    /// Creates a policy without `trust`: `peer` for services on the same host (`scram-sha-256` over loopback TCP),
    /// `scram-sha-256` on the tailnet, and TLS required. Otherwise as [`Policy::new`].
    #[must_use]
    pub fn strict() -> Self {
        Self::new().local(Local::Peer).tailnet(Tailnet::Scram).tls(Tls::Required)
    }

    /// Sets the superuser, who is admitted to all databases and to physical replication over the Unix-domain socket, by
    /// `peer`, before all other rules, and is rejected from the tailnet. Default: `postgres`.
    #[must_use]
    pub fn superuser(mut self, role: impl Into<String>) -> Self {
        self.superuser = role.into();
        self
    }

    /// Adds a service: `role` may connect to `database` from the same host, by the method of [`Policy::local`].
    /// Default: none.
    #[must_use]
    pub fn service(mut self, database: impl Into<String>, role: impl Into<String>) -> Self {
        self.services.push(Service { database: database.into(), role: role.into() });
        self
    }

    /// Adds a privileged role, as one with SUPERUSER, REPLICATION, CREATEROLE or BYPASSRLS, which is rejected from the
    /// tailnet, and as a service's role is never trusted: it logs in by `scram-sha-256` where [`Policy::local`] is
    /// `trust`. Default: the superuser alone, who is always among them.
    #[must_use]
    pub fn privileged(mut self, role: impl Into<String>) -> Self {
        self.privileged.push(role.into());
        self
    }

    /// Sets the authentication of services on the same host. Default: [`Local::Trust`].
    #[must_use]
    pub fn local(mut self, local: Local) -> Self {
        self.local = local;
        self
    }

    /// Sets the authentication of clients in the tailnet. Default: [`Tailnet::Trust`].
    #[must_use]
    pub fn tailnet(mut self, tailnet: Tailnet) -> Self {
        self.tailnet = tailnet;
        self
    }

    /// Sets the address ranges of the tailnet, in place of the previous ones. Host bits are cleared. Default:
    /// [`TAILNET_V4`].
    #[must_use]
    pub fn tailnet_ranges(mut self, ranges: impl IntoIterator<Item = IpNet>) -> Self {
        self.ranges = ranges.into_iter().map(|net| net.trunc()).collect();
        self
    }

    /// Sets the connections that must use TLS. Default: [`Tls::Optional`].
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Adds a permission for physical replication from a network, by `scram-sha-256` and under the requirement of TLS,
    /// or with `None` over the Unix-domain socket, by `peer`. Host bits of `from` are cleared. Default: none.
    #[must_use]
    pub fn replication(mut self, role: impl Into<String>, from: Option<IpNet>) -> Self {
        self.replication.push(ReplicationGrant { role: role.into(), from: from.map(|net| net.trunc()) });
        self
    }

    /// Adds a rule after those of the superuser and before all others. Several rules keep their order.
    #[must_use]
    pub fn before(mut self, rule: Rule) -> Self {
        self.before.push(rule);
        self
    }

    /// Adds a rule after those of the tailnet and before the final ones for all users. Several rules keep their order.
    #[must_use]
    pub fn after(mut self, rule: Rule) -> Self {
        self.after.push(rule);
        self
    }

    /// Returns the rules of the policy, in order: the superuser, [`Policy::before`], services, replication, the
    /// tailnet, [`Policy::after`], and the final rules for all users.
    #[must_use]
    pub fn compile(&self) -> Vec<Rule> {
        compile::compile(self)
    }

    /// Decides an attempt by the policy itself, without its compiled rules. Tests compare [`Policy::compile`] with it.
    #[must_use]
    pub fn decide(&self, attempt: &Attempt, environment: &dyn Environment) -> Outcome {
        let simple = |method| Outcome { method, settings: std::collections::BTreeMap::new() };
        let physical = attempt.replication == Replication::Physical;
        let socket = attempt.transport == Transport::Socket;
        if socket && attempt.user == self.superuser {
            return simple(Method::Peer);
        }
        if let Some((_, rule)) = decide(&self.before, attempt, environment).rule {
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
            return decide(&self.after, attempt, environment).outcome();
        }
        let is_service = self
            .services
            .iter()
            .any(|service| service.database == attempt.database && service.role == attempt.user);
        let Some(client) = attempt.address.filter(|_| !socket) else {
            if is_service {
                return simple(match self.local {
                    Local::Trust if self.is_privileged(&attempt.user) => Method::Scram,
                    Local::Trust => Method::Trust,
                    Local::Peer => Method::Peer,
                    Local::Scram => Method::Scram,
                });
            }
            return decide(&self.after, attempt, environment).outcome();
        };
        if is_service && is_loopback(client) {
            let is_trusted = self.local == Local::Trust && !self.is_privileged(&attempt.user);
            return simple(if is_trusted { Method::Trust } else { Method::Scram });
        }
        if self.ranges.iter().any(|range| range.contains(&client)) {
            let privileged = self.is_privileged(&attempt.user);
            let encrypted = self.tls != Tls::Required || attempt.transport == Transport::Tls;
            return simple(match self.tailnet {
                _ if privileged || !encrypted => Method::Reject,
                Tailnet::Trust => Method::Trust,
                Tailnet::Scram => Method::Scram,
                Tailnet::Off => Method::Reject,
            });
        }
        if let Some((_, rule)) = decide(&self.after, attempt, environment).rule {
            return rule.outcome();
        }
        let encrypted =
            self.tls == Tls::Optional || is_loopback(client) || attempt.transport == Transport::Tls;
        simple(if encrypted { Method::Scram } else { Method::Reject })
    }

    /// Returns `true` for the superuser and the privileged roles.
    pub(crate) fn is_privileged(&self, role: &str) -> bool {
        self.superuser == role || self.privileged.iter().any(|known| known == role)
    }

    /// Returns `true` if the encryption of an attempt for replication satisfies the requirement of TLS: always with TLS
    /// and from loopback; otherwise for [`Tls::Optional`], and for [`Tls::OutsideTailnet`] from the tailnet.
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

/// Returns `true` for `127.0.0.1` and `::1`, from which connections of the same host come. Other addresses of
/// 127.0.0.0/8 do not count.
fn is_loopback(client: IpAddr) -> bool {
    client == IpAddr::from([127, 0, 0, 1]) || client == IpAddr::from(std::net::Ipv6Addr::LOCALHOST)
}
