//! Specification of a certificate, and time limits.

use super::journal::OrderSpec;
use crate::key_type::KeyType;
use crate::ledger::Limits;
use crate::lifetime::{Plan, Requirements};
use crate::name::Name;
use std::collections::BTreeMap;
use std::time::Duration;

/// Specification of a certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its name in the store: that of its folder.
    pub id: String,
    /// Its names, sorted, each once: see [`Spec::new`].
    pub names: Vec<Name>,
    /// The kind of its key.
    pub key_type: KeyType,
    /// Keeps the private key at renewal.
    pub reuse_key: bool,
    /// The profile to order.
    pub profile: Option<String>,
    /// The common name of an issuer that the chain should end in, if the CA offers a choice.
    pub preferred_chain: Option<String>,
    /// Authorities in order of preference. If empty, no order is placed.
    pub authorities: Vec<String>,
    /// Directory URLs by the authority's name, as far as known: another URL is another authority.
    pub directories: BTreeMap<String, String>,
    /// Configured names of the DNS providers to use; all if empty.
    pub providers: Vec<String>,
    /// When it is renewed.
    pub plan: Plan,
    /// Rate limits of the authorities.
    pub limits: Limits,
    /// Time limits and retry intervals.
    pub timeouts: Timeouts,
}

impl Spec {
    /// A certificate for these names with the usual settings, in a folder of the first name.
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
            plan: Plan::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// Returns the properties that this specification requires of a certificate.
    #[must_use]
    pub fn requirements(&self) -> Requirements<'_> {
        Requirements {
            profile: self.profile.as_deref(),
            authorities: &self.authorities,
            directories: Some(&self.directories),
            ..Requirements::new(&self.names, self.key_type.as_str())
        }
    }

    /// Returns what an order at this authority depends on.
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

    /// Returns the first difference between the configuration of an order and this one, if there is any.
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

/// Intervals and limits of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Between two looks at the CA or the DNS; it doubles up to sixteen times this.
    pub look: Duration,
    /// Time limit for the record to reach every name server.
    pub propagation: Duration,
    /// Wait after every server shows the record, for servers that cannot be reached from here.
    pub settle: Duration,
    /// Time limit for the CA to validate or to issue.
    pub validation: Duration,
    /// The first pause after a transient error; it doubles.
    pub retry: Duration,
    /// Never is ARI asked again sooner, whatever the CA says.
    pub ari: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(2),
            propagation: Duration::from_secs(600),
            settle: Duration::from_secs(2),
            validation: Duration::from_secs(600),
            retry: Duration::from_secs(1),
            ari: Duration::from_secs(60),
        }
    }
}
