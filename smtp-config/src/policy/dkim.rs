//! DKIM key records (RFC 6376 §3.6.1).

use thiserror::Error;

/// A DKIM key record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// Key type (`k=`), such as `rsa` or `ed25519`. Default: `rsa`.
    pub kind: String,
    /// Length of the Base64-encoded public key, in characters.
    pub length: usize,
    /// Whether the domain is testing DKIM (`t=y`), so that receivers may ignore failures.
    pub testing: bool,
}

/// Error of a DKIM key record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DkimError {
    /// No TXT record is a DKIM key record, or the first one has no public key tag (`p=`).
    #[error("no DKIM record")]
    Missing,
    /// The public key is empty, which means that it is revoked.
    #[error("the key is revoked: p= is empty")]
    Revoked,
    /// The public key is not valid Base64, with padding.
    #[error("the key is not base64")]
    Key,
    /// The RSA key is shorter than 1024 bits, the minimum of RFC 8301 §3.2, by the length of its encoding.
    #[error("an RSA key of less than 1024 bits is not accepted")]
    Short,
}

/// Parses the TXT records of `SELECTOR._domainkey.DOMAIN`. The first DKIM key record is used: one that begins with
/// `v=DKIM1`, or has no version and contains `p=`. Each text is one record with its strings concatenated.
///
/// # Errors
/// Returns a [`DkimError`] if there is no usable key.
pub fn dkim(texts: &[String]) -> Result<Dkim, DkimError> {
    let record = texts.iter().find(|text| {
        let first = text.split(';').next().unwrap_or_default();
        let tag: String = first.chars().filter(|c| !c.is_whitespace()).collect();
        tag == "v=DKIM1" || (!text.trim_start().starts_with("v=") && text.contains("p="))
    });
    let record = record.ok_or(DkimError::Missing)?;
    let tag = |name: &str| {
        record.split(';').find_map(|part| {
            let (held, value) = part.split_once('=')?;
            (held.trim() == name).then(|| value.chars().filter(|c| !c.is_whitespace()).collect::<String>())
        })
    };
    let key = tag("p").ok_or(DkimError::Missing)?;
    if key.is_empty() {
        return Err(DkimError::Revoked);
    }
    let base64 =
        key.trim_end_matches('=').bytes().all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/');
    if !base64 || key.len() % 4 != 0 {
        return Err(DkimError::Key);
    }
    let kind = tag("k").unwrap_or_else(|| "rsa".to_owned());
    // An RSA key of 1024 bits has 162 bytes as SubjectPublicKeyInfo, and 140 bytes without that structure.
    if kind == "rsa" && key.len() < 184 {
        return Err(DkimError::Short);
    }
    let testing = tag("t").is_some_and(|flags| flags.split(':').any(|flag| flag == "y"));
    Ok(Dkim { kind, length: key.len(), testing })
}
