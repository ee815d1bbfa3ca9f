//! Import of certificates and accounts of other clients into the store.

use super::{Certificate, Engine};
use crate::adopt::{Adoption, ClientFolder, Execution, FoundCertificate};
use crate::client::KeyPair;
use crate::condition::Condition;
use crate::finding::Finding;
use crate::lifetime::Origin;
use crate::machine::{CertificateSpec, Record, State};
use crate::store::{CertificatePair, StoreError};

/// An import of the certificates and accounts of another client's folder.
pub(super) struct Adopter<'e> {
    engine: &'e Engine,
    found: &'e ClientFolder,
    execution: Execution,
}

impl<'e> Adopter<'e> {
    /// Creates an adopter of the files `found`.
    pub(super) const fn new(engine: &'e Engine, found: &'e ClientFolder, execution: Execution) -> Self {
        Self { engine, found, execution }
    }

    /// Imports accounts and certificates as far as the configuration needs them. Returns a finding for each, and a
    /// fault for each skipped file.
    pub(super) async fn run(&self, certificates: &[Certificate]) -> Vec<Finding> {
        let mut findings = self.accounts(certificates).await;
        for certificate in certificates {
            let about = format!("certificate {}", certificate.spec.id);
            findings.push(match self.certificate(certificate).await {
                Ok(adoption) => adoption.finding(about),
                Err(error) => Finding::fault(about, crate::error_chain(&error)),
            });
        }
        for (path, reason) in &self.found.skipped {
            findings.push(Finding::fault(path.display().to_string(), format!("skipped: {reason}")));
        }
        findings
    }

    /// Imports an account for each authority that a certificate of the configuration uses. Returns a finding for each.
    async fn accounts(&self, certificates: &[Certificate]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for name in self.engine.accounts.authorities.keys() {
            if !certificates.iter().any(|made| made.spec.authorities.contains(name)) {
                continue;
            }
            let about = format!("account at {name}");
            findings.push(
                match self.engine.accounts.adopt(name, &self.found.accounts, self.execution).await {
                    Ok(adoption) => adoption.finding(about),
                    Err(error) => Finding::fault(about, error.reason),
                },
            );
        }
        findings
    }

    /// Returns the certificate of the other client that meets the specification (CA, names, key type, matching key, not
    /// expired) and has the latest end of validity. `None` if none does.
    fn best(&self, spec: &CertificateSpec) -> Option<&'e FoundCertificate> {
        let required = spec.requirements();
        let fits = |found: &&FoundCertificate| {
            let info = &found.info;
            let key = KeyPair::from_pem(&found.key);
            info.origin == Origin::Authority
                && info.names == spec.names
                && info.key_type == spec.key_type.as_str()
                && info.not_after > self.engine.now()
                && required.other_authority(info).is_none()
                && key.is_ok_and(|key| key.public_key() == info.public_key)
        };
        self.found.certificates.iter().filter(fits).max_by_key(|found| found.info.not_after)
    }

    /// Imports the best certificate of the other client into the store, and records it in the journal as not yet
    /// deployed. Nothing is changed if a valid one is in place. Returns the result.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn certificate(&self, certificate: &Certificate) -> Result<Adoption, StoreError> {
        let (spec, store) = (&certificate.spec, &self.engine.store);
        // Before a look: an order may be about to end, in another process.
        let _lock = if self.execution == Execution::DryRun {
            None
        } else {
            Some(self.engine.wait_for_lock(&spec.id).await?)
        };
        let status = self.engine.certificate_status(certificate).await?;
        if status.condition == Condition::Valid {
            return Ok(Adoption::Settled("a valid one is in place already".to_owned()));
        }
        let Some(found) = self.best(spec) else {
            let message = "none was found that is as configured and still valid: it will be ordered";
            return Ok(Adoption::Settled(message.to_owned()));
        };
        let shown = format!("{}, valid until {}", found.path.display(), found.info.not_after);
        if self.execution == Execution::DryRun {
            return Ok(Adoption::Pending(format!("would be taken from {shown}")));
        }
        let mut state = State::replay(&store.journal(&spec.id).await?);
        let mut held = found.info.clone();
        held.authority = spec.authorities.first().cloned();
        held.profile.clone_from(&spec.profile);
        (state.held, state.lost, state.ari) = (Some(held), None, None);
        (state.undeployed, state.roll_backs) = (true, 0);
        store
            .stage(&spec.id, &CertificatePair { chain: found.chain.clone(), key: found.key.clone() })
            .await?;
        store.install(&spec.id).await?;
        store.append(&spec.id, &Record::State(Box::new(state))).await?;
        Ok(Adoption::Settled(format!("taken from {shown}")))
    }
}
