//! The key records of DKIM, RFC 6376 section 3.6.1.

use thiserror::Error;

/// A key record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// `rsa` or `ed25519`.
    pub kind: String,
    /// The length of the key's base64, in characters.
    pub length: usize,
    /// The domain is only testing.
    pub testing: bool,
}

/// A key record that is not usable.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DkimError {
    /// No record, or none of DKIM.
    #[error("no DKIM record")]
    Missing,
    /// An empty key.
    #[error("the key is revoked: p= is empty")]
    Revoked,
    /// The key is not base64.
    #[error("the key is not base64")]
    Key,
    /// Too short to be believed: RFC 8301 wants 1024 bits at least.
    #[error("an RSA key of less than 1024 bits is not accepted")]
    Short,
}

/// Reads the texts of `SELECTOR._domainkey.DOMAIN`.
///
/// # Errors
///
/// Why there is no usable key.
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
    // 1024 bits of RSA in their usual wrapping are 162 bytes, 140 without it.
    if kind == "rsa" && key.len() < 184 {
        return Err(DkimError::Short);
    }
    let testing = tag("t").is_some_and(|flags| flags.split(':').any(|flag| flag == "y"));
    Ok(Dkim { kind, length: key.len(), testing })
}
