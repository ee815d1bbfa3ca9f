//! Certificate keys, certificate signing requests and certificate chains.

use super::jws::{encode, pem};
use crate::key_type::KeyType;
use crate::lifetime::{CertificateInfo, Origin};
use crate::name::Name;
use crate::time::{DAY, Time};
use aws_lc_rs::digest;
use rcgen::{
    CertificateParams, CertificateSigningRequest, DistinguishedName, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Error of creating or reading a key pair, a certificate signing request or a chain, or of a chain that is not the
/// ordered one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The key could not be generated, or is not a valid private key.
    #[error("the key: {0}")]
    Key(String),
    /// The certificate signing request, or the self-signed certificate of a placeholder, could not be created.
    #[error("the certificate request: {0}")]
    Request(String),
    /// The certificate chain is not valid PEM, or a certificate is not valid DER.
    #[error("the chain: {0}")]
    Chain(String),
    /// The end-entity certificate's public key is not that of the private key.
    #[error("the certificate is not for this key")]
    OtherKey,
    /// The end-entity certificate does not contain exactly the ordered names.
    #[error("the certificate is for {found}, not for {wanted}")]
    OtherNames {
        /// Names in the certificate, for display.
        found: String,
        /// Names that were ordered, for display.
        wanted: String,
    },
}

/// The key pair of a certificate.
pub struct KeyPair {
    pair: rcgen::KeyPair,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Generates a key of this type. Blocks the thread; RSA takes up to seconds.
    ///
    /// # Errors
    /// Returns [`CertificateError::Key`] if the generation fails.
    pub fn generate(kind: KeyType) -> Result<Self, CertificateError> {
        let pair = match kind {
            KeyType::Ec256 => rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyType::Ec384 => rcgen::KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyType::Rsa2048 => rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyType::Rsa3072 => rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyType::Rsa4096 => rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        };
        Ok(Self { pair: pair.map_err(|why| CertificateError::Key(why.to_string()))? })
    }

    /// Parses a private key in PEM.
    ///
    /// # Errors
    /// Returns [`CertificateError::Key`] if it is not valid or of an unsupported type.
    pub fn from_pem(text: &SecretString) -> Result<Self, CertificateError> {
        let pair = rcgen::KeyPair::from_pem(text.expose_secret());
        Ok(Self { pair: pair.map_err(|why| CertificateError::Key(why.to_string()))? })
    }

    /// Returns the private key in PEM.
    #[must_use]
    pub fn pem(&self) -> SecretString {
        self.pair.serialize_pem().into()
    }

    /// Returns the SHA-256 digest of the public key (SubjectPublicKeyInfo), in lowercase hexadecimal digits.
    #[must_use]
    pub fn public_key(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.pair.subject_public_key_info()).as_ref())
    }

    /// Returns the key type. `None` if it is not one of [`KeyType`].
    #[must_use]
    pub fn kind(&self) -> Option<KeyType> {
        let info = self.pair.subject_public_key_info();
        let (_, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&info).ok()?;
        key_type(&info).parse().ok()
    }

    /// Creates a certificate signing request (PKCS #10) in DER with these names as subject alternative names and an
    /// empty subject.
    ///
    /// # Errors
    /// Returns [`CertificateError::Request`] if a name is not valid or the signature fails.
    pub fn request(&self, names: &[Name]) -> Result<Vec<u8>, CertificateError> {
        let wrong = |why: rcgen::Error| CertificateError::Request(why.to_string());
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).map_err(wrong)?;
        params.distinguished_name = DistinguishedName::new();
        let request: CertificateSigningRequest = params.serialize_request(&self.pair).map_err(wrong)?;
        Ok(request.der().to_vec())
    }
}

/// Generates a key with a self-signed certificate, as a placeholder to serve until a CA has issued one. Returns chain
/// and key in PEM. The certificate is valid from the day before `now` until the same day ten years later, or the 28th
/// if that day is later in its month.
///
/// # Errors
/// Returns a [`CertificateError`] if no key can be generated, or a name is not valid.
pub fn self_signed(
    names: &[Name],
    kind: KeyType,
    now: Time,
) -> Result<(String, SecretString), CertificateError> {
    let key = KeyPair::generate(kind)?;
    let wrong = |why: rcgen::Error| CertificateError::Request(why.to_string());
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, SELF_SIGNED);
    let (year, month, day) = now.before(DAY).date();
    params.not_before = rcgen::date_time_ymd(year, month, day);
    // February 29 does not exist in every year.
    params.not_after = rcgen::date_time_ymd(year + 10, month, day.min(28));
    let certificate = params.self_signed(&key.pair).map_err(wrong)?;
    Ok((certificate.pem(), key.pem()))
}

/// Subject common name of placeholder certificates.
const SELF_SIGNED: &str = "acme-dns01 self-signed";

/// Parses all certificates of a PEM text to DER. Empty if the text contains none.
///
/// # Errors
/// Returns [`CertificateError::Chain`] if a PEM section is damaged.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|why| CertificateError::Chain(why.to_string()))
}

/// Parses a certificate in DER.
///
/// # Errors
/// Returns [`CertificateError::Chain`] if it is not a valid certificate.
fn parse<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, CertificateError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|why| CertificateError::Chain(why.to_string()))
}

/// Returns the serial number of a certificate in DER, in lowercase hexadecimal digits without leading zeros; empty for
/// 0.
///
/// # Errors
/// Returns [`CertificateError::Chain`] if it is not a valid certificate.
pub(crate) fn serial_of(der: &CertificateDer<'_>) -> Result<String, CertificateError> {
    Ok(hex(parse(der)?.raw_serial()).trim_start_matches('0').to_owned())
}

/// Returns the first certificate of a chain as DER.
///
/// # Errors
/// Returns [`CertificateError::Chain`] if the text contains no certificate, or is not valid PEM.
pub(crate) fn leaf(pem: &str) -> Result<Vec<u8>, CertificateError> {
    let first = certificates(pem)?.into_iter().next();
    first
        .map(|der| der.to_vec())
        .ok_or_else(|| CertificateError::Chain("expected a certificate, found none".to_owned()))
}

/// Returns the issuer common names of a chain's certificates, end-entity certificate first. Certificates without one,
/// or that cannot be parsed, are left out; empty if the PEM is not valid.
#[must_use]
pub fn chain_issuers(pem: &str) -> Vec<String> {
    let ders = certificates(pem).unwrap_or_default();
    let names = ders.iter().filter_map(|der| {
        let parsed = parse(der).ok()?;
        let name = parsed.issuer().iter_common_name().next()?.as_str().ok()?.to_owned();
        Some(name)
    });
    names.collect()
}

/// Reads the properties of a chain's first certificate, and the digest of the whole chain.
/// [`CertificateInfo::authority`] is an empty string for a certificate of a CA and `None` for any other; profile and
/// directory are `None`, since they are not part of the certificate. Names that are not valid DNS names are left out.
///
/// # Errors
/// Returns [`CertificateError::Chain`] if the text is not valid PEM or its first certificate is missing or not valid.
pub fn describe(pem: &str) -> Result<CertificateInfo, CertificateError> {
    let ders = certificates(pem)?;
    let leaf = ders
        .first()
        .ok_or_else(|| CertificateError::Chain("expected a certificate, found none".to_owned()))?;
    let leaf = parse(leaf)?;
    let time = |time: x509_parser::time::ASN1Time| Time::from_secs(time.timestamp().try_into().unwrap_or(0));
    let mut names = Vec::new();
    let mut key_identifier = None;
    for extension in leaf.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(alternatives) => {
                names.extend(alternatives.general_names.iter().filter_map(|name| match name {
                    GeneralName::DNSName(name) => name.parse::<Name>().ok(),
                    _ => None,
                }));
            }
            ParsedExtension::AuthorityKeyIdentifier(found) => {
                key_identifier = found.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    names.sort();
    names.dedup();
    let ari = key_identifier.map(|id| format!("{}.{}", encode(&id), encode(leaf.raw_serial())));
    let common = |name: &x509_parser::x509::X509Name<'_>| {
        name.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned)
    };
    let issuer = common(leaf.issuer()).unwrap_or_else(|| leaf.issuer().to_string());
    let origin = if common(leaf.subject()).as_deref() == Some(SELF_SIGNED) {
        Origin::Placeholder
    } else if issuer.starts_with("minica root ca") {
        Origin::Minica
    } else if leaf.issuer() == leaf.subject() {
        Origin::SelfSigned
    } else {
        Origin::Authority
    };
    let validity = (time(leaf.validity().not_before), time(leaf.validity().not_after));
    let mut info = CertificateInfo::new(names, validity.0, validity.1);
    hex(leaf.raw_serial()).trim_start_matches('0').clone_into(&mut info.serial);
    info.public_key = hex(digest::digest(&digest::SHA256, leaf.public_key().raw).as_ref());
    info.key_type = key_type(leaf.public_key());
    info.ari = ari;
    // The configured name of the CA is not part of the certificate.
    info.authority = (origin == Origin::Authority).then(String::new);
    (info.issuer, info.origin) = (issuer, origin);
    let mut chain = digest::Context::new(&digest::SHA256);
    ders.iter().for_each(|der| chain.update(der));
    info.chain = Some(hex(chain.finish().as_ref()));
    Ok(info)
}

/// Verifies that a chain's first certificate has the public key of `key` and exactly these names, which must be sorted.
/// Returns the chain without other PEM blocks, and the properties of its first certificate.
///
/// # Errors
/// Returns a [`CertificateError`] for another key or other names, or if the chain is not valid.
pub fn verify_pair(
    chain: &str,
    key: &KeyPair,
    names: &[Name],
) -> Result<(String, CertificateInfo), CertificateError> {
    let held = describe(chain)?;
    if held.public_key != key.public_key() {
        return Err(CertificateError::OtherKey);
    }
    if held.names != names {
        let list = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        return Err(CertificateError::OtherNames { found: list(&held.names), wanted: list(names) });
    }
    let clean: String = certificates(chain)?.iter().map(|der| pem("CERTIFICATE", der)).collect();
    Ok((clean, held))
}

/// Returns the type of a public key: `rsa` or `ec` followed by its size in bits, such as `ec256`, or `unknown`.
fn key_type(key: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> String {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("rsa{}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => format!("ec{}", point.key_size()),
        _ => "unknown".to_owned(),
    }
}

/// Returns bytes in lowercase hexadecimal digits, two per byte.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_every_kind() {
        let names: Vec<Name> = vec!["*.a.test".parse().expect("a name"), "a.test".parse().expect("a name")];
        for kind in [KeyType::Ec256, KeyType::Ec384, KeyType::Rsa2048] {
            let (chain, key) = self_signed(&names, kind, Time::from_secs(1_800_000_000)).expect("a pair");
            let key = KeyPair::from_pem(&key).expect("a key");
            let (_, held) = verify_pair(&chain, &key, &names).expect("they belong together");
            assert_eq!((held.key_type.as_str(), held.authority), (kind.as_str(), None));
            let other = KeyPair::generate(KeyType::Ec256).expect("a key");
            assert!(matches!(verify_pair(&chain, &other, &names), Err(CertificateError::OtherKey)));
            assert!(verify_pair(&chain, &key, &names[..1]).is_err());
            assert!(!key.request(&names).expect("a request").is_empty());
        }
    }

    proptest::proptest! {
        /// Bytes from a CA are parsed or refused; they never panic.
        #[test]
        fn chains_of_anybody(text in "\\PC{0,200}", der in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = (describe(&text), chain_issuers(&text), leaf(&text));
            let pem = pem("CERTIFICATE", &der);
            let _ = (describe(&pem), chain_issuers(&pem), leaf(&pem));
        }
    }
}
