//! DMARC: the record, found by walking up the DNS tree as RFC 9989 does, and alignment.

use super::{Answers, Question, normal};
use thiserror::Error;

/// The treatment that is asked of receivers for messages that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// No treatment is asked for.
    None,
    /// To be put aside.
    Quarantine,
    /// To be refused.
    Reject,
}

/// The similarity that two domains must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// Of the same organisation.
    Relaxed,
    /// The domains are equal.
    Strict,
}

/// A DMARC record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmarc {
    /// The domain that has it.
    pub domain: String,
    /// The treatment that is asked for the sender's domain.
    pub policy: Policy,
    /// The alignment of the domain of a DKIM signature.
    pub dkim: Alignment,
    /// The alignment of the domain of the envelope's sender.
    pub spf: Alignment,
    /// Reports are asked for.
    pub reports: bool,
}

/// A record that is missing or not usable.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DmarcError {
    /// The look-up failed.
    #[error("the DNS gave no answer")]
    Dns,
    /// There is none.
    #[error("no record of DMARC, neither for the domain nor above it")]
    Missing,
    /// More than one.
    #[error("more than one record of DMARC: receivers take none of them")]
    Several,
}

/// Reads the texts of `_dmarc.DOMAIN`; `None` when they have no record.
///
/// # Errors
///
/// More than one record.
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

/// The record for a sender's domain: its own, else the nearest above it, at most eight look-ups. A domain of more than
/// eight labels goes on with its last seven.
///
/// # Errors
///
/// The question that is still open, or why there is no record.
pub fn found(sender: &str, answers: &Answers) -> Result<Result<Dmarc, DmarcError>, Question> {
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
    /// Tells if a domain, of the envelope or of a signature, is aligned with the sender's. The organisation is what has
    /// the record.
    #[must_use]
    pub fn aligned(&self, alignment: Alignment, sender: &str, other: &str) -> bool {
        let (sender, other) = (normal(sender), normal(other));
        let within = |domain: &str| domain == self.domain || domain.ends_with(&format!(".{}", self.domain));
        other == sender || (alignment == Alignment::Relaxed && within(&sender) && within(&other))
    }
}
