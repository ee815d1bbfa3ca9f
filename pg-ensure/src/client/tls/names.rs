//! Verification of a server's name against its certificate, as in libpq: alternative names, or else the common name.

use rustls_pki_types::{CertificateDer, ServerName};
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Returns `true` if the certificate is within its validity period at `now`, in seconds since 1970. `false` if it is
/// malformed.
pub(crate) fn is_valid_at(certificate: &CertificateDer<'_>, now: u64) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let (from, to) =
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    i64::try_from(now).is_ok_and(|now| from <= now && now <= to)
}

/// Returns `true` if a certificate is valid for a server name, like libpq's
/// `pq_verify_peer_name_matches_certificate()`.
pub(crate) fn is_for_server(certificate: &CertificateDer<'_>, server: &ServerName<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let mut named = false;
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match (name, server) {
            (GeneralName::DNSName(pattern), ServerName::DnsName(host)) => {
                named = true;
                if matches_dns_name(pattern, host.as_ref()) {
                    return true;
                }
            }
            (GeneralName::IPAddress(bytes), ServerName::IpAddress(address)) => {
                named = true;
                let same = match IpAddr::from(*address) {
                    IpAddr::V4(address) => address.octets()[..] == **bytes,
                    IpAddr::V6(address) => address.octets()[..] == **bytes,
                };
                if same {
                    return true;
                }
            }
            (GeneralName::DNSName(_) | GeneralName::IPAddress(_), _) => named = true,
            (_, _) => {}
        }
    }
    // The common name counts only if there are no alternative names.
    let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    match (named, common, server) {
        (false, Some(pattern), ServerName::DnsName(host)) => matches_dns_name(pattern, host.as_ref()),
        (false, Some(text), ServerName::IpAddress(address)) => {
            text.parse::<IpAddr>().is_ok_and(|found| found == IpAddr::from(*address))
        }
        (_, _, _) => false,
    }
}

/// Returns `true` if a host name matches a name in a certificate, without regard to case. `*` stands for exactly the
/// first label. Unlike in libpq, at least two labels must follow it: `*.org` matches nothing.
fn matches_dns_name(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(rest), Some((first, domain))) = (pattern.strip_prefix("*."), host.split_once('.')) else {
        return false;
    };
    !first.is_empty() && rest.contains('.') && rest.eq_ignore_ascii_case(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(common: &str, names: &[&str]) -> CertificateDer<'static> {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                .unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn is(common: &str, names: &[&str], server: &str) -> bool {
        is_for_server(&certificate(common, names), &ServerName::try_from(server.to_owned()).unwrap())
    }

    #[test]
    fn alternative_names_count_before_the_common_name() {
        assert!(is("db.example.org", &[], "db.example.org"));
        assert!(is("db.example.org", &[], "DB.example.org"));
        assert!(!is("db.example.org", &["other.example.org"], "db.example.org"));
        assert!(is("x", &["*.example.org"], "db.example.org"));
        assert!(!is("x", &["*.example.org"], "a.db.example.org"));
        assert!(!is("x", &["*.org"], "example.org"));
        assert!(is("x", &["192.0.2.1"], "192.0.2.1"));
        assert!(!is("x", &["192.0.2.1"], "192.0.2.2"));
        assert!(is("192.0.2.1", &[], "192.0.2.1"));
        let certificate = certificate("x", &[]);
        assert!(is_valid_at(&certificate, 1_800_000_000));
        assert!(!is_valid_at(&certificate, 1) && !is_valid_at(&certificate, u64::MAX));
        assert!(!is_for_server(&CertificateDer::from(vec![0x30, 0x80]), &ServerName::try_from("x").unwrap()));
    }
}
