//! Checks without an order: CAA, zones, credentials, name servers, limits of the CA, stored files.

use super::accounts::store_error;
use super::{Certificate, Engine};
use crate::caa::{CaaRequest, check_issuance};
use crate::client::Directory;
use crate::condition::Condition;
use crate::dns::DnsError;
use crate::finding::Finding;
use crate::machine::{AcmeError, ErrorKind, TxtRecord};
use crate::name::Name;
use crate::propagation::LookupMode;
use crate::provider::Readiness;
use crate::time::Time;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;

/// Maximum number of names that [`Checker::preflight`] checks concurrently.
const MAX_CONCURRENT: usize = 8;

/// Method by which [`Engine::check`] tests the permission to change TXT records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordTrial {
    /// A TXT record is created and removed at each challenge name, by [`Provider::trial`](crate::provider::Provider).
    #[default]
    Write,
    /// No record is created; the permission is checked by [`Provider::probe`](crate::provider::Provider), if the
    /// provider can determine it.
    Skip,
}

/// Checks of the engine's configuration against CA, DNS, providers and store.
pub(super) struct Checker<'e> {
    engine: &'e Engine,
}

impl<'e> Checker<'e> {
    /// Creates a checker of the engine's configuration.
    pub(super) const fn new(engine: &'e Engine) -> Self {
        Self { engine }
    }

    /// Checks before an order, for every name of a certificate, that CAA permits the authority to issue, and that a
    /// provider has the zone of the TXT record. Names are checked concurrently.
    ///
    /// # Errors
    /// Returns the first error.
    pub(super) async fn preflight(
        &self,
        certificate: &Certificate,
        authority: &str,
    ) -> Result<(), AcmeError> {
        // The directory is fetched first, so that the concurrent checks find it in the cache.
        self.engine.accounts.authority(authority)?.acme.directory().await?;
        let mut looks = Vec::new();
        for name in &certificate.spec.names {
            looks.push(self.name(certificate, authority, name));
        }
        stream::iter(looks).buffer_unordered(MAX_CONCURRENT).try_collect().await
    }

    /// Checks CAA and the location of the TXT record of one name.
    ///
    /// # Errors
    /// Returns an error if CAA forbids issuance, or no zone of a provider is found.
    async fn name(&self, certificate: &Certificate, authority: &str, name: &Name) -> Result<(), AcmeError> {
        self.caa(authority, name).await?;
        self.locate(certificate, name).await.map(|_| ())
    }

    /// Finds zone and provider of the TXT record of a name's challenge.
    ///
    /// # Errors
    /// Returns an error if no zone of a provider is found.
    async fn locate(&self, certificate: &Certificate, name: &Name) -> Result<TxtRecord, AcmeError> {
        self.engine.locator.locate(&name.challenge(), &certificate.spec.providers).await
    }

    /// Checks that CAA permits the authority to issue for a name. Returns a description of the records found.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Refused`] if CAA forbids issuance, [`ErrorKind::Local`] if the resolver does not support
    /// CAA queries, [`ErrorKind::Transient`] for other lookup errors, and the error of fetching the directory.
    async fn caa(&self, authority: &str, name: &Name) -> Result<String, AcmeError> {
        let directory = self.engine.accounts.authority(authority)?.acme.directory().await?.directory;
        let failed = |error: DnsError| {
            let kind = match error {
                DnsError::Unsupported { .. } => ErrorKind::Local,
                _ => ErrorKind::Transient,
            };
            AcmeError::new(kind, format!("the CAA records of {}: {error}", name.base()))
        };
        let (at, records) = self.engine.locator.dns.caa(name.base()).await.map_err(failed)?;
        let account = self.engine.accounts.known_url(authority).await;
        let request = CaaRequest {
            identities: &directory.meta.caa_identities,
            account: account.as_deref(),
            wildcard: name.is_wildcard(),
        };
        check_issuance(&at, &records, &request)
            .map_err(|error| AcmeError::new(ErrorKind::Refused, format!("{name}: {error}")))?;
        Ok(match records.len() {
            0 => "there are none, so every CA may issue".to_owned(),
            count => format!("{count} at {at} allow it"),
        })
    }

    /// Runs every check that needs no order: authorities, providers, stored files, CAA, zones, name servers.
    pub(super) async fn check(&self, certificates: &[Certificate], trial: RecordTrial) -> Vec<Finding> {
        let mut findings = self.authorities(certificates).await;
        for (name, provider) in &self.engine.locator.providers {
            let about = format!("provider {name}");
            if let Readiness::NotReady { reason, .. } = provider.readiness().await {
                findings.push(Finding::fault(about, reason));
                continue;
            }
            match provider.check().await {
                Ok(lines) if lines.is_empty() => findings.push(Finding::fine(about, "configured")),
                Ok(lines) => {
                    findings.extend(lines.into_iter().map(|line| Finding::fine(about.clone(), line)));
                }
                Err(error) => findings.push(Finding::fault(about, error.to_string())),
            }
        }
        for certificate in certificates {
            findings.extend(self.files(certificate).await);
            let mut challenges = BTreeSet::new();
            for name in &certificate.spec.names {
                for authority in &certificate.spec.authorities {
                    let found = self.caa(authority, name).await.map_err(|error| error.reason);
                    findings.push(Finding::of(format!("{name}: CAA for {authority}"), found));
                }
                // A wildcard name and its base name have the same challenge name.
                if challenges.insert(name.challenge()) {
                    findings.extend(self.challenge(certificate, name, trial).await);
                }
            }
        }
        findings
    }

    /// Checks, for each authority that a certificate uses, that its directory can be fetched, that the local clock
    /// differs by at most 60 s, that its terms, if it has any, are agreed to, and its known limits. Returns a finding
    /// for each check.
    async fn authorities(&self, certificates: &[Certificate]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, authority) in &self.engine.accounts.authorities {
            let of_it = |made: &&Certificate| made.spec.authorities.contains(name);
            let certificates: Vec<&Certificate> = certificates.iter().filter(of_it).collect();
            if certificates.is_empty() {
                continue;
            }
            let about = format!("authority {name}");
            let found = match authority.acme.directory().await {
                Ok(found) => found,
                Err(error) => {
                    findings.push(Finding::fault(about, error.reason));
                    continue;
                }
            };
            let now = self.engine.now();
            let signed = |time: Time| i64::try_from(time.secs()).unwrap_or(0);
            let ahead = found.date.map_or(0, |date| signed(now) - signed(date));
            let ari = if found.directory.renewal_info.is_some() { "with ARI" } else { "without ARI" };
            findings.push(if ahead.abs() > 60 {
                let message = format!("reached, {ari}; the local clock is {ahead} s ahead: set it right");
                Finding::warning(about.clone(), message)
            } else {
                Finding::fine(about.clone(), format!("reached, {ari}"))
            });
            if let Some(terms) = &found.directory.meta.terms_of_service {
                let agreed = authority.terms_agreed;
                let message =
                    if agreed { "agreed to" } else { "not agreed to: read them and set agree_terms = true" };
                findings.push(Finding::of(
                    format!("{about}: terms of service"),
                    if agreed {
                        Ok(format!("{message}: {terms}"))
                    } else {
                        Err(format!("{terms}: {message}"))
                    },
                ));
            }
            for certificate in certificates {
                findings.extend(limits(certificate, name, authority.acme.url(), &found.directory));
            }
        }
        findings
    }

    /// Checks the store's files of a certificate, and the condition of the pair in place. A missing, staging or
    /// placeholder certificate, and one whose names, key type, profile or issuer differ from the configuration, is
    /// fine. Another pair that clients accept, and one that a CA has not issued, is a warning, since the next run
    /// replaces it. A pair that is expired, revoked, damaged, incomplete or lost is a fault.
    async fn files(&self, certificate: &Certificate) -> Vec<Finding> {
        let id = &certificate.spec.id;
        let about = format!("{id}: files");
        let mut findings = match self.engine.store.check(id).await {
            Ok(found) => found,
            Err(error) => vec![Finding::fault(about.clone(), crate::error_chain(&error))],
        };
        let condition = match self.engine.certificate_status(certificate).await {
            Ok(status) => status.condition,
            Err(error) => {
                findings.push(Finding::fault(about, store_error(&error).reason));
                return findings;
            }
        };
        let harmless = match &condition {
            Condition::Valid
            | Condition::Missing
            | Condition::Staging
            | Condition::WrongNames(_)
            | Condition::WrongKeyType(_)
            | Condition::WrongProfile
            | Condition::OtherIssuer(_) => true,
            Condition::SelfSigned(origin) => *origin == crate::Origin::Placeholder,
            _ => false,
        };
        findings.push(match (harmless, &condition) {
            (true, Condition::Valid) => Finding::fine(about, "a valid pair"),
            (true, condition) => Finding::fine(about, condition.to_string()),
            (false, condition) => {
                let message = format!("{condition}: it is replaced by the next run");
                match condition.is_usable() || matches!(condition, Condition::SelfSigned(_)) {
                    true => Finding::warning(about, message),
                    false => Finding::fault(about, message),
                }
            }
        });
        findings
    }

    /// Checks the zone and provider of a name's challenge, access to the zone by a probe or a trial record, and the
    /// name servers. Returns a finding for each check.
    async fn challenge(&self, certificate: &Certificate, name: &Name, trial: RecordTrial) -> Vec<Finding> {
        let mut findings = Vec::new();
        let located = self.locate(certificate, name).await;
        let at = located.as_ref().map_or_else(|_| name.challenge(), |txt| txt.name.clone());
        let zone = located.as_ref().map(|txt| format!("{} by {}", txt.name, txt.provider));
        findings
            .push(Finding::of(format!("{}: zone", name.base()), zone.map_err(|error| error.reason.clone())));
        if let Ok(txt) = &located
            && let Some(provider) = self.engine.locator.provider(&txt.provider)
        {
            let tried = if trial == RecordTrial::Skip {
                provider.probe(&txt.zone, &txt.name).await
            } else {
                provider.trial(&txt.zone, &txt.name, TRIAL_VALUE).await
            };
            if let Some(found) = tried.transpose() {
                let found = found.map_err(|error| error.to_string());
                findings.push(Finding::of(format!("{}: update", name.base()), found));
            }
        }
        findings.push(self.name_servers(name, &at).await);
        findings
    }

    /// Queries every address of every authoritative name server, or every resolver, for the zone of `at`. Returns one
    /// finding, a fault if a server has no working address. An address that fails beside a working one of the same
    /// server is only mentioned.
    async fn name_servers(&self, name: &Name, at: &str) -> Finding {
        let dns = &self.engine.locator.dns;
        let about = match dns.mode {
            LookupMode::Authorities => format!("{}: name servers", name.base()),
            LookupMode::Resolvers => format!("{}: resolvers", name.base()),
        };
        let servers = match dns.survey(at).await {
            Ok(servers) => servers,
            Err(error) => return Finding::fault(about, error.to_string()),
        };
        let works =
            |server: &str| servers.iter().any(|other| other.server == server && other.error.is_none());
        let mut faults = Vec::new();
        let mut lines = Vec::new();
        for found in &servers {
            let shown = match found.address {
                Some(address) => format!("{} ({})", found.server, address.ip()),
                None => found.server.clone(),
            };
            match &found.error {
                None => lines.push(shown),
                // Another address of the server works, which the CA's resolvers will use.
                Some(error) if works(&found.server) => {
                    lines.push(format!("{shown}, which does not answer ({error})"));
                }
                Some(error) => faults.push(format!("{shown}: {error}")),
            }
        }
        if faults.is_empty() {
            return Finding::fine(about, lines.join(", "));
        }
        Finding::fault(about, faults.join("; "))
    }
}

/// Value of the trial record. It is always the same, so that a check removes what an earlier one could not.
const TRIAL_VALUE: &str = "acme-dns01-check";

/// Checks that the CA offers the profile and, for Let's Encrypt only, the number of names (at most 25 or 100, by the
/// profile) and that they have public suffixes. Returns a fault for each violation; empty if there is none.
fn limits(certificate: &Certificate, authority: &str, url: &str, directory: &Directory) -> Vec<Finding> {
    let spec = &certificate.spec;
    let mut findings = Vec::new();
    if let Some(profile) = &spec.profile
        && !directory.meta.profiles.contains_key(profile)
    {
        let known: Vec<&str> = directory.meta.profiles.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("{authority} has no profile `{profile}`; it has {known}");
        findings.push(Finding::fault(format!("{}: profile", spec.id), message));
    }
    if !url.contains("letsencrypt.org") {
        return findings;
    }
    let most = match spec.profile.as_deref() {
        Some("shortlived" | "tlsserver") => 25,
        _ => 100,
    };
    if spec.names.len() > most {
        let message = format!(
            "{} names, and {authority} takes {most} at most: split the certificate",
            spec.names.len()
        );
        findings.push(Finding::fault(format!("{}: names", spec.id), message));
    }
    for name in spec.names.iter().filter(|name| !name.has_public_suffix()) {
        let message =
            format!("{authority} issues for public domains only, and `{}` is not below one", name.base());
        findings.push(Finding::fault(format!("{name}: name"), message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::CertificateSpec;

    #[test]
    fn limits_of_the_ca_are_found_before_an_order() {
        let directory: Directory = serde_json::from_value(serde_json::json!({
            "newNonce": "n", "newAccount": "a", "newOrder": "o", "revokeCert": "r", "keyChange": "k",
            "meta": {"profiles": {"classic": "", "shortlived": ""}},
        }))
        .expect("a directory");
        let of = |names: &[String], profile: Option<&str>, url: &str| {
            let names = names.iter().map(|name| name.parse().expect("a name"));
            let mut spec = CertificateSpec::new(names, "letsencrypt");
            spec.profile = profile.map(str::to_owned);
            let found = limits(&Certificate::from(spec), "letsencrypt", url, &directory);
            found.into_iter().map(|finding| format!("{finding:?}")).collect::<Vec<_>>().join("\n")
        };
        let many =
            |count: usize| -> Vec<String> { (0..count).map(|n| format!("n{n}.example.org")).collect() };
        let url = "https://acme-v02.api.letsencrypt.org/directory";
        assert_eq!(of(&many(100), None, url), "");
        assert!(of(&many(101), None, url).contains("101 names"));
        assert!(of(&many(26), Some("shortlived"), url).contains("takes 25 at most"));
        assert!(
            of(&many(1), Some("tlsserver"), url)
                .contains("has no profile `tlsserver`; it has classic, shortlived")
        );
        for name in ["host.internal", "nas.local", "printer.lan"] {
            let found = of(&[name.to_owned()], None, url);
            assert!(found.contains("public domains only"), "{name}: {found}");
            assert_eq!(of(&[name.to_owned()], None, "https://ca.lan/dir"), "", "{name}");
        }
    }
}
