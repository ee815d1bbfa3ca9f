//! What can be known before anything is asked of a CA.

use super::{Certificate, Engine};
use crate::caa::{Applicant, permitted};
use crate::machine::{Trouble, TroubleKind};
use crate::name::Name;
use futures_util::{StreamExt, TryStreamExt, stream};

/// Names that are looked at together.
const LOOKS: usize = 8;

/// A finding of [`Engine::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub about: String,
    /// What was found; an error names what to change.
    pub found: Result<String, String>,
}

impl Engine {
    /// CAA, CNAMEs, zones and credentials, for every name of a certificate.
    pub(super) async fn preflight(&self, certificate: &Certificate, authority: &str) -> Result<(), Trouble> {
        // The directory first, so that it is read once.
        self.authority_named(authority)?.acme.directory().await?;
        let mut looks = Vec::new();
        for name in &certificate.spec.names {
            looks.push(self.look(certificate, authority, name));
        }
        stream::iter(looks).buffer_unordered(LOOKS).try_collect().await
    }

    async fn look(&self, certificate: &Certificate, authority: &str, name: &Name) -> Result<(), Trouble> {
        self.caa(authority, name).await?;
        self.locate(certificate, &name.challenge()).await.map(|_| ())
    }

    async fn caa(&self, authority: &str, name: &Name) -> Result<String, Trouble> {
        let (directory, _) = self.authority_named(authority)?.acme.directory().await?;
        let transient = |why: crate::dns::DnsError| {
            Trouble::new(TroubleKind::Transient, format!("the CAA records of {}: {why}", name.base()))
        };
        let (at, records) = self.dns.caa(name.base()).await.map_err(transient)?;
        let account = self.store.account(authority).await.ok().flatten().and_then(|account| account.url);
        let applicant = Applicant {
            identities: &directory.meta.caa_identities,
            account: account.as_deref(),
            wildcard: name.is_wildcard(),
        };
        permitted(&at, &records, &applicant)
            .map_err(|why| Trouble::new(TroubleKind::Refused, format!("{name}: {why}")))?;
        Ok(match records.len() {
            0 => "there are none, so every CA may issue".to_owned(),
            count => format!("{count} at {at} allow it"),
        })
    }

    /// Everything that can be checked without an order: credentials and their reach, CAA, delegation, every name server.
    pub async fn check(&self, certificates: &[Certificate]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |about: String, found: Result<String, String>| findings.push(Finding { about, found });
        let used = |name: &String| certificates.iter().any(|made| made.spec.authorities.contains(name));
        for (name, authority) in self.authorities.iter().filter(|(name, _)| used(name)) {
            let found = authority.acme.directory().await.map_err(|why| why.why);
            let found = found.map(|(directory, skew)| {
                let ahead = -skew.unwrap_or(0) / 1000;
                let clock =
                    if ahead.abs() > 60 { format!("; OUR CLOCK IS {ahead} s AHEAD") } else { String::new() };
                let ari = if directory.renewal_info.is_some() { "with ARI" } else { "without ARI" };
                format!("reached, {ari}{clock}")
            });
            find(format!("authority {name}"), found);
        }
        for (name, provider) in &self.providers {
            match provider.check().await {
                Ok(lines) if lines.is_empty() => {
                    find(format!("provider {name}"), Ok("configured".to_owned()));
                }
                Ok(lines) => lines.into_iter().for_each(|line| find(format!("provider {name}"), Ok(line))),
                Err(why) => find(format!("provider {name}"), Err(why.to_string())),
            }
        }
        for certificate in certificates {
            for name in &certificate.spec.names {
                for authority in &certificate.spec.authorities {
                    let found = self.caa(authority, name).await.map_err(|why| why.why);
                    find(format!("{name}: CAA for {authority}"), found);
                }
                let located = self.locate(certificate, &name.challenge()).await;
                let at = located.as_ref().map_or_else(|_| name.challenge(), |txt| txt.name.clone());
                let zone = located.as_ref().map(|txt| format!("{} by {}", txt.name, txt.provider));
                find(format!("{name}: zone"), zone.map_err(|why| why.why.clone()));
                if let Ok(txt) = &located
                    && let Some((_, provider)) = self.providers.iter().find(|(name, _)| *name == txt.provider)
                    && let Some(found) = provider.probe(&txt.zone, &txt.name).await.transpose()
                {
                    find(format!("{name}: update"), found.map_err(|why| why.to_string()));
                }
                let servers = match self.dns.zone(&at).await {
                    Ok(zone) => self.dns.authorities(&zone).await,
                    Err(why) => Err(why),
                };
                let found = servers.map_err(|why| why.to_string()).map(|servers| {
                    let list: Vec<String> = servers
                        .iter()
                        .map(|(server, address)| format!("{server} ({})", address.ip()))
                        .collect();
                    list.join(", ")
                });
                find(format!("{name}: name servers"), found);
            }
        }
        findings
    }
}
