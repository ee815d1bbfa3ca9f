//! DNS lookups: at recursive resolvers for long-standing records, at authoritative name servers for recently written
//! ones.
//!
//! No recursive resolver is queried for a name under `_acme-challenge` before its record exists, since the resolver
//! would cache its absence. Where authoritative name servers cannot be reached, or queries to them are intercepted,
//! [`LookupMode::Resolvers`] queries resolvers only.

mod target;
mod wire;
mod zone;

pub use target::Target;
pub use wire::DnsError;
pub(crate) use wire::{ask, exchange};
pub use zone::NameServer;

use crate::caa::Caa;
use crate::propagation::{Answer, LookupMode, Propagation, Reply, propagation, report, unreachable};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A DNS client: resolvers, lookup mode and time limit.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Recursive resolvers, queried in this order until one responds with NOERROR or NXDOMAIN.
    pub resolvers: Vec<SocketAddr>,
    /// Servers that are queried for CNAME records of the challenge name, for its TXT record, and by
    /// [`survey`](Self::survey). Default: [`LookupMode::Authorities`], in which [`visible`](Self::visible) queries the
    /// resolvers nevertheless if queries are intercepted.
    pub mode: LookupMode,
    /// UDP and TCP port of authoritative name servers. Default: 53.
    pub authority_port: u16,
    /// Time limit of one query to one server over one transport. Default: 5 s.
    pub within: Duration,
}

impl Dns {
    /// Creates a client with the resolvers of `/etc/resolv.conf` on port 53, or with 127.0.0.1 if the file is missing
    /// or names none.
    #[must_use]
    pub fn system() -> Self {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let mut resolvers: Vec<SocketAddr> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok())
            .map(|address| SocketAddr::new(address, 53))
            .collect();
        if resolvers.is_empty() {
            resolvers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
        }
        Self::new(resolvers)
    }

    /// Creates a client with these resolvers, in order, that queries authoritative name servers on port 53, with a time
    /// limit of 5 s.
    #[must_use]
    pub const fn new(resolvers: Vec<SocketAddr>) -> Self {
        Self { resolvers, mode: LookupMode::Authorities, authority_port: 53, within: Duration::from_secs(5) }
    }

    /// Queries the resolvers in order, with recursion, and returns the first response with the code NOERROR or
    /// NXDOMAIN.
    ///
    /// # Errors
    /// Returns the error of the last resolver, or [`DnsError::NoResolver`] if none is configured.
    async fn resolve(&self, name: &str, kind: RecordType) -> Result<Message, DnsError> {
        let mut last = DnsError::NoResolver;
        for resolver in &self.resolvers {
            match ask(*resolver, name, kind, true, self.within).await {
                Ok(message) => match message.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => return Ok(message),
                    ResponseCode::NotImp => {
                        last = DnsError::Unsupported { server: *resolver, record_type: kind.to_string() };
                    }
                    code => {
                        let (name, code) = (name.to_owned(), code.to_string());
                        last = DnsError::Code { server: *resolver, name, code };
                    }
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns the servers to query for a name's TXT record, by [`mode`](Self::mode): each address of each
    /// authoritative name server with its host name, even if none answers correctly, or the resolvers under the name
    /// `resolver`.
    ///
    /// # Errors
    /// Returns an error if the zone or its name servers cannot be determined. Never with [`LookupMode::Resolvers`].
    async fn servers_of(&self, name: &str) -> Result<Vec<(String, SocketAddr)>, DnsError> {
        match self.mode {
            // If no server answers correctly, all are queried nevertheless, so that the report names each.
            LookupMode::Authorities => match self.ask_authority(name, RecordType::TXT).await {
                Ok(found) => Ok(found.servers),
                Err(_) => self.authorities(&self.zone(name).await?).await,
            },
            LookupMode::Resolvers => {
                Ok(self.resolvers.iter().map(|address| ("resolver".to_owned(), *address)).collect())
            }
        }
    }

    /// Queries the TXT records of a name concurrently at every address of every authoritative name server, or at every
    /// resolver, by [`mode`](Self::mode). The answers are in no particular order. A server that does not respond is in
    /// the result as [`Reply::Silence`].
    ///
    /// # Errors
    /// Returns a [`DnsError`] if the authoritative name servers cannot be found.
    pub async fn txt(&self, name: &str) -> Result<Vec<Answer>, DnsError> {
        let servers = self.servers_of(name).await?;
        let mut asked = tokio::task::JoinSet::new();
        let name: Arc<str> = name.into();
        for (server, address) in servers {
            let (name, within, recursion) = (name.clone(), self.within, self.mode == LookupMode::Resolvers);
            asked.spawn(async move {
                let reply = match ask(address, &name, RecordType::TXT, recursion, within).await {
                    Ok(message) => Reply::Response {
                        authoritative: message.authoritative,
                        recursive: message.recursion_available,
                        code: message.response_code.into(),
                        values: message
                            .answers
                            .iter()
                            .filter_map(|record| match &record.data {
                                RData::TXT(txt) if same(&record.name.to_ascii(), &name) => {
                                    Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
                                }
                                _ => None,
                            })
                            .collect(),
                    },
                    Err(error) => Reply::Silence(error.to_string()),
                };
                Answer { server, address, reply }
            });
        }
        Ok(asked.join_all().await)
    }

    /// Checks that every value is returned at its name by every server that [`txt`](Self::txt) queries. If queries to
    /// authoritative name servers are intercepted, resolvers are queried instead. Stops at the first name, in
    /// alphabetical order, with a missing value.
    ///
    /// # Errors
    /// Returns a [`DnsError`] if the authoritative name servers cannot be found.
    pub async fn visible(&self, wanted: &[ExpectedTxt]) -> Result<Visibility, DnsError> {
        let mut names: Vec<&String> = wanted.iter().map(|txt| &txt.name).collect();
        names.sort();
        names.dedup();
        let mut silent = Vec::new();
        for name in names {
            let values: Vec<String> =
                wanted.iter().filter(|txt| txt.name == *name).map(|txt| txt.value.clone()).collect();
            let answers = self.txt(name).await?;
            match propagation(&answers, &values, self.mode) {
                Propagation::Complete => silent.extend(unreachable(&answers)),
                Propagation::Incomplete(verdicts) => {
                    return Ok(Visibility::Incomplete(format!("{name}: {}", report(&verdicts))));
                }
                Propagation::Hijacked => {
                    // The interceptor would also answer the queries of a resolver on this host, so the configured ones
                    // are asked.
                    let by_resolvers = Self { mode: LookupMode::Resolvers, ..self.clone() };
                    let answers = by_resolvers.txt(name).await?;
                    match propagation(&answers, &values, LookupMode::Resolvers) {
                        Propagation::Complete => {}
                        Propagation::Incomplete(verdicts) => {
                            return Ok(Visibility::Incomplete(format!(
                                "{name}: port 53 is intercepted on the way to the authorities, so resolvers are \
                                 asked: {}",
                                report(&verdicts)
                            )));
                        }
                        Propagation::Hijacked => {
                            return Ok(Visibility::Incomplete(format!("{name}: port 53 is intercepted")));
                        }
                    }
                }
            }
        }
        Ok(Visibility::Complete { unreachable: silent })
    }

    /// Returns the relevant CAA record set of a name, and the name at which it was found (RFC 8659 §3): the first of
    /// the name and its parents with CAA records. The set is empty, at the name itself, if there are none.
    ///
    /// # Errors
    /// Returns a [`DnsError`] if no resolver responds with NOERROR or NXDOMAIN. A CA does not issue in that case
    /// either.
    pub async fn caa(&self, name: &str) -> Result<(String, Vec<Caa>), DnsError> {
        let mut at = Some(name.trim_end_matches('.'));
        while let Some(here) = at {
            let message = self.resolve(here, RecordType::CAA).await?;
            let records: Vec<Caa> = message
                .answers
                .iter()
                .filter_map(|record| match &record.data {
                    RData::CAA(caa) => Some(Caa {
                        critical: caa.issuer_critical,
                        tag: caa.tag.clone(),
                        value: String::from_utf8_lossy(&caa.value).into_owned(),
                    }),
                    _ => None,
                })
                .collect();
            if !records.is_empty() {
                return Ok((here.to_owned(), records));
            }
            at = here.split_once('.').map(|(_, parent)| parent);
        }
        Ok((name.to_owned(), Vec::new()))
    }
}

/// A value that must be among the TXT records of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTxt {
    /// Name of the record, after all CNAME records are followed.
    pub name: String,
    /// Value of the record, its strings concatenated.
    pub value: String,
}

/// Result of [`Dns::visible`]: whether every server returns every expected TXT value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Visibility {
    /// Every server has every value.
    Complete {
        /// Addresses that did not answer, of name servers that answered at another address, as `server (address)`.
        unreachable: Vec<String>,
    },
    /// A server does not return every value, no server is known, or queries are intercepted on the way to the resolvers
    /// too. The text is a human-readable report.
    Incomplete(String),
}

/// Returns `true` if two domain names are equal apart from case and a trailing dot.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}
