//! Specification of a certificate, and time limits.

use super::attempt::OrderSpec;
use crate::key_type::KeyType;
use crate::ledger::Limits;
use crate::lifetime::{RenewalPolicy, Requirements};
use crate::name::Name;
use std::collections::BTreeMap;
use std::time::Duration;

/// The wanted certificate: its names, key type, CAs in order of preference, DNS providers and renewal policy.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateSpec {
    /// Identifier in the store, and the name of the certificate's folder.
    pub id: String,
    /// Names, sorted and without duplicates, as [`CertificateSpec::new`] arranges them.
    pub names: Vec<Name>,
    /// Type of the private key. Default: `ec256`.
    pub key_type: KeyType,
    /// `true` if the private key is reused at renewal. Default: `false`.
    pub reuse_key: bool,
    /// ACME profile to request. `None` requests none, which is the default.
    pub profile: Option<String>,
    /// Common name of the issuer of a chain's last certificate, by which one of the CA's alternate chains is selected.
    /// The CA's default chain is used if none matches, and with `None`, which is the default.
    pub preferred_chain: Option<String>,
    /// Configured names of authorities, in order of preference. No order is placed if empty.
    pub authorities: Vec<String>,
    /// Directory URLs by the authority's configured name, as far as known. If the URL of an authority changes, it
    /// counts as another authority.
    pub directories: BTreeMap<String, String>,
    /// Configured names of the DNS providers to use. All providers if empty.
    pub providers: Vec<String>,
    /// Digest of the deployment configuration, which the engine sets. A pause after a failed deployment ends if it
    /// differs from that of the failed one. `None` if it is not known.
    pub deployment: Option<String>,
    /// Policy of the renewal time.
    pub renewal_policy: RenewalPolicy,
    /// Rate limits of the authorities.
    pub limits: Limits,
    /// Time limits and polling intervals.
    pub timeouts: Timeouts,
}

impl CertificateSpec {
    /// Creates a specification with default settings for one authority. The id is the first of the given names, as
    /// [`Name::folder`] writes it, or empty without names.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = Name>, authority: impl Into<String>) -> Self {
        let mut names: Vec<Name> = names.into_iter().collect();
        let id = names.first().map(Name::folder).unwrap_or_default();
        names.sort();
        names.dedup();
        Self {
            id,
            names,
            key_type: KeyType::default(),
            reuse_key: false,
            profile: None,
            preferred_chain: None,
            authorities: vec![authority.into()],
            directories: BTreeMap::new(),
            providers: Vec::new(),
            deployment: None,
            renewal_policy: RenewalPolicy::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// Returns the requirements on a certificate.
    #[must_use]
    pub fn requirements(&self) -> Requirements<'_> {
        Requirements {
            profile: self.profile.as_deref(),
            authorities: &self.authorities,
            directories: Some(&self.directories),
            ..Requirements::new(&self.names, self.key_type.as_str())
        }
    }

    /// Returns the parts of the specification on which an order at the authority of this configured name depends.
    #[must_use]
    pub fn order_spec(&self, authority: &str) -> OrderSpec {
        OrderSpec {
            names: self.names.clone(),
            key_type: self.key_type.as_str().to_owned(),
            profile: self.profile.clone(),
            authority: authority.to_owned(),
            directory: self.directories.get(authority).cloned(),
            providers: self.providers.clone(),
        }
    }

    /// Returns a description of the first difference between the configuration of an order and this specification.
    /// `None` if they agree.
    #[must_use]
    pub fn difference(&self, request: &OrderSpec) -> Option<&'static str> {
        let now = self.order_spec(&request.authority);
        if !self.authorities.contains(&request.authority) {
            return Some("the authority changed");
        }
        if now.directory.is_some() && request.directory.is_some() && now.directory != request.directory {
            return Some("the authority's directory URL changed");
        }
        if now.names != request.names {
            return Some("the names changed");
        }
        if now.key_type != request.key_type {
            return Some("the key type changed");
        }
        if now.profile != request.profile {
            return Some("the profile changed");
        }
        (now.providers != request.providers).then_some("the DNS providers changed")
    }
}

/// Time limits and polling intervals of the state machine, for an order and its TXT records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// First interval of polls of the CA and of the name servers. It doubles with each poll, up to sixteen times this
    /// value; a Retry-After of the CA replaces it. Default: 2 s.
    pub poll: Duration,
    /// Time limit for the TXT records to be visible at every authoritative name server. Then the attempt is suspended.
    /// Default: 10 min.
    pub propagation: Duration,
    /// Wait after every queried server returns the records, for name servers that cannot be reached from this host.
    /// Default: 2 s.
    pub settle: Duration,
    /// Time limit for the CA to validate all names and to issue the certificate, from the triggering of the challenges
    /// on. Then the attempt is suspended. Default: 10 min.
    pub validation: Duration,
    /// First pause after a transient error. It doubles with each try, up to 64 times this value, and up to 4096 times
    /// for deployments and removals of TXT records. A Retry-After replaces it. Default: 1 s.
    pub retry: Duration,
    /// Minimum interval of queries for renewal information, even if Retry-After is shorter. At most a day. Default: 1
    /// min.
    pub ari: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            propagation: Duration::from_secs(600),
            settle: Duration::from_secs(2),
            validation: Duration::from_secs(600),
            retry: Duration::from_secs(1),
            ari: Duration::from_secs(60),
        }
    }
}
