//! The directory of an authority (RFC 8555 §7.1.1).

use serde::Deserialize;
use std::collections::BTreeMap;

/// Directory object of a CA (RFC 8555 §7.1.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Directory {
    /// URL of newNonce.
    pub new_nonce: String,
    /// URL of newAccount.
    pub new_account: String,
    /// URL of newOrder.
    pub new_order: String,
    /// URL of revokeCert.
    pub revoke_cert: String,
    /// URL of keyChange.
    pub key_change: String,
    /// URL of renewalInfo (RFC 9773).
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
