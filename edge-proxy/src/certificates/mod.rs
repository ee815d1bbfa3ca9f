//! Server certificates from a folder such as `/var/lib/acme` and from individual files, reloaded when they change.

mod error;
mod of_site;
mod pair;

pub use error::CertificateError;
pub use of_site::SiteCertificates;
pub(crate) use of_site::{ByServerName, SiteTls};
pub use pair::CertificateFiles;

use pair::{Pair, PairLocation, Stamps};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The loaded certificates, by path and by name. A refresh with changes replaces the whole index.
#[derive(Default)]
struct NameIndex {
    /// The certificates by path, which is a subfolder or a certificate file.
    pairs: HashMap<PathBuf, Pair>,
    /// The certificates by DNS name or `*.` pattern. A name has several if several pairs contain it, such as with keys
    /// of several kinds.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// The pairs that cannot be used, by path, with the version of their files whose error was reported.
    refused: HashMap<PathBuf, Stamps>,
}

/// Server certificates from a folder and from individual [files](Self::set_files). In the folder, each certificate is a
/// subfolder with `fullchain.pem` and `key.pem` or certbot's `privkey.pem`, or a pair of files such as lego's
/// `NAME.crt` and `NAME.key`.
///
/// The DNS names are those in the certificate. If several certificates cover a name, for example with ECDSA and RSA
/// keys, the capabilities of the client decide. Individual files take precedence over the folder.
/// [`Certificates::refresh`] reads changed files; a pair that cannot be used leaves the previous one in place.
pub struct Certificates {
    /// The folder of certificates. `None` if there is none.
    folder: Option<PathBuf>,
    /// The individual files besides the folder.
    files: Mutex<Vec<CertificateFiles>>,
    /// The paths of certificate files by the name of the site that they belong to.
    sites: Mutex<HashMap<String, PathBuf>>,
    /// The loaded certificates.
    index: RwLock<Arc<NameIndex>>,
    /// The end of the last refresh, and the duration of that refresh. `None` before the first.
    looked: Mutex<Option<(Instant, Duration)>>,
}

/// The divisor of one core's time for the share that refreshes may take: a hundredth.
const REFRESH_LOAD_DIVISOR: u32 = 100;

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("folder", &self.folder).field("names", &self.names()).finish()
    }
}

/// The result of a refresh: the pairs of certificate and key that it loaded or replaced, and the errors of those that
/// it could not use. Removed pairs are not listed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RefreshReport {
    /// The paths of pairs that were loaded for the first time or replaced: a subfolder, or the file of a certificate.
    pub swapped: Vec<PathBuf>,
    /// The errors of new or changed pairs that cannot be used. Each version of a pair is reported once.
    pub problems: Vec<CertificateError>,
}

impl Certificates {
    /// Creates an empty set of certificates of a folder, if given, and of individual files, which need not exist yet.
    /// [`Certificates::refresh`] reads them.
    pub fn of(folder: Option<PathBuf>, files: Vec<CertificateFiles>) -> Arc<Self> {
        let (index, looked) = (RwLock::default(), Mutex::default());
        Arc::new(Self { folder, files: Mutex::new(files), sites: Mutex::default(), index, looked })
    }

    /// Creates the certificates of a folder and reads them.
    ///
    /// # Errors
    /// [`CertificateError::Folder`] if the folder itself cannot be read. Errors of pairs are in the report.
    pub fn load(folder: impl Into<PathBuf>) -> Result<(Arc<Self>, RefreshReport), CertificateError> {
        Self::open(Some(folder.into()), Vec::new())
    }

    /// Creates the certificates of a folder, if given, and of individual files, and reads them.
    ///
    /// # Errors
    /// [`CertificateError::Folder`] if the folder itself cannot be read. Errors of pairs are in the report.
    pub fn open(
        folder: Option<PathBuf>,
        files: Vec<CertificateFiles>,
    ) -> Result<(Arc<Self>, RefreshReport), CertificateError> {
        let found = Self::of(folder, files);
        let refreshed = found.refresh()?;
        Ok((found, refreshed))
    }

    /// Replaces the list of individual files. They are read at the next [refresh](Self::refresh).
    pub fn set_files(&self, files: Vec<CertificateFiles>) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Replaces the list of sites with a certificate of their own: the name of each site, and the path of its chain,
    /// which must be one of the individual files. Takes effect at the next start or reload of the proxy.
    pub fn set_sites(&self, sites: HashMap<String, PathBuf>) {
        *self.sites.lock().unwrap_or_else(PoisonError::into_inner) = sites;
    }

    /// Reads changed files as [`Certificates::refresh`] does, unless the time since the last refresh is less than 100
    /// times its duration. The report is empty then. Refreshes thereby take at most a hundredth of a core.
    ///
    /// # Errors
    /// As [`Certificates::refresh`].
    pub fn refresh_if_due(&self) -> Result<RefreshReport, CertificateError> {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        match looked {
            Some((end, took)) if end.elapsed() < took * REFRESH_LOAD_DIVISOR => Ok(RefreshReport::default()),
            _ => self.refresh(),
        }
    }

    /// Creates the certificates of a folder, reads them, and starts a thread that calls
    /// [`Certificates::refresh_if_due`] after each `interval` until the certificates are dropped. `report` is called
    /// with the result of the first reading, and with those of later ones that have changes, problems or errors.
    ///
    /// # Errors
    /// [`CertificateError::Folder`] if the folder itself cannot be read now, or if the thread cannot be started.
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

    /// Reads the pairs whose files have changed since the last refresh, by their modification time, size and inode, and
    /// removes the individual files that are no longer listed and the pairs of the folder whose subfolder, `NAME.crt`
    /// or `NAME.key` no longer exists. Any other pair that can no longer be used leaves its previous certificate in
    /// place. Blocks on file I/O.
    ///
    /// # Errors
    /// [`CertificateError::Folder`] if the folder itself cannot be read. Nothing changes then. Errors of pairs are in
    /// the report.
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
                // The subfolder has no certificate, such as one of ACME accounts.
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
            // Individual files take precedence: the folder's certificates are not used for their names.
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

    /// Returns the locations of all pairs: first the individual files, each with `true`, then those found in the
    /// folder, each with `false`.
    ///
    /// # Errors
    /// [`CertificateError::Folder`] if the folder cannot be read.
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

    /// Returns the DNS names of all loaded certificates, in lower case, sorted and without duplicates. Wildcards begin
    /// with `*.`.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.index().names.keys().cloned().collect();
        names.sort();
        names
    }

    /// Returns the details of each loaded certificate, sorted by path. Certificates that cannot be parsed are omitted.
    pub fn list(&self) -> Vec<CertificateInfo> {
        let index = self.index();
        let mut all: Vec<_> = index.pairs.iter().filter_map(|(folder, pair)| info(folder, pair)).collect();
        all.sort_by(|a, b| a.folder.cmp(&b.folder));
        all
    }

    /// Returns whether a loaded certificate covers this name, exactly or by a wildcard for its first label. The name
    /// must be in lower case. Validity periods are not considered.
    pub fn covers(&self, name: &str) -> bool {
        !self.candidates(name).is_empty()
    }

    /// Returns whether the site of this name has a certificate of its own ([`Certificates::set_sites`]) that is loaded.
    pub fn has_own(&self, site: &str) -> bool {
        self.file_of(site).is_some_and(|path| self.pair_of(&path).is_some())
    }

    /// Returns the path of the certificate that belongs to a site. `None` if the site has none of its own.
    fn file_of(&self, site: &str) -> Option<PathBuf> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).get(site).cloned()
    }

    /// Returns the loaded certificate of a path. `None` if none could be read yet.
    fn pair_of(&self, path: &Path) -> Option<Arc<CertifiedKey>> {
        self.index().pairs.get(path).map(|pair| pair.key.clone())
    }

    /// Returns the current index, which stays the same for the caller.
    fn index(&self) -> Arc<NameIndex> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the certificates for a name in lower case: those for the exact name, or else those of the wildcard for
    /// its first label. Empty if there are none.
    fn candidates(&self, name: &str) -> Vec<Arc<CertifiedKey>> {
        let index = self.index();
        let exact = index.names.get(name);
        let wild = || index.names.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(wild).cloned().unwrap_or_default()
    }
}

/// The details of a loaded certificate: those of its end-entity certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateInfo {
    /// The path of the certificate's subfolder, or of the certificate file of an individual pair or of a pair of
    /// files.
    pub folder: PathBuf,
    /// The DNS names in the certificate, in lower case.
    pub names: Vec<String>,
    /// The serial number in lowercase hexadecimal.
    pub serial: String,
    /// The beginning of the validity period, in seconds since 1970.
    pub not_before: i64,
    /// The end of the validity period, in seconds since 1970.
    pub not_after: i64,
}

/// Returns the details of a loaded pair that is reported under the path `folder`. `None` if its certificate cannot be
/// parsed.
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
