//! Questions to the DNS: resolvers for what is old, authorities for what is new.
//!
//! A recursive resolver is never asked for a name under `_acme-challenge` before its record exists, since it would remember
//! the absence. Where authorities cannot be reached, or something answers in their place, [`Way::Resolvers`] asks only
//! resolvers.

mod wire;
mod zone;

pub use wire::DnsError;
pub(crate) use wire::exchange;

use crate::caa::Caa;
use crate::propagation::{Answer, Propagation, Reply, Way, propagation, report};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How the DNS is asked.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Resolvers, asked in this order.
    pub resolvers: Vec<SocketAddr>,
    /// Who is asked whether a record is there.
    pub way: Way,
    /// The port of authorities: 53, except in laboratories.
    pub authority_port: u16,
    /// How long one answer may take.
    pub within: Duration,
}

impl Dns {
    /// The resolvers of `/etc/resolv.conf`; those of the local host if it names none.
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

    /// Asks these resolvers, and authorities on port 53.
    #[must_use]
    pub const fn new(resolvers: Vec<SocketAddr>) -> Self {
        Self { resolvers, way: Way::Authorities, authority_port: 53, within: Duration::from_secs(5) }
    }

    /// Asks the first resolver that answers.
    async fn resolve(&self, name: &str, kind: RecordType) -> Result<Message, DnsError> {
        let mut last = DnsError::NoResolver;
        for resolver in &self.resolvers {
            match wire::ask(*resolver, name, kind, true, self.within).await {
                Ok(message)
                    if matches!(message.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
                {
                    return Ok(message);
                }
                Ok(message) => {
                    let code = message.response_code.to_string();
                    last = DnsError::Code { server: *resolver, name: name.to_owned(), code };
                }
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Follows CNAMEs from a name of a challenge to where its record belongs.
    ///
    /// # Errors
    /// [`DnsError::Loop`], or that nobody answered.
    pub async fn follow(&self, name: &str) -> Result<String, DnsError> {
        let mut seen = vec![name.trim_end_matches('.').to_ascii_lowercase()];
        loop {
            let here = seen.last().cloned().unwrap_or_default();
            let message = match self.way {
                Way::Resolvers => self.resolve(&here, RecordType::CNAME).await?,
                Way::Authorities => self.ask_any_authority(&here, RecordType::CNAME).await?,
            };
            let target = message.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if same(&record.name.to_ascii(), &here) => Some(target.0.to_ascii()),
                _ => None,
            });
            let Some(target) = target else { return Ok(here) };
            let target = target.trim_end_matches('.').to_ascii_lowercase();
            if seen.contains(&target) || seen.len() > 16 {
                seen.push(target);
                return Err(DnsError::Loop { chain: seen.join(" → ") });
            }
            seen.push(target);
        }
    }

    /// The first authority that gives an answer of its own.
    async fn ask_any_authority(&self, name: &str, kind: RecordType) -> Result<Message, DnsError> {
        let zone = self.zone(name).await?;
        let mut last = DnsError::NoAuthority { zone: zone.clone() };
        for (_, address) in self.authorities(&zone).await? {
            match wire::ask(address, name, kind, false, self.within).await {
                Ok(message) if message.authoritative => return Ok(message),
                Ok(message) if message.recursion_available => last = DnsError::Hijacked { server: address },
                Ok(_) => last = DnsError::Lame { server: address, zone: zone.clone() },
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Asks every address of every authority, or every resolver, for the TXT records of a name.
    ///
    /// # Errors
    /// If it cannot be found out who the authorities are.
    pub async fn txt(&self, name: &str) -> Result<Vec<Answer>, DnsError> {
        let servers = match self.way {
            Way::Authorities => self.authorities(&self.zone(name).await?).await?,
            Way::Resolvers => {
                self.resolvers.iter().map(|address| ("resolver".to_owned(), *address)).collect()
            }
        };
        let mut asked = tokio::task::JoinSet::new();
        let name: Arc<str> = name.into();
        for (server, address) in servers {
            let (name, within, recursion) = (name.clone(), self.within, self.way == Way::Resolvers);
            asked.spawn(async move {
                let reply = match wire::ask(address, &name, RecordType::TXT, recursion, within).await {
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
                    Err(why) => Reply::Silence(why.to_string()),
                };
                Answer { server, address, reply }
            });
        }
        Ok(asked.join_all().await)
    }

    /// Whether all these values are visible at their names. What is missing where, if not.
    ///
    /// # Errors
    /// If it cannot be found out who is to be asked.
    pub async fn visible(&self, wanted: &[(String, String)]) -> Result<Result<(), String>, DnsError> {
        let mut names: Vec<&String> = wanted.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let values: Vec<String> =
                wanted.iter().filter(|(at, _)| at == name).map(|(_, value)| value.clone()).collect();
            let answers = self.txt(name).await?;
            match propagation(&answers, &values, self.way) {
                Propagation::Complete => {}
                Propagation::Incomplete(verdicts) => {
                    return Ok(Err(format!("{name}: {}", report(&verdicts))));
                }
                Propagation::Hijacked => {
                    // Whoever answers in their place would answer a resolver's question too.
                    let by_resolvers = Self { way: Way::Resolvers, ..self.clone() };
                    let answers = by_resolvers.txt(name).await?;
                    match propagation(&answers, &values, Way::Resolvers) {
                        Propagation::Complete => {}
                        Propagation::Incomplete(verdicts) => {
                            return Ok(Err(format!(
                                "{name}: port 53 is intercepted on the way to the authorities, so resolvers are \
                                 asked: {}",
                                report(&verdicts)
                            )));
                        }
                        Propagation::Hijacked => return Ok(Err(format!("{name}: port 53 is intercepted"))),
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    /// The relevant CAA records of a name, and where they are (RFC 8659 §3).
    ///
    /// # Errors
    /// If a resolver does not answer, which a CA takes for a refusal too.
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

/// Whether two names are the same.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}
