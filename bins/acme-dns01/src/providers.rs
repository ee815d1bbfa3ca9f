//! DNS providers: conversion of their settings, and the errors of settings that do not go together.

use crate::error::{BuildError, decode_secret, read, value_error};
use crate::settings::ProviderSettings;
use acme_dns01::client::Http;
use acme_dns01::provider::{
    AcmeDns, Cloudflare, CloudflareAuth, DnsUpdateService, Exec, Provider, Rfc2136, ServiceError,
    TsigAlgorithm,
};
use secrecy::SecretSlice;
use std::sync::Arc;

/// Creates the DNS provider with this name from its settings, and reads its secrets.
///
/// # Errors
/// Returns a [`BuildError`] with the key of the setting if a secret cannot be read or a setting is missing or not
/// valid.
pub(crate) fn provider(
    name: &str,
    written: &ProviderSettings,
    http: &Http,
) -> Result<Arc<dyn Provider>, BuildError> {
    let key = |part: &str| format!("provider.{name}.{part}");
    Ok(match written {
        ProviderSettings::Cloudflare { token, zone_token, email, key: global, zones, base } => {
            let auth = match (token, email, global) {
                (Some(token), None, None) => CloudflareAuth::Token {
                    dns: read(&key("token"), token)?,
                    zone: zone_token.as_ref().map(|token| read(&key("zone_token"), token)).transpose()?,
                },
                (None, Some(email), Some(global)) => {
                    CloudflareAuth::GlobalKey { email: email.clone(), key: read(&key("key"), global)? }
                }
                _ => {
                    return Err(value_error(
                        key("token"),
                        "is missing: write a token, or email and key, not both",
                    ));
                }
            };
            let mut made = Cloudflare::new(http.clone(), auth);
            if let Some(base) = base {
                made = made.base(base);
            }
            for (zone, id) in zones {
                made = made.pin(zone, id);
            }
            Arc::new(made)
        }
        ProviderSettings::Rfc2136 { server, zone, key_name, algorithm, key: secret } => {
            let mut made = Rfc2136::new(*server);
            if let Some(zone) = zone {
                made = made.zone(zone);
            }
            let algorithm = tsig_algorithm(algorithm).map_err(|why| value_error(key("algorithm"), why))?;
            match (key_name, secret) {
                (Some(owner), Some(secret)) => {
                    let secret = decode_secret(&key("key"), secret)?;
                    let signed = made.tsig(owner, algorithm, &secret);
                    made = signed.map_err(|why| value_error(key("key_name"), why))?;
                }
                (None, None) => {}
                _ => {
                    return Err(value_error(key("key_name"), "and key belong together: write both, or none"));
                }
            }
            Arc::new(made)
        }
        ProviderSettings::AcmeDns { base, full_domain, subdomain, username, password } => {
            let password = read(&key("password"), password)?;
            Arc::new(AcmeDns::new(http.clone(), base, full_domain, subdomain, username, password))
        }
        ProviderSettings::Exec { program, zones } => Arc::new(Exec::new(program, zones.clone())),
        ProviderSettings::DnsUpdate { service, token, credentials, base, zones } => {
            let mut access = DnsUpdateService::new(service);
            if let Some(token) = token {
                access = access.credential("token", read(&key("token"), token)?);
            }
            for (part, secret) in credentials {
                access = access.credential(part, read(&key(&format!("credentials.{part}")), secret)?);
            }
            if let Some(base) = base {
                access = access.base(base);
            }
            let made = access.connect(zones.clone());
            let part = |why: &ServiceError| key(&service_part(why, token.is_some()));
            Arc::new(made.map_err(|why| value_error(part(&why), why.to_string()))?)
        }
    })
}

/// Returns the key of a provider's settings that an error of a dns-update service is about. `token` is true if the
/// provider has the key `token`.
fn service_part(why: &ServiceError, token: bool) -> String {
    match why {
        ServiceError::MissingCredential { key: "token", .. } => "token".into(),
        ServiceError::UnknownCredential { key, .. } | ServiceError::InvalidCredential { key, .. } => {
            if token && key == "token" { key.clone() } else { format!("credentials.{key}") }
        }
        ServiceError::MissingCredential { .. } => "credentials".into(),
        ServiceError::MissingBase { .. }
        | ServiceError::FixedBase { .. }
        | ServiceError::InvalidBase { .. } => "base".into(),
        _ => "service".into(),
    }
}

/// Returns the error of a provider whose keys do not go together, found without secrets: Cloudflare without exactly one
/// of token, and email with key; RFC 2136 with an unknown algorithm, a key name that is no domain name, or only one of
/// key name and key; a service of dns-update that is not known, takes other credentials or another base, or has its
/// token twice. `None` for others and without an error.
pub(crate) fn provider_fault(name: &str, written: &ProviderSettings) -> Option<BuildError> {
    let fault = |part: &str, why: &str| Some(value_error(format!("provider.{name}.{part}"), why));
    match written {
        ProviderSettings::Cloudflare { token, email, key, .. } => match (token, email, key) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => None,
            _ => fault("token", "is missing: write a token, or email and key, not both"),
        },
        ProviderSettings::Rfc2136 { server, algorithm, key_name, key, .. } => {
            let algorithm = match tsig_algorithm(algorithm) {
                Ok(algorithm) => algorithm,
                Err(why) => return fault("algorithm", &why),
            };
            // Any secret shows whether the name can be used.
            let any: SecretSlice<u8> = vec![0; 32].into();
            if let Some(owner) = key_name
                && let Err(why) = Rfc2136::new(*server).tsig(owner, algorithm, &any)
            {
                return fault("key_name", &why.to_string());
            }
            match key_name.is_some() == key.is_some() {
                true => None,
                false => fault("key_name", "and key belong together: write both, or none"),
            }
        }
        ProviderSettings::DnsUpdate { service, token, credentials, base, .. } => {
            if token.is_some() && credentials.contains_key("token") {
                return fault("credentials.token", "is written as token too: leave one of them out");
            }
            let keys = token.iter().map(|_| "token").chain(credentials.keys().map(String::as_str));
            match DnsUpdateService::check(service, keys, base.as_deref()) {
                Ok(()) => None,
                Err(why) => fault(&service_part(&why, token.is_some()), &why.to_string()),
            }
        }
        ProviderSettings::AcmeDns { .. } | ProviderSettings::Exec { .. } => None,
    }
}

/// Returns the algorithm of this name, in lowercase and with or without a trailing dot.
///
/// # Errors
/// Returns a description that lists the known names.
fn tsig_algorithm(name: &str) -> Result<TsigAlgorithm, String> {
    match name.trim_end_matches('.') {
        "hmac-sha256" => Ok(TsigAlgorithm::HmacSha256),
        "hmac-sha384" => Ok(TsigAlgorithm::HmacSha384),
        "hmac-sha512" => Ok(TsigAlgorithm::HmacSha512),
        other => {
            Err(format!("not a known algorithm: `{other}`: expected hmac-sha256, hmac-sha384 or hmac-sha512"))
        }
    }
}
