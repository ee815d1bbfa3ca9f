//! The directory of a CA (RFC 8555 §7.1.1).

use serde::Deserialize;
use std::collections::BTreeMap;

/// Directory object of a CA (RFC 8555 §7.1.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Directory {
    /// URL of the newNonce resource.
    pub new_nonce: String,
    /// URL of the newAccount resource.
    pub new_account: String,
    /// URL of the newOrder resource.
    pub new_order: String,
    /// URL of the revokeCert resource.
    pub revoke_cert: String,
    /// URL of the keyChange resource.
    pub key_change: String,
    /// URL of the renewalInfo resource (RFC 9773). `None` if the CA does not support ARI.
    pub renewal_info: Option<String>,
    /// Metadata of the CA.
    #[serde(default)]
    pub meta: Meta,
}

/// Metadata of a CA (`meta` of the directory).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Meta {
    /// URL of the terms of service. `None` if the CA names none.
    pub terms_of_service: Option<String>,
    /// Issuer domain names by which the CA recognizes itself in CAA records.
    pub caa_identities: Vec<String>,
    /// `true` if new accounts require an external account binding.
    pub external_account_required: bool,
    /// ACME profiles by name, each with its description or URL.
    pub profiles: BTreeMap<String, String>,
}
