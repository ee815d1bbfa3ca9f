//! The write-ahead journal of one certificate, and the state that it adds up to.

use crate::lifetime::{Ari, Held};
use crate::time::Time;
use std::collections::BTreeSet;

/// A TXT record of ours, or one that may be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Txt {
    /// Whose zone it is in: the name that the provider was configured under.
    pub provider: String,
    /// The zone, as the provider calls it; a provider may put an identifier behind a `/`.
    pub zone: String,
    /// The whole name, after all CNAMEs.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The provider's identifier of the record, once it is known.
    pub id: Option<String>,
    /// It is known to be there.
    pub published: bool,
}

/// One line of the journal. What it says was durably written before it was done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Record {
    /// All that went before, in one.
    State(Box<State>),
    /// What the CA says about renewal.
    Ari(Ari),
    /// An attempt begins.
    Began {
        /// When.
        at: Time,
        /// At which authority.
        authority: String,
        /// Why.
        why: String,
        /// The certificate that it replaces, as ARI names it.
        replaces: Option<String>,
    },
    /// The key is in the store.
    Key {
        /// SHA-256 of the public key.
        public_key: String,
    },
    /// An order is about to be asked for.
    Ordering {
        /// When.
        at: Time,
    },
    /// There is an order.
    Ordered {
        /// Its URL.
        url: String,
    },
    /// A record is about to be created.
    Publishing(Txt),
    /// A record was created.
    Published {
        /// Its value.
        value: String,
        /// The provider's identifier.
        id: Option<String>,
    },
    /// A record was removed.
    Removed {
        /// Its value.
        value: String,
    },
    /// The CA is about to be told that a challenge is ready.
    Triggering {
        /// The authorization's URL.
        authorization: String,
    },
    /// The certificate request is about to be sent.
    Finalizing,
    /// There is a certificate.
    Issued {
        /// Its URL.
        url: String,
    },
    /// The certificate is in the store; the attempt is over.
    Installed {
        /// When.
        at: Time,
        /// What it is.
        held: Box<Held>,
    },
    /// The attempt is over without a certificate.
    Failed {
        /// When.
        at: Time,
        /// Why.
        why: String,
        /// Not again before.
        until: Time,
    },
    /// The attempt goes on later, with the same order.
    Stalled {
        /// When.
        at: Time,
        /// Why.
        why: String,
        /// Not before.
        until: Time,
    },
    /// Everybody who has to know of the certificate does, and serves it.
    Deployed {
        /// When.
        at: Time,
    },
    /// The certificate was not served, so that the old one was put back.
    RolledBack {
        /// When.
        at: Time,
        /// What was seen instead.
        why: String,
        /// The next try.
        until: Time,
    },
}

/// An attempt to get a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attempt {
    /// When it began.
    pub began: Time,
    /// At which authority.
    pub authority: String,
    /// What it replaces.
    pub replaces: Option<String>,
    /// SHA-256 of its public key, once there is a key.
    pub key: Option<String>,
    /// An order may have been asked for.
    pub ordering: bool,
    /// The order.
    pub order: Option<String>,
    /// The authorizations whose challenge may have been triggered.
    pub triggered: BTreeSet<String>,
    /// The certificate request may have been sent.
    pub finalizing: bool,
    /// The certificate's URL.
    pub issued: Option<String>,
}

/// What a journal adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct State {
    /// The certificate in the store.
    pub held: Option<Held>,
    /// What the CA says about its renewal.
    pub ari: Option<Ari>,
    /// The attempt under way.
    pub attempt: Option<Attempt>,
    /// Records of ours that are, or may be, in the DNS.
    pub txt: Vec<Txt>,
    /// The certificate has to be made known yet.
    pub undeployed: bool,
    /// How often in a row it was not served.
    pub refused: u32,
    /// Attempts that failed or stalled since the last success.
    pub failures: u32,
    /// Nothing is tried before.
    pub until: Option<Time>,
    /// Nothing is deployed before.
    pub deploy_until: Option<Time>,
    /// The last failure.
    pub trouble: Option<String>,
}

impl State {
    /// The sum of a journal.
    pub fn replay<'r>(records: impl IntoIterator<Item = &'r Record>) -> Self {
        let mut state = Self::default();
        for record in records {
            state.apply(record);
        }
        state
    }

    /// Takes one more line.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::State(state) => *self = (**state).clone(),
            Record::Ari(ari) => self.ari = Some(ari.clone()),
            Record::Began { at, authority, replaces, .. } => {
                self.until = None;
                self.attempt = Some(Attempt {
                    began: *at,
                    authority: authority.clone(),
                    replaces: replaces.clone(),
                    ..Attempt::default()
                });
            }
            Record::Key { public_key } => self.of_attempt(|attempt| attempt.key = Some(public_key.clone())),
            Record::Ordering { .. } => self.of_attempt(|attempt| attempt.ordering = true),
            Record::Ordered { url } => self.of_attempt(|attempt| attempt.order = Some(url.clone())),
            Record::Publishing(txt) => {
                if !self.txt.iter().any(|known| known.value == txt.value && known.name == txt.name) {
                    self.txt.push(txt.clone());
                }
            }
            Record::Published { value, id } => {
                for txt in self.txt.iter_mut().filter(|txt| txt.value == *value) {
                    txt.published = true;
                    txt.id.clone_from(id);
                }
            }
            Record::Removed { value } => self.txt.retain(|txt| txt.value != *value),
            Record::Triggering { authorization } => {
                self.of_attempt(|attempt| {
                    attempt.triggered.insert(authorization.clone());
                });
            }
            Record::Finalizing => self.of_attempt(|attempt| attempt.finalizing = true),
            Record::Issued { url } => self.of_attempt(|attempt| attempt.issued = Some(url.clone())),
            Record::Installed { held, .. } => {
                self.held = Some((**held).clone());
                self.ari = None;
                self.attempt = None;
                self.undeployed = true;
                (self.refused, self.failures) = (0, 0);
                (self.until, self.deploy_until, self.trouble) = (None, None, None);
            }
            Record::Failed { why, until, .. } => {
                self.attempt = None;
                self.failures = self.failures.saturating_add(1);
                self.until = Some(*until);
                self.trouble = Some(why.clone());
            }
            Record::Stalled { why, until, .. } => {
                self.failures = self.failures.saturating_add(1);
                self.until = Some(*until);
                self.trouble = Some(why.clone());
            }
            Record::Deployed { .. } => {
                self.undeployed = false;
                self.refused = 0;
                self.deploy_until = None;
            }
            Record::RolledBack { why, until, .. } => {
                self.refused = self.refused.saturating_add(1);
                self.deploy_until = Some(*until);
                self.trouble = Some(why.clone());
            }
        }
    }

    fn of_attempt(&mut self, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = &mut self.attempt {
            change(attempt);
        }
    }
}
