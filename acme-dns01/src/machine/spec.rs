//! What certificate is wanted, and how patiently.

use crate::key_type::KeyType;
use crate::ledger::Limits;
use crate::lifetime::Plan;
use crate::name::Name;
use std::time::Duration;

/// What certificate is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its name in the store: that of its folder.
    pub id: String,
    /// Its names, sorted, each once: see [`Spec::new`].
    pub names: Vec<Name>,
    /// The kind of its key.
    pub key_type: KeyType,
    /// Whether the next certificate keeps the key.
    pub reuse_key: bool,
    /// The profile to order.
    pub profile: Option<String>,
    /// The common name of an issuer that the chain should end in, if the CA offers a choice.
    pub preferred_chain: Option<String>,
    /// The authorities to order from, the first first. An empty list never orders.
    pub authorities: Vec<String>,
    /// When it is renewed.
    pub plan: Plan,
    /// What its authorities allow.
    pub limits: Limits,
    /// How patient it is.
    pub patience: Patience,
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
            plan: Plan::default(),
            limits: Limits::default(),
            patience: Patience::default(),
        }
    }
}

/// Intervals and limits of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Between two looks at the CA or the DNS; it doubles up to sixteen times this.
    pub look: Duration,
    /// How long name servers may take to show a record.
    pub propagation: Duration,
    /// How long to wait after every server shows it, for places that cannot be asked from here.
    pub settle: Duration,
    /// How long the CA may take to validate or to issue.
    pub validation: Duration,
    /// The first pause after a transient error; it doubles.
    pub retry: Duration,
    /// Never is ARI asked again sooner, whatever the CA says.
    pub ari: Duration,
}

impl Default for Patience {
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
