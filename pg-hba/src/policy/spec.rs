//! Serialized form of the policy.

use super::{Local, Policy, Tailnet, Tls};
use crate::document::{Document, RejectedFile};
use crate::rule::Rule;
use crate::server::Server;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A policy in its serialized form, as in a configuration file. [`PolicySpec::to_policy`] converts it. All fields may
/// be absent; unknown fields are rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySpec {
    /// Whether to start from [`Policy::strict`] instead of the default, so that unset fields do not grant `trust`.
    /// Default: `false`.
    pub strict: bool,
    /// Name of the superuser; see [`Policy::superuser`]. Default: `postgres`.
    pub superuser: Option<String>,
    /// Services; see [`Policy::service`]. Default: none.
    pub services: Vec<ServiceSpec>,
    /// Privileged roles; see [`Policy::privileged`]. Default: none.
    pub privileged: Vec<String>,
    /// Authentication on the same host; see [`Policy::local`]. Default: `trust`, or `peer` if [`strict`](Self::strict).
    pub local: Option<LocalSpec>,
    /// Authentication on the tailnet; see [`Policy::tailnet`]. Default: `trust`, or `scram` if
    /// [`strict`](Self::strict).
    pub tailnet: Option<TailnetSpec>,
    /// Address ranges of the tailnet in CIDR form, without host bits; see [`Policy::tailnet_ranges`]. Default:
    /// 100.64.0.0/10.
    pub tailnet_ranges: Option<Vec<String>>,
    /// Requirement of TLS; see [`Policy::tls`]. Default: `optional`, or `required` if [`strict`](Self::strict).
    pub tls: Option<TlsSpec>,
    /// Permissions for physical replication; see [`Policy::replication`]. Default: none.
    pub replication: Vec<ReplicationSpec>,
    /// Lines of pg_hba.conf that precede the generated ones, except for those of the superuser; see [`Policy::before`].
    /// Default: none.
    pub before: Vec<String>,
    /// Lines of pg_hba.conf that follow those of the tailnet; see [`Policy::after`]. Default: none.
    pub after: Vec<String>,
}

/// A service in its serialized form; see [`super::Service`]. Both fields are required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Name of the database. Must not be empty.
    pub database: String,
    /// Name of the role. Must not be empty.
    pub role: String,
}

/// A permission for physical replication in its serialized form; see [`super::ReplicationGrant`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationSpec {
    /// Name of the role. Must not be empty.
    pub role: String,
    /// Network in CIDR form, without host bits. Absent for the Unix-domain socket.
    pub from: Option<String>,
}

/// Serialized form of [`Local`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalSpec {
    /// The value `trust`, see [`Local::Trust`].
    #[default]
    Trust,
    /// The value `peer`, see [`Local::Peer`].
    Peer,
    /// The value `scram`, see [`Local::Scram`].
    Scram,
}

/// Serialized form of [`Tailnet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TailnetSpec {
    /// The value `trust`, see [`Tailnet::Trust`].
    #[default]
    Trust,
    /// The value `scram`, see [`Tailnet::Scram`].
    Scram,
    /// The value `off`, see [`Tailnet::Off`].
    Off,
}

/// Serialized form of [`Tls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsSpec {
    /// The value `optional`, see [`Tls::Optional`].
    #[default]
    Optional,
    /// The value `outside-tailnet`, see [`Tls::OutsideTailnet`].
    OutsideTailnet,
    /// The value `required`, see [`Tls::Required`].
    Required,
}

/// Error of converting a policy from its serialized form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A name is empty.
    #[error("{field}: a name is empty; write the name of a role or database")]
    EmptyName {
        /// Name of the field of [`PolicySpec`].
        field: &'static str,
    },
    /// A network has host bits set.
    #[error("{field}: {value}: the network has bits below its prefix: write {net}")]
    HostBits {
        /// Name of the field of [`PolicySpec`].
        field: &'static str,
        /// Value as written.
        value: String,
        /// The network without host bits.
        net: IpNet,
    },
    /// A value is not a valid network in CIDR form.
    #[error("{field}: {value:?} is not a valid network: write one such as 100.64.0.0/10")]
    Network {
        /// Name of the field of [`PolicySpec`].
        field: &'static str,
        /// Value as written.
        value: String,
    },
    /// The server would reject a line of `before` or `after`.
    #[error("{field}: rule {position} is refused")]
    Rule {
        /// Name of the field: `before` or `after`.
        field: &'static str,
        /// Position in the list, from 1.
        position: usize,
        /// Reasons for the rejection. Line numbers refer to the value itself.
        #[source]
        source: RejectedFile,
    },
}

impl PolicySpec {
    /// Converts to a policy. The lines of `before` and `after` are parsed by the grammar of this server.
    ///
    /// # Errors
    /// Returns the first error: an empty name, a network that is not valid, or a line that the server would reject.
    pub fn to_policy(&self, server: &Server) -> Result<Policy, PolicyError> {
        self.to_policy_or_all(server).map_err(|mut errors| errors.swap_remove(0))
    }

    /// Converts to a policy as [`PolicySpec::to_policy`] does, but returns all errors.
    ///
    /// # Errors
    /// Returns an error for every name, network and line that is not valid. Never empty.
    pub fn to_policy_or_all(&self, server: &Server) -> Result<Policy, Vec<PolicyError>> {
        let mut errors = Vec::new();
        let mut policy = if self.strict { Policy::strict() } else { Policy::new() };
        let mut named = |field, name: &str| {
            if name.is_empty() {
                errors.push(PolicyError::EmptyName { field });
            }
            name.to_owned()
        };
        if let Some(superuser) = &self.superuser {
            policy.superuser = named("superuser", superuser);
        }
        for service in &self.services {
            policy = policy.service(named("services", &service.database), named("services", &service.role));
        }
        for role in &self.privileged {
            policy = policy.privileged(named("privileged", role));
        }
        let roles: Vec<String> =
            self.replication.iter().map(|grant| named("replication", &grant.role)).collect();
        policy.local = match self.local {
            None => policy.local,
            Some(LocalSpec::Trust) => Local::Trust,
            Some(LocalSpec::Peer) => Local::Peer,
            Some(LocalSpec::Scram) => Local::Scram,
        };
        policy.tailnet = match self.tailnet {
            None => policy.tailnet,
            Some(TailnetSpec::Trust) => Tailnet::Trust,
            Some(TailnetSpec::Scram) => Tailnet::Scram,
            Some(TailnetSpec::Off) => Tailnet::Off,
        };
        policy.tls = match self.tls {
            None => policy.tls,
            Some(TlsSpec::Optional) => Tls::Optional,
            Some(TlsSpec::OutsideTailnet) => Tls::OutsideTailnet,
            Some(TlsSpec::Required) => Tls::Required,
        };
        if let Some(ranges) = &self.tailnet_ranges {
            let ranges =
                ranges.iter().filter_map(|net| ok_or_push(network("tailnet_ranges", net), &mut errors));
            let ranges: Vec<IpNet> = ranges.collect();
            policy = policy.tailnet_ranges(ranges);
        }
        for (grant, role) in self.replication.iter().zip(roles) {
            let from = grant.from.as_deref().map(|net| ok_or_push(network("replication", net), &mut errors));
            policy = policy.replication(role, from.flatten());
        }
        policy.before = rules("before", &self.before, server, &mut errors);
        policy.after = rules("after", &self.after, server, &mut errors);
        if errors.is_empty() { Ok(policy) } else { Err(errors) }
    }
}

/// Returns the value. `None` for an error, which is appended to `errors`.
fn ok_or_push<T>(result: Result<T, PolicyError>, errors: &mut Vec<PolicyError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

impl TryFrom<PolicySpec> for Policy {
    type Error = PolicyError;

    /// Converts by the grammar of version 18. [`PolicySpec::to_policy`] accepts another server.
    ///
    /// # Errors
    /// Returns the first error; see [`PolicySpec::to_policy`].
    fn try_from(spec: PolicySpec) -> Result<Self, PolicyError> {
        spec.to_policy(&Server::new(crate::server::Version::V18))
    }
}

/// Parses a network in CIDR form.
///
/// # Errors
/// Returns [`PolicyError::Network`] if it is not valid, and [`PolicyError::HostBits`] if host bits are set.
fn network(field: &'static str, text: &str) -> Result<IpNet, PolicyError> {
    let net: IpNet = text.parse().map_err(|_| PolicyError::Network { field, value: text.to_owned() })?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(PolicyError::HostBits { field, value: text.to_owned(), net: net.trunc() })
    }
}

/// Parses each element as lines of a file. Returns the rules of those that are valid, without their positions; the
/// errors of the others are appended to `errors`.
fn rules(field: &'static str, lines: &[String], server: &Server, errors: &mut Vec<PolicyError>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let found = Document::parse(line, server).rules();
        let found = found.map_err(|source| PolicyError::Rule { field, position: index + 1, source });
        rules.extend(ok_or_push(found, errors).unwrap_or_default());
    }
    for rule in &mut rules {
        rule.origin = crate::rule::Origin::default();
    }
    rules
}
