//! The policy as a file says it.

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
    /// See [`Policy::superuser`].
    pub superuser: Option<String>,
    /// See [`Policy::service`].
    pub services: Vec<ServiceDto>,
    /// See [`Policy::privileged`].
    pub privileged: Vec<String>,
    /// See [`Policy::local`].
    pub local: LocalDto,
    /// See [`Policy::tailnet`].
    pub tailnet: TailnetDto,
    /// See [`Policy::tailnet_ranges`].
    pub tailnet_ranges: Option<Vec<String>>,
    /// See [`Policy::tls`].
    pub tls: TlsDto,
    /// See [`Policy::replication`].
    pub replication: Vec<ReplicationDto>,
    /// Lines of pg_hba.conf: see [`Policy::before`].
    pub before: Vec<String>,
    /// Lines of pg_hba.conf: see [`Policy::after`].
    pub after: Vec<String>,
}

/// See [`super::Service`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDto {
    /// Its database.
    pub database: String,
    /// Its role.
    pub role: String,
}

/// See [`super::ReplicationGrant`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationDto {
    /// The role.
    pub role: String,
    /// A network; absent for the socket.
    pub from: Option<String>,
}

/// See [`Local`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalDto {
    /// See [`Local::Trust`].
    #[default]
    Trust,
    /// See [`Local::Peer`].
    Peer,
    /// See [`Local::Scram`].
    Scram,
}

/// See [`Tailnet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TailnetDto {
    /// See [`Tailnet::Trust`].
    #[default]
    Trust,
    /// See [`Tailnet::Scram`].
    Scram,
    /// See [`Tailnet::Off`].
    Off,
}

/// See [`Tls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsDto {
    /// See [`Tls::Optional`].
    #[default]
    Optional,
    /// See [`Tls::OutsideTailnet`].
    OutsideTailnet,
    /// See [`Tls::Required`].
    Required,
}

/// Why a policy as written means nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A name is empty.
    #[error("{field}: a name is empty; write the name of a role or database")]
    EmptyName {
        /// The field.
        field: &'static str,
    },
    /// Not a network.
    #[error("{field}: {value:?} is no network; write one such as 100.64.0.0/10")]
    Network {
        /// The field.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// A rule of `before` or `after` is refused.
    #[error("{field}: rule {position} is refused")]
    Rule {
        /// The field.
        field: &'static str,
        /// Its position, from 1.
        position: usize,
        /// Why.
        #[source]
        source: Refused,
    },
}

impl PolicyDto {
    /// The policy, its own rules read for a server.
    ///
    /// # Errors
    /// When a name is empty, a network is none, or a rule would be refused.
    pub fn to_policy(&self, server: &Server) -> Result<Policy, PolicyError> {
        let mut policy = Policy::new();
        if let Some(superuser) = &self.superuser {
            policy.superuser = named("superuser", superuser)?;
        }
        for service in &self.services {
            policy = policy.service(named("services", &service.database)?, named("services", &service.role)?);
        }
        for role in &self.privileged {
            policy = policy.privileged(named("privileged", role)?);
        }
        policy.local = match self.local {
            LocalDto::Trust => Local::Trust,
            LocalDto::Peer => Local::Peer,
            LocalDto::Scram => Local::Scram,
        };
        policy.tailnet = match self.tailnet {
            TailnetDto::Trust => Tailnet::Trust,
            TailnetDto::Scram => Tailnet::Scram,
            TailnetDto::Off => Tailnet::Off,
        };
        policy.tls = match self.tls {
            TlsDto::Optional => Tls::Optional,
            TlsDto::OutsideTailnet => Tls::OutsideTailnet,
            TlsDto::Required => Tls::Required,
        };
        if let Some(ranges) = &self.tailnet_ranges {
            let ranges: Vec<IpNet> =
                ranges.iter().map(|net| network("tailnet_ranges", net)).collect::<Result<_, _>>()?;
            policy = policy.tailnet_ranges(ranges);
        }
        for grant in &self.replication {
            let from = grant.from.as_deref().map(|net| network("replication", net)).transpose()?;
            policy = policy.replication(named("replication", &grant.role)?, from);
        }
        policy.before = rules("before", &self.before, server)?;
        policy.after = rules("after", &self.after, server)?;
        Ok(policy)
    }
}

impl TryFrom<PolicyDto> for Policy {
    type Error = PolicyError;

    /// Reads rules as the newest version does; [`PolicyDto::to_policy`] takes another.
    fn try_from(dto: PolicyDto) -> Result<Self, PolicyError> {
        dto.to_policy(&Server::new(crate::server::Version::V18))
    }
}

fn named(field: &'static str, name: &str) -> Result<String, PolicyError> {
    if name.is_empty() { Err(PolicyError::EmptyName { field }) } else { Ok(name.to_owned()) }
}

fn network(field: &'static str, text: &str) -> Result<IpNet, PolicyError> {
    text.parse().map_err(|_| PolicyError::Network { field, value: text.to_owned() })
}

fn rules(field: &'static str, lines: &[String], server: &Server) -> Result<Vec<Rule>, PolicyError> {
    let mut rules = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let found = Document::parse(line, server).rules();
        rules.extend(found.map_err(|source| PolicyError::Rule { field, position: index + 1, source })?);
    }
    for rule in &mut rules {
        rule.origin = crate::rule::Origin::default();
    }
    Ok(rules)
}
