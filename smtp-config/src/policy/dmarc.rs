//! DMARC (RFC 9989): discovery of the policy record, and identifier alignment.

use super::{Answers, Question, normal};
use thiserror::Error;

/// Policy that the domain owner requests for messages that fail DMARC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `none`: no specific handling. Also for a missing or unknown value.
    None,
    /// `quarantine`: the message is to be treated as suspicious.
    Quarantine,
    /// `reject`: the message is to be rejected.
    Reject,
}

/// Identifier alignment mode (RFC 9989).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// `r`: the organizational domains must be equal.
    Relaxed,
    /// `s`: the domains must be equal.
    Strict,
}

/// A DMARC policy record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmarc {
    /// Domain at which the record was found, in lower case.
    pub domain: String,
    /// Policy for the sender's domain: `p`, or `sp` if the record is of a parent domain and has it.
    pub policy: Policy,
    /// Alignment mode of DKIM (`adkim`). Default: relaxed.
    pub dkim: Alignment,
    /// Alignment mode of SPF (`aspf`). Default: relaxed.
    pub spf: Alignment,
    /// Whether aggregate reports are requested (`rua`).
    pub reports: bool,
}

/// Error of the discovery of a DMARC policy record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DmarcError {
    /// The DNS lookup failed temporarily.
    #[error("the DNS gave no answer")]
    Dns,
    /// Neither the domain nor a parent domain has a record.
    #[error("no record of DMARC, neither for the domain nor above it")]
    Missing,
    /// A domain has more than one record, so that receivers ignore them.
    #[error("more than one record of DMARC: receivers take none of them")]
    Several,
}

/// Parses the TXT records of `_dmarc.DOMAIN`. `domain` is that domain, `sender` the domain of the From address. Returns
/// `None` if none is a DMARC record.
///
/// # Errors
/// Returns [`DmarcError::Several`] if there is more than one DMARC record.
pub fn dmarc(domain: &str, sender: &str, texts: &[String]) -> Result<Option<Dmarc>, DmarcError> {
    let tags = |text: &str| -> Vec<(String, String)> {
        let pairs = text.split(';').filter_map(|part| part.split_once('='));
        pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect()
    };
    let is =
        |text: &&String| tags(text).first().is_some_and(|(name, value)| name == "v" && value == "DMARC1");
    let records: Vec<&String> = texts.iter().filter(is).collect();
    let [record] = records.as_slice() else {
        return if records.is_empty() { Ok(None) } else { Err(DmarcError::Several) };
    };
    let tags = tags(record);
    let get =
        |name: &str| tags.iter().find(|(held, _)| held == name).map(|(_, value)| value.to_ascii_lowercase());
    let below = normal(domain) != normal(sender);
    let written = if below { get("sp").or_else(|| get("p")) } else { get("p") };
    let policy = match written.as_deref() {
        Some("reject") => Policy::Reject,
        Some("quarantine") => Policy::Quarantine,
        _ => Policy::None,
    };
    let alignment = |name: &str| match get(name).as_deref() {
        Some("s") => Alignment::Strict,
        _ => Alignment::Relaxed,
    };
    Ok(Some(Dmarc {
        domain: normal(domain),
        policy,
        dkim: alignment("adkim"),
        spf: alignment("aspf"),
        reports: get("rua").is_some(),
    }))
}

/// Finds the policy record for the sender's domain: its own, or that of the closest parent domain. At most eight names
/// are queried; a domain with more than eight labels continues with its last seven. The top-level domain is not
/// queried.
///
/// # Errors
/// Returns the next DNS question if its answer is missing in `answers`. The inner error is the final result without a
/// usable record.
pub fn discover(sender: &str, answers: &Answers) -> Result<Result<Dmarc, DmarcError>, Question> {
    let sender = normal(sender);
    let labels: Vec<&str> = sender.split('.').collect();
    let mut from = 0;
    while labels.len() - from >= 2 || from == 0 {
        let domain = labels[from..].join(".");
        match answers.texts(&format!("_dmarc.{domain}")) {
            Err(Some(question)) => return Err(question),
            Err(None) => return Ok(Err(DmarcError::Dns)),
            Ok(texts) => match dmarc(&domain, &sender, texts) {
                Ok(Some(record)) => return Ok(Ok(record)),
                Ok(None) => {}
                Err(why) => return Ok(Err(why)),
            },
        }
        from = if from == 0 && labels.len() > 8 { labels.len() - 7 } else { from + 1 };
    }
    Ok(Err(DmarcError::Missing))
}

impl Dmarc {
    /// Returns `true` if a domain, of SPF or of a DKIM signature, is aligned with the sender's domain. In relaxed mode,
    /// the organizational domain is the one at which the record was found.
    #[must_use]
    pub fn aligned(&self, alignment: Alignment, sender: &str, other: &str) -> bool {
        let (sender, other) = (normal(sender), normal(other));
        let within = |domain: &str| domain == self.domain || domain.ends_with(&format!(".{}", self.domain));
        other == sender || (alignment == Alignment::Relaxed && within(&sender) && within(&other))
    }
}
