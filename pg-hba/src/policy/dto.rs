//! The policy as it is written in a file.

use super::{Local, Policy, Tailnet, Tls};
use crate::document::{Document, Refused};
use crate::rule::Rule;
use crate::server::Server;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A policy as written. `Policy::try_from` makes it mean something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyDto {
    /// Starts from [`Policy::strict`] instead of the default: whatever is not set then trusts nobody.
    pub strict: bool,
    /// The superuser, see [`Policy::superuser`].
    pub superuser: Option<String>,
    /// The services, see [`Policy::service`].
    pub services: Vec<ServiceDto>,
    /// The privileged roles, see [`Policy::privileged`].
    pub privileged: Vec<String>,
    /// The authentication on the machine, see [`Policy::local`].
    pub local: Option<LocalDto>,
    /// The authentication on the tailnet, see [`Policy::tailnet`].
    pub tailnet: Option<TailnetDto>,
    /// The ranges of the tailnet, see [`Policy::tailnet_ranges`].
    pub tailnet_ranges: Option<Vec<String>>,
    /// The requirement of TLS, see [`Policy::tls`].
    pub tls: Option<TlsDto>,
    /// The replication grants, see [`Policy::replication`].
    pub replication: Vec<ReplicationDto>,
    /// Lines of pg_hba.conf: see [`Policy::before`].
    pub before: Vec<String>,
    /// Lines of pg_hba.conf: see [`Policy::after`].
    pub after: Vec<String>,
}

/// A service as written, see [`super::Service`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDto {
    /// The name of the database.
    pub database: String,
    /// The name of the role.
    pub role: String,
}

/// A replication grant as written, see [`super::ReplicationGrant`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationDto {
    /// The name of the role.
    pub role: String,
    /// A network; absent for the socket.
    pub from: Option<String>,
}

/// The authentication on the machine as written, see [`Local`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalDto {
    /// The value `trust`, see [`Local::Trust`].
    #[default]
    Trust,
    /// The value `peer`, see [`Local::Peer`].
    Peer,
    /// The value `scram`, see [`Local::Scram`].
    Scram,
}

/// The authentication on the tailnet as written, see [`Tailnet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TailnetDto {
    /// The value `trust`, see [`Tailnet::Trust`].
    #[default]
    Trust,
    /// The value `scram`, see [`Tailnet::Scram`].
    Scram,
    /// The value `off`, see [`Tailnet::Off`].
    Off,
}

/// The requirement of TLS as written, see [`Tls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsDto {
    /// The value `optional`, see [`Tls::Optional`].
    #[default]
    Optional,
    /// The value `outside-tailnet`, see [`Tls::OutsideTailnet`].
    OutsideTailnet,
    /// The value `required`, see [`Tls::Required`].
    Required,
}

/// A policy that is not valid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A name is empty.
    #[error("{field}: a name is empty; write the name of a role or database")]
    EmptyName {
        /// The name of the field.
        field: &'static str,
    },
    /// The network has bits below its prefix. An address that is meant alone has the prefix /32 or /128.
    #[error("{field}: {value}: the network has bits below its prefix: write {net}")]
    HostBits {
        /// The name of the field.
        field: &'static str,
        /// The value of the field.
        value: String,
        /// The network without these bits.
        net: IpNet,
    },
    /// The value is not a network.
    #[error("{field}: {value:?} is not a valid network: write one such as 100.64.0.0/10")]
    Network {
        /// The name of the field.
        field: &'static str,
        /// The value of the field.
        value: String,
    },
    /// A rule of `before` or `after` is refused.
    #[error("{field}: rule {position} is refused")]
    Rule {
        /// The name of the field.
        field: &'static str,
        /// Its position, from 1.
        position: usize,
        /// The reasons of the server.
        #[source]
        source: Refused,
    },
}

impl PolicyDto {
    /// Returns the policy, its own rules read for a server.
    ///
    /// # Errors
    /// A name is empty, a network is not valid, or a rule would be refused.
    pub fn to_policy(&self, server: &Server) -> Result<Policy, PolicyError> {
        self.to_policy_or_all(server).map_err(|mut errors| errors.swap_remove(0))
    }

    /// Returns the policy as [`PolicyDto::to_policy`] does, or everything that is wrong in it.
    ///
    /// # Errors
    /// All names, networks and rules that are not valid; never an empty list.
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
            Some(LocalDto::Trust) => Local::Trust,
            Some(LocalDto::Peer) => Local::Peer,
            Some(LocalDto::Scram) => Local::Scram,
        };
        policy.tailnet = match self.tailnet {
            None => policy.tailnet,
            Some(TailnetDto::Trust) => Tailnet::Trust,
            Some(TailnetDto::Scram) => Tailnet::Scram,
            Some(TailnetDto::Off) => Tailnet::Off,
        };
        policy.tls = match self.tls {
            None => policy.tls,
            Some(TlsDto::Optional) => Tls::Optional,
            Some(TlsDto::OutsideTailnet) => Tls::OutsideTailnet,
            Some(TlsDto::Required) => Tls::Required,
        };
        if let Some(ranges) = &self.tailnet_ranges {
            let ranges = ranges.iter().filter_map(|net| kept(network("tailnet_ranges", net), &mut errors));
            let ranges: Vec<IpNet> = ranges.collect();
            policy = policy.tailnet_ranges(ranges);
        }
        for (grant, role) in self.replication.iter().zip(roles) {
            let from = grant.from.as_deref().map(|net| kept(network("replication", net), &mut errors));
            policy = policy.replication(role, from.flatten());
        }
        policy.before = rules("before", &self.before, server, &mut errors);
        policy.after = rules("after", &self.after, server, &mut errors);
        if errors.is_empty() { Ok(policy) } else { Err(errors) }
    }
}

/// Returns the value, or adds its error to the others.
fn kept<T>(result: Result<T, PolicyError>, errors: &mut Vec<PolicyError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

impl TryFrom<PolicyDto> for Policy {
    type Error = PolicyError;

    /// Reads rules as the newest version does; [`PolicyDto::to_policy`] takes another.
    fn try_from(dto: PolicyDto) -> Result<Self, PolicyError> {
        dto.to_policy(&Server::new(crate::server::Version::V18))
    }
}

fn network(field: &'static str, text: &str) -> Result<IpNet, PolicyError> {
    let net: IpNet = text.parse().map_err(|_| PolicyError::Network { field, value: text.to_owned() })?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(PolicyError::HostBits { field, value: text.to_owned(), net: net.trunc() })
    }
}

fn rules(field: &'static str, lines: &[String], server: &Server, errors: &mut Vec<PolicyError>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let found = Document::parse(line, server).rules();
        let found = found.map_err(|source| PolicyError::Rule { field, position: index + 1, source });
        rules.extend(kept(found, errors).unwrap_or_default());
    }
    for rule in &mut rules {
        rule.origin = crate::rule::Origin::default();
    }
    rules
}
