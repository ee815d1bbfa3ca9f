//! Provider for dynamic updates (RFC 2136), signed with TSIG (RFC 8945).

use super::{Coverage, Provider, ProviderError, ZoneMatch, configured_zone};
use crate::dns::{ask, exchange};
use async_trait::async_trait;
use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use secrecy::{ExposeSecret, SecretSlice};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Algorithm of a TSIG key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// HMAC with SHA-256 (`hmac-sha256`), the default.
    #[default]
    HmacSha256,
    /// HMAC with SHA-384 (`hmac-sha384`).
    HmacSha384,
    /// HMAC with SHA-512 (`hmac-sha512`).
    HmacSha512,
}

/// Provider for a primary name server that accepts dynamic updates (RFC 2136) over TCP.
pub struct Rfc2136 {
    server: SocketAddr,
    /// Configured name of the zone, or `None` to ask the server whether it has the zone that the DNS names.
    zone: Option<String>,
    /// Signer of updates with the TSIG key. `None` sends updates unsigned.
    signer: Option<TSigner>,
    ttl: u32,
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.signer.as_ref().map(|signer| signer.signer_name().to_ascii());
        f.debug_struct("Rfc2136").field("server", &self.server).field("key", &key).finish_non_exhaustive()
    }
}

impl Rfc2136 {
    /// Creates a provider for this server. Updates are sent over TCP, with a TTL of 60 s and unsigned until
    /// [`tsig`](Self::tsig) sets a key. The server is queried for the zone, unless [`zone`](Self::zone) sets one.
    #[must_use]
    pub const fn new(server: SocketAddr) -> Self {
        Self { server, zone: None, signer: None, ttl: 60 }
    }

    /// Sets the zone, so that the server is not queried for it.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets the TSIG key with which updates are signed. `key` is the secret, decoded from base64.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the key's name is not a valid domain name or the secret cannot be used.
    pub fn tsig(
        mut self,
        name: &str,
        algorithm: TsigAlgorithm,
        key: &SecretSlice<u8>,
    ) -> Result<Self, ProviderError> {
        use hickory_proto::rr::rdata::tsig::TsigAlgorithm as Hickory;
        let wrong =
            |why: String| ProviderError::permanent("rfc2136", format!("the TSIG key `{name}`: {why}"));
        let algorithm = match algorithm {
            TsigAlgorithm::HmacSha256 => Hickory::HmacSha256,
            TsigAlgorithm::HmacSha384 => Hickory::HmacSha384,
            TsigAlgorithm::HmacSha512 => Hickory::HmacSha512,
        };
        let owner = Name::from_ascii(name).map_err(|why| wrong(why.to_string()))?;
        let signer = TSigner::new(key.expose_secret().to_vec(), algorithm, owner, 300);
        self.signer = Some(signer.map_err(|why| wrong(why.to_string()))?);
        Ok(self)
    }

    /// Returns the record set of a TXT record with this name and value and the provider's TTL.
    ///
    /// # Errors
    /// Returns a permanent error if the name is not valid.
    fn set(&self, name: &str, value: &str) -> Result<RecordSet, ProviderError> {
        let owner = absolute_name(name)?;
        let record = Record::from_rdata(owner, self.ttl, RData::TXT(TXT::new(vec![value.to_owned()])));
        Ok(RecordSet::from(record))
    }

    /// Signs (if a key is set) and sends an update, and waits at most 15 s for the response. The signature of a
    /// successful response to a signed update is verified.
    ///
    /// # Errors
    /// Returns a transient error without a response or for SERVFAIL, and a permanent one if the message cannot be
    /// signed or encoded, for other response codes, or for a wrong signature.
    async fn update(&self, mut message: Message, zone: &str) -> Result<(), ProviderError> {
        let permanent = |why: String| ProviderError::permanent("rfc2136", why);
        let mut verifier = None;
        if let Some(signer) = &self.signer {
            let now = crate::client_now().secs();
            verifier = message.finalize(signer, now).map_err(|why| permanent(why.to_string()))?;
        }
        let bytes = message.to_vec().map_err(|why| permanent(why.to_string()))?;
        let (answer, raw) = exchange(self.server, &bytes, message.id, true, Duration::from_secs(15))
            .await
            .map_err(|why| ProviderError::transient("rfc2136", why.to_string()))?;
        let code = answer.response_code;
        if code == ResponseCode::NoError {
            if let Some(verifier) = &mut verifier {
                verifier.verify(&raw).map_err(|why| {
                    permanent(format!("{}: the answer's signature is wrong: {why}", self.server))
                })?;
            }
            return Ok(());
        }
        let advice = match code {
            ResponseCode::NotAuth => {
                ": it does not have the zone, or the TSIG key's name, algorithm or secret is not its own, or a clock is off"
            }
            ResponseCode::Refused => ": allow the key to update TXT records of the zone",
            ResponseCode::NotZone => ": the name is not in the zone",
            _ => "",
        };
        let error = format!("{} answered {code} to an update of {zone}{advice}", self.server);
        Err(if code == ResponseCode::ServFail {
            ProviderError::transient("rfc2136", error)
        } else {
            permanent(error)
        })
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        if let Some(zone) = &self.zone {
            return Ok(configured_zone(std::slice::from_ref(zone), name, apex));
        }
        // An authoritative SOA answer shows that the server has the zone. A server that refuses the query is assumed to
        // have it, if updates are signed.
        let answer = ask(self.server, apex, RecordType::SOA, false, Duration::from_secs(5)).await;
        let answer = answer.map_err(|error| ProviderError::transient("rfc2136", error.to_string()))?;
        Ok(match answer.response_code {
            ResponseCode::NoError if answer.authoritative => {
                let owned = answer.answers.iter().any(|record| matches!(record.data, RData::SOA(_)));
                let apex = apex.to_ascii_lowercase();
                owned.then(|| ZoneMatch::new(apex.clone(), Coverage::Zone { apex, active: true }))
            }
            ResponseCode::Refused | ResponseCode::NotAuth if self.signer.is_some() => {
                Some(ZoneMatch::new(apex, Coverage::Any))
            }
            _ => None,
        })
    }

    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        let message = update_message::append(self.set(name, value)?, absolute_name(zone)?, false, false);
        self.update(message, zone).await.map(|()| None)
    }

    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        _: Option<&str>,
    ) -> Result<(), ProviderError> {
        let message = update_message::delete_by_rdata(self.set(name, value)?, absolute_name(zone)?, false);
        self.update(message, zone).await
    }

    async fn probe(&self, zone: &str, name: &str) -> Result<Option<String>, ProviderError> {
        // Removing a nonexistent record changes nothing, but requires the permission to update.
        self.remove(zone, name, "acme-dns01 check: nothing has this value", None).await?;
        Ok(Some(format!("{} takes signed updates", self.server)))
    }
}

/// Parses a name as absolute, with or without a trailing dot.
///
/// # Errors
/// Returns a permanent error if the name is not valid.
fn absolute_name(name: &str) -> Result<Name, ProviderError> {
    let mut found = Name::from_ascii(name)
        .map_err(|why| ProviderError::permanent("rfc2136", format!("not a valid name: `{name}`: {why}")))?;
    found.set_fqdn(true);
    Ok(found)
}
