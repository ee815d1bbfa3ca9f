//! Certificates from a folder in the layout of `/var/lib/acme`, watched and swapped live.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

/// The error of a certificate that is not used. The one that was used before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The folder cannot be read.
    #[error("cannot read the folder {}", path.display())]
    Folder {
        /// The folder that cannot be read.
        path: PathBuf,
        /// The cause, as the system reports it.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}{}", path.display(), advice(path, source))]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause, as the system reports it.
        source: io::Error,
    },
    /// All accounts of the machine can read the key.
    #[error("{}: all users can read this key (mode {mode:04o}): chmod 0640 {}", path.display(), path.display())]
    Readable {
        /// The path of the file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file contains no certificate or key.
    #[error("{}: {why}", path.display())]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// The reason, as rustls reports it.
        why: String,
    },
    /// The key is not that of the certificate, or of a kind that is not supported.
    #[error("the pair in {} cannot be used", path.display())]
    Pair {
        /// The folder of the pair.
        path: PathBuf,
        /// The cause, as rustls reports it.
        source: rustls::Error,
    },
}

/// Advice where permission is missing: the group that may read the file.
fn advice(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    match std::fs::metadata(path).or_else(|_| std::fs::metadata(path.parent().unwrap_or(path))) {
        Ok(found) => {
            let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
            let gid = found.gid().to_string();
            let name = groups.lines().find_map(|line| {
                let mut parts = line.split(':');
                let (name, id) = (parts.next()?, parts.nth(1)?);
                (id == gid).then_some(name)
            });
            format!(" (members of the group {} may read it: usermod -aG {0} USER)", name.unwrap_or(&gid))
        }
        Err(_) => String::new(),
    }
}

/// Changed at, bytes, inode: what tells one version of a file from the next.
type Stamp = (SystemTime, u64, u64);
/// Of the chain and the key.
type Stamps = [Option<Stamp>; 2];

/// One loaded pair.
#[derive(Clone)]
struct Pair {
    stamp: Stamps,
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

#[derive(Default)]
struct NameIndex {
    pairs: HashMap<PathBuf, Pair>,
    /// By name, `*.` patterns too, several kinds of key side by side.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Pairs that could not be used, so that each is reported once and not at every look.
    refused: HashMap<PathBuf, Stamps>,
}

/// Certificates from a folder with one subfolder per certificate: `fullchain.pem` and `key.pem` in each.
///
/// The names of a certificate are read from it. If several cover a name (ECDSA and RSA), the client's capabilities
/// decide. [`Certificates::refresh`] reads changed files; an unusable pair leaves the old one in place.
pub struct Certificates {
    folder: PathBuf,
    index: RwLock<Arc<NameIndex>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("folder", &self.folder).field("names", &self.names()).finish()
    }
}

/// The result of [`Certificates::refresh`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RefreshReport {
    /// Folders whose pair is new.
    pub swapped: Vec<PathBuf>,
    /// The certificates that cannot be used, with reasons.
    pub problems: Vec<CertificateError>,
}

impl Certificates {
    /// Reads the folder.
    ///
    /// # Errors
    /// Only if the folder itself cannot be read. Pairs that cannot be used are in the report.
    pub fn load(folder: impl Into<PathBuf>) -> Result<(Arc<Self>, RefreshReport), CertificateError> {
        let found = Self { folder: folder.into(), index: RwLock::default() };
        let refreshed = found.refresh()?;
        Ok((Arc::new(found), refreshed))
    }

    /// Reads the folder now, and again after each `interval` on a thread of its own, until the certificates are dropped. `report`
    /// is told what each look brought: what was swapped, and pairs that cannot be used, each once.
    ///
    /// # Errors
    /// Only if the folder itself cannot be read now, or the thread cannot be started.
    pub fn watch(
        folder: impl Into<PathBuf>,
        interval: Duration,
        report: impl Fn(Result<RefreshReport, CertificateError>) + Send + 'static,
    ) -> Result<Arc<Self>, CertificateError> {
        let folder = folder.into();
        let (found, first) = Self::load(&folder)?;
        report(Ok(first));
        let watched = Arc::downgrade(&found);
        let look = move || {
            loop {
                std::thread::sleep(interval);
                let Some(found) = watched.upgrade() else { return };
                match found.refresh() {
                    Ok(nothing) if nothing.swapped.is_empty() && nothing.problems.is_empty() => {}
                    looked => report(looked),
                }
            }
        };
        std::thread::Builder::new()
            .name("edge-certificates".into())
            .spawn(look)
            .map_err(|source| CertificateError::Folder { path: folder, source })?;
        Ok(found)
    }

    /// Reads again what changed since.
    ///
    /// # Errors
    /// Only if the folder itself cannot be read; everything stays as it was then.
    pub fn refresh(&self) -> Result<RefreshReport, CertificateError> {
        let before = self.index();
        let mut refreshed = RefreshReport::default();
        let mut pairs = HashMap::new();
        let mut refused = HashMap::new();
        let unreadable = |source| CertificateError::Folder { path: self.folder.clone(), source };
        for entry in std::fs::read_dir(&self.folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if !path.is_dir()
                || path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
            {
                continue;
            }
            let old = before.pairs.get(&path);
            let stamp = [stamp(&path.join("fullchain.pem")), stamp(&path.join("key.pem"))];
            if let Some(old) = old
                && old.stamp == stamp
            {
                pairs.insert(path, old.clone());
                continue;
            }
            if before.refused.get(&path) == Some(&stamp) {
                refused.insert(path.clone(), stamp);
                pairs.extend(old.map(|old| (path, old.clone())));
                continue;
            }
            if stamp == [None, None] && old.is_none() {
                // A folder of something else, such as accounts.
                continue;
            }
            match read_pair(&path, stamp) {
                Ok(pair) => {
                    refreshed.swapped.push(path.clone());
                    pairs.insert(path, pair);
                }
                Err(why) => {
                    refreshed.problems.push(why);
                    refused.insert(path.clone(), stamp);
                    if let Some(old) = old {
                        pairs.insert(path, old.clone());
                    }
                }
            }
        }
        let same = pairs.len() == before.pairs.len() && refused == before.refused;
        if !refreshed.swapped.is_empty() || !same {
            let mut names: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
            for pair in pairs.values() {
                for name in &pair.names {
                    names.entry(name.clone()).or_default().push(pair.key.clone());
                }
            }
            let index = Arc::new(NameIndex { pairs, names, refused });
            *self.index.write().unwrap_or_else(std::sync::PoisonError::into_inner) = index;
        }
        Ok(refreshed)
    }

    /// Returns all names that have a certificate, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.index().names.keys().cloned().collect();
        names.sort();
        names
    }

    /// Returns the details of each certificate in use, by folder.
    pub fn list(&self) -> Vec<CertificateInfo> {
        let index = self.index();
        let mut all: Vec<_> = index.pairs.iter().filter_map(|(folder, pair)| info(folder, pair)).collect();
        all.sort_by(|a, b| a.folder.cmp(&b.folder));
        all
    }

    /// Returns whether there is a certificate for this name, in lower case.
    pub fn covers(&self, name: &str) -> bool {
        !self.candidates(name).is_empty()
    }

    fn index(&self) -> Arc<NameIndex> {
        self.index.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn candidates(&self, name: &str) -> Vec<Arc<CertifiedKey>> {
        let index = self.index();
        let exact = index.names.get(name);
        let wild = || index.names.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(wild).cloned().unwrap_or_default()
    }
}

/// The details of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateInfo {
    /// The folder that it was read from.
    pub folder: PathBuf,
    /// The names that it covers.
    pub names: Vec<String>,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
}

fn info(folder: &Path, pair: &Pair) -> Option<CertificateInfo> {
    let leaf = pair.key.cert.first()?;
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
    Some(CertificateInfo {
        folder: folder.to_owned(),
        names: pair.names.clone(),
        serial: leaf.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
    })
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = crate::host::normalize(hello.server_name()?);
        let mut usable: Vec<_> = self
            .candidates(&name)
            .into_iter()
            .filter(|pair| pair.key.choose_scheme(hello.signature_schemes()).is_some())
            .collect();
        // ECDSA costs a fraction of RSA, for both sides.
        usable.sort_by_key(|pair| pair.key.algorithm() == rustls::SignatureAlgorithm::RSA);
        usable.into_iter().next()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

fn read_pair(path: &Path, stamp: Stamps) -> Result<Pair, CertificateError> {
    let (chain_path, key_path) = (path.join("fullchain.pem"), path.join("key.pem"));
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| CertificateError::File { path: path.into(), source })
    };
    let mode = std::fs::metadata(&key_path).map_or(0, |found| found.mode() & 0o7777);
    if mode & 0o007 != 0 {
        return Err(CertificateError::Readable { path: key_path, mode });
    }
    let pem = |path: &Path, why: String| CertificateError::Pem { path: path.into(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&chain_path)?)
        .collect::<Result<_, _>>()
        .map_err(|why| pem(&chain_path, why.to_string()))?;
    let leaf = chain.first().ok_or_else(|| pem(&chain_path, "no certificate in it".into()))?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(&key_path)?).map_err(|why| pem(&key_path, why.to_string()))?;
    let names = webpki::EndEntityCert::try_from(leaf)
        .map_err(|why| pem(&chain_path, why.to_string()))?
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|source| CertificateError::Pair { path: path.into(), source })?;
    Ok(Pair { stamp, names, key: Arc::new(key) })
}
