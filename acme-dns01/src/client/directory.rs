//! The directory of an authority (RFC 8555 §7.1.1).

use serde::Deserialize;
use std::collections::BTreeMap;

/// What an authority offers (RFC 8555 §7.1.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Directory {
    /// Where nonces come from.
    pub new_nonce: String,
    /// Where accounts are made.
    pub new_account: String,
    /// Where orders are made.
    pub new_order: String,
    /// Where certificates are revoked.
    pub revoke_cert: String,
    /// Where an account's key is changed.
    pub key_change: String,
    /// Where ARI is asked (RFC 9773).
    pub renewal_info: Option<String>,
    /// About the authority.
    #[serde(default)]
    pub meta: Meta,
}

/// About an authority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Meta {
    /// The terms of service.
    pub terms_of_service: Option<String>,
    /// The names by which it looks itself up in CAA records.
    pub caa_identities: Vec<String>,
    /// Accounts need an external binding.
    pub external_account_required: bool,
    /// Profiles and what they are.
    pub profiles: BTreeMap<String, String>,
}
