//! An issuance attempt, the configuration on which it is based, and its TXT records.

use crate::name::Name;
use crate::time::Time;
use std::collections::BTreeSet;

/// An issuance attempt, from its beginning to the installation of the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attempt {
    /// Time at which the attempt began.
    pub began: Time,
    /// Configured name of the authority.
    pub authority: String,
    /// ARI identifier of the certificate that the order replaces. `None` if it replaces none.
    pub replaces: Option<String>,
    /// SHA-256 digest of the public key in hexadecimal digits. `None` until the key is stored.
    pub key: Option<String>,
    /// `true` if a newOrder request may have been sent.
    pub ordering: bool,
    /// Order URL. `None` until it is known.
    pub order: Option<String>,
    /// URLs of the authorizations whose challenge may have been triggered.
    pub triggered: BTreeSet<String>,
    /// `true` if the certificate signing request may have been sent.
    pub finalizing: bool,
    /// Certificate URL. `None` until the certificate is issued.
    pub issued: Option<String>,
    /// Configuration on which the attempt is based. `None` in journals of older versions.
    #[cfg_attr(feature = "serde", serde(default))]
    pub request: Option<Box<OrderSpec>>,
}

impl Attempt {
    /// Returns `true` if the certificate signing request may have been sent or the certificate was issued. All names
    /// are then validated, and the attempt is completed without a DNS provider.
    #[must_use]
    pub const fn is_validated(&self) -> bool {
        self.finalizing || self.issued.is_some()
    }

    /// Returns `true` if an order was placed, but no certificate issued.
    pub(super) const fn is_in_vain(&self) -> bool {
        self.order.is_some() && self.issued.is_none()
    }
}

/// The parts of a configuration on which an order depends. If one changes, an order in progress is abandoned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct OrderSpec {
    /// Names of the certificate, sorted.
    pub names: Vec<Name>,
    /// Key type, as [`KeyType::as_str`](crate::KeyType::as_str) returns it.
    pub key_type: String,
    /// ACME profile. `None` for the CA's default.
    pub profile: Option<String>,
    /// Configured name of the authority.
    pub authority: String,
    /// Directory URL of the authority. `None` if it is not known.
    pub directory: Option<String>,
    /// Configured names of the DNS providers. All providers if empty.
    pub providers: Vec<String>,
}

/// A TXT record that this program created, or may have created before an interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TxtRecord {
    /// Configured name of the provider of the zone.
    pub provider: String,
    /// Zone, by the provider's identifier. A provider may append a second identifier after a `/`.
    pub zone: String,
    /// Name of the record, after all CNAME records are followed.
    pub name: String,
    /// Value of the TXT record.
    pub value: String,
    /// The provider's identifier of the record. `None` if the provider has none, or the creation was not confirmed.
    pub id: Option<String>,
    /// `true` if the provider confirmed the creation of the record.
    pub published: bool,
}
