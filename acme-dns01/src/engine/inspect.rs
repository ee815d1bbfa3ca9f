//! Comparison of the stored files of a certificate with each other.

use crate::client::{KeyPair, describe};
use crate::condition::StoredPair;
use crate::store::Contents;

/// Parses the stored files of a certificate, and checks that the private key matches the certificate. An error of
/// reading or parsing either file is [`StoredPair::Unreadable`].
#[must_use]
pub fn inspect(contents: &Contents) -> StoredPair {
    let (chain, key) = match contents {
        Contents { unreadable: Some(reason), .. } => return StoredPair::Unreadable(reason.clone()),
        Contents { chain: None, key: None, .. } => return StoredPair::Absent,
        Contents { chain: Some(_), key: None, .. } => return StoredPair::WithoutKey,
        Contents { chain: None, key: Some(_), .. } => return StoredPair::WithoutChain,
        Contents { chain: Some(chain), key: Some(key), .. } => (chain, key),
    };
    let info = match describe(chain) {
        Ok(info) => Box::new(info),
        Err(error) => return StoredPair::Unreadable(format!("fullchain.pem: {error}")),
    };
    match KeyPair::from_pem(key) {
        Ok(key) if key.public_key() == info.public_key => StoredPair::Complete(info),
        Ok(_) => StoredPair::KeyMismatch(info),
        Err(error) => StoredPair::Unreadable(format!("key.pem: {error}")),
    }
}
