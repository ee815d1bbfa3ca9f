//! The configured certificates, resolved. No secret is read, and nothing is changed.

use crate::build::KNOWN;
use crate::error::{BuildError, value_error};
use crate::settings::{CertificateSettings, Settings};
use acme_dns01::engine::Certificate;
use acme_dns01::live::{Check, Deployment, Greeting, Reload};
use acme_dns01::store::Ownership;
use acme_dns01::{CertificateSpec, KeyType, Limits, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

impl Settings {
    /// Returns the configured certificates. A certificate with several key types results in one per type. Reads no
    /// secret and changes nothing.
    ///
    /// # Errors
    /// Returns a [`BuildError::Value`] for the first certificate that is not valid or whose id occurs again.
    pub fn certificates(&self) -> Result<Vec<Certificate>, BuildError> {
        self.certificates_or_all().map_err(|mut errors| errors.swap_remove(0))
    }

    /// Returns the configured certificates, one per key type.
    ///
    /// # Errors
    /// Returns a [`BuildError::Value`] for every certificate that is not valid, with its first error, and for every id
    /// that occurs again.
    pub(crate) fn certificates_or_all(&self) -> Result<Vec<Certificate>, Vec<BuildError>> {
        let mut all = Vec::new();
        let mut ids = BTreeSet::new();
        let mut errors = Vec::new();
        for (number, written) in self.certificate.iter().enumerate() {
            match certificate(number, written, self) {
                Ok(made) => {
                    for made in made {
                        if !ids.insert(made.spec.id.clone()) {
                            let why = format!("two are called `{}`: give one another name", made.spec.id);
                            errors.push(value_error(format!("certificate[{number}]"), why));
                        }
                        all.push(made);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(all) } else { Err(errors) }
    }
}

/// Resolves one `[[certificate]]`, the one with this number from 0: one certificate per key type. The id of the first
/// is the configured name or else the first domain name as a folder; the others' end in `-` and the key type. Without
/// authorities the first known one is used. The rate limits of Let's Encrypt apply only if one of the authorities has
/// them.
///
/// # Errors
/// Returns a [`BuildError::Value`] with the key of the setting for a certificate without names, an unknown authority or
/// provider, a name that cannot be a folder, or a check that is no address.
fn certificate(
    number: usize,
    written: &CertificateSettings,
    settings: &Settings,
) -> Result<Vec<Certificate>, BuildError> {
    let key = |part: &str| format!("certificate[{number}].{part}");
    let names: Vec<Name> = written.names.iter().chain(&written.extra_domain_names).cloned().collect();
    if names.is_empty() {
        return Err(value_error(
            key("names"),
            "missing: write the names of the certificate, names = [\"git.example.org\"]",
        ));
    }
    let authorities =
        if written.authority.is_empty() { vec![KNOWN[0].0.to_owned()] } else { written.authority.clone() };
    let known: BTreeMap<&str, bool> = KNOWN
        .iter()
        .map(|(name, _)| (*name, true))
        .chain(settings.authority.iter().map(|(name, written)| (name.as_str(), written.limits)))
        .collect();
    for name in &authorities {
        if !known.contains_key(name.as_str()) {
            let all: Vec<&str> = known.keys().copied().collect();
            return Err(value_error(
                key("authority"),
                format!("not a known authority, `{name}`: write one of {}", all.join(", ")),
            ));
        }
    }
    for name in &written.provider {
        if !settings.provider.contains_key(name) {
            let all: Vec<&str> = settings.provider.keys().map(String::as_str).collect();
            let fix = match all.as_slice() {
                [] => format!("add [provider.{name}]"),
                all => format!("write one of {}, or add [provider.{name}]", all.join(", ")),
            };
            return Err(value_error(key("provider"), format!("not a known provider, `{name}`: {fix}")));
        }
    }
    let id = written.name.clone().unwrap_or_else(|| names[0].folder());
    if !is_folder(&id) {
        return Err(value_error(
            key("name"),
            format!("`{id}` cannot be a folder: write letters, digits, - _ . @ only"),
        ));
    }
    let mut spec = CertificateSpec::new(names, "");
    spec.authorities = authorities;
    spec.providers.clone_from(&written.provider);
    spec.reuse_key = written.reuse_key;
    spec.profile.clone_from(&written.profile);
    spec.preferred_chain.clone_from(&written.preferred_chain);
    if !spec.authorities.iter().any(|name| known.get(name.as_str()) == Some(&true)) {
        spec.limits = Limits::none();
    }
    if let Some(seconds) = written.propagation_timeout {
        spec.timeouts.propagation = Duration::from_secs(seconds);
    }
    if let Some(seconds) = written.settle {
        spec.timeouts.settle = Duration::from_secs(seconds);
    }
    if let Some(seconds) = written.ari_floor {
        spec.timeouts.ari = Duration::from_secs(seconds);
    }
    if let Some(days) = written.valid_min_days {
        // Converted to a part of the lifetime, since lifetimes shrink; such numbers of days were chosen for lifetimes
        // of 90 days.
        let part = (days.saturating_mul(1000) / 90).min(666);
        spec.renewal_policy.remaining = u16::try_from(part).unwrap_or(333);
    }
    let mut reload: Vec<Reload> = written.reload_services.iter().cloned().map(Reload::Unit).collect();
    if let Some(command) = &written.post_run {
        reload.insert(0, Reload::Command(vec!["/bin/sh".into(), "-c".into(), command.clone()]));
    }
    let shown = spec.names.iter().find(|name| !name.is_wildcard());
    let shown = shown.map_or_else(|| format!("any.{}", spec.names[0].base()), ToString::to_string);
    let mut checks = Vec::new();
    for written in &written.check {
        let smtp = written.strip_prefix("smtp:");
        let greeting = smtp.map_or(Greeting::Tls, |_| Greeting::Smtp);
        let address = smtp.unwrap_or(written);
        if !is_address(address) {
            let fix = "write host:port, as in `127.0.0.1:443`, `[::1]:443` or `smtp:127.0.0.1:587`";
            return Err(value_error(key("check"), format!("no address, `{written}`: {fix}")));
        }
        checks.push(Check { address: address.to_owned(), greeting, name: shown.clone() });
    }
    let within = written.check_timeout.map_or(Deployment::default().within, Duration::from_secs);
    let deployment = Deployment { reload, checks, within };
    let kinds = if written.key_type.is_empty() { vec![KeyType::default()] } else { written.key_type.clone() };
    let several = kinds.iter().enumerate().map(|(at, kind)| {
        let mut spec = spec.clone();
        spec.key_type = *kind;
        spec.id = if at == 0 { id.clone() } else { format!("{id}-{kind}") };
        spec.renewal_policy.position = renewal_position(&spec.id);
        Certificate::new(spec, deployment.clone())
    });
    Ok(several.collect())
}

impl Settings {
    /// Returns the group ids of certificates with a configured group, by certificate id, and the sorted names of
    /// configured groups (of certificates and of the whole store) that do not exist.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if a certificate with an existing group is not valid.
    pub(crate) fn groups(&self) -> Result<(BTreeMap<String, u32>, Vec<String>), BuildError> {
        let mut groups = BTreeMap::new();
        let mut unknown = Vec::new();
        for (number, written) in self.certificate.iter().enumerate() {
            let Some(name) = &written.group else { continue };
            match Ownership::group_named(name) {
                Some(group) => {
                    let made = certificate(number, written, self)?;
                    groups.extend(made.into_iter().map(|made| (made.spec.id, group)));
                }
                None => unknown.push(name.clone()),
            }
        }
        if let Some(name) = &self.group
            && Ownership::group_named(name).is_none()
        {
            unknown.push(name.clone());
        }
        unknown.sort();
        unknown.dedup();
        Ok((groups, unknown))
    }
}

/// Returns `true` if a certificate with this name can have a folder of that name.
fn is_folder(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// Returns `true` if a text is `host:port`, with a host name or an IP address and a port from 1 to 65535.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named = !host.is_empty() && host.chars().all(plain);
    (named || bare.parse::<Ipv6Addr>().is_ok()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Returns the position of a certificate within its renewal windows, in thousandths, 0 to 999: a hash (FNV-1a) of the
/// id, which is the same after a restart.
fn renewal_position(id: &str) -> u16 {
    let hash =
        id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u16::try_from(hash % 1000).unwrap_or(500)
}
