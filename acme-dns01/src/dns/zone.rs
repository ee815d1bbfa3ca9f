//! Zones, their authoritative name servers, and delegations.

use super::wire::{ask, routed};
use super::{Dns, DnsError, same};
use crate::name::zone_candidates;
use crate::propagation::LookupMode;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use std::net::{IpAddr, SocketAddr};

impl Dns {
    /// Finds the zone of a name by SOA queries to the resolvers, for the name and then each parent up to the registered
    /// domain. A name that begins with `_` is not itself queried, since a resolver would cache its absence. The
    /// returned zone is in lower case, without a trailing dot.
    ///
    /// # Errors
    /// Returns [`DnsError::NoZone`] if no zone of two or more labels is found, [`DnsError::NoResolver`] if no resolver
    /// is configured, or the last error if no resolver responds with NOERROR or NXDOMAIN.
    pub async fn zone(&self, name: &str) -> Result<String, DnsError> {
        let name = name.trim_end_matches('.');
        let new = name.starts_with('_');
        for candidate in zone_candidates(name).skip(usize::from(new)) {
            let message = self.resolve(candidate, RecordType::SOA).await?;
            let found =
                message.answers.iter().chain(&message.authorities).find_map(|record| match record.data {
                    RData::SOA(_) => Some(record.name.to_ascii().trim_end_matches('.').to_ascii_lowercase()),
                    _ => None,
                });
            // Behind a CNAME record the SOA is that of another zone, which does not contain this name.
            let covers = |zone: &String| same(zone, candidate) || candidate.ends_with(&format!(".{zone}"));
            if let Some(zone) = found.filter(covers).filter(|zone| zone.contains('.')) {
                return Ok(zone);
            }
        }
        Err(DnsError::NoZone { name: name.to_owned() })
    }

    /// Returns the authoritative name servers of a zone: a pair of host name and address for each address to which
    /// there is a route.
    ///
    /// # Errors
    /// Returns [`DnsError::NoAuthority`] if no server has such an address, or an error if no resolver responds. The
    /// failure of a single lookup among several is ignored.
    pub async fn authorities(&self, zone: &str) -> Result<Vec<(String, SocketAddr)>, DnsError> {
        let message = self.resolve(zone, RecordType::NS).await?;
        let names = name_servers(message.answers.iter().chain(&message.authorities), None);
        let found = self.addresses(&names).await;
        let usable: Vec<(String, SocketAddr)> =
            found.iter().filter_map(|server| Some((server.server.clone(), server.address?))).collect();
        match (usable.is_empty(), found.into_iter().find_map(|server| server.lookup)) {
            (false, _) => Ok(usable),
            (true, Some(error)) => Err(error),
            (true, None) => Err(DnsError::NoAuthority { zone: zone.to_owned() }),
        }
    }

    /// Looks up the IPv4 and IPv6 addresses of name servers, and returns those to which there is a route, each once. A
    /// server without such an address is in the result once, without an address; its `error` is `None` if it has
    /// addresses that merely have no route.
    async fn addresses(&self, names: &[String]) -> Vec<NameServer> {
        let mut found: Vec<NameServer> = Vec::new();
        for server in names {
            let (mut any, mut lookup, mut unrouted) = (false, None, false);
            for kind in [RecordType::A, RecordType::AAAA] {
                let message = match self.resolve(server, kind).await {
                    Ok(message) => message,
                    Err(error) => {
                        lookup = Some(error);
                        continue;
                    }
                };
                for record in &message.answers {
                    let Some(ip) = address(record) else { continue };
                    let address = SocketAddr::new(ip, self.authority_port);
                    if !routed(address) {
                        unrouted = true;
                    } else if !found.iter().any(|known| known.address == Some(address)) {
                        any = true;
                        found.push(NameServer::new(server, Some(address)));
                    }
                }
            }
            let known = found.iter().any(|known| known.server == *server);
            if !any && !known {
                let mut without = NameServer::new(server, None);
                let why = match &lookup {
                    Some(error) => error.to_string(),
                    None if unrouted => "there is no route to its addresses".to_owned(),
                    None => "it has no address".to_owned(),
                };
                without.error = (!unrouted).then_some(why);
                without.lookup = lookup;
                found.push(without);
            }
        }
        found
    }

    /// Queries the authoritative name servers of a name, beginning with the zone that resolvers know, and follows
    /// referrals to child zones. Returns the first authoritative answer.
    ///
    /// # Errors
    /// Returns [`DnsError::NoAuthority`] if a child zone has no usable address, [`DnsError::Loop`] after eight
    /// referrals, or the last server's error.
    pub(super) async fn ask_authority(
        &self,
        name: &str,
        kind: RecordType,
    ) -> Result<AuthorityAnswer, DnsError> {
        let mut zone = self.zone(name).await?;
        let mut servers = self.authorities(&zone).await?;
        for _ in 0..MAX_DELEGATIONS {
            match self.ask_servers(&servers, &zone, name, kind).await? {
                ServerReply::Answer(message) => {
                    // A server that is authoritative for the child zone too answers from that zone, without a referral.
                    if let Some(child) = child_zone(&message, &zone, name) {
                        servers = self.authorities(&child).await.unwrap_or(servers);
                        zone = child;
                    }
                    return Ok(AuthorityAnswer { message, zone, servers });
                }
                ServerReply::Referral { child, names, glue } => {
                    let missing: Vec<String> = names
                        .iter()
                        .filter(|name| !glue.iter().any(|(known, _)| known == *name))
                        .cloned()
                        .collect();
                    servers = glue.into_iter().filter(|(_, address)| routed(*address)).collect();
                    let found = self.addresses(&missing).await;
                    servers.extend(
                        found.into_iter().filter_map(|server| Some((server.server, server.address?))),
                    );
                    zone = child;
                    if servers.is_empty() {
                        return Err(DnsError::NoAuthority { zone });
                    }
                }
            }
        }
        Err(DnsError::Loop { chain: format!("delegations below {zone}") })
    }

    /// Queries all servers concurrently, and returns the first authoritative answer or referral.
    ///
    /// # Errors
    /// Returns the last error if no server gives either.
    async fn ask_servers(
        &self,
        servers: &[(String, SocketAddr)],
        zone: &str,
        name: &str,
        kind: RecordType,
    ) -> Result<ServerReply, DnsError> {
        let mut asked = tokio::task::JoinSet::new();
        for (_, address) in servers {
            let (address, name, within) = (*address, name.to_owned(), self.within);
            asked.spawn(async move { (address, ask(address, &name, kind, false, within).await) });
        }
        let mut last = DnsError::NoAuthority { zone: zone.to_owned() };
        while let Some(done) = asked.join_next().await {
            let Ok((address, answer)) = done else { continue };
            let message = match answer {
                Ok(message) => message,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let fine = matches!(message.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
            if fine && message.authoritative {
                return Ok(ServerReply::Answer(Box::new(message)));
            }
            if fine
                && !message.recursion_available
                && let Some(referral) = self.referral(&message, zone, name)
            {
                return Ok(referral);
            }
            last = if message.recursion_available {
                DnsError::Hijacked { server: address }
            } else if fine {
                DnsError::Lame { server: address, zone: zone.to_owned() }
            } else {
                let code = message.response_code.to_string();
                DnsError::Code { server: address, name: name.to_owned(), code }
            };
        }
        Err(last)
    }

    /// Reads a referral from `zone` to a zone below it, at or above `name`, with the names of its name servers and
    /// their addresses in the additional section. `None` if the message contains none.
    fn referral(&self, message: &Message, zone: &str, name: &str) -> Option<ServerReply> {
        let inside = |child: &str| {
            child.len() > zone.len() && (same(child, name) || name.ends_with(&format!(".{child}")))
        };
        let owner = |record: &Record| record.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let child = message
            .authorities
            .iter()
            .filter(|record| matches!(record.data, RData::NS(_)))
            .map(owner)
            .find(|child| inside(child))?;
        let names = name_servers(message.authorities.iter(), Some(&child));
        let glue = message
            .additionals
            .iter()
            .filter_map(|record| {
                let server = owner(record);
                let ip = address(record).filter(|_| names.contains(&server))?;
                Some((server, SocketAddr::new(ip, self.authority_port)))
            })
            .collect();
        Some(ServerReply::Referral { child, names, glue })
    }

    /// Queries the SOA record of a name's zone at every address of every authoritative name server, or at every
    /// resolver, by [`mode`](Self::mode). Returns each address with the error found, and servers without an address.
    ///
    /// # Errors
    /// Returns a [`DnsError`] if the zone or its name servers cannot be found.
    pub async fn survey(&self, name: &str) -> Result<Vec<NameServer>, DnsError> {
        let (zone, mut servers) = match self.mode {
            LookupMode::Resolvers => {
                let servers = self
                    .resolvers
                    .iter()
                    .map(|address| NameServer::new("resolver", Some(*address)))
                    .collect();
                (self.zone(name).await?, servers)
            }
            LookupMode::Authorities => {
                let zone = self.zone(name).await?;
                let message = self.resolve(&zone, RecordType::NS).await?;
                let names = name_servers(message.answers.iter().chain(&message.authorities), None);
                let mut servers = self.addresses(&names).await;
                let mut at = zone.clone();
                if let Ok(found) = self.ask_authority(name, RecordType::SOA).await
                    && !same(&found.zone, &zone)
                {
                    at = found.zone;
                    servers = found
                        .servers
                        .into_iter()
                        .map(|(server, address)| NameServer::new(&server, Some(address)))
                        .collect();
                }
                (at, servers)
            }
        };
        let mut asked = tokio::task::JoinSet::new();
        for (at, server) in servers.iter().enumerate() {
            let Some(address) = server.address else { continue };
            let (zone, within) = (zone.clone(), self.within);
            let recursion = self.mode == LookupMode::Resolvers;
            asked.spawn(async move { (at, ask(address, &zone, RecordType::SOA, recursion, within).await) });
        }
        while let Some(done) = asked.join_next().await {
            let Ok((at, answer)) = done else { continue };
            let error = match answer {
                Err(error) => Some(error.to_string()),
                Ok(message) if message.response_code != ResponseCode::NoError => {
                    Some(format!("answered {} for {zone}", message.response_code))
                }
                Ok(message) if self.mode == LookupMode::Authorities && message.recursion_available => {
                    Some("a resolver answers in its place: set dns.mode = \"resolvers\"".to_owned())
                }
                Ok(message) if self.mode == LookupMode::Authorities && !message.authoritative => {
                    Some(format!("not authoritative for {zone}"))
                }
                Ok(_) => None,
            };
            if let Some(server) = servers.get_mut(at) {
                server.error = error;
            }
        }
        Ok(servers)
    }
}

/// Maximum number of zones whose servers are queried for one name, so that the eighth referral is an error.
const MAX_DELEGATIONS: usize = 8;

/// One address of a name server, with the outcome of a query to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NameServer {
    /// Host name of the server, or `resolver` in [`LookupMode::Resolvers`].
    pub server: String,
    /// IP address and port. `None` if the server has no address to which there is a route.
    pub address: Option<SocketAddr>,
    /// Description of the error. `None` if the server answers correctly, or was not queried because there is no route
    /// to it.
    pub error: Option<String>,
    lookup: Option<DnsError>,
}

impl NameServer {
    /// Creates the entry of a server at an address, without an error.
    fn new(server: &str, address: Option<SocketAddr>) -> Self {
        Self { server: server.to_owned(), address, error: None, lookup: None }
    }
}

/// An authoritative answer, the zone that gave it, and all servers of that zone as pairs of host name and address.
pub(super) struct AuthorityAnswer {
    pub(super) message: Box<Message>,
    pub(super) zone: String,
    pub(super) servers: Vec<(String, SocketAddr)>,
}

/// The response of an authoritative name server: an answer, or a referral to the zone `child` with the names of its
/// name servers and the addresses given for them (glue).
enum ServerReply {
    Answer(Box<Message>),
    Referral { child: String, names: Vec<String>, glue: Vec<(String, SocketAddr)> },
}

/// Returns the child zone of `zone` that an answer is from, by its SOA record. `None` without an SOA record of a zone
/// below `zone` that is at or above `name`.
fn child_zone(message: &Message, zone: &str, name: &str) -> Option<String> {
    let records = message.answers.iter().chain(&message.authorities);
    records
        .filter(|record| matches!(record.data, RData::SOA(_)))
        .map(|record| record.name.to_ascii().trim_end_matches('.').to_ascii_lowercase())
        .find(|owner| owner.len() > zone.len() && (same(owner, name) || name.ends_with(&format!(".{owner}"))))
}

/// Returns the IP address of an A or AAAA record. `None` for other types.
fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

/// Returns the host names in NS records, in their order, in lower case and without duplicates. With `owner`, only
/// records of that name count.
fn name_servers<'r>(records: impl Iterator<Item = &'r Record>, owner: Option<&str>) -> Vec<String> {
    let mut names = Vec::new();
    for record in records {
        let RData::NS(server) = &record.data else { continue };
        if owner.is_some_and(|owner| !same(&record.name.to_ascii(), owner)) {
            continue;
        }
        let server = server.0.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        if !names.contains(&server) {
            names.push(server);
        }
    }
    names
}
