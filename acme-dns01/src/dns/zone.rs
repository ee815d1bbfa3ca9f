//! Zones and their authorities.

use super::wire::routed;
use super::{Dns, DnsError, same};
use crate::name::zone_candidates;
use hickory_proto::rr::{RData, RecordType};
use std::net::{IpAddr, SocketAddr};

impl Dns {
    /// The zone that a name is in. The name itself is not asked for, since a resolver would remember that it is absent.
    ///
    /// # Errors
    /// [`DnsError::NoZone`], or that nobody answered.
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
            // A CNAME leads to another zone, whose SOA says nothing about this name.
            let covers = |zone: &String| same(zone, candidate) || candidate.ends_with(&format!(".{zone}"));
            if let Some(zone) = found.filter(covers).filter(|zone| zone.contains('.')) {
                return Ok(zone);
            }
        }
        Err(DnsError::NoZone { name: name.to_owned() })
    }

    /// The name servers of a zone with every address that there is a route to.
    ///
    /// # Errors
    /// [`DnsError::NoAuthority`], or that nobody answered.
    pub async fn authorities(&self, zone: &str) -> Result<Vec<(String, SocketAddr)>, DnsError> {
        let message = self.resolve(zone, RecordType::NS).await?;
        let mut found = Vec::new();
        for record in message.answers.iter().chain(&message.authorities) {
            let RData::NS(server) = &record.data else { continue };
            let server = server.0.to_ascii().trim_end_matches('.').to_owned();
            for kind in [RecordType::A, RecordType::AAAA] {
                let addresses = self.resolve(&server, kind).await?;
                for record in &addresses.answers {
                    let address: IpAddr = match &record.data {
                        RData::A(address) => address.0.into(),
                        RData::AAAA(address) => address.0.into(),
                        _ => continue,
                    };
                    let address = SocketAddr::new(address, self.authority_port);
                    if routed(address) && !found.iter().any(|(_, known)| *known == address) {
                        found.push((server.clone(), address));
                    }
                }
            }
        }
        if found.is_empty() { Err(DnsError::NoAuthority { zone: zone.to_owned() }) } else { Ok(found) }
    }
}
