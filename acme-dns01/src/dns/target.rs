//! Location of a challenge's TXT record: CNAME records are followed, except those that a wildcard record makes.

use super::{Dns, DnsError, same};
use crate::propagation::LookupMode;
use hickory_proto::rr::{RData, RecordType};

/// Maximum length of a domain name in text, without the trailing dot.
const MAX_NAME: usize = 253;

/// Location of a challenge's TXT record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Name of the record, after all CNAME records are followed.
    pub name: String,
    /// Zone that contains the record, by its SOA record.
    pub zone: String,
    /// Target of the CNAME record that a wildcard record makes for [`name`](Self::name), and that was not followed: a
    /// TXT record at the name hides it (RFC 4592 §2.2.1). `None` without one.
    pub wildcard: Option<String>,
}

impl Dns {
    /// Finds the zone and the name of a challenge's TXT record. Follows CNAME records and, in the mode
    /// [`LookupMode::Authorities`], delegations. A CNAME record that a wildcard record makes, such as `*.example.org`
    /// for all hosts, is no delegation of the challenge, and is not followed.
    ///
    /// # Errors
    /// Returns [`DnsError::Loop`] for a CNAME loop or more than 16 CNAME records, [`DnsError::NoZone`] without a zone,
    /// or the error of the last server.
    pub async fn target(&self, name: &str) -> Result<Target, DnsError> {
        self.follow(name, false).await
    }

    /// Finds zone and name as [`target`](Self::target) does. If `wildcards`, also follows CNAME records that a wildcard
    /// record makes.
    ///
    /// # Errors
    /// Returns the errors of [`target`](Self::target).
    pub(crate) async fn follow(&self, name: &str, wildcards: bool) -> Result<Target, DnsError> {
        let mut seen = vec![name.trim_end_matches('.').to_ascii_lowercase()];
        loop {
            let here = seen.last().cloned().unwrap_or_default();
            let (target, zone) = self.cname(&here).await?;
            let wildcard = match &target {
                Some(target) if !wildcards => self.is_wildcard(&here, target).await?,
                _ => false,
            };
            let Some(target) = target.clone().filter(|_| !wildcard) else {
                let zone = match zone {
                    Some(zone) => zone,
                    None => self.zone(&here).await?,
                };
                return Ok(Target { name: here, zone, wildcard: target });
            };
            if seen.contains(&target) || seen.len() > 16 {
                seen.push(target);
                return Err(DnsError::Loop { chain: seen.join(" → ") });
            }
            seen.push(target);
        }
    }

    /// Returns the target of a name's CNAME record, in lower case and without a trailing dot, and the zone of the name
    /// as far as an authoritative name server gave it. `None` each without one.
    ///
    /// # Errors
    /// Returns a [`DnsError`] if no server answers.
    async fn cname(&self, name: &str) -> Result<(Option<String>, Option<String>), DnsError> {
        let (message, zone) = match self.mode {
            LookupMode::Resolvers => (self.resolve(name, RecordType::CNAME).await?, None),
            LookupMode::Authorities => {
                let found = self.ask_authority(name, RecordType::CNAME).await?;
                (*found.message, Some(found.zone))
            }
        };
        let target = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if same(&record.name.to_ascii(), name) => Some(target.0.to_ascii()),
            _ => None,
        });
        Ok((target.map(|target| target.trim_end_matches('.').to_ascii_lowercase()), zone))
    }

    /// Returns `true` if a name beside this one, which nobody created, has the same CNAME target: a wildcard record
    /// makes both.
    ///
    /// # Errors
    /// Returns a [`DnsError`] if no server answers.
    async fn is_wildcard(&self, name: &str, target: &str) -> Result<bool, DnsError> {
        let Some((_, parent)) = name.split_once('.') else { return Ok(false) };
        let mut random = [0; 7];
        if aws_lc_rs::rand::fill(&mut random).is_err() {
            return Ok(false);
        }
        let label: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let beside = format!("_{label}.{parent}");
        Ok(beside.len() <= MAX_NAME && self.cname(&beside).await?.0.as_deref() == Some(target))
    }
}
