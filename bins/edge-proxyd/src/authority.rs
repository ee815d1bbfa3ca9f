//! A private certificate authority, for `demo`, `try` and `import --prove`.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A certificate authority whose private key exists in memory only.
pub(crate) struct Authority {
    /// The private key and the name with which certificates and revocation lists are signed.
    issuer: Issuer<'static, KeyPair>,
    /// The self-signed certificate of the authority, as PEM.
    root: String,
}

impl Authority {
    /// Creates an authority with a new key pair and the common name `name`. It can sign certificates and revocation
    /// lists, but no intermediate authorities.
    ///
    /// # Errors
    /// The key pair could not be generated, or the certificate could not be signed.
    pub(crate) fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root })
    }

    /// Returns the self-signed certificate of the authority as PEM.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Generates a key pair and a certificate for TLS client authentication with this common name and serial number,
    /// and writes them to `key.pem` and `fullchain.pem` in `folder`, which is created if it does not exist.
    ///
    /// # Errors
    /// The certificate could not be signed, or a file could not be written.
    pub(crate) fn issue_client(
        &self,
        folder: &Path,
        name: &str,
        serial: u64,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(folder, params)
    }

    /// Returns a certificate revocation list as PEM whose only entry is this serial number. It is valid until 2100.
    ///
    /// # Errors
    /// The list could not be signed.
    pub(crate) fn revoke(&self, serial: u64) -> Result<String, rcgen::Error> {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: rcgen::date_time_ymd(2021, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer)?.pem()
    }

    /// Generates a key pair and a certificate for these DNS names or IP addresses, and writes them to `key.pem` and
    /// `fullchain.pem` in `folder`, as in a folder below `/var/lib/acme`. The folder is created if it does not exist.
    ///
    /// # Errors
    /// A name is not valid, the certificate could not be signed, or a file could not be written.
    pub(crate) fn issue(&self, folder: &Path, names: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        self.sign(folder, params)
    }

    /// Generates a key pair, signs a certificate for it with these parameters, and writes both to `key.pem` and
    /// `fullchain.pem` in `folder`, which is created if it does not exist. `fullchain.pem` has this certificate only.
    ///
    /// # Errors
    /// The certificate could not be signed, or a file could not be written.
    fn sign(&self, folder: &Path, mut params: CertificateParams) -> Result<(), Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::create_dir_all(folder)?;
        write(&folder.join("key.pem"), &key.serialize_pem())?;
        write(&folder.join("fullchain.pem"), &certificate.pem())?;
        Ok(())
    }
}

/// Replaces a file atomically: writes the text to a file with the extension `.new` and mode 0640, flushes it to the
/// disk, and renames it to `path`.
///
/// # Errors
/// The file could not be written or renamed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(0o640))?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()?;
    fs::rename(temporary, path)
}
