//! A certificate authority for one test, and TLS clients that trust it.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// A certificate authority with its own key. Its methods panic if a name is not valid or a file cannot be written.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Creates an authority with a new key and a fixed name.
    pub fn new() -> Self {
        Self::named("the authority of a test")
    }

    /// Creates an authority with a new key and a root certificate with this common name.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root").pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// Returns the root certificate in PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Issues a certificate for DNS names or IP addresses; the first is the common name as well. It is valid from 1975
    /// to 4096. Returns chain and private key in PEM; the chain is the certificate only.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names.clone()).expect("valid names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("", String::as_str));
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        (chain, key.serialize_pem())
    }

    /// Issues a certificate for these names that was valid from January 1, 2019 to January 1, 2020. Returns chain and
    /// private key in PEM.
    pub fn issue_expired(&self, names: &[&str]) -> (String, String) {
        self.issue_between(names, 2019, 2020)
    }

    /// Issues a certificate for these names that is valid from January 1 of the year `from` to January 1 of the year
    /// `until`. Returns chain and private key in PEM.
    pub fn issue_between(&self, names: &[&str], from: i32, until: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }

    /// Issues a client certificate with this common name, the organization `Example, Ltd.` and this serial number.
    /// Returns chain and private key in PEM.
    pub fn issue_client(&self, name: &str, serial: u64) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Ltd.");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        (chain, key.serialize_pem())
    }

    /// Returns a revocation list in PEM that revokes these serial numbers, with its next update on January 1 of the
    /// year `until`.
    pub fn revoke(&self, serials: &[u64], until: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a revocation list").pem().expect("PEM")
    }

    /// Issues a certificate for these names, and writes it in the layout of `/var/lib/acme/<name>`: `fullchain.pem`,
    /// and `key.pem` with mode 0640. The folder is created if it does not exist; existing files are replaced.
    pub fn write(&self, folder: &Path, names: &[&str]) {
        let (chain, key) = self.issue(names);
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(folder.join("key.pem"), key).expect("a key file");
        std::fs::set_permissions(folder.join("key.pem"), PermissionsExt::from_mode(0o640)).expect("a mode");
        std::fs::write(folder.join("fullchain.pem"), chain).expect("a chain file");
    }

    /// Issues a certificate like [`issue`](Self::issue). Returns chain and private key as types of rustls.
    pub fn pair(&self, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        ders(&self.issue(names))
    }

    /// Issues a certificate like [`issue_between`](Self::issue_between). Returns chain and private key as types of
    /// rustls.
    pub fn pair_between(
        &self,
        names: &[&str],
        from: i32,
        until: i32,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        ders(&self.issue_between(names, from, until))
    }
}

/// Converts a chain and its private key from PEM to types of rustls.
///
/// # Panics
/// Panics if one of them is not valid PEM.
fn ders((chain, key): &(String, String)) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|found| found.expect("PEM")).collect();
    (chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"))
}

/// Returns the TLS configuration of a client that trusts only `root`, a certificate in PEM, has no certificate of its
/// own, and offers these ALPN protocols.
///
/// # Panics
/// Panics if `root` is not a certificate.
pub fn tls_client(root: &str, alpn: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}
