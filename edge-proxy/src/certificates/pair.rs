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
    let mode = std::fs::metadata(key_path).map_or(0, |found| found.mode() & 0o7777);
    if mode & 0o007 != 0 {
        return Err(CertificateError::Readable { path: key_path.clone(), mode });
    }
    let pem = |path: &Path, why: String| CertificateError::Pem { path: path.into(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(chain_path)?)
        .collect::<Result<_, _>>()
        .map_err(|why| pem(chain_path, why.to_string()))?;
    let leaf = chain.first().ok_or_else(|| pem(chain_path, "no certificate in it".into()))?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(key_path)?).map_err(|why| pem(key_path, why.to_string()))?;
    let names = webpki::EndEntityCert::try_from(leaf)
        .map_err(|why| pem(chain_path, why.to_string()))?
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|source| CertificateError::Pair { path: path.clone(), source })?;
    Ok(Pair { stamp, names, key: Arc::new(key) })
}
