//! Pairs of a certificate chain and its private key: how they are found in a folder, and read.

use super::error::CertificateError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The paths of the two files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// A PEM file with the certificate chain, the end-entity certificate first.
    pub certificate: PathBuf,
    /// A PEM file with the private key.
    pub key: PathBuf,
}

/// The location of a pair: its files, and the path by which it is reported.
pub(super) struct PairLocation {
    /// The path by which the pair is reported: a subfolder, or the certificate file.
    pub(super) path: PathBuf,
    /// The files of the certificate chain and the key.
    pub(super) files: CertificateFiles,
}

/// Returns the locations of the pairs in a folder: each subfolder, as in `/var/lib/acme` and `/etc/letsencrypt/live`,
/// also if it contains no certificate, and each pair of files `NAME.crt` and `NAME.key`, as lego writes them. Names
/// that begin with a dot, `*.issuer.crt`, and `NAME.crt` without a key are left out.
///
/// # Errors
/// The error of reading the folder.
pub(super) fn places(folder: &Path) -> io::Result<Vec<PairLocation>> {
    let mut places = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            let key = [path.join("key.pem"), path.join("privkey.pem")];
            let key = key.iter().find(|key| key.exists()).unwrap_or(&key[0]).clone();
            let files = CertificateFiles { certificate: path.join("fullchain.pem"), key };
            places.push(PairLocation { path, files });
        } else if path.extension() == Some(OsStr::new("crt")) && !name.ends_with(b".issuer.crt") {
            let key = path.with_extension("key");
            if key.exists() {
                places.push(PairLocation {
                    path: path.clone(),
                    files: CertificateFiles { certificate: path, key },
                });
            }
        }
    }
    Ok(places)
}

/// The modification time, size and inode of a file, which identify its version.
type Stamp = (SystemTime, u64, u64);
/// The versions of the certificate file and of the key file, in this order. `None` for a file whose metadata cannot be
/// read.
pub(super) type Stamps = [Option<Stamp>; 2];

/// A loaded pair of certificate and key: the version of its files, the DNS names of the certificate, and the chain with
/// the private key.
#[derive(Clone)]
pub(super) struct Pair {
    /// The version of the files that were loaded.
    pub(super) stamp: Stamps,
    /// The DNS names of the certificate, in lower case.
    pub(super) names: Vec<String>,
    /// The certificate chain with its private key.
    pub(super) key: Arc<CertifiedKey>,
}

/// Returns the versions of the files of a pair.
pub(super) fn stamps(files: &CertificateFiles) -> Stamps {
    [stamp(&files.certificate), stamp(&files.key)]
}

/// Returns the version of a file. `None` if its metadata cannot be read.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

/// Reads a pair and checks that the key belongs to the certificate. `stamp` is stored as the version of the files.
/// Validity periods are not checked.
///
/// # Errors
/// [`CertificateError`] if a file cannot be read or parsed, other users have access to the key, or the two do not
/// match.
pub(super) fn read(place: &PairLocation, stamp: Stamps) -> Result<Pair, CertificateError> {
    let PairLocation { path, files: CertificateFiles { certificate: chain_path, key: key_path } } = place;
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| CertificateError::File { path: path.into(), source })
    };
    let pem = |path: &Path, why: String| CertificateError::Pem { path: path.into(), why };
    let mode = std::fs::metadata(key_path).map_or(0, |found| found.mode() & 0o7777);
    if mode & 0o007 != 0 {
        // Certificates may be read by all: advice on the mode of one that was named as the key would be wrong.
        return Err(match std::fs::read(key_path) {
            Ok(bytes) if holds_certificates(&bytes) => pem(key_path, NO_KEY.into()),
            _ => CertificateError::Readable { path: key_path.clone(), mode },
        });
    }
    let chain_bytes = read(chain_path)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_bytes)
        .collect::<Result<_, _>>()
        .map_err(|why| pem(chain_path, why.to_string()))?;
    let leaf = chain.first().ok_or_else(|| {
        let has_key = PrivateKeyDer::from_pem_slice(&chain_bytes).is_ok();
        pem(chain_path, if has_key { NO_CERTIFICATE } else { "no certificate in it" }.into())
    })?;
    let key_bytes = read(key_path)?;
    let key = PrivateKeyDer::from_pem_slice(&key_bytes)
        .map_err(|why| pem(key_path, key_fault(&key_bytes).map_or_else(|| why.to_string(), str::to_owned)))?;
    let names = webpki::EndEntityCert::try_from(leaf)
        .map_err(|why| pem(chain_path, why.to_string()))?
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
        Ok(key) => key,
        Err(rustls::Error::InconsistentKeys(_)) => {
            let is_of_key = |one: &CertificateDer<'static>| {
                CertifiedKey::from_der(vec![one.clone()], key.clone_key(), &provider).is_ok()
            };
            return Err(pem(chain_path, mismatch(chain.iter().position(is_of_key), key_path)));
        }
        Err(source) => return Err(CertificateError::Pair { path: path.clone(), source }),
    };
    Ok(Pair { stamp, names, key: Arc::new(key) })
}

/// The fault of a certificate file with a key in place of certificates.
const NO_CERTIFICATE: &str =
    "it has a private key and no certificate: the paths of certificate and key may be swapped";

/// The fault of a key file with certificates in place of a key.
const NO_KEY: &str =
    "it has a certificate and no private key: the paths of certificate and key may be swapped";

/// Returns whether a file in PEM has a certificate and no private key.
fn holds_certificates(bytes: &[u8]) -> bool {
    let has = |label: &[u8]| bytes.windows(label.len()).any(|window| window == label);
    has(b"-----BEGIN CERTIFICATE-----") && !has(b"PRIVATE KEY-----")
}

/// Returns the fault of a file from which no private key can be read, with its fix. `None` for one that has no common
/// cause.
fn key_fault(bytes: &[u8]) -> Option<&'static str> {
    let has = |label: &[u8]| bytes.windows(label.len()).any(|window| window == label);
    if has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Some(
            "the key is encrypted with a passphrase, for which nobody can be asked: store it without, by openssl pkey -in KEY -out FILE",
        );
    }
    holds_certificates(bytes).then_some(NO_KEY)
}

/// Returns the fault of a chain whose first certificate does not belong to the key. `found` is the index of the
/// certificate of the chain that does, if there is one.
fn mismatch(found: Option<usize>, key: &Path) -> String {
    match found {
        Some(at) => format!(
            "the key {} belongs to certificate {} of the chain: put that one first, then the one of its issuer",
            key.display(),
            at + 1
        ),
        None => format!(
            "the key {} belongs to another certificate: name files that were issued together",
            key.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the message of the error of reading a pair with this content.
    fn fault(chain: &str, key: &str, mode: u32) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key_path) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&key_path, key).unwrap();
        std::fs::set_permissions(&key_path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let files = CertificateFiles { certificate, key: key_path };
        let place = PairLocation { path: files.certificate.clone(), files };
        read(&place, [None, None]).err().expect("the pair is not used").to_string()
    }

    #[test]
    fn faults_of_pairs_are_named_with_their_fix() {
        let authority = testkit::Authority::new();
        let (chain, key) = authority.issue(&["a.test"]);
        let (other, _) = authority.issue(&["b.test"]);
        for mode in [0o640, 0o644] {
            let swapped = fault(&key, &chain, mode);
            assert!(swapped.contains("may be swapped"), "{swapped}");
        }
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let traditional =
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
        for text in [encrypted, traditional] {
            let said = fault(&chain, text, 0o640);
            assert!(said.contains("k.pem: the key is encrypted with a passphrase"), "{said}");
        }
        let said = fault(&other, &key, 0o640);
        assert!(said.contains("c.pem: the key") && said.contains("belongs to another certificate"), "{said}");
        let said = fault(&format!("{other}{chain}"), &key, 0o640);
        assert!(said.contains("of the chain: put that one first"), "{said}");
        let said = fault(&chain, &key, 0o644);
        assert!(said.contains("all users can read this key"), "{said}");
    }
}
