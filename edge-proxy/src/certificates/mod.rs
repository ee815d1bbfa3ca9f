//! Certificates from a folder, such as `/var/lib/acme`, and from files that are named one by one, watched and swapped live.

mod error;
mod pair;

pub use error::CertificateError;
pub use pair::CertificateFiles;

use pair::{Pair, PairLocation, Stamps};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

#[derive(Default)]
struct NameIndex {
    pairs: HashMap<PathBuf, Pair>,
    /// By name, `*.` patterns too, several kinds of key side by side.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Pairs that could not be used, so that each is reported once and not at every look.
    refused: HashMap<PathBuf, Stamps>,
}

/// Certificates from a folder with one subfolder per certificate: `fullchain.pem` with `key.pem` or certbot's `privkey.pem` in each,
/// or from files such as lego's `NAME.crt` with `NAME.key`; and from [files](Self::set_files) that are named one by one.
///
/// The names of a certificate are read from it. If several cover a name (ECDSA and RSA), the client's capabilities
/// decide. [`Certificates::refresh`] reads changed files; an unusable pair leaves the old one in place.
pub struct Certificates {
    folder: Option<PathBuf>,
    files: Mutex<Vec<CertificateFiles>>,
    index: RwLock<Arc<NameIndex>>,
    /// The end of the last look, and its duration.
    looked: Mutex<Option<(Instant, Duration)>>,
}

/// The part of a core that looking for new certificates may take, one of so many.
const SHARE: u32 = 100;

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
    /// Returns the certificates of a folder and of files that are not read yet, and need not exist yet: see
    /// [`Certificates::refresh`].
    pub fn of(folder: Option<PathBuf>, files: Vec<CertificateFiles>) -> Arc<Self> {
        let (index, looked) = (RwLock::default(), Mutex::default());
        Arc::new(Self { folder, files: Mutex::new(files), index, looked })
    }

    /// Reads the folder.
    ///
    /// # Errors
    /// Only if the folder itself cannot be read. Pairs that cannot be used are in the report.
    pub fn load(folder: impl Into<PathBuf>) -> Result<(Arc<Self>, RefreshReport), CertificateError> {
        Self::open(Some(folder.into()), Vec::new())
    }

    /// Reads a folder, if there is one, and these files.
    ///
    /// # Errors
    /// Only if the folder itself cannot be read. Pairs that cannot be used are in the report.
    pub fn open(
        folder: Option<PathBuf>,
        files: Vec<CertificateFiles>,
    ) -> Result<(Arc<Self>, RefreshReport), CertificateError> {
        let found = Self::of(folder, files);
        let refreshed = found.refresh()?;
        Ok((found, refreshed))
    }

    /// Replaces the files that are named one by one. They are read at the next [refresh](Self::refresh).
    pub fn set_files(&self, files: Vec<CertificateFiles>) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Reads again what changed since, unless the last look was so short a time ago that looking would take more than a hundredth of
    /// a core: with tens of thousands of certificates a look takes long.
    ///
    /// # Errors
    /// As [`Certificates::refresh`].
    pub fn refresh_if_due(&self) -> Result<RefreshReport, CertificateError> {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        match looked {
            Some((end, took)) if end.elapsed() < took * SHARE => Ok(RefreshReport::default()),
            _ => self.refresh(),
        }
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
                match found.refresh_if_due() {
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
        let began = Instant::now();
        let before = self.index();
        let mut refreshed = RefreshReport::default();
        let mut pairs = HashMap::new();
        let mut refused = HashMap::new();
        let mut by_name = HashSet::new();
        for (place, named) in self.places()? {
            let old = before.pairs.get(&place.path);
            if named {
                by_name.insert(place.path.clone());
            }
            let stamp = pair::stamps(&place.files);
            if let Some(old) = old
                && old.stamp == stamp
            {
                pairs.insert(place.path, old.clone());
                continue;
            }
            if before.refused.get(&place.path) == Some(&stamp) {
                refused.insert(place.path.clone(), stamp);
                pairs.extend(old.map(|old| (place.path, old.clone())));
                continue;
            }
            if stamp == [None, None] && old.is_none() && !named {
                // A folder of something else, such as accounts.
                continue;
            }
            match pair::read(&place, stamp) {
                Ok(pair) => {
                    refreshed.swapped.push(place.path.clone());
                    pairs.insert(place.path, pair);
                }
                Err(why) => {
                    refreshed.problems.push(why);
                    refused.insert(place.path.clone(), stamp);
                    pairs.extend(old.map(|old| (place.path, old.clone())));
                }
            }
        }
        let same = pairs.len() == before.pairs.len()
            && pairs.keys().all(|path| before.pairs.contains_key(path))
            && refused == before.refused;
        if !refreshed.swapped.is_empty() || !same {
            let mut names: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
            // A name of which a pair is named by itself has no other.
            for named in [true, false] {
                let before = names.clone();
                for (_, pair) in pairs.iter().filter(|(path, _)| by_name.contains(*path) == named) {
                    for name in pair.names.iter().filter(|name| !before.contains_key(*name)) {
                        names.entry(name.clone()).or_default().push(pair.key.clone());
                    }
                }
            }
            let index = Arc::new(NameIndex { pairs, names, refused });
            *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        }
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), began.elapsed()));
        Ok(refreshed)
    }

    /// Returns the places of all pairs, and whether each is named by itself. A pair that is named by itself and in the folder is one.
    fn places(&self) -> Result<Vec<(PairLocation, bool)>, CertificateError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let place = |files: CertificateFiles| (PairLocation { path: files.certificate.clone(), files }, true);
        let mut places: Vec<_> = files.into_iter().map(place).collect();
        if let Some(folder) = &self.folder {
            let found = pair::places(folder)
                .map_err(|source| CertificateError::Folder { path: folder.clone(), source })?;
            places.extend(found.into_iter().map(|place| (place, false)));
        }
        Ok(places)
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
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
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
        let name = edge_http::host::normalize(hello.server_name()?);
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
